%% SPDX-License-Identifier: Apache-2.0
%% Machines by label: the shell's way in
-module(evm).

-export([create/0, create/1, list/0, stop/1, dists/0, fetch/1, gc/0]).
-export([commit/2, fork/2, fork/3, diff/1, revert/1, states/0, verify/1, export/2, remove/1]).

%% @doc A machine of the embedded dist, with the lowest free label.
-spec create() -> {ok, pid()} | {error, term()}.
create() -> create([]).

%% @doc Creates a machine and waits until its guest is up. It lives under
%% evum's supervisor until it is stopped or halts, and sends its console to the
%% caller (or to `owner'); when the caller ends before that, so does the machine. Options, as a proplist or a map:
%%
%% `label', `dist' (an image's name, or `{initramfs, File}': a cpio archive, packed or not, that is
%% booted in place of evum's own), `net' (`false'; a network, or a list of at most 8, each such or
%% `{Network, #{ip, mac}}', a NIC each; a network is a switch's pid, the name of one that
%% runs, or of one in evm.cfg, which is started), `mem' (MiB, 32 or more), `kernel', `args',
%% `cpu' (`any' or a number), `console' (`line', `tagged', `none'), `owner'
%% (a process or `none'), `life' (a process), `wait_boot' or `timeout' (ms, 30000
%% by default; `false' returns at once, and the boot has 60 s), `on_reboot'
%% (`reboot', `stop'), `verbose'. Of an image of a file system also: `disk', where what
%% is written goes (a layer of so many MiB that ends with the machine, 8192 by default;
%% a file that keeps it, which is made where it is missing; `#{file, size}'; `memory', the guest's), and
%% `durable' (`true': what the guest syncs survives the host's power cut).
%%
%% Errors: `{bad_option, Key}', `{label_in_use, Label}', `{unknown_dist, Name}',
%% `{bad_config, File, Line, What}', `{no_kernel | bad_kernel, File, Why}',
%% `{bad_image, File, Why}', `{disk_in_use, File}', `{base_changed, File, Layer}', `{bad_layer, File}',
%% `{no_layer, File, Why}', `{no_disk_dir, Dir, Why}', `no_home', `{no_memory, Text}',
%% `{unknown_net, Name}', `{no_network, Net}', `{no_address, Subnet}', `{not_in_subnet, Ip, Subnet}',
%% `{address_in_use, Ip}', `{mac_in_use, Mac}', `{not_built, File}', `not_started', `{no_confinement, Text}', `{boot_failed, Stage, LastLines}': in a sentence by
%% {@link evum:format_error/1}. Nothing of the machine is left when one is returned.
-spec create(proplists:proplist() | map()) -> {ok, pid()} | {error, term()}.
create(Opts) -> evum_vm_sup:create(create, Opts).

%% @doc All machines of this node, by label; `ip' is the first address of a machine
%% that is on a network, else `undefined'.
-spec list() -> [#{label := atom(), pid := pid(), dist := atom() | {initramfs, file:filename()}, state := atom(), atom() => term()}].
list() ->
    Machines = [evum_vm:call(Vm, brief, 2000) || Vm <- evum_vm:all()],
    lists:sort(fun by_label/2, [M || M <- Machines, is_map(M)]).

%% evm2 before evm10.
by_label(#{label := A}, #{label := B}) ->
    {key(atom_to_list(A)), A} =< {key(atom_to_list(B)), B}.

key(Label) ->
    Digits = lists:reverse(lists:takewhile(fun(C) -> C >= $0 andalso C =< $9 end, lists:reverse(Label))),
    case Digits of
        [] -> {Label, -1};
        _ -> {lists:sublist(Label, length(Label) - length(Digits)), list_to_integer(Digits)}
    end.

%% @doc Stops a machine; returns when nothing of it is left. See {@link evum:stop/1}.
-spec stop(evum:vm()) -> ok | {error, term()}.
stop(Vm) -> evum:stop(Vm).

%% @doc The images that can be booted, and whether what they need is there.
-spec dists() -> [#{dist := atom(), present := boolean(), atom() => term()}] | {error, term()}.
dists() ->
    case evm_cfg:dists() of
        {ok, Dists} -> [describe(Name, Dist) || {Name, Dist} <- lists:sort(maps:to_list(Dists))];
        {error, _} = Error -> Error
    end.

describe(Name, Dist) -> Dist#{dist => Name, present => present(Dist)}.

present(#{image := Spec}) -> evm_image:present(Spec);
present(#{file := File}) -> filelib:is_file(File);
present(_Embedded) -> element(1, evum_config:initramfs()) =:= ok.

%% @doc Fetches or builds a dist's image, unless it is in the cache; returns its file,
%% read-only. At a terminal a line shows how far it is. Of a dist without a download the
%% file it is.
%%
%% Errors: `{unknown_dist, Name}', `{bad_config, File, Line, What}', `{bad_image, File, Why}', `{bad_checksum, Uri, Wanted, Got}',
%% `{truncated | timeout, Uri}', `{too_big, Uri, Bytes}', `{http, Uri, Status}', `{redirect, From, To}',
%% `{unreachable, Uri, Why}', `{bad_proxy, Variable, What}', `{bad_certificate, Uri, Why}', `{bad_cacertfile, File, Why}', `{bomb, Uri, Bytes}',
%% `{bad_archive, Uri, Why}', `{no_file_system, Uri, What}', `{no_space, Dir}', `{cache, File, Why}',
%% `{cache_full, Bytes, Max}', `no_home', `{no_program, Name}', `{program_failed, Name, Status, Text}', `{no_sources, Suite}',
%% and those of a machine's boot.
-spec fetch(atom()) -> {ok, file:filename()} | {error, term()}.
fetch(Name) ->
    case evm_cfg:dist(Name) of
        {ok, #{root := initramfs} = Dist} when not is_map_key(file, Dist), not is_map_key(image, Dist) -> evum_config:initramfs();
        {ok, #{root := host}} -> {ok, "/"};
        {ok, Dist} ->
            case evm_image:resolve(Dist, fetch, #{dist => Name, owner => none}) of
                {ok, #{file := File}} -> readable(File, file:read_file_info(File));
                {error, _} = Error -> Error
            end;
        {error, _} = Error -> Error
    end.

readable(File, {ok, _}) -> {ok, File};
readable(File, {error, Posix}) -> {error, {bad_image, File, Posix}}.

%% @doc Clears the cache of images: what no dist of evm.cfg names, what killed
%% downloads left, and while it is bigger than `cache_max' (of the application's
%% environment, MiB) what wasn't asked for the longest. What a running machine or a
%% state needs stays. `freed' and `bytes' (what is left) are bytes of disk.
-spec gc() -> {ok, #{removed := [file:filename()], freed := non_neg_integer(), bytes := non_neg_integer()}} | {error, term()}.
gc() ->
    case evm_cfg:dists() of
        {ok, Dists} -> evm_image:gc([Spec || #{image := Spec} <- maps:values(Dists)]);
        {error, _} = Error -> Error
    end.

%% --- trees of states -----------------------------------------------------------

%% @doc Keeps what a machine has written to its disk as a state, from which machines are
%% created as from an image: `evm:create([{dist, Name}])'. The machine goes on; while its
%% disk is copied, all that writes to it waits (a programs' memory isn't in a state: what
%% a program hasn't written is as after a power cut). The state lies over the one that the
%% machine was created of, 14 deep at most, and has the machine's `mem', `args' and
%% `kernel'. It is a directory of {@link states/0}, and there whole or not at all.
%%
%% `Name': an atom of letters, digits and `_-.@', at most 64, that no dist or state has.
%% Errors: `{bad_option, state}', `{state_exists, Name}', `{too_deep, Name, Max}',
%% `not_layered' (what the machine writes is in its memory, or in an image of its own),
%% `{local, Posix, File}' (such as `enospc'), `{freeze_failed, Why}',
%% `{timeout, freeze, Ms}', `{states_locked, Dir}', `{other_node, Node}', `no_home', those
%% of {@link evum:exec/3} for a machine that isn't up. Nothing is left of a state then.
-spec commit(evum:vm(), atom()) -> ok | {error, term()}.
commit(Vm, Name) -> evum_vm:with(Vm, fun(Pid) -> evm_commit:commit(Pid, Name) end).

%% @doc `N' machines (1 to 1000) of one state or dist, booted side by side; each sees its own changes
%% only. Options as those of {@link create/1}, but `dist' and `label'. All are up, or an
%% error of {@link create/1} says why one isn't, and none is left.
-spec fork(atom(), pos_integer()) -> {ok, [pid()]} | {error, term()}.
fork(Name, N) -> fork(Name, N, []).

-spec fork(atom(), pos_integer(), proplists:proplist() | map()) -> {ok, [pid()]} | {error, term()}.
fork(Name, N, Opts) -> evm_fork:fork(Name, N, Opts).

%% @doc What a machine changed of what it was created of, sorted by path: files that were
%% added, that have other bytes, another mode or owner, and that were removed; of a directory
%% that was removed only its own path. Errors: `not_layered', `{diff_too_large, Why}' (256 MiB
%% of paths, 10 min), those of {@link evum:exec/3}.
-spec diff(evum:vm()) -> {ok, [evm_commit:change()]} | {error, term()}.
diff(Vm) -> evum_vm:with(Vm, fun evm_commit:diff/1).

%% @doc Takes back all that a machine has written: its power is cut, and it boots from
%% what it was created of. The owner is sent `rebooting' and `up'. Returns once it is up.
%% Errors: `not_layered', and those of {@link evum:reboot/1}.
-spec revert(evum:vm()) -> ok | {error, term()}.
revert(Vm) -> evum_vm:with(Vm, fun evm_commit:revert/1).

%% @doc The states, by name: `parent' (the state that it lies over, or `none'), `dist'
%% (the name that its machine was created of), `base' (the image under all), `bytes' (of
%% its own layer), `created' (seconds of Unix time), `mem', `args'. Of one that can't be
%% read: `damaged', why.
-spec states() -> [#{name := atom(), atom() => term()}] | {error, no_home}.
states() ->
    case evm_states:list() of
        {ok, States} -> States;
        {error, _} = Error -> Error
    end.

%% @doc Compares all bytes of a state, and of those that it lies over, with what was
%% committed. Each start of a machine compares sizes and times only. Errors:
%% `{damaged_state, Name, File, Why}', `{unknown_state, Name}'.
-spec verify(atom()) -> ok | {error, evm_states:error()}.
verify(Name) -> evm_states:verify(Name).

%% @doc Writes a state, with all that it lies over, into one image file: a sparse ext4
%% that any machine boots (`{file, File}' in evm.cfg), and that needs nothing else. It is made
%% inside a machine, without root, by this host's mke2fs and cp; until it is whole its name
%% ends in `.part'. How many bytes it takes on the disk. Errors: those of a state, `{local, eexist | Posix, File}',
%% `{export_failed, Text}'; nothing is left of the file then.
-spec export(atom(), file:name_all()) -> {ok, Bytes :: non_neg_integer()} | {error, term()}.
export(Name, File) -> evm_export:export(Name, File).

%% @doc Removes a state. Errors: `{has_children, Name, Names}', `{state_in_use, Name}' (a
%% machine runs on it), `{unknown_state, Name}', `{local, Posix, File}', `{states_locked, Dir}'.
-spec remove(atom()) -> ok | {error, evm_states:error()}.
remove(Name) -> evm_states:remove(Name).
