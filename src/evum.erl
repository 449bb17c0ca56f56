%% SPDX-License-Identifier: Apache-2.0
%% One machine: the facade over its process
%%
%% A machine is given by its pid or its label. Where there is no such machine
%% every function answers {error, noproc}, and {error, {vm_down, Reason}} where
%% it ended meanwhile. What needs a guest that is up waits for it.
-module(evum).

-export([start/0, start/1, start_link/1, child_spec/1, stop/1, stop/2, crash/1]).
-export([send/2, send/3, puts/2, active/2, give_away/2, attach/1, await/3]).
-export([exec/2, exec/3, spawn/2, spawn/3, spawn_link/2, spawn_link/3, spawn_monitor/2, spawn_monitor/3]).
-export([write/2, write/3, winsize/2, signal/2]).
-export([put/3, put/4, get/2, get/3, get/4]).
-export([ifconfig/2, ping/2, sniff/1, plug/3, unplug/2]).
-export([pause/1, resume/1, reboot/1, memory/2, info/1, i/0, system/2, format_error/1]).
-export_type([vm/0]).
-compile({no_auto_import, [spawn/2, spawn/3, spawn/4, spawn_link/2, spawn_link/3, spawn_monitor/2, spawn_monitor/3]}).

-type vm() :: pid() | atom().
-type options() :: proplists:proplist() | map().
-type error() :: {error, term()}.

-define(STOP_GRACE_MS, 5000).
%% the rest of the ladder, and the port program's end
-define(STOP_LADDER_MS, 10000).
-define(SEND_MS, 5000).
-define(CALL_MS, 10000).
-define(BOOT_MS, 60000).
%% A UML line goes deaf for good when its terminal holds more than 3968 bytes. The
%% guest's agent can't see those of an unfinished line, and grants 1920 more.
-define(LINE_MAX, 2047).
-define(PUTS_MAX, 1048576).

%% --- starting and stopping -----------------------------------------------------

%% @doc A machine with this host's own files, read-only underneath; writes are discarded.
-spec start() -> {ok, pid()} | error().
start() -> start([]).

%% @doc The same with options: those of {@link evm:create/1}. `{error,
%% {no_confinement, Text}}' where this host can't confine it.
-spec start(options()) -> {ok, pid()} | error().
start(Opts) -> evum_vm_sup:create(start, Opts).

%% @doc Starts a machine that is linked to the caller and dies with it. Unless
%% asked otherwise it returns while the machine boots, without owner and console.
-spec start_link(options()) -> {ok, pid()} | error().
start_link(Opts) ->
    case evum_config:machine(start_link, Opts) of
        {ok, Machine} -> linked(evum_vm:start_link(Machine), Machine);
        {error, _} = Error -> Error
    end.

linked({ok, Vm}, #{wait_boot := false}) -> {ok, Vm};
linked({ok, Vm}, #{wait_boot := Ms}) ->
    case evum_vm:call(Vm, await_up, Ms + ?CALL_MS) of
        ok -> {ok, Vm};
        {error, {vm_down, Reason}} -> {error, Reason};
        {error, _} = Error -> Error
    end;
linked(ignore, #{label := Label}) -> {error, {label_in_use, Label}};
linked({error, _} = Error, _Machine) -> Error.

%% @doc A child specification: restarted when it crashed, not when it was halted.
%% Its id is the label, or unique where none is given.
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Opts) ->
    Unique = {evum, make_ref()},
    Id = if is_map(Opts) -> maps:get(label, Opts, Unique); true -> proplists:get_value(label, Opts, Unique) end,
    #{
        id => Id, start => {?MODULE, start_link, [Opts]}, restart => transient,
        shutdown => evum_vm_sup:shutdown(), type => worker, modules => [evum_vm]
    }.

%% @doc Stops a machine: asks the guest to power off, then climbs a bounded
%% ladder up to SIGKILL. Returns when nothing of the machine is left.
-spec stop(vm()) -> ok | error().
stop(Vm) -> stop(Vm, ?STOP_GRACE_MS).

%% @doc The same; the guest has `GraceMs' to power off.
-spec stop(vm(), GraceMs :: non_neg_integer()) -> ok | error().
stop(Vm, GraceMs) when is_integer(GraceMs), GraceMs >= 0, GraceMs =< 3600000 ->
    finish(Vm, {stop, GraceMs}, GraceMs + ?STOP_LADDER_MS);
stop(_Vm, _GraceMs) -> {error, {bad_option, grace}}.

%% @doc Cuts the power. Returns when nothing of the machine is left.
-spec crash(vm()) -> ok | error().
crash(Vm) -> finish(Vm, crash, ?STOP_LADDER_MS).

finish(Vm, Order, Ms) -> with(Vm, fun(Pid) -> finish_pid(Pid, Order, Ms) end).

finish_pid(Pid, Order, Ms) ->
    Monitor = monitor(process, Pid),
    gen_statem:cast(Pid, Order),
    receive
        {'DOWN', Monitor, process, _, noproc} -> {error, noproc};
        {'DOWN', Monitor, process, _, noconnection} -> {error, noconnection};
        {'DOWN', Monitor, process, _, _} -> ok
    after Ms ->
        true = demonitor(Monitor, [flush]),
        {error, {timeout, stop, unresponsive}}
    end.

%% --- the console -----------------------------------------------------------------

%% @doc Types a line. Returns the console's echo of it, prompt included, which
%% is taken out of the stream, or `timeout' after 5 s.
%%
%% A list is characters, typed in UTF-8; a binary, and what of it is in a list, is
%% typed as it is. One line: `{error, {bad_text, _}}' for more, `{too_long, 2047}'
%% for what a terminal can't hold (a shell may take less: busybox's 1023 bytes).
%% A tab or another control character is a key to whoever reads the terminal, so
%% its echo may differ, and is then no echo: `timeout'. While somebody is attached
%% the echo is his: `{error, attached}'.
-spec send(vm(), unicode:chardata()) -> binary() | timeout | error().
send(Vm, Line) -> send(Vm, Line, ?SEND_MS).

%% @doc The same within `Ms'.
-spec send(vm(), unicode:chardata(), pos_integer()) -> binary() | timeout | error().
send(Vm, Line, Ms) ->
    case {evum_opts:is_time(Ms), chardata(Line, ?LINE_MAX + 1)} of
        {false, _} -> {error, {bad_option, timeout}};
        {true, {ok, Bytes}} -> send_line(Vm, chomp(Bytes), Ms);
        {true, {error, {too_long, _}}} -> {error, {too_long, ?LINE_MAX}};
        {true, {error, _} = Error} -> Error
    end.

chomp(Bytes) ->
    case byte_size(Bytes) > 0 andalso binary:last(Bytes) =:= $\n of
        true -> binary:part(Bytes, 0, byte_size(Bytes) - 1);
        false -> Bytes
    end.

send_line(_Vm, Line, _Ms) when byte_size(Line) > ?LINE_MAX -> {error, {too_long, ?LINE_MAX}};
send_line(Vm, Line, Ms) ->
    case binary:match(Line, [<<"\n">>, <<"\r">>]) of
        nomatch -> call(Vm, {send, Line, Ms}, 2 * Ms + ?CALL_MS);
        _ -> {error, {bad_text, Line}}
    end.

%% @doc Types bytes, as they are, and a list's characters in UTF-8. Returns when they are handed over to the
%% guest's console; `{error, {timeout, console_input, N}}' when after 5 s only
%% the first `N' of them were.
-spec puts(vm(), unicode:chardata()) -> ok | error().
puts(Vm, Bytes) ->
    case chardata(Bytes, ?PUTS_MAX) of
        {ok, Binary} -> call(Vm, {puts, Binary, ?SEND_MS}, 2 * ?SEND_MS + ?CALL_MS);
        {error, _} = Error -> Error
    end.

%% A list's integers are characters, also those below 256; binaries are bytes.
chardata(Data, Max) when is_binary(Data); is_list(Data) ->
    try iolist_to_binary(utf8(Data)) of
        Bytes -> bounded(Bytes, Max)
    catch
        error:_ -> {error, {bad_text, Data}}
    end;
chardata(Data, _Max) -> {error, {bad_text, Data}}.

utf8([Head | Tail]) -> [utf8(Head) | utf8(Tail)];
utf8(Char) when is_integer(Char) -> <<Char/utf8>>;
utf8(Bytes) -> Bytes.

bounded(Bytes, Max) when byte_size(Bytes) =< Max -> {ok, Bytes};
bounded(_Bytes, Max) -> {error, {too_long, Max}}.

%% @doc How the owner gets the console, as `inet''s option of that name: `true',
%% `false', `once', or a number that is added to the one that is left, and
%% `{evum, Vm, passive}' when it is spent. What isn't delivered is held, and then
%% the guest.
-spec active(vm(), boolean() | once | integer()) -> ok | error().
active(Vm, Active) -> call(Vm, {active, Active}, ?CALL_MS).

%% @doc Makes `Pid' the owner. Only the owner may, or anybody when there is none:
%% `{error, not_owner}'.
-spec give_away(vm(), pid()) -> ok | error().
give_away(Vm, Pid) when is_pid(Pid) -> call(Vm, {give_away, Pid}, ?CALL_MS);
give_away(_Vm, _Pid) -> {error, {bad_option, owner}}.

%% @doc Says which command attaches a terminal to the machine's console: OTP has
%% no way to lend out the shell's own.
-spec attach(vm()) -> ok | error().
attach(Vm) ->
    case call(Vm, brief, ?CALL_MS) of
        #{label := Label} ->
            io:format("This shell keeps its terminal. In another one type:~n~n    ~ts~n", [evum_attach:command(Label)]);
        {error, _} = Error -> Error
    end.

%% @doc Waits at most `Ms', the machine's boot included, until
%%
%% the guest is `up'; `init': its own init has started what it starts (systemd and
%% OpenRC tell; any other is taken to have); `net': an interface is up and has an
%% address; `{port, N}': something listens on a TCP port; `{file, Path}': there is
%% such a file; `{text, Regexp}': the console shows what matches, since the last echo
%% of {@link send/2} or the last successful `await', partial lines included. A list is
%% characters, and stands for their bytes in UTF-8; bytes are what is matched.
%%
%% After `{error, {timeout, What, Seen}}' `Seen' tells what was there instead: the last
%% console output, the ports that are listened on, a line of text, the state of a
%% machine that isn't up, or, of `up', the stage that it is in.
-spec await(vm(), up | {text, unicode:chardata()} | evum_await:what(), pos_integer()) ->
    ok | {error, {timeout, What :: term(), Seen :: term()} | term()}.
await(Vm, What, Ms) ->
    case evum_opts:is_time(Ms) of
        true -> await_within(Vm, What, Ms);
        false -> {error, {bad_option, timeout}}
    end.

await_within(Vm, up, Ms) -> call(Vm, {await, up, Ms}, Ms + ?CALL_MS);
await_within(Vm, {text, Regexp}, Ms) ->
    case chardata(Regexp, ?PUTS_MAX) of
        {ok, Bytes} -> await_text(Vm, Regexp, re:compile(Bytes), Ms);
        {error, _} -> {error, {bad_option, text}}
    end;
await_within(Vm, What, Ms) ->
    case evum_await:check(What) of
        {ok, _} -> with(Vm, fun(Pid) -> evum_await:await(Pid, What, Ms) end);
        error -> {error, {bad_option, What}}
    end.

await_text(Vm, Regexp, {ok, Compiled}, Ms) -> call(Vm, {await, {text, {Regexp, Compiled}}, Ms}, Ms + ?CALL_MS);
await_text(_Vm, Regexp, {error, {Why, At}}, _Ms) -> {error, {bad_regexp, Regexp, Why, At}}.

%% --- programs ----------------------------------------------------------------------

%% @doc Runs a program in the guest with the default options.
-spec exec(vm(), term()) -> {ok, evum_proc:result()} | error().
exec(Vm, Cmd) -> exec(Vm, Cmd, []).

%% @doc Runs a program and waits for its end. A string is run by the guest's
%% `/bin/sh -c', `[Program | Args]' as it is. Options:
%%
%% `timeout' (ms, 60000), the machine's boot included; `max_output' (bytes of both
%% outputs, 16 MiB); `stdin' (iodata, none); `env' (a list or map of names and
%% values); `cd'; `user' (a name or number of the guest's); `pty' (`true' or `{Rows,
%% Columns}': a terminal in place of the three pipes, so all output is `stdout');
%% `max_procs' and `max_mem' (MiB): limits of the program and all that it starts.
%%
%% After `{error, {timeout | max_output, #{stdout, stderr}}}' the program was killed;
%% `{error, enoent}' and the like: it can't be run; `{error, no_shell}': a string, in a
%% machine without `/bin/sh'. `{error, {vm_down, Reason}}',
%% `{shutdown, rebooted}' and `agent_restarted': it went down with its machine, with
%% the machine's life, or with the guest's agent.
-spec exec(vm(), term(), options()) -> {ok, evum_proc:result()} | error().
exec(Vm, Cmd, Opts) ->
    case evum_opts:program(exec, Cmd, Opts) of
        {ok, Program} -> with(Vm, fun(Pid) -> evum_proc:exec(Pid, Program) end);
        {error, _} = Error -> Error
    end.

%% @doc Starts a program with the default options.
-spec spawn(vm(), term()) -> {ok, pid()} | error().
spawn(Vm, Cmd) -> spawn(Vm, Cmd, []).

%% @doc Starts a program, one Erlang process, whose owner is the caller. Returns
%% once it runs, or `{error, Reason}' as {@link exec/3}; `{timeout, start}': not
%% within a minute, or its own time. The owner is sent
%%
%% `{evum, Proc, {stdout | stderr, Bytes}}', `{evum, Proc, stdin_ready}' after a
%% write that was `busy' and, in every case but `exit(Proc, kill)', last of all
%% `{evum, Proc, {exit, Ending}}': a status as of {@link exec/3}, `timeout',
%% `{vm_down, Reason}', `{shutdown, rebooted}' or `agent_restarted'.
%%
%% The process's exit reason is `normal' for status 0, `{exit_status, N}', or what
%% else the owner is told. `exit(Proc, shutdown)' sends the program's group TERM,
%% and KILL after 2 s; `kill' and any other reason KILL. When the owner ends, so
%% does the program.
%%
%% Options as of {@link exec/3}, but for `max_output' and `stdin'; `timeout' is
%% `infinity' by default.
-spec spawn(vm(), term(), options()) -> {ok, pid()} | error().
spawn(Vm, Cmd, Opts) -> spawn(Vm, Cmd, Opts, spawn).

%% @doc The same, linked to the caller, with the default options.
-spec spawn_link(vm(), term()) -> {ok, pid()} | error().
spawn_link(Vm, Cmd) -> spawn_link(Vm, Cmd, []).

%% @doc The same, linked to the caller. A program that can't be started is only
%% an error.
-spec spawn_link(vm(), term(), options()) -> {ok, pid()} | error().
spawn_link(Vm, Cmd, Opts) -> spawn(Vm, Cmd, Opts, link).

%% @doc The same, monitored by the caller, with the default options.
-spec spawn_monitor(vm(), term()) -> {ok, pid(), reference()} | error().
spawn_monitor(Vm, Cmd) -> spawn_monitor(Vm, Cmd, []).

%% @doc The same, monitored by the caller from the first moment: the `DOWN' has
%% the true reason however soon the program ends. One that can't be started is an
%% error, and no `DOWN' comes.
-spec spawn_monitor(vm(), term(), options()) -> {ok, pid(), reference()} | error().
spawn_monitor(Vm, Cmd, Opts) -> spawn(Vm, Cmd, Opts, monitor).

spawn(Vm, Cmd, Opts, How) ->
    case evum_opts:program(spawn, Cmd, Opts) of
        {ok, Program} -> with(Vm, fun(Pid) -> evum_proc:spawn(Pid, Program, How) end);
        {error, _} = Error -> Error
    end.

%% @doc Writes to a program's input what it takes now, and never waits for the
%% program: who reads its output may write. `{error, {busy, Accepted}}': the rest
%% is to be written again after `stdin_ready'. `eof' closes the input.
-spec write(pid(), iodata() | eof) -> ok | error().
write(Proc, Data) -> evum_proc:write(Proc, Data).

%% @doc Writes to a program's input and waits at most `Ms' until all was taken:
%% `{error, {timeout, Accepted}}' tells how much was. Any process may write, and the
%% bytes of two don't mix. The owner had better not, where the program waits for
%% its own output to be received.
-spec write(pid(), iodata() | eof, Ms :: non_neg_integer()) -> ok | error().
write(Proc, Data, Ms) ->
    case Ms =:= 0 orelse evum_opts:is_time(Ms) of
        true -> evum_proc:write(Proc, Data, Ms);
        false -> {error, {bad_option, timeout}}
    end.

%% @doc Sets the window size, rows and columns, of a program that was started with
%% a pty; it gets SIGWINCH.
-spec winsize(pid(), {Rows :: pos_integer(), Columns :: pos_integer()}) -> ok | error().
winsize(Proc, Size) ->
    case evum_opts:winsize(Size) of
        {ok, {Rows, Columns}} -> evum_proc:winsize(Proc, Rows, Columns);
        error -> {error, {bad_option, winsize}}
    end.

%% @doc Sends a signal, such as `term' or 15, to a program's process group.
-spec signal(pid(), atom() | pos_integer()) -> ok | error().
signal(Proc, Signal) -> evum_proc:signal(Proc, Signal).

%% --- files -------------------------------------------------------------------------

%% @doc Puts bytes, or a file or directory of this host, into the guest. See {@link put/4}.
-spec put(vm(), iodata() | {file, file:name_all()}, GuestPath :: string() | binary()) -> ok | error().
put(Vm, Source, Path) -> put(Vm, Source, Path, []).

%% @doc Puts bytes, or a file or directory of this host with mode, owner and time of
%% change, into the guest, as its root. Links that are given are followed, links in a
%% directory are kept.
%%
%% A file appears whole: it is written under a temporary name and renamed, and its sum
%% is checked. Bytes keep mode and owner of the file that they replace; a new one is
%% root's, 0644. A directory that isn't there appears whole; one that is gets what is
%% put, each file whole, and keeps what else is in it.
%%
%% Options: `mode', of files; `owner', `{Uid, Gid}' or a user's name in the guest;
%% `timeout' (ms without progress, 60000). Errors: `enoent', `enospc', `eisdir' and
%% the like are the guest's, `{enospc, GuestPath}' inside a tree; `{local, Posix,
%% File}' is this host's; `{timeout, put, BytesMoved}'. After an error nothing of a
%% file is left; of a tree, what was complete in a directory that was there before.
-spec put(vm(), iodata() | {file, file:name_all()}, GuestPath :: string() | binary(), options()) -> ok | error().
put(Vm, Source, Path, Opts) ->
    case {source(Source), guest_path(Path), evum_opts:transfer(put, Opts)} of
        {error, _, _} -> {error, {bad_option, source}};
        {_, error, _} -> {error, {bad_option, path}};
        {_, _, {error, _} = Error} -> Error;
        {{ok, From}, {ok, To}, {ok, Checked}} -> with(Vm, fun(Pid) -> evum_files:put(Pid, From, To, Checked) end)
    end.

source({file, File}) ->
    case evum_tree:name(File) of
        {ok, Name} -> {ok, {file, Name}};
        error -> error
    end;
source(Bytes) ->
    try {ok, iolist_to_binary(Bytes)}
    catch error:_ -> error
    end.

guest_path(Path) ->
    case evum_opts:text(Path) of
        {ok, <<>>} -> error;
        Checked -> Checked
    end.

%% @doc A file of the guest's. See {@link get/4}.
-spec get(vm(), GuestPath :: string() | binary()) -> {ok, binary()} | error().
get(Vm, Path) -> get(Vm, Path, []).

%% @doc A file of the guest's, with options; or a file or directory, as one of this
%% host. See {@link get/4}.
-spec get(vm(), GuestPath :: string() | binary(), {file, file:name_all()} | options()) -> ok | {ok, binary()} | error().
get(Vm, Path, {file, _} = To) -> get(Vm, Path, To, []);
get(Vm, Path, Opts) ->
    case {guest_path(Path), evum_opts:transfer(get, Opts)} of
        {error, _} -> {error, {bad_option, path}};
        {_, {error, _} = Error} -> Error;
        {{ok, From}, {ok, Checked}} -> with(Vm, fun(Pid) -> evum_files:get(Pid, From, Checked) end)
    end.

%% @doc Gets a file or directory of the guest's as one of this host, which appears
%% whole. It is read, as the guest's root, until its end, so files of `/proc' and those
%% that grow are files too. A file replaces what is there; a directory's name must be
%% free. Of the mode the lower nine bits are kept, and never more; the owner where we
%% are root; no link is ever followed here.
%%
%% Options: `timeout' (ms without progress, 60000); `max_size', the bytes of all files,
%% and 512 for each name in a directory (of {@link get/3} 512 MiB; here there is no limit
%% by default, so set one for a guest that may mean harm; more is `{too_long, Max}').
%% Errors as of {@link put/4}; a directory that is there is `{local, eexist, File}'.
%% After an error nothing is left.
-spec get(vm(), GuestPath :: string() | binary(), {file, file:name_all()}, options()) -> ok | error().
get(Vm, Path, {file, File}, Opts) ->
    case {evum_tree:name(File), guest_path(Path), evum_opts:transfer(get_file, Opts)} of
        {error, _, _} -> {error, {bad_option, file}};
        {_, error, _} -> {error, {bad_option, path}};
        {_, _, {error, _} = Error} -> Error;
        {{ok, To}, {ok, From}, {ok, Checked}} -> with(Vm, fun(Pid) -> evum_files:get(Pid, From, To, Checked) end)
    end;
get(_Vm, _Path, _To, _Opts) -> {error, {bad_option, file}}.

%% --- the network -------------------------------------------------------------------

%% @doc Gives the machine's `eth0' an address, a netmask and a default gateway, in place
%% of what it had, at once; its network is told. Addresses are strings ("10.0.0.2"),
%% binaries or tuples. Nameserver, MTU and names of others stay. A reboot restores what
%% the network gave it.
%%
%% `{error, {bad_option, ip | netmask | gateway}}': they are no addresses, or not of one
%% network; `{address_in_use, Ip}': another machine's; `paused'; a POSIX code: the guest's refusal.
-spec ifconfig(vm(), {Ip :: evum_net:address(), Netmask :: evum_net:address(), Gateway :: evum_net:address()}) -> ok | error().
ifconfig(Vm, Addresses) -> with(Vm, fun(Pid) -> evum_net:ifconfig(Pid, Addresses) end).

%% @doc Types `ping -c 1 Target' on the console and returns the echo, as {@link send/2}
%% does; what ping says comes as the console's output. `Target' is an address, a name, or
%% a machine's label; `{error, {bad_option, target}}' for all that is neither.
-spec ping(vm(), inet:ip_address() | atom() | string() | binary()) -> binary() | timeout | error().
ping(Vm, Target) ->
    case evum_net:target(Target) of
        {ok, Text} -> send(Vm, <<"ping -c 1 ", Text/binary>>);
        error -> {error, {bad_option, target}}
    end.

%% @doc Has the caller be sent the machine's frames on all networks that it is plugged
%% into now: `{evum, Sw, {frame, Vm, Dir, Frame}}', `Dir' is `from' or `to' the machine.
%% It ends with the caller, or by `evum_switch:heal(Sw, Ref)'. `{error, not_plugged}'
%% where it is on none; a list of references, in the order of the networks' names, where
%% it is on several. See {@link evum_switch:subscribe/2}.
-spec sniff(vm()) -> {ok, Ref :: term() | [Ref :: term()]} | error().
sniff(Vm) ->
    with(Vm, fun(Pid) ->
        case evum_net:networks(Pid) of
            {ok, Nets} -> subscribed(Nets, Pid, []);
            {error, _} = Error -> Error
        end
    end).

subscribed([], _Pid, []) -> {error, not_plugged};
subscribed([], _Pid, [{_Net, Ref}]) -> {ok, Ref};
subscribed([], _Pid, Done) -> {ok, [Ref || {_Net, Ref} <- lists:reverse(Done)]};
subscribed([Net | Rest], Pid, Done) ->
    case evum_switch:subscribe(Net, Pid) of
        {ok, Ref} -> subscribed(Rest, Pid, [{Net, Ref} | Done]);
        {error, _} = Error ->
            _ = [evum_switch:heal(N, Ref) || {N, Ref} <- Done],
            Error
    end.

%% @doc Plugs `ethNic' of a machine into a network, given by its pid, its name, or its
%% name in evm.cfg; it has one there at once. From a network where it was it is taken
%% away first. How many NICs a machine has its option `net' says.
%%
%% The MTU is the network's, unless the machine was started with another one: a guest can
%% only lower it, and only to 1500 or less. `{error, {no_nic, Nic}}', `{unknown_net, Net}',
%% `{no_address, Subnet}': the network is full; `paused'; a POSIX code: the guest's refusal, after
%% which the NIC is unplugged.
-spec plug(vm(), Nic :: 0..7, Net :: pid() | atom()) ->
    {ok, #{ip := inet:ip4_address(), mtu := pos_integer(), name := atom()}} | error().
plug(Vm, Nic, Net) -> with(Vm, fun(Pid) -> evum_net:plug(Pid, Nic, Net) end).

%% @doc Takes `ethNic' of a machine off its network; in the guest it is down and has no
%% address. One that isn't plugged stays so.
-spec unplug(vm(), Nic :: 0..7) -> ok | error().
unplug(Vm, Nic) -> with(Vm, fun(Pid) -> evum_net:unplug(Pid, Nic) end).

%% --- the rest ------------------------------------------------------------------------

%% @doc Freezes the guest with all its programs.
-spec pause(vm()) -> ok | error().
pause(Vm) -> call(Vm, {pause, ?CALL_MS}, 2 * ?CALL_MS).

%% @doc Lets a paused guest go on.
-spec resume(vm()) -> ok | error().
resume(Vm) -> call(Vm, resume, ?CALL_MS).

%% @doc Reboots the guest; returns when it is up again. The guest has 10 s to
%% go down by itself, then Ctrl-Alt-Del and 5 s, then its power is cut.
-spec reboot(vm()) -> ok | error().
reboot(Vm) -> call(Vm, {reboot, ?BOOT_MS}, 2 * ?BOOT_MS + ?CALL_MS).

%% @doc Sets the guest's memory in MiB, between 32 and what it was started with.
-spec memory(vm(), pos_integer()) -> ok | error().
memory(Vm, MiB) when is_integer(MiB), MiB >= 32 -> call(Vm, {memory, MiB, 3 * ?CALL_MS}, 6 * ?CALL_MS);
memory(_Vm, _MiB) -> {error, {bad_option, mem}}.

%% @doc What is known of a machine. `nics' is a list of maps, a NIC each: `nic' (its number),
%% `mac', `net' (the network that it is on, or is to be on when that is there again),
%% `plugged', `ip', `mtu', `link' (`up' once the guest has opened it), and what the port
%% program counts: `rx_frames' and `rx_bytes' from the guest, `tx_frames' and `tx_bytes' to
%% it, `rx_bad', `rx_dropped', `tx_dropped'. What a neighbour's port program has written
%% itself (a machine of the same network, no rules) comes into `tx_frames' and `tx_bytes'
%% within a second. `disk' is a map of files: `base' (the image), `layers' (of states), `top'
%% (what is written to), or `none'.
-spec info(vm()) -> map() | error().
info(Vm) ->
    case call(Vm, info, ?CALL_MS) of
        {ok, Info} -> Info;
        {error, _} = Error -> Error
    end.

%% @doc Prints a table of this node's machines.
-spec i() -> ok.
i() ->
    row(["label", "pid", "dist", "state", "ip", "mem", "up", "os pids"]),
    lists:foreach(fun row/1, [cells(Vm, info(Vm)) || #{pid := Vm} <- evm:list()]).

row(Cells) -> io:format("~-16.15ts~-12.11ts~-12.11ts~-10.9ts~-16.15ts~6ts~10ts  ~ts~n", Cells).

cells(Vm, {error, Reason}) -> ["-", pid_to_list(Vm), "-", io_lib:format("~0p", [Reason]), "-", "-", "-", "-"];
cells(Vm, #{label := Label, dist := Dist, state := State, ip := Ip, mem := Mem, uptime := Uptime, os_pids := Pids}) ->
    [
        atom_to_list(Label), pid_to_list(Vm), dist_cell(Dist), atom_to_list(State), ip_cell(Ip),
        integer_to_list(Mem), [integer_to_list(Uptime), $s],
        lists:join($\s, [integer_to_list(P) || P <- Pids])
    ].

dist_cell({initramfs, File}) -> filename:basename(File);
dist_cell(Name) -> atom_to_list(Name).

ip_cell(undefined) -> "-";
ip_cell(Ip) -> inet:ntoa(Ip).

%% @doc A command of the guest kernel's management console. See {@link evum_mcons}.
-spec system(vm(), unicode:chardata()) -> {ok, binary()} | error().
system(Vm, Command) ->
    case chardata(Command, 500) of
        {ok, Bytes} -> system_line(Vm, Bytes, binary:match(Bytes, [<<"\n">>, <<"\r">>, <<0>>]));
        {error, _} = Error -> Error
    end.

system_line(Vm, Bytes, nomatch) -> call(Vm, {system, Bytes}, ?CALL_MS);
system_line(_Vm, Bytes, _) -> {error, {bad_text, Bytes}}.

%% @doc Any error of evum's, or exit reason of a machine, in a sentence with the remedy.
-spec format_error(term()) -> string().
format_error(Reason) -> evum_error:format(Reason).

call(Vm, Request, Ms) -> with(Vm, fun(Pid) -> evum_vm:call(Pid, Request, Ms) end).

with(Vm, Fun) -> evum_vm:with(Vm, Fun).
