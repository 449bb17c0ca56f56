%% SPDX-License-Identifier: Apache-2.0
%% Machines by label: the shell's way in
-module(evm).

-export([create/0, create/1, list/0, stop/1, dists/0]).

%% @doc A machine of the embedded dist, with the lowest free label.
-spec create() -> {ok, pid()} | {error, term()}.
create() -> create([]).

%% @doc Creates a machine and waits until its guest is up. It lives under
%% evum's supervisor until it is stopped or halts, and sends its console to the
%% caller (or to `owner'); when the caller ends before that, so does the machine. Options, as a proplist or a map:
%%
%% `label', `dist', `net' (`false'; a network, or a list of at most 8, each such or
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
%% `{no_layer, File, Why}', `{no_disk_dir, Dir, Why}', `{no_memory, Text}',
%% `{unknown_net, Name}', `{no_network, Net}', `{no_address, Subnet}', `{not_in_subnet, Ip, Subnet}',
%% `{address_in_use, Ip}', `{mac_in_use, Mac}', `{not_built, File}', `not_started', `{no_confinement, Text}', `{boot_failed, Stage, LastLines}': in a sentence by
%% {@link evum:format_error/1}. Nothing of the machine is left when one is returned.
-spec create(proplists:proplist() | map()) -> {ok, pid()} | {error, term()}.
create(Opts) -> evum_vm_sup:create(create, Opts).

%% @doc All machines of this node, by label; `ip' is the first address of a machine
%% that is on a network, else `undefined'.
-spec list() -> [#{label := atom(), pid := pid(), dist := atom(), state := atom(), atom() => term()}].
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

present(#{file := File}) -> filelib:is_file(File);
present(_Embedded) -> element(1, evum_config:initramfs()) =:= ok.
