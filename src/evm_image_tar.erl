%% SPDX-License-Identifier: Apache-2.0
%% From a tar archive to an ext4 file system, inside a machine of evum's own
%%
%% The machine has this host's programs, the archive as a read-only disk and the new
%% file system as another; it is confined as any, and no privilege is needed.
-module(evm_image_tar).

-export([image/3]).

-define(MEM, 192).
-define(BOOT_MS, 60000).
-define(UNPACK_MS, 1800000).
-define(MIB, 1048576).
%% of a file system beside its files
-define(SPARE, 33554432).
-define(BLOCK, 4096).
%% beside those of its files
-define(INODES, 4096).
%% A write that finds no room on the host's disk is an error of the guest's.
-define(SCRIPT,
    "set -e; mkdir -p /run/image; mount -t ext4 -o noatime,errors=remount-ro /dev/ubdb /run/image; "
    "tar --extract --file=/dev/ubda --directory=/run/image --preserve-permissions --same-owner --numeric-owner "
    "--xattrs --xattrs-include='*' --anchored --exclude='./dev/*' --exclude='dev/*' --warning=no-timestamp; "
    "mkdir -p /run/image/dev /run/image/proc /run/image/sys /run/image/run /run/image/tmp; sync -f /run/image; umount /run/image"
).

%% @doc Makes the image beside the archive.
-spec image(file:filename(), What :: string(), Max :: pos_integer()) -> {ok, file:filename()} | {error, evm_image_unpack:error()}.
image(Tar, What, Max) ->
    Image = filename:join(filename:dirname(Tar), "image"),
    case entries(Tar, What) of
        {ok, Entries} -> image(Tar, Image, Entries, needed(filelib:file_size(Tar), Entries), What, Max);
        {error, _} = Error -> Error
    end.

image(Tar, Image, Entries, Bytes, What, Max) ->
    steps([
        fun() -> bounded(Bytes, What, Max) end,
        fun() -> reserve(Image, Bytes) end,
        fun() -> make(Image, Entries) end,
        fun() -> fill(Tar, Image, What) end
    ], Image).

steps([], Image) -> {ok, Image};
steps([Step | Rest], Image) ->
    case Step() of
        ok -> steps(Rest, Image);
        {error, _} = Error -> Error
    end.

%% How many files: a small one takes more of a file system than of an archive.
entries(Tar, What) ->
    Count = counters:new(1, []),
    Lines = fun(Text) -> counters:add(Count, 1, length(binary:matches(Text, <<"\n">>))) end,
    case evm_image_tool:run("tar", ["--list", "--file", Tar], #{time => ?UNPACK_MS, on_text => Lines}) of
        {ok, _} -> {ok, counters:get(Count, 1)};
        {error, {program_failed, _, _, Text}} -> {error, {bad_archive, What, Text}};
        {error, _} = Error -> Error
    end.

%% Whole MiB; a tenth and a block a file for what the file system keeps of its own.
needed(Tar, Entries) -> (Tar + Tar div 8 + Entries * ?BLOCK + ?SPARE + ?MIB - 1) div ?MIB * ?MIB.

bounded(Bytes, _What, Max) when Bytes =< Max + ?SPARE + Max div 4 -> ok;
bounded(_Bytes, What, Max) -> {error, {bomb, What, Max}}.

%% Is there room for all of it? It is asked for and given back: the image has holes.
reserve(Image, Bytes) ->
    {ok, Fd} = file:open(Image, [write, raw]),
    Room = file:allocate(Fd, 0, Bytes),
    {ok, 0} = file:position(Fd, 0),
    ok = file:truncate(Fd),
    {ok, Bytes} = file:position(Fd, Bytes),
    Sized = file:truncate(Fd),
    ok = file:close(Fd),
    %% a machine that root starts runs as 65534; the directory is ours alone
    ok = file:change_mode(Image, 8#666),
    case {Room, Sized} of
        {{error, Full}, _} when Full =:= enospc; Full =:= edquot -> {error, evm_image_store:posix(Full, Image)};
        %% not every file system can tell
        {_, ok} -> ok;
        {_, {error, Posix}} -> {error, evm_image_store:posix(Posix, Image)}
    end.

%% Without a journal: it is never written to again.
make(Image, Entries) ->
    Inodes = integer_to_list(Entries + Entries div 8 + ?INODES),
    Args = ["-q", "-F", "-t", "ext4", "-b", integer_to_list(?BLOCK), "-m", "0", "-N", Inodes, "-O", "^has_journal,^resize_inode", "-E", "nodiscard", "--", Image],
    case evm_image_tool:run("mke2fs", Args, #{time => ?BOOT_MS}) of
        {ok, _} -> ok;
        {error, _} = Error -> Error
    end.

fill(Tar, Image, What) ->
    ok = file:change_mode(Tar, 8#644),
    case machine([{unicode:characters_to_binary(Tar), ro}, {unicode:characters_to_binary(Image), rw}]) of
        {ok, Vm} ->
            Filled = filled(evum:exec(Vm, ?SCRIPT, #{timeout => ?UNPACK_MS}), What),
            Stopped = evum:stop(Vm),
            case {Filled, Stopped} of
                {ok, {error, _} = Error} -> Error;
                _ -> Filled
            end;
        {error, _} = Error -> Error
    end.

machine(Disks) ->
    Label = list_to_atom("evum-image-" ++ integer_to_list(erlang:phash2({self(), make_ref()}, 65536))),
    Opts = [{label, Label}, {dist, host}, {net, false}, {mem, ?MEM}, {owner, none}, {console, none}, {life, self()}, {wait_boot, ?BOOT_MS}],
    case evum_config:machine(create, Opts) of
        {ok, #{config := Config} = Machine} -> evum_vm_sup:boot(Machine#{config := Config#{disks => Disks}});
        {error, _} = Error -> Error
    end.

filled({ok, #{status := 0}}, _What) -> ok;
filled({ok, #{stderr := Text}}, What) ->
    case re:run(Text, "Input/output error|Read-only file system|No space left", [{capture, none}]) of
        match -> {error, evm_image_store:posix(enospc, What)};
        nomatch -> {error, {bad_archive, What, first_line(Text)}}
    end;
filled({error, _} = Error, _What) -> Error.

first_line(Text) -> hd(binary:split(Text, <<"\n">>) ++ [<<>>]).
