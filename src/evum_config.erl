%% SPDX-License-Identifier: Apache-2.0
%% From options and an image to what a machine is started with
%%
%% Runs in the caller: whatever can be known to be wrong is said before a
%% process exists.
-module(evum_config).

-export([machine/2, start_error/4, kernel/0, kernel_check/1, initramfs/0]).

-include_lib("kernel/include/file.hrl").

-define(KERNEL, "/usr/bin/linux.uml").
-define(MEM, 64).
%% e_ident of a 64-bit little-endian ELF file
-define(ELF64, 16#7f, "ELF", 2, 1).
-define(EM_X86_64, 62).

%% @doc Checks options and files.
-spec machine(evum_opts:kind(), term()) -> {ok, evum_vm:machine()} | {error, term()}.
machine(Kind, Opts) ->
    maybe_all([
        fun(_) -> started() end,
        fun(_) -> evum_opts:machine(Kind, Opts) end,
        fun(O) -> with_dist(Kind, O) end,
        fun({O, Dist}) -> launch(O, Dist) end
    ]).

maybe_all(Steps) -> maybe_all(Steps, undefined).

maybe_all([], Value) -> {ok, Value};
maybe_all([Step | Rest], Value) ->
    case Step(Value) of
        {ok, Next} -> maybe_all(Rest, Next);
        {error, _} = Error -> Error
    end.

started() ->
    case whereis(evum_vm_sup) of
        undefined -> {error, not_started};
        Pid -> {ok, Pid}
    end.

with_dist(Kind, #{dist := Name} = Opts) ->
    maybe_all([
        fun(_) -> dist(Name) end,
        fun(Dist) -> evm_image:resolve(Dist, how(Kind), #{dist => Name, owner => owner(Opts)}) end,
        fun(Dist) -> {ok, {Opts, Dist}} end
    ]).

%% A supervisor mustn't wait for a download.
how(start_link) -> present;
how(_) -> fetch.

owner(#{owner := caller}) -> self();
owner(#{owner := Owner}) -> Owner.

%% An initramfs of the caller's, an image of evm.cfg, or a state.
dist({initramfs, File}) -> {ok, #{root => initramfs, source => File, file => File}};
dist(Name) -> dist(Name, evm_cfg:dist(Name)).

dist(Name, {error, {unknown_dist, Name}} = Unknown) ->
    case evm_states:dist(Name) of
        {error, Reason} when Reason =:= {unknown_state, Name}; Reason =:= {bad_option, state}; Reason =:= no_home -> Unknown;
        Found -> Found
    end;
dist(_Name, Found) -> Found.

launch(Opts, Dist) ->
    Kernel = maps:get(kernel, Opts, maps:get(kernel, Dist, kernel())),
    maybe_all([
        fun(_) -> cpu_check(maps:get(cpu, Opts)) end,
        fun(_) -> mount_check(Opts) end,
        fun(_) -> kernel_check(Kernel) end,
        fun(_) -> evum_port:program(evum_port) end,
        fun(_) -> initramfs(Dist) end,
        fun(Initramfs) -> root(Dist, Opts, #{kernel => bytes(Kernel), initramfs => bytes(Initramfs)}) end,
        fun(Config) -> with_nets(maps:get(net, Opts), machine(Opts, Dist, Config)) end
    ]).

%% Last, since a network of evm.cfg is started where it doesn't run.
with_nets(default, Machine) ->
    case evum_switch:default() of
        {ok, Sw} -> {ok, Machine#{nets := [{Sw, #{}}]}};
        none -> {ok, Machine}
    end;
with_nets(Wanted, Machine) -> with_nets(Wanted, [], Machine).

with_nets([], Nets, Machine) -> {ok, Machine#{nets := lists:reverse(Nets)}};
with_nets([none | Rest], Nets, Machine) -> with_nets(Rest, [none | Nets], Machine);
with_nets([{Net, Opts} | Rest], Nets, Machine) ->
    case evum_switch:find(Net) of
        {ok, Sw} -> with_nets(Rest, [{Sw, Opts} | Nets], Machine);
        {error, _} = Error -> Error
    end.

machine(#{console := Console, cpu := Cpu, verbose := Verbose, args := Args, share := Shares, state := States} = Opts, Dist, Config) ->
    Mem = maps:get(mem, Opts, maps:get(mem, Dist, ?MEM)),
    (maps:with([label, dist, console, life, wait_boot, on_reboot], Opts))#{
        owner => owner(Opts),
        mem => Mem,
        supervised => false,
        creator => none,
        nets => [],
        states => States,
        config => Config#{
            mem => Mem,
            args => maps:get(args, Dist, []) ++ Args,
            cpu => cpu(Cpu),
            shares => Shares,
            verbose => Verbose,
            copy_log => Console =/= none andalso not Verbose
        }
    }.

mount_check(#{share := Shares, state := States}) ->
    case evum_mount:twice(Shares, States) of
        {ok, Dir} -> {error, {mounted_twice, Dir}};
        none -> maybe_all([fun(_) -> share_check(Share) end || Share <- Shares] ++
                          [fun(_) -> evum_dir:check(Module) end || {Module, _Args, _Dir} <- States])
    end.

%% Whether the machine may read and write it the jail finds out, which runs as another user.
share_check({Host, _Guest, _Access}) ->
    case file:read_file_info(Host) of
        {ok, #file_info{type = directory}} -> {ok, Host};
        {ok, _} -> {error, {bad_share, name(Host), enotdir}};
        {error, Reason} -> {error, {bad_share, name(Host), Reason}}
    end.

%% May this process use that CPU? A machine that were refused it later would be made first.
cpu_check(N) when is_integer(N) ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [List]} = re:run(Status, "^Cpus_allowed_list:\\s*(\\S+)$", [multiline, {capture, all_but_first, list}]),
    case lists:any(fun(Range) -> in_range(N, Range) end, string:lexemes(List, ",")) of
        true -> {ok, N};
        false -> {error, {bad_option, cpu}}
    end;
cpu_check(Word) -> {ok, Word}.

in_range(N, Range) ->
    Ends = [list_to_integer(End) || End <- string:lexemes(Range, "-")],
    hd(Ends) =< N andalso N =< lists:last(Ends).

%% Machines go round the CPUs, the whole of each on one.
cpu(spread) -> {spread, evum_app:next_cpu()};
cpu(any) -> any;
cpu(N) -> {number, N}.

root(#{root := disk, file := File} = Dist, Opts, Config) ->
    case {readable(File), evm_disk:config(Dist, Opts)} of
        {ok, {ok, Disks}} -> {ok, maps:merge(Config#{root => disk}, Disks)};
        {{error, Reason}, _} -> {error, {bad_image, File, Reason}};
        {ok, {error, _} = Error} -> Error
    end;
root(_Dist, #{disk := _}, _Config) -> {error, {bad_option, disk}};
root(_Dist, #{durable := true}, _Config) -> {error, {bad_option, durable}};
root(#{root := initramfs}, _Opts, Config) -> {ok, Config#{root => initramfs}};
root(#{root := host} = Dist, _Opts, Config) ->
    Binds = [B || B <- maps:get(binds, Dist, []), filelib:is_dir(B)],
    {ok, Config#{root => host, binds => Binds}}.

initramfs(#{root := initramfs, file := File}) ->
    case head(File) of
        {ok, Head} ->
            case is_archive(Head) of
                true -> {ok, File};
                false -> {error, {bad_image, File, no_initramfs}}
            end;
        {error, Reason} -> {error, {bad_image, File, Reason}}
    end;
initramfs(_Dist) -> initramfs().

%% What a kernel may have the programs to unpack.
is_archive(<<"070701", _/binary>>) -> true;
is_archive(<<16#1f, 16#8b, _/binary>>) -> true;
is_archive(<<16#28, 16#b5, 16#2f, 16#fd, _/binary>>) -> true;
is_archive(<<16#fd, "7zXZ", 0, _/binary>>) -> true;
is_archive(<<"BZh", _/binary>>) -> true;
is_archive(<<2, 16#21, 16#4c, 16#18, _/binary>>) -> true;
is_archive(_) -> false.

head(File) ->
    case file:open(File, [read, raw, binary]) of
        {ok, Fd} ->
            Read = file:read(Fd, 6),
            ok = file:close(Fd),
            case Read of eof -> {ok, <<>>}; _ -> Read end;
        {error, _} = Error -> Error
    end.

readable(File) ->
    case file:open(File, [read, raw]) of
        {ok, Fd} -> file:close(Fd);
        {error, _} = Error -> Error
    end.

%% @doc The kernel that is used where none is named.
-spec kernel() -> file:filename().
kernel() -> application:get_env(evum, kernel, ?KERNEL).

%% @doc Is the file there and a program for this machine? Whether it is a UML
%% kernel the port program finds out.
-spec kernel_check(file:filename()) ->
    {ok, file:filename()} | {error, {no_kernel | bad_kernel, file:filename(), term()}}.
kernel_check(File) ->
    case filelib:is_dir(File) orelse file:open(File, [read, raw, binary]) of
        true -> {error, {bad_kernel, File, eisdir}};
        {error, Reason} -> {error, {no_kernel, File, Reason}};
        {ok, Fd} ->
            Head = file:read(Fd, 20),
            ok = file:close(Fd),
            kernel_head(Head, File)
    end.

kernel_head({ok, <<?ELF64, _:12/binary, ?EM_X86_64:16/little>>}, File) -> {ok, File};
kernel_head(_, File) -> {error, {bad_kernel, File, enoexec}}.

%% @doc The initramfs that every machine boots through.
-spec initramfs() -> {ok, file:filename()} | {error, {not_built, file:filename()}}.
initramfs() ->
    File = filename:join(evm_cfg:priv_dir(), "initramfs.cpio"),
    case filelib:is_regular(File) of
        true -> {ok, File};
        false -> {error, {not_built, File}}
    end.

%% @doc What the port's refusal to start a machine means to who asked for it.
-spec start_error(Stage :: atom(), Posix :: atom(), Text :: binary(), Config :: map()) -> tuple().
start_error(kernel, Posix, _Text, #{kernel := Kernel}) -> {bad_kernel, name(Kernel), Posix};
start_error(memory, _Posix, Text, _Config) -> {no_memory, Text};
start_error(Stage, _Posix, _Text, _Config) when Stage =:= args; Stage =:= cpu -> {bad_option, Stage};
start_error(share, _Posix, Text, _Config) -> {no_share, Text};
start_error(Stage, _Posix, Text, #{root := Root, shares := Shares}) when
    Stage =:= namespaces orelse Stage =:= mounts, Root =:= host orelse Shares =/= []
->
    {no_confinement, Text};
start_error(Stage, Posix, Text, #{disks := Disks}) ->
    case [Disk || {N, Disk} <- lists:zip(lists:seq(0, length(Disks) - 1), Disks), Stage =:= stage(N)] of
        [{File, Mode}] -> disk_error(Posix, name(File), Mode, Disks);
        [] -> {boot_failed, Stage, [Text]}
    end;
start_error(Stage, _Posix, Text, _Config) -> {boot_failed, Stage, [Text]}.

stage(0) -> disk;
stage(N) -> list_to_atom("disk" ++ integer_to_list(N)).

disk_error(ebusy, File, _Mode, _Disks) -> {disk_in_use, File};
disk_error(estale, File, _Mode, Disks) -> {base_changed, File, name(element(1, lists:last(Disks)))};
disk_error(ebadmsg, File, _Mode, _Disks) -> {bad_layer, File};
disk_error(Posix, File, Mode, Disks) when length(Disks) > 1, Mode =/= ro -> {no_layer, File, Posix};
disk_error(Posix, File, _Mode, _Disks) -> {bad_image, File, Posix}.

name(Bytes) -> unicode:characters_to_list(Bytes).

bytes(Path) -> unicode:characters_to_binary(Path).
