%% SPDX-License-Identifier: Apache-2.0
%% A state with all that it lies over, as one image file
%%
%% The files are put together and copied inside a machine of evum's own, which has this
%% host's programs, the state's files as read-only disks and the new image as another: no
%% privilege is needed, and a state's file system is read by nobody else.
-module(evm_export).

-export([export/2]).

-define(MEM, 128).
-define(BOOT_MS, 60000).
-define(COPY_MS, 3600000).
-define(MIB, 1048576).
%% the user that the machines of root run as
-define(NOBODY, 65534).
%% of a file system beside its files
-define(SPARE, 67108864).

%% @doc See {@link evm:export/2}.
-spec export(atom(), file:name_all()) -> {ok, non_neg_integer()} | {error, term()}.
export(Name, File) ->
    case {evm_states:find(Name), evum_opts:text(File)} of
        {{ok, State}, {ok, <<_, _/binary>> = Bytes}} -> to_file(State, filename:absname(Bytes));
        {{error, _} = Error, _} -> Error;
        {_, _} -> {error, {bad_option, export}}
    end.

%% It has another name until it is whole.
to_file(State, File) ->
    Part = <<File/binary, ".part">>,
    case filelib:is_file(File) of
        true -> {error, {local, eexist, File}};
        false -> named(write(State, Part), Part, File)
    end.

write(#{base := Base, layers := Layers}, Part) ->
    case file:open(Part, [write, exclusive, raw]) of
        {ok, Fd} ->
            Sized = sized(Fd, needed([Base | Layers])),
            ok = file:close(Fd),
            %% a machine that root starts runs as this user, an ordinary one's as he does
            ok = file:change_mode(Part, 8#600),
            _ = file:change_owner(Part, ?NOBODY, ?NOBODY),
            case Sized of
                ok -> fill([Base | Layers], Part);
                {error, _} -> Sized
            end;
        {error, eexist} -> {error, {local, eexist, Part}};
        {error, _} = Error -> Error
    end.

named(ok, Part, File) ->
    _ = file:change_owner(Part, 0, 0),
    ok = file:change_mode(Part, 8#644),
    Bytes = taken(Part),
    case file:rename(Part, File) of
        ok -> {ok, Bytes};
        {error, _} = Error -> named(Error, Part, File)
    end;
named({error, {local, eexist, _}} = Error, _Part, _File) -> Error;
named({error, Reason}, Part, File) ->
    _ = file:delete(Part),
    {error, case Reason of Posix when is_atom(Posix) -> {local, Posix, File}; _ -> Reason end}.

%% What is no hole in any of them would fit, and an inode for each 2 KiB of it: in whole MiB.
needed(Files) ->
    Bytes = lists:sum([taken(File) || File <- Files]),
    (Bytes + Bytes div 4 + ?SPARE) div ?MIB * ?MIB.

taken(File) ->
    Extents = evum_hostfile:with(fun(Handle) -> evum_hostfile:extents(File, Handle) end),
    case Extents of
        {ok, {_, List}} -> lists:sum([Length || {_, Length} <- List]);
        {error, _} -> filelib:file_size(File)
    end.

sized(Fd, Bytes) ->
    {ok, Bytes} = file:position(Fd, Bytes),
    file:truncate(Fd).

%% ubda, ubdb, …: the base, the layers and, last, the image.
fill(Files, File) ->
    Disks = [{unicode:characters_to_binary(F), ro} || F <- Files] ++ [{File, rw}],
    Opts = [{dist, host}, {net, false}, {mem, ?MEM}, {owner, none}, {console, none}, {life, self()}, {wait_boot, ?BOOT_MS}],
    case evum_config:machine(create, Opts) of
        {ok, #{config := Config} = Machine} -> fill_in(evum_vm_sup:boot(Machine#{config := Config#{disks => Disks}}), length(Files));
        {error, _} = Error -> Error
    end.

fill_in({ok, Vm}, Count) ->
    Filled = filled(evum:exec(Vm, script(Count), #{timeout => ?COPY_MS})),
    case {Filled, evum:stop(Vm)} of
        {ok, {error, _} = Error} -> Error;
        _ -> Filled
    end;
fill_in({error, _} = Error, _Count) -> Error.

filled({ok, #{status := 0}}) -> ok;
filled({ok, #{stderr := Text}}) -> {error, {export_failed, hd(binary:split(Text, <<"\n">>))}};
filled({error, _} = Error) -> Error.

%% What the mount points of a running machine hold isn't on its disk, so nothing is left out.
script(Count) ->
    Device = fun(N) -> "/dev/ubd" ++ [$a + N] end,
    Mounts = [io_lib:format("mkdir -p /run/e/~b; mount -t ext4 -o ro,noload ~ts /run/e/~b; ", [N, Device(N), N]) || N <- lists:seq(1, Count - 1)],
    Lower = [io_lib:format("/run/e/~b/upper:", [N]) || N <- lists:seq(Count - 1, 1, -1)],
    unicode:characters_to_binary([
        "set -e; mke2fs -q -F -t ext4 -b 4096 -m 0 -i 2048 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 ", Device(Count), "; "
        "mkdir -p /run/e/0 /run/e/all /run/e/to; mount -o ro ", Device(0), " /run/e/0; ", Mounts,
        "mount -t overlay -o ro,lowerdir=", Lower, "/run/e/0 overlay /run/e/all; mount -t ext4 ", Device(Count), " /run/e/to; "
        "cp --archive --sparse=always --one-file-system /run/e/all/. /run/e/to; sync -f /run/e/to; umount /run/e/to"
    ]).
