#!/usr/bin/env escript
%% SPDX-License-Identifier: Apache-2.0
%%! -hidden
%% What a machine's disk does: its layer over an image, beside the plain disk of a bare
%% kernel (the limit), the kernel's own copy-on-write, an image that is written to, and the
%% host; and what creating a machine costs with a large image and with none.
-mode(compile).
-compile({nowarn_unused_function, [{ms, 1}]}).
-include("bench.hrl").

-define(ROUNDS, 3).
-define(CREATES, 11).
-define(KERNEL, "/usr/bin/linux.uml").
-define(MEM, 256).
-define(BARE, "bare kernel, plain disk (the limit)").
%% of the images, MiB: the second one is filled
-define(SMALL, "1024").
-define(LARGE, 700).

main(Args) ->
    ok = io:setopts([{encoding, unicode}]),
    {ok, _} = application:ensure_all_started(evum),
    with_directory(fun(Dir) -> bench(Dir, Args) end).

bench(Dir, Args) ->
    ok = prepare(Dir),
    ok = application:set_env(evum, disk_dir, filename:join(Dir, "layers")),
    ok = application:set_env(evum, dist, [
        {small, [{file, filename:join(Dir, "small")}]}, {large, [{file, filename:join(Dir, "large")}]},
        {written, [{file, filename:join(Dir, "written")}, {access, rw}]}
    ]),
    Creates = rounds(?CREATES, [
        {"the embedded dist", fun() -> create(busybox) end},
        {"an image of 1 GB", fun() -> create(large) end}
    ]),
    Rows = rounds(?ROUNDS, [
        {?BARE, fun() -> bare(Dir, "ubd0d=plain") end},
        {"bare kernel, its own copy-on-write", fun() -> bare(Dir, "ubd0=cow,plain") end},
        {"evum, a layer", fun() -> machine(Dir, [{dist, small}]) end},
        {"evum, a durable layer", fun() -> machine(Dir, [{dist, small}, {durable, true}]) end},
        {"evum, {disk, memory}", fun() -> machine(Dir, [{dist, small}, {disk, memory}, {mem, 512}]) end},
        {"evum, {access, rw}", fun() -> machine(Dir, [{dist, written}]) end},
        {"the host", fun() -> host(Dir) end}
    ]),
    report("disk", Args, [
        "evm:create until the agent is up:\n\n", table("the embedded dist", "ms", Creates), "\n",
        [[What, ":\n\n", table(?BARE, Unit, [{Name, [maps:get(Key, N) || N <- Ns]} || {Name, Ns} <- Rows]), "\n"]
         || {Key, Unit, What} <- [
             {write, "MB/s", "128 MB written and synced"},
             {read, "MB/s", "128 MB read, from the host's cache and not the guest's"},
             {random, "reads/s", "10000 reads of 4 KiB of these at random, likewise"},
             {tar, "ms", "tar x of " ++ files(Dir) ++ ", and sync"}
         ]]
    ]).

sh(Command) ->
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Command]}, exit_status, stderr_to_stdout, binary]),
    case collect(Port, <<>>) of
        {0, Text} -> Text;
        {Status, Text} -> error({Status, Text})
    end.

collect(Port, Text) ->
    receive
        {Port, {data, More}} -> collect(Port, <<Text/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Text}
    after 120000 -> error({silent, Text})
    end.

%% Images with busybox, an archive, and an initramfs whose init runs the program on /dev/ubda.
prepare(Dir) ->
    Source = filename:absname(filename:join(filename:dirname(escript:script_name()), "files.c")),
    {ok, Initramfs} = evum_config:initramfs(),
    Script = [
        "set -e; cd ", Dir, "; PATH=$PATH:/usr/sbin:/sbin; mkdir layers host; chmod 755 .\n"
        "cc -std=gnu11 -static -O2 -s -o files ", Source, "; tar cf archive -C /usr/include linux\n"
        "mkdir -p root/bin root/dev root/proc root/sys root/tmp root/run root/data root/etc root/sbin; cp /bin/busybox root/bin\n"
        "for a in $(root/bin/busybox --list); do [ $a = busybox ] || ln -s busybox root/bin/$a; done\n"
        "ln -s /bin/busybox root/sbin/init; echo '::sysinit:/bin/true' >root/etc/inittab; echo root:x:0:0:root:/:/bin/sh >root/etc/passwd\n"
        "cp archive files root/\n"
        "for i in small written plain; do mkfs.ext4 -q -F -b 4096 -d root $i ", ?SMALL, "M; done; cp plain fresh\n",
        io_lib:format("head -c ~bM /dev/urandom >root/filled; mkfs.ext4 -q -F -b 4096 -d root large ~sM\n", [?LARGE, ?SMALL]),
        "mkdir extra; cat >extra/bench <<'END'\n#!/bin/sh\nmount -t proc proc /proc; mount -t devtmpfs dev /dev; mount -t ext4 /dev/ubda /mnt\n"
        "DROP=1 /mnt/files /mnt/data /mnt/archive /bin/tar x 2>&1; umount /mnt; poweroff -f\nEND\n"
        "chmod 755 extra/bench; (cd extra && echo bench | cpio --quiet -o -H newc) >bench.cpio\n"
        "cat ", Initramfs, " bench.cpio >initrd; chmod 666 written; rm -r root extra"
    ],
    _ = sh(Script),
    ok.

files(Dir) ->
    Count = string:trim(sh(["tar tf ", Dir, "/archive | grep -vc '/$'"])),
    io_lib:format("~s files, ~b MB", [Count, filelib:file_size(filename:join(Dir, "archive")) div 1000000]).

create(Dist) ->
    Start = erlang:monotonic_time(microsecond),
    {ok, Vm} = evm:create(#{dist => Dist, console => none}),
    Time = (erlang:monotonic_time(microsecond) - Start) / 1000,
    ok = evum:crash(Vm),
    flush(),
    Time.

flush() ->
    receive _ -> flush() after 0 -> ok end.

machine(Dir, Opts) ->
    {ok, Vm} = evm:create([{console, none}] ++ Opts ++ [{mem, ?MEM}]),
    {ok, #{status := 0, stdout := Out}} =
        evum:exec(Vm, "DROP=1 /files /data /archive /bin/tar x && rm -rf /data/*", [{timeout, 120000}]),
    ok = evm:stop(Vm),
    flush(),
    _ = Dir,
    numbers(Out).

bare(Dir, Disk) ->
    Line = io_lib:format(
        "mem=~bM initrd=initrd rdinit=/bench con0=null,fd:1 con=null ssl=null noreboot quiet loglevel=3 lpj=40000000 "
        "pty.legacy_count=0 initcall_blacklist=raid6_select_algo,ssl_init uml_dir=~s/ ~s", [?MEM, Dir, Disk]),
    numbers(sh(["cd ", Dir, " && rm -f cow && cp --sparse=always fresh plain && exec setarch -R taskset -c 0 ", ?KERNEL, " ", Line, " </dev/null"])).

host(Dir) ->
    Out = sh(["rm -rf ", Dir, "/host/*; ", Dir, "/files ", Dir, "/host ", Dir, "/archive /bin/busybox tar x"]),
    numbers(Out).

numbers(Out) ->
    maps:from_list([
        begin
            {match, [Number]} = re:run(Out, [atom_to_list(Key), " ([0-9.]+)"], [{capture, all_but_first, list}]),
            {Key, list_to_float(Number)}
        end || Key <- [write, read, random, tar]
    ]).
