%% SPDX-License-Identifier: Apache-2.0
%% Every error and exit reason in a sentence, with the remedy where there is one
-module(evum_error).

-export([format/1]).

%% @doc A sentence, without a full stop or newline at its end.
-spec format(term()) -> string().
format(Reason) ->
    try
        unicode:characters_to_list(sentence(Reason))
    catch
        %% a reason that only looks like one of ours
        _:_ -> show(Reason)
    end.

show(Term) -> lists:flatten(io_lib:format("~0tP", [Term, 30])).

f(Format, Args) -> io_lib:format(Format, Args).

sentence({error, Reason}) -> sentence(Reason);
%% options and configuration
sentence({bad_option, Key}) -> option(Key);
sentence({label_in_use, Label}) -> f("the label ~ts is in use: another machine or process is registered under it", [Label]);
sentence({unknown_dist, Dist}) -> f("there is no dist ~ts; evm:dists() lists them, and ~~/.config/evum/evm.cfg adds to them", [Dist]);
sentence({bad_config, File, 0, What}) -> f("~ts: ~ts", [File, config(What)]);
sentence({bad_config, File, Line, What}) -> f("~ts:~b: ~ts", [File, Line, config(What)]);
sentence({no_kernel, File, enoent}) -> f("there is no kernel ~ts: apt-get install user-mode-linux", [File]);
sentence({disk_in_use, File}) -> f("the disk ~ts is in use by another machine; one machine writes a disk, or many read it", [File]);
sentence({no_memory, Text}) -> Text;
sentence({no_kernel, File, Why}) -> f("the kernel ~ts can't be read: ~ts", [File, posix(Why)]);
sentence({bad_kernel, File, Why}) when Why =:= eacces; Why =:= enoent; Why =:= elibacc ->
    f("the kernel ~ts can't be executed: ~ts", [File, posix(Why)]);
sentence({bad_kernel, File, _}) -> f("~ts is no User Mode Linux kernel for x86-64; Debian's is /usr/bin/linux.uml", [File]);
sentence({bad_image, File, no_initramfs}) ->
    f("~ts is no initramfs: a cpio archive (newc), plain or packed by gzip, bzip2, xz, zstd or lz4", [File]);
sentence({bad_image, File, Why}) -> f("the image ~ts can't be read: ~ts", [File, posix(Why)]);
sentence({base_changed, File, Layer}) ->
    f("~ts was changed after the layer ~ts was made over it, which would mix up the two: bring it back as it was, or start with another layer",
      [File, Layer]);
sentence({bad_layer, File}) -> f("~ts is no layer of a disk, or its first block was written over: remove it, or name another file", [File]);
sentence({no_layer, File, Why}) -> f("the layer ~ts can't be made or used: ~ts", [File, posix(Why)]);
sentence({too_many_layers, Max}) -> f("the disk has more than ~b layers under the one that is written", [Max]);
sentence({no_disk_dir, Dir, Why}) ->
    f("the directory for temporary layers, ~ts, can't be made (~ts): set XDG_STATE_HOME, or disk_dir in evum's application environment",
      [Dir, posix(Why)]);
%% images
sentence({not_fetched, Dist}) -> f("the image of ~ts isn't in the cache, and a supervisor doesn't wait for it: evm:fetch(~ts) first", [Dist, Dist]);
sentence({bad_checksum, Uri, Wanted, Got}) ->
    f("what ~ts gave isn't what is wanted: its sha256 is ~ts, not ~ts; if the publisher says so too, change it in evm.cfg", [Uri, Got, Wanted]);
sentence({truncated, Uri}) -> f("~ts ended too early, again and again; what came is kept for the next try", [Uri]);
sentence({timeout, [_ | _] = What}) -> f("~ts took too long; what came of a download is kept for the next try (fetch_time, fetch_idle)", [What]);
sentence({too_big, Uri, Max}) -> f("~ts is bigger than ~b MiB: max_size in evm.cfg allows more", [Uri, Max div 1048576]);
sentence({bomb, What, Max}) -> f("~ts unpacks to more than ~b MiB: if it is no attack, max_size in evm.cfg allows more", [What, Max div 1048576]);
sentence({http, Uri, Status}) -> f("~ts answered with status ~b: is the address in evm.cfg right?", [Uri, Status]);
sentence({redirect, Uri, To}) -> f("~ts leads to ~ts, where it isn't followed: to https only, and 5 times at most", [Uri, To]);
sentence({unreachable, Uri, Why}) -> f("~ts can't be reached: ~ts", [Uri, net(Why)]);
sentence({bad_proxy, Variable, user}) ->
    f("the proxy in ~ts has a user or a password, which isn't supported: name one that asks for none, or fetch the file by hand and name it in evm.cfg", [Variable]);
sentence({bad_proxy, Variable, {scheme, Scheme}}) -> f("the proxy in ~ts is of the kind ~ts: http:// is supported", [Variable, Scheme]);
sentence({bad_proxy, Variable, syntax}) -> f("the proxy in ~ts is no address: http://HOST:PORT", [Variable]);
sentence({bad_certificate, Uri, Why}) -> f("the certificate of ~ts isn't to be trusted: ~ts; cacertfile in evm.cfg names another authority", [Uri, Why]);
sentence({bad_cacertfile, File, Why}) -> f("the certificates of authorities in ~ts can't be read: ~ts; apt-get install ca-certificates", [File, posix(Why)]);
sentence({bad_archive, What, Text}) -> f("~ts can't be unpacked: ~ts", [What, printable(Text)]);
sentence({no_file_system, What, Seen}) -> f("~ts isn't the image of a file system, nor a tar archive of one: ~ts", [What, contents(Seen)]);
sentence({no_space, Dir}) -> f("no space is left for ~ts: free some (evm:gc()), or set XDG_CACHE_HOME to another place", [Dir]);
sentence({cache, File, Why}) -> f("~ts, in the cache of images: ~ts; XDG_CACHE_HOME says where that is", [File, posix(Why)]);
sentence({cache_full, Bytes, Max}) ->
    f("the cache of images would have ~b MiB, of ~b that it may: evm:gc(), or a larger cache_max in the application's environment",
      [Bytes div 1048576, Max div 1048576]);
sentence({no_program, Name}) -> f("this host has no ~ts: apt-get install ~ts", [Name, package(Name)]);
sentence({program_failed, Name, Status, Text}) -> f("~ts failed with status ~b: ~ts", [Name, Status, printable(Text)]);
sentence({no_sources, Suite}) -> f("apt on this host has no sources for ~ts: /etc/apt/sources.list", [Suite]);
sentence({fetch_crashed, Reason}) -> f("fetching an image crashed: ~ts", [show(Reason)]);
sentence({missing_application, App, apps}) -> f("there is no application ~ts: name the directory of its beams in paths", [App]);
sentence({missing_application, App, By}) ->
    f("~ts needs the application ~ts, which isn't there: name the directory of its beams in paths, or install its package (erlang-~ts)",
      [By, App, string:replace(atom_to_list(App), "_", "-", all)]);
sentence({bad_path, Dir, several_apps}) -> f("~ts has more than one .app file: give each application a directory of its own", [Dir]);
sentence({bad_path, Dir, no_beams}) -> f("~ts has no beams: name the directory that has them, such as ~ts", [Dir, filename:join(Dir, "ebin")]);
sentence({bad_path, Dir, einval}) -> f("the path ~tp has a line's end in its name: give it another", [Dir]);
sentence({bad_path, Dir, Posix}) -> f("the path ~ts can't be read: ~ts", [Dir, posix(Posix)]);
sentence({bad_app, File, Why}) -> f("~ts is no application's resource file: ~ts", [File, resource(Why)]);
sentence({bad_beam, File}) -> f("~ts is no beam, or is damaged: compile it again", [File]);
sentence({bad_elf, File}) -> f("~ts is damaged: build it again", [File]);
sentence({bad_release, Text}) -> f("no release can be made of these applications: ~ts", [Text]);
sentence({no_release, Dir, What}) -> f("~ts is no release, it has no ~ts: name what rebar3 release has made, such as _build/default/rel/NAME", [Dir, What]);
sentence({wrong_erts, Wanted, Running}) ->
    f("the release is for ERTS ~ts, and ~ts is running here: make it with {include_erts, true}, or with this OTP", [Wanted, Running]);
sentence({unset_variable, Name, File}) -> f("~ts wants the environment's variable ~ts, which isn't set", [File, Name]);
sentence({bad_start, {Module, Function, Arity}}) ->
    f("the image has no function ~ts:~ts/~b: name the directory of its beam in paths, or its application in apps", [Module, Function, Arity]);
sentence({missing_library, Name, Of}) ->
    f("~ts needs the library ~ts, which this host hasn't: install its package, or build without it", [Of, Name]);
sentence({foreign_architecture, File, Theirs, Ours}) -> f("~ts is for ~ts, and machines here run ~ts: build it here", [File, Theirs, Ours]);
sentence({no_erts, Dir}) -> f("~ts is no whole runtime system of Erlang: its bin has no beam.smp, erlexec and erl_child_setup", [Dir]);
sentence({image_too_big, Bytes, Max}) ->
    f("the image would have ~b MiB, and at most ~b MiB can be: leave out what the node doesn't need", [Bytes div 1048576, Max div 1048576]);
sentence({not_built, File}) -> f("~ts is missing: run ./evum build", [File]);
sentence(not_started) -> "evum isn't started: application:ensure_all_started(evum)";
sentence({bad_share, Dir, enotdir}) -> f("~ts can't be shared: it is no directory", [printable(Dir)]);
sentence({bad_share, Dir, Reason}) -> f("~ts can't be shared: ~ts", [printable(Dir), posix(Reason)]);
sentence({no_share, Text}) -> f("a directory can't be shared: ~ts", [Text]);
sentence({mounted_twice, Dir}) -> f("two directories of the options share and state would be at ~ts", [printable(Dir)]);
sentence(no_store) -> "there is no such store; evum_store:start(Name) makes one";
sentence({bad_callback, Module, missing}) -> f("there is no module ~ts in the code path", [Module]);
sentence({bad_callback, Module, {Function, Arity}}) -> f("the module ~ts serves no directory: it has no ~ts/~b (see evum_dir)", [Module, Function, Arity]);
sentence({no_confinement, Text}) -> f("this host can't confine a machine that sees or shares its files: ~ts (see ./evum doctor)", [Text]);
%% states
sentence({state_exists, Name}) -> f("there is a state or dist ~ts already: choose another name, or evm:remove(~tp)", [Name, Name]);
sentence({unknown_state, Name}) -> f("there is no state ~ts; evm:states() lists them", [Name]);
sentence({has_children, Name, Children}) ->
    f("the state ~ts can't be removed before those that lie over it: ~ts", [Name, lists:join(", ", [atom_to_list(C) || C <- Children])]);
sentence({state_in_use, Name}) -> f("a machine runs on the state ~ts: stop it first (evm:list())", [Name]);
sentence({damaged_state, Name, File, Why}) ->
    f("the state ~ts is damaged: ~ts ~ts: bring the file back from a backup, or evm:remove/1", [Name, File, damage(Why)]);
sentence({too_deep, Name, Max}) ->
    f("the state ~ts would lie over more than ~b others: evm:export/2 makes one image of a state; name it in evm.cfg and go on from there",
      [Name, Max - 1]);
sentence({states_locked, Dir}) -> f("another program has had the lock of ~ts for two minutes", [Dir]);
sentence(not_layered) ->
    "what the machine writes is in its memory, or in an image of its own: create it of a dist with an image, access overlay and "
    "without {disk, memory}";
sentence({freeze_failed, Why}) -> f("the machine's disk couldn't be made to stand still: ~ts", [sentence(Why)]);
sentence({timeout, freeze, Ms}) -> f("the machine's disk wasn't written out within ~b s", [Ms div 1000]);
sentence({diff_too_large, timeout}) -> "comparing took more than ten minutes";
sentence({diff_too_large, max_output}) -> "too much was changed: the paths alone are more than 256 MiB";
sentence({export_failed, Text}) -> f("the image couldn't be made: ~ts", [Text]);
sentence({other_node, Node}) -> f("the machine is on the node ~ts: call it there", [Node]);
sentence(no_home) -> "there is no place for what is kept: set HOME, or XDG_CACHE_HOME (images), XDG_STATE_HOME (layers) and XDG_DATA_HOME (states)";
%% networks
sentence({name_in_use, Name}) -> f("the name ~ts is in use: another network or process is registered under it", [Name]);
sentence({no_ctl, Ctl}) -> f("~tp is no control socket of a network, or has ended with it; evum_ctl:start(Net) opens one", [Ctl]);
sentence({no_network, Net}) -> f("there is no network ~tp; evum_switch:list() lists them", [Net]);
sentence({control_socket, Why}) -> f("the directory of the control socket can't be made: ~ts", [posix(Why)]);
sentence({unknown_net, Net}) -> f("there is no network ~ts, neither running (evum_switch:list()) nor in evm.cfg", [Net]);
sentence({no_address, Subnet}) -> f("all addresses of ~ts are in use", [Subnet]);
sentence({not_in_subnet, Ip, Subnet}) -> f("~ts is no address for a machine of ~ts", [inet:ntoa(Ip), Subnet]);
sentence({address_in_use, Ip}) -> f("the address ~ts is in use on that network", [inet:ntoa(Ip)]);
sentence({mac_in_use, Mac}) -> f("the MAC ~ts is in use on that network", [Mac]);
sentence(no_port) -> "it isn't plugged into that network any more";
sentence({no_nic, Nic}) -> f("the machine has no NIC ~tp: how many it has its option net says when it starts", [Nic]);
%% rules on a network
sentence(not_plugged) -> "the machine is on no network: evum:plug/3, or the option net when it starts";
sentence({not_plugged, Vm}) -> f("~ts is on no port of this network: evum_switch:ports/1 lists them", [port_name(Vm)]);
sentence({no_rule, _}) -> "there is no such rule on this network: it has ended, or never held frames";
sentence({filter_crashed, {Class, Why, _Stack}}) -> f("the filter's fun crashed: ~tp ~ts", [Class, show(Why)]);
sentence({bad_verdict, Verdict}) ->
    f("the filter's fun answered ~ts, not {forward | drop | {hold, Tag} | {replace, Frame} | {also, [Frame]}, State}", [show(Verdict)]);
sentence({link_died, Why}) -> ["the process that applied it ended: ", sentence(Why)];
sentence({max_size, N}) -> f("the capture's file has reached its max_size, ~b bytes", [N]);
sentence({timeout, filter}) -> "the filter's fun took longer than a second over one frame";
%% the way out and the ways in
sentence({no_interface, Name}) -> f("this host has no network interface ~ts; ip link lists them", [Name]);
sentence({interface_down, Name}) -> f("the network interface ~ts is down: ip link set ~ts up", [Name, Name]);
sentence({interface_busy, Name}) -> f("another program has the tap interface ~ts open", [Name]);
sentence({no_tap, Name}) -> f("~ts is a network interface, but no tap: ip tuntap add ~ts mode tap, with another name", [Name, Name]);
sentence({no_device, File}) -> f("this host has no ~ts: modprobe tun", [File]);
sentence({no_permission, packet, Name}) ->
    f("frames of ~ts are for those with CAP_NET_RAW: run as root, or setcap cap_net_raw+ep ~ts/evum_uplink", [Name, evm_cfg:priv_dir()]);
sentence({no_permission, tap, Name}) ->
    f("the tap interface ~ts isn't yours to open: as root, ip tuntap add ~ts mode tap user ~ts && ip link set ~ts up",
      [Name, Name, os:getenv("USER", "NAME"), Name]);
sentence({uplink_died, {signal, Signal}}) -> f("its program was killed by signal ~b", [Signal]);
sentence({uplink_died, timeout}) -> "its program didn't answer in time";
sentence({uplink_died, Status}) when is_integer(Status) -> f("its program ended with status ~b", [Status]);
sentence({uplink_died, _Said}) -> "its program is of another version than evum: run ./evum build";
sentence(no_uplink) -> "the way out isn't there now: it is being started again";
sentence({no_forward, How}) when How =:= packet; How =:= tap ->
    f("a network with {~ts, Interface} needs no way in: its machines have addresses outside", [How]);
sentence({no_forward, Which}) -> f("there is no way in by ~tp", [Which]);
sentence(eaddrinuse) -> "the host's port is in use: choose another, or 0 for any that is free";
sentence(eaddrnotavail) -> "the address isn't one of this host's";
%% the host's own node
sentence({no_epmd, Why}) ->
    f("nodes of this host can't be found: its epmd, on port ~b, isn't there and can't be started: ~ts", [evum_epmd:port(), epmd(Why)]);
sentence({name_taken, Name}) -> f("the name ~ts is in use: epmd -names lists the nodes of this host, evm:list() its machines", [Name]);
sentence({name_lost, Name}) -> f("the name ~ts was lost while its machine started: start it again", [Name]);
sentence({no_distribution, name_taken}) -> "this host can't become a node: evum, evum2 and so on are all in use (epmd -names)";
sentence({no_distribution, timeout}) -> "this host didn't become a node in time";
sentence({no_distribution, {cookie, Text}}) ->
    f("this host can't become a node: ~ts; it needs .erlang.cookie in a home of yours, or erl's -setcookie", [Text]);
sentence({no_distribution, Why}) -> f("this host can't become a node: ~ts", [show(Why)]);
sentence({host_node, {proto_dist, Proto}}) -> f("this host's node speaks ~ts to others: start it without -proto_dist for machines that are nodes", [Proto]);
sentence({host_node, {epmd_module, Module}}) -> f("this host's node finds others by ~ts: start it without -epmd_module for machines that are nodes", [Module]);
sentence({host_node, {epmd_port, _}}) -> "this host's node asks no epmd: start it without -erl_epmd_port for machines that are nodes";
sentence({host_node, {interface, Ip}}) ->
    f("this host's node listens on ~ts only: machines reach it by 127.0.0.1 (-kernel inet_dist_use_interface)", [show(Ip)]);
sentence({host_node, not_listening}) -> "this host's node lets no other connect to it, or its epmd has lost it: start it without -dist_listen false";
%% nodes
sentence({no_ip, Net}) -> f("a node on ~tp is known by its address outside: give one, {Net, #{ip => \"192.0.2.7\"}} (option net)", [Net]);
sentence({too_little_memory, Mem, Needed}) -> f("~b MiB are too little for that node: it needs ~b (option mem)", [Mem, Needed]);
sentence({bad_vm_args, File, Why}) -> f("the arguments in ~ts can't be used: ~ts", [File, words(Why)]);
sentence({bad_sys_config, File, Why}) -> f("the configuration ~ts can't be used: ~ts", [File, Why]);
sentence({no_connection, Node}) -> f("~ts is up and can't be connected: is this host's cookie of it, or its network, another now?", [Node]);
sentence({timeout, epmd, unresponsive}) -> "the host's epmd didn't answer in time";
sentence({node_failed, Ending, []}) -> f("the node wasn't up (~ts), and printed nothing", [ending(Ending)]);
sentence({node_failed, Ending, Lines}) -> [f("the node wasn't up (~ts); it printed~n", [ending(Ending)]), lists:join($\n, [printable(Line) || Line <- Lines])];
%% commands
sentence({bad_command, _}) -> "a command is a non-empty string or binary for /bin/sh -c, or a list [Program | Args] of them";
sentence({bad_text, _}) -> "the text isn't a string or binary of one line";
sentence({too_long, Max}) -> f("it is longer than ~b bytes", [Max]);
sentence({bad_regexp, _, Why, At}) -> f("the regular expression is wrong at ~b: ~ts", [At, Why]);
sentence({bad_signal, Signal}) -> f("~tp is no signal: a name such as term, or a number", [Signal]);
sentence({max_output, _}) -> "the program printed more than max_output bytes and was killed";
sentence({refused, Text}) -> f("the guest's kernel refused: ~ts", [Text]);
sentence({mem_range, Min, Max}) -> f("memory must be between ~b and ~b MiB, what the machine was started with", [Min, Max]);
sentence(agent_restarted) -> "the guest's agent was killed and restarted, and its programs with it";
sentence(State) when State =:= booting; State =:= rebooting; State =:= stopping ->
    f("the machine is ~ts: wait until it is up (evum:await/3)", [State]);
sentence(attached) -> "somebody is attached to the console and gets the echo: use evum:puts/2 or evum:exec/2";
sentence(closed) -> "the program's input is closed";
sentence(paused) -> "the machine is paused: evum:resume/1";
sentence(not_owner) -> "only the machine's owner can give it away";
sentence({busy, N}) -> f("~b bytes were taken; more when stdin_ready comes", [N]);
%% waiting
sentence({timeout, #{stdout := _, stderr := _}}) -> "the program didn't end in time and was killed";
sentence(timeout) -> "its time was up and it was killed";
sentence({timeout, Accepted}) when is_integer(Accepted) ->
    f("the program didn't read in time: ~b bytes were taken", [Accepted]);
sentence({timeout, start}) -> "the program didn't start in time";
sentence({local, Posix, File}) -> f("~ts, on this host: ~ts", [printable(File), posix(Posix)]);
sentence({timeout, What, Moved}) when (What =:= put orelse What =:= get), is_integer(Moved) ->
    f("~ts made no progress in time: ~b bytes were moved (option timeout)", [What, Moved]);
sentence({timeout, up, Stage}) -> f("the machine wasn't up in time: it is in stage ~ts", [stage(Stage)]);
sentence({timeout, console_input, N}) -> f("the guest didn't read its console: ~b bytes were handed over", [N]);
sentence({timeout, {text, Re}, _}) -> f("the console didn't show ~ts in time", [Re]);
sentence({timeout, {file, Name}, Seen}) -> f("the guest had no file ~ts in time: ~ts", [Name, seen(Seen)]);
sentence({timeout, {port, Port}, Seen}) -> f("nothing listened on port ~b of the guest in time: ~ts", [Port, seen(Seen)]);
sentence({timeout, net, Seen}) -> f("the guest had no network in time: ~ts", [seen(Seen)]);
sentence({timeout, init, Seen}) -> f("the guest's init wasn't ready in time: ~ts", [seen(Seen)]);
sentence({timeout, network, unresponsive}) -> "the network's process didn't answer in time";
sentence({timeout, What, unresponsive}) -> f("the machine's process didn't answer in time (~tp)", [What]);
sentence({timeout, What, Stage}) -> f("~tp took too long, in stage ~ts", [What, stage(Stage)]);
%% how machines and programs end
sentence(no_shell) -> "the machine has no /bin/sh: give the program and its arguments as a list, [Program | Args]";
sentence(esrch) -> "the guest has no such user";
sentence(eagain) -> "the guest can't start another process now: too many run, or too little memory is left";
sentence(ebusy) -> "there is no place for one more: a machine runs 512 programs, and 16 commands of its kernel's console, at a time";
sentence(noproc) -> "there is no such machine; evm:list() lists them";
sentence(noconnection) -> "the node that it is on isn't connected";
sentence({nodedown, Node}) -> f("the node ~ts that it was on is gone", [Node]);
sentence(killed) -> "its Erlang process was killed";
sentence({shutdown, owner_down}) -> "the process that it ran for ended";
sentence({vm_down, Reason}) -> ["the machine is down: ", sentence(Reason)];
sentence({boot_failed, Stage, []}) -> f("the boot failed in stage ~ts", [stage(Stage)]);
sentence({boot_failed, Stage, Lines}) -> f("the boot failed in stage ~ts: ~ts", [stage(Stage), lists:last(Lines)]);
sentence(normal) -> "it was stopped";
sentence(shutdown) -> "it was shut down";
sentence({shutdown, halted}) -> "the guest halted";
sentence({shutdown, rebooted}) -> "the guest rebooted";
sentence({shutdown, rebooting_too_often}) -> "the guest rebooted 10 times within a minute and was stopped";
sentence({shutdown, {life, _}}) -> "the process whose life it shared ended";
sentence(crashed) -> "its power was cut";
sentence({panic, Text}) -> f("the guest's kernel panicked: ~ts", [string:trim(Text)]);
sentence({signal, Signal}) -> f("it was killed by signal ~tp", [Signal]);
sentence({exit_status, Status}) -> f("it ended with status ~b", [Status]);
sentence(port_died) -> "its port program died";
sentence({Posix, File}) when is_atom(Posix), is_binary(File) -> f("~ts, in the guest: ~ts", [printable(File), posix(Posix)]);
sentence(Reason) when is_atom(Reason) -> posix(Reason);
sentence(Reason) -> show(Reason).

%% What the host's own words for would mislead.
posix(eproto) -> "the guest broke the protocol of moving files: the agent, or the file, is damaged";
posix(ebadmsg) -> "the bytes that arrived aren't those that were sent: try again";
posix(eopnotsupp) -> "it can't be done: it must be a file, directory or link, and limits need the guest's cgroups (version 2)";
posix(Reason) when is_atom(Reason) ->
    case file:format_error(Reason) of
        "unknown POSIX error" ++ _ -> atom_to_list(Reason);
        Text -> Text
    end;
posix(Reason) -> show(Reason).

epmd(epmd) -> "another program listens there";
epmd(timeout) -> "it doesn't answer";
epmd({exit_status, Status}) -> f("it ended with status ~b", [Status]);
epmd(Why) when is_atom(Why) -> posix(Why);
epmd(Why) -> sentence(Why).

words({unmatched, Quote}) -> f("a ~tc has no other that ends it", [Quote]);
words({word, Word}) -> f("evum_node can't hand on ~tp", [Word]);
words({too_long, Max}) -> f("they are longer than ~b bytes", [Max]);
words(Posix) -> posix(Posix).

ending(timeout) -> "its time was up: option wait_boot";
%% evum-init's word for SIGKILL, which in a guest is the kernel's when memory has run out
ending({exit_status, 137}) -> "it was killed: most often that means too little memory, option mem";
ending(Reason) -> sentence(Reason).

%% What was there in place of what was awaited.
seen([]) -> "no port is";
seen([_ | _] = Ports) -> f("listened on are ~ts", [lists:join(", ", [integer_to_list(P) || P <- Ports])]);
seen(State) when is_atom(State) -> f("the machine is ~ts", [State]);
seen(<<>>) -> "it didn't say what it has";
seen(Line) -> printable(Line).

port_name(Vm) when is_pid(Vm) -> f("the machine ~p", [Vm]);
port_name(Label) when is_atom(Label); is_binary(Label) -> printable(atom_or_text(Label));
port_name(Other) -> show(Other).

atom_or_text(Label) when is_atom(Label) -> atom_to_binary(Label);
atom_or_text(Label) -> Label.

%% A file's name may be any bytes.
printable(Name) ->
    case unicode:characters_to_list(Name) of
        Text when is_list(Text) -> Text;
        _ -> f("~p", [Name])
    end.

%% What is in a file in place of a file system.
contents(partition_table) -> "it has a partition table; take the publisher's plain root file system";
contents(packed) -> "it is packed more than twice";
contents(empty) -> "it is empty";
contents(cut) -> "its end is missing";
contents(unreadable) -> "it can't be read";
contents(_) -> "what it is isn't known".

package("mke2fs") -> "e2fsprogs";
package("xz") -> "xz-utils";
package(Name) when Name =:= "flock"; Name =:= "unshare"; Name =:= "prlimit"; Name =:= "fallocate" -> "util-linux";
package("apt-" ++ _) -> "apt";
package(Name) -> Name.

net(Why) when is_atom(Why) -> inet:format_error(Why);
net(Why) -> show(Why).

stage(spawn) -> "spawn (making the jail and starting the kernel)";
stage(kernel) -> "kernel (the kernel starts)";
stage(init) -> "init (the initramfs starts)";
stage(root) -> "root (mounting the root file system)";
stage(agent) -> "agent (the guest's init and agent start)";
stage(Stage) -> f("~tp", [Stage]).

option(state) ->
    "a state's name must be an atom of letters, digits and _-.@, the first a letter or digit, 64 at most; the option state must be "
    "{Module, Args}, {Module, Args, GuestDir} or a list of at most 8 of these, GuestDir absolute, without \"..\", at most 255 bytes";
option(export) -> "a state is exported to a file: a non-empty string or binary";
option(fork) -> "a fork is of 1 to 1000 machines, and its options have neither dist nor label";
option(label) -> "label must be an atom that is a host name: letters, digits and inner hyphens, at most 63";
option(dist) -> "dist must be an atom, the name of an image (evm:dists()), or {initramfs, File}, an image to boot from";
option(net) ->
    "net must be false, a network (a switch's pid, the name of a running one or of one in evm.cfg), or a list of at most 8, "
    "each such or {Network, #{ip, mac}}";
option(name) -> "name must be an atom, of a node (without @) one of letters, digits, and hyphens or underscores between them";
option(cookie) -> "cookie must be an atom or a string, 255 bytes at most, of characters that are neither blanks nor beyond ASCII";
option(host_link) -> "host_link must be visible or hidden";
option(net_ticktime) -> "net_ticktime must be a number of seconds, from 1 to 3600";
option(vm_args) -> "vm_args must be the name of a file for erl -args_file, and the -name and -setcookie in it such as evum_node takes them";
option(sys_config) -> "sys_config must be a list of {Application, Parameters}, or the name of a file with one";
option(image) -> "image must be the name of a file that evum_release:bake/1 has made, and goes without apps, paths and release";
option(subnet) -> "subnet must be the address of a network and its length, from 8 to 30 bits: \"10.77.0.0/24\"";
option(gateway) -> "gateway must be an address of the network's subnet (of a switch, which must be given too)";
option(ip) -> "ip must be a host's IPv4 address, a string such as \"10.77.0.2\" or a tuple";
option(netmask) -> "netmask must be one, from 128.0.0.0 to 255.255.255.252";
option(target) -> "what is pinged must be an address or a host's name";
option(nameserver) -> "nameserver must be an IPv4 address";
option(mtu) -> "mtu must be a number from 576 to 65150";
option(uplink) -> "uplink must be none, slirp, {slirp, Map}, {packet, Interface} or {tap, Interface}";
option(forward) -> "forward must be a list of {{tcp | udp, HostPort}, {Machine, GuestPort}}, the host's port with an address before it or without; "
    "machines of {packet, _} and {tap, _} have addresses outside instead";
option(domain) -> "domain must be words of letters, digits and inner hyphens with dots between";
option(ping) -> "ping must be an IPv4 address or a list of them";
option(mem) -> "mem must be a number of MiB, 32 or more";
option(kernel) -> "kernel must be the name of a file";
option(args) ->
    f("args must be a list of kernel arguments, 3000 bytes at most, and none that evum sets itself (~ts); of a node, of erl's, 48 KiB at most",
      [lists:join(", ", evum_proto:reserved_args())]);
option(disk) ->
    "disk must be memory, a layer's size in MiB (64 or more), its file, or #{file, size}; it goes with an image whose access is overlay, "
    "and memory with one that has no layers";
option(durable) -> "durable must be true or false, and true goes with a disk on the host";
option(cpu) -> "cpu must be any or the number of a CPU that this process may use";
option(console) -> "console must be line, tagged or none";
option(life) -> "life must be a process; of a rule on a network, also switch";
option(Key) when Key =:= loss; Key =:= duplicate; Key =:= reorder; Key =:= corrupt -> f("~ts must be a probability, from 0 to 1", [Key]);
option(Key) when Key =:= delay; Key =:= jitter -> f("~ts must be a number of ms, at most an hour", [Key]);
option(rate) -> "rate must be a positive number of bit/s";
option(direction) -> "direction must be both, to or from, seen from the machine; a fault on all has none";
option(seed) -> "seed must be an integer";
option(pair) -> "a pair is two machines";
option(groups) -> "groups must be a list of lists of machines, each machine in one of them";
option(filter) -> "a filter is a fun of three arguments: the frame, its direction and a state";
option(capture) -> "a capture's file must be a non-empty string or binary";
option(snaplen) -> "snaplen must be a positive number of bytes, or infinity";
option(Key) when Key =:= wait_boot; Key =:= timeout -> f("~ts must be a positive number of ms (or, at a start, wait_boot false)", [Key]);
option(on_reboot) -> "on_reboot must be reboot or stop";
option(verbose) -> "verbose must be true or false";
option(max_bytes) -> "max_bytes must be a positive number of bytes";
option(share) ->
    "share must be a list of at most 8 {HostDir, GuestDir, ro | rw}; a directory of the guest's is absolute, without \"..\", at most 255 bytes";
option(grace) -> "the grace must be a number of ms, at most an hour";
option(text) -> "text must be a regular expression, a string or binary";
option(max_output) -> "max_output must be a positive number of bytes";
option(env) -> "env must be a list or map of names and values";
option(cd) -> "cd must be a directory's name";
option(stdin) -> "stdin must be bytes (iodata)";
option(pty) -> "pty must be true, false or {Rows, Columns}";
option(source) -> "what is put must be bytes (iodata) or {file, Name}";
option(path) -> "a path in the guest must be a non-empty string or binary";
option(file) -> "a file of this host must be given as {file, Name}";
option(mode) -> "mode must be permissions, from 0 to 8#7777";
option(owner) -> "owner must be a process or none; of what is put, {Uid, Gid} or a user's name";
option({port, _}) -> "a port is a number from 1 to 65535";
option({file, _}) -> "a file in the guest is a non-empty string or binary";
option(max_size) -> "max_size must be a positive number of bytes";
option(winsize) -> "a window's size is {Rows, Columns}, each from 1 to 65535";
option(max_procs) -> "max_procs must be a positive number of processes";
option(max_mem) -> "max_mem must be a positive number of MiB";
option(user) -> "user must be a user's name or number in the guest";
option(apps) -> "apps must be a list of applications' names";
option(paths) -> "paths must be a list of directories' names";
option(Key) when Key =:= start; Key =:= calls -> f("~ts must be {Module, Function, Args}, a megabyte at most", [Key]);
option(release) -> "release must be the name of a release's directory, and goes without apps";
option(output) -> "output must be the name of a file";
option(Key) when Key =:= busybox; Key =:= epmd -> f("~ts must be true or false", [Key]);
option(Key) -> f("there is no option ~tp, or it can't have that value", [Key]).

resource(syntax) -> "it isn't {application, Name, Properties}";
resource(name) -> "its name isn't that of the application in it";
resource(vsn) -> "its vsn must be letters, digits and . _ + ~ -";
resource({no_beam, Module}) -> f("it lists the module ~ts, whose beam isn't there", [Module]);
resource({no_atoms, Key}) -> f("its ~ts must be a list of names", [Key]);
resource(too_big) -> "it is larger than a megabyte";
resource(Posix) -> posix(Posix).

damage(changed) -> "isn't what was committed";
damage(bad_record) -> "is no record of a state";
damage(Why) -> f("can't be read (~ts)", [posix(Why)]).

config(too_big) -> "the file is larger than a megabyte";
config(not_utf8) -> "the text isn't UTF-8";
config({syntax, Text}) -> Text;
config({unknown_key, Key}) -> f("unknown key ~tp", [Key]);
config({bad_value, Key}) -> f("bad value of ~tp", [Key]);
config({no_checksum, Uri}) -> f("~ts comes unprotected: give its sha256, or take https", [Uri]);
config({missing, Key}) -> f("~ts is missing", [Key]);
config({incomplete, Name}) -> f("~tp needs one of {file, Path}, {uri, Address}, {build, mmdebstrap}, {bake, Options} and {root, initramfs | host}, and what belongs to it only", [Name]);
config(Posix) -> posix(Posix).
