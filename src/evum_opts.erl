%% SPDX-License-Identifier: Apache-2.0
%% Checks options, key by key, before anything starts; pure
-module(evum_opts).

-export([check/3, machine/2, value/2, text/1, program/3, transfer/2, hostname/1, winsize/1, is_time/1]).
-export_type([kind/0, machine/0, program/0, transfer/0]).

-type kind() :: create | start | start_link.
-type machine() :: #{
    label := atom(),
    dist := atom() | {initramfs, file:filename()},
    %% one NIC each; `default': where the default network runs
    net := default | [evum_vm_net:wanted()],
    args := [binary()],
    cpu := spread | any | non_neg_integer(),
    console := evum_console:mode(),
    owner := caller | none | pid(),
    life := none | pid(),
    wait_boot := false | pos_integer(),
    on_reboot := reboot | stop,
    verbose := boolean(),
    disk => evm_disk:wanted(),
    durable => boolean(),
    share := [evum_mount:share()],
    state := [evum_mount:state()],
    mem => pos_integer(),
    kernel => file:filename()
}.
-type program() :: #{
    argv := [binary()],
    env := [binary()],
    timeout := pos_integer() | infinity,
    cwd => binary(),
    user => binary(),
    pty => {Rows :: pos_integer(), Columns :: pos_integer()},
    %% limits of the program and all that it starts: processes, MiB
    max_procs => pos_integer(),
    max_mem => pos_integer(),
    %% of what is collected only, and there always
    max_output => pos_integer(),
    stdin => binary(),
    %% no options: a command of the agent's own; ms that its start may take
    builtin => true,
    start => pos_integer()
}.

-type transfer() :: #{
    %% ms without progress
    timeout := pos_integer(),
    mode => 0..8#7777,
    %% "Uid:Gid" or a user's name
    owner => binary(),
    %% of the bytes that are got, and there always
    max_size => pos_integer() | infinity
}.

-define(NICS_MAX, 8).
-define(MEM_MIN, 32).
-define(MEM_MAX, 1048576).
-define(ARGS_MAX, 3000).
-define(WAIT_MAX, 3600000).
%% 23 days: `receive' takes 49 at most, and some wait twice as long as they promise, and longer
-define(TIME_MAX, 2000000000).
%% what Linux takes for a limit of processes
-define(PROCS_MAX, 4194304).
%% rows and columns of a terminal that nobody has measured
-define(PTY, {24, 80}).
%% one past the last user's or group's number; all ones mean none
-define(ID_END, 16#ffffffff).
%% an argument list must fit in one control frame, with room for the rest
-define(ARGV_MAX, 131072).

%% @doc Checks a machine's options. `label' is `undefined' and `mem' and
%% `kernel' are missing where they weren't given, and so are `disk' and `durable'.
-spec machine(kind(), term()) -> {ok, machine()} | {error, {bad_option, term()}}.
machine(Kind, Opts) -> check(Opts, fun machine_value/2, defaults(Kind)).

defaults(create) ->
    #{
        label => undefined, dist => busybox, net => [], args => [], cpu => spread,
        console => line, owner => caller, life => none, wait_boot => 30000,
        on_reboot => reboot, verbose => false, share => [], state => []
    };
defaults(start) ->
    (defaults(create))#{dist => host, net => default};
defaults(start_link) ->
    (defaults(create))#{console => none, owner => none, wait_boot => false}.

machine_value(timeout, Value) -> rename(wait_boot, value(wait_boot, Value));
machine_value(Key, Value) -> rename(Key, value(Key, Value)).

rename(Key, {ok, Value}) -> {ok, Key, Value};
rename(_Key, error) -> error.

%% @doc Checks a map or proplist with a function that takes a key and a value and
%% answers `{ok, Name, Checked}' or `error'. What isn't given is as in `Defaults'.
-spec check(Opts :: term(), fun((term(), term()) -> {ok, atom(), term()} | error), map()) ->
    {ok, map()} | {error, {bad_option, term()}}.
check(Opts, Check, Defaults) when is_map(Opts) ->
    check_all(maps:to_list(Opts), Check, Defaults);
check(Opts, Check, Defaults) when is_list(Opts) ->
    try lists:reverse(Opts) of
        Reversed -> check_all(Reversed, Check, Defaults)
    catch
        error:_ -> {error, {bad_option, Opts}}
    end;
check(Opts, _Check, _Defaults) -> {error, {bad_option, Opts}}.

%% From the last to the first.
check_all([], _Check, Acc) -> {ok, Acc};
check_all([Key | Rest], Check, Acc) when is_atom(Key) -> check_all([{Key, true} | Rest], Check, Acc);
check_all([{Key, Value} | Rest], Check, Acc) ->
    case Check(Key, Value) of
        {ok, Name, Checked} -> check_all(Rest, Check, Acc#{Name => Checked});
        error -> {error, {bad_option, Key}}
    end;
check_all([Other | _], _Check, _Acc) -> {error, {bad_option, Other}}.

%% @doc Checks one option of a machine; unknown keys are errors too.
-spec value(Key :: term(), Value :: term()) -> {ok, term()} | error.
value(label, Label) when is_atom(Label), Label =/= undefined ->
    accept(hostname(atom_to_binary(Label)), Label);
value(dist, Dist) when is_atom(Dist) -> {ok, Dist};
value(dist, {initramfs, File}) ->
    case file_name(text(File)) of
        {ok, Name} -> {ok, {initramfs, Name}};
        error -> error
    end;
value(net, false) -> {ok, []};
value(net, [_ | _] = Nets) when length(Nets) =< ?NICS_MAX -> nets(Nets);
value(net, Net) -> nets([Net]);
value(mem, Mem) when is_integer(Mem), Mem >= ?MEM_MIN, Mem =< ?MEM_MAX -> {ok, Mem};
value(kernel, File) -> file_name(text(File));
value(args, Args) when is_list(Args) -> arguments(Args);
value(cpu, any) -> {ok, any};
value(cpu, N) when is_integer(N), N >= 0, N < 4096 -> {ok, N};
value(console, Mode) when Mode =:= line; Mode =:= tagged; Mode =:= none -> {ok, Mode};
value(owner, Owner) when is_pid(Owner); Owner =:= none -> {ok, Owner};
value(life, Pid) when is_pid(Pid) -> {ok, Pid};
value(wait_boot, false) -> {ok, false};
value(wait_boot, Ms) when is_integer(Ms), Ms > 0, Ms =< ?WAIT_MAX -> {ok, Ms};
value(on_reboot, Do) when Do =:= reboot; Do =:= stop -> {ok, Do};
value(verbose, Verbose) when is_boolean(Verbose) -> {ok, Verbose};
value(disk, Disk) -> evm_disk:option(Disk);
value(durable, Durable) when is_boolean(Durable) -> {ok, Durable};
value(share, Shares) -> evum_mount:shares(Shares);
value(state, States) -> evum_mount:states(States);
value(_Key, _Value) -> error.

nets(Nets) ->
    try
        {ok, [net(Net) || Net <- Nets]}
    catch
        error:_ -> error
    end.

net(false) -> none;
net(Net) when is_pid(Net) -> {Net, #{}};
net(Net) when is_atom(Net), Net =/= true, Net =/= undefined -> {Net, #{}};
net({Net, Opts}) ->
    {_, #{}} = net(Net),
    {ok, Checked} = check(Opts, fun nic_value/2, #{}),
    {Net, Checked}.

nic_value(ip, Ip) -> rename(ip, evum_subnet:ip(Ip));
nic_value(mac, Mac) ->
    case evum_frame:mac(Mac) of
        {ok, Number} when Number > 0 -> accept(not evum_frame:is_group(Number), mac, Number);
        _ -> error
    end;
nic_value(_Key, _Value) -> error.

accept(true, Value) -> {ok, Value};
accept(false, _Value) -> error.

accept(Is, Key, Value) -> rename(Key, accept(Is, Value)).

file_name({ok, <<_:8, _/binary>> = Path}) ->
    case unicode:characters_to_list(Path) of
        Name when is_list(Name) -> {ok, filename:absname(Name)};
        _ -> error
    end;
file_name(_) -> error.

arguments(Args) ->
    try
        Texts = [kernel_argument(A) || A <- Args],
        accept(iolist_size(lists:join($\s, Texts)) =< ?ARGS_MAX, Texts)
    catch
        error:_ -> error
    end.

%% Words of the kernel's command line: quotes may hold spaces, nothing holds a line's end.
kernel_argument(Arg) ->
    {ok, <<_:8, _/binary>> = Text} = text(Arg),
    nomatch = binary:match(Text, [<<"\n">>, <<"\r">>]),
    false = is_reserved(Text),
    Text.

%% "console=" chooses among the guest's own devices.
is_reserved(<<"--">>) -> true;
is_reserved(<<"console", _/binary>>) -> false;
is_reserved(Text) -> lists:any(fun(Word) -> lists:prefix(Word, binary_to_list(Text)) end, evum_proto:reserved_args()).

%% @doc Is it a host name by RFC 1123: letters, digits and inner hyphens, 63 at most?
-spec hostname(binary()) -> boolean().
hostname(Name) when byte_size(Name) > 0, byte_size(Name) =< 63 ->
    Inner = << <<C>> || <<C>> <= Name, not letter_digit(C) >>,
    letter_digit(binary:first(Name)) andalso letter_digit(binary:last(Name)) andalso
        Inner =:= binary:copy(<<"-">>, byte_size(Inner));
hostname(_) -> false.

letter_digit(C) ->
    (C >= $a andalso C =< $z) orelse (C >= $A andalso C =< $Z) orelse (C >= $0 andalso C =< $9).

%% @doc A string or binary as bytes (a string's characters in UTF-8), without NUL.
-spec text(term()) -> {ok, binary()} | error.
text(Text) when is_binary(Text) -> no_nul(Text);
text(Text) when length(Text) >= 0 ->
    case lists:all(fun is_integer/1, Text) of
        true -> no_nul(unicode:characters_to_binary(Text));
        false -> error
    end;
text(_) -> error.

no_nul(Bytes) when is_binary(Bytes) ->
    accept(binary:match(Bytes, <<0>>) =:= nomatch, Bytes);
no_nul(_) -> error.

%% @doc Checks a command for a guest and its options, for one that is collected
%% (`exec') or runs beside its owner (`spawn'). A string or binary is run by
%% `/bin/sh -c', a list of them as it is.
-spec program(exec | spawn, Cmd :: term(), Opts :: term()) ->
    {ok, program()} | {error, {bad_command, term()} | e2big | {bad_option, term()}}.
program(Kind, Cmd, Opts) ->
    case argv(Cmd) of
        {ok, Argv} -> program_options(Kind, Argv, Opts);
        error -> {error, {bad_command, Cmd}}
    end.

argv(Cmd) when Cmd =:= []; Cmd =:= <<>> -> error;
argv([First | _] = Cmd) when not is_integer(First) ->
    try [text(Arg) || Arg <- Cmd] of
        Texts -> program_argv([T || {ok, T} <- Texts], length(Cmd))
    catch
        error:_ -> error
    end;
argv(Cmd) ->
    try text(Cmd) of
        {ok, Text} -> {ok, [<<"/bin/sh">>, <<"-c">>, Text]};
        error -> error
    catch
        error:_ -> error
    end.

program_argv([<<_:8, _/binary>> | _] = Argv, Length) when length(Argv) =:= Length -> {ok, Argv};
program_argv(_, _) -> error.

program_options(Kind, Argv, Opts) ->
    Defaults = (program_defaults(Kind))#{argv => Argv, env => []},
    case check(Opts, fun(Key, Value) -> program_value(Kind, Key, Value) end, Defaults) of
        {ok, #{env := Env} = Program} ->
            case iolist_size([Argv | Env]) + 16 * length(Argv ++ Env) =< ?ARGV_MAX of
                true -> {ok, maps:filter(fun(_, Value) -> Value =/= none end, Program)};
                false -> {error, e2big}
            end;
        {error, _} = Error -> Error
    end.

program_defaults(exec) -> #{timeout => 60000, max_output => 16777216};
program_defaults(spawn) -> #{timeout => infinity}.

program_value(spawn, timeout, infinity) -> {ok, timeout, infinity};
program_value(exec, max_output, N) when is_integer(N), N > 0 -> {ok, max_output, N};
program_value(exec, stdin, Data) -> rename(stdin, bytes(Data));
program_value(_Kind, Key, Value) -> program_value(Key, Value).

program_value(timeout, Ms) -> accept(is_time(Ms), timeout, Ms);
program_value(env, Env) when is_map(Env) -> program_value(env, maps:to_list(Env));
program_value(env, Env) when is_list(Env) -> environment(Env);
program_value(cd, Dir) -> rename(cwd, non_empty(text(Dir)));
program_value(user, User) when is_integer(User), User >= 0 -> {ok, user, integer_to_binary(User)};
program_value(user, User) -> rename(user, non_empty(text(User)));
program_value(pty, false) -> {ok, pty, none};
program_value(pty, true) -> {ok, pty, ?PTY};
program_value(pty, Size) -> rename(pty, winsize(Size));
program_value(max_procs, N) when is_integer(N), N > 0, N =< ?PROCS_MAX -> {ok, max_procs, N};
program_value(max_mem, N) when is_integer(N), N > 0, N =< ?MEM_MAX -> {ok, max_mem, N};
program_value(_Key, _Value) -> error.

%% @doc Checks the options of moving files to a guest, or from one, into memory or a file.
-spec transfer(put | get | get_file, Opts :: term()) -> {ok, transfer()} | {error, {bad_option, term()}}.
transfer(put, Opts) -> check(Opts, fun put_value/2, #{timeout => 60000});
transfer(get, Opts) -> check(Opts, fun get_value/2, #{timeout => 60000, max_size => 536870912});
transfer(get_file, Opts) -> check(Opts, fun get_value/2, #{timeout => 60000, max_size => infinity}).

put_value(mode, Mode) when is_integer(Mode), Mode >= 0, Mode =< 8#7777 -> {ok, mode, Mode};
put_value(owner, {Uid, Gid}) when is_integer(Uid), is_integer(Gid), Uid >= 0, Gid >= 0, Uid < ?ID_END, Gid < ?ID_END ->
    {ok, owner, <<(integer_to_binary(Uid))/binary, $:, (integer_to_binary(Gid))/binary>>};
put_value(owner, {_, _}) -> error;
put_value(owner, Name) -> rename(owner, non_empty(text(Name)));
put_value(timeout, Ms) -> program_value(timeout, Ms);
put_value(_Key, _Value) -> error.

get_value(max_size, N) when is_integer(N), N > 0 -> {ok, max_size, N};
get_value(timeout, Ms) -> program_value(timeout, Ms);
get_value(_Key, _Value) -> error.

%% @doc Can so many ms be waited for?
-spec is_time(term()) -> boolean().
is_time(Ms) -> is_integer(Ms) andalso Ms > 0 andalso Ms =< ?TIME_MAX.

%% @doc Checks a terminal's size.
-spec winsize(term()) -> {ok, {pos_integer(), pos_integer()}} | error.
winsize({Rows, Columns} = Size) when
    is_integer(Rows), is_integer(Columns), Rows > 0, Columns > 0, Rows < 65536, Columns < 65536
->
    {ok, Size};
winsize(_) -> error.

bytes(Data) ->
    try {ok, iolist_to_binary(Data)}
    catch error:_ -> error
    end.

non_empty({ok, <<>>}) -> error;
non_empty(Text) -> Text.

environment(Env) ->
    try
        {ok, env, [variable(V) || V <- Env]}
    catch
        error:_ -> error
    end.

variable({Name, Value}) ->
    {ok, <<_:8, _/binary>> = N} = text(Name),
    nomatch = binary:match(N, <<"=">>),
    {ok, V} = text(Value),
    <<N/binary, $=, V/binary>>.
