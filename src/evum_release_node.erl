%% SPDX-License-Identifier: Apache-2.0
%% How the node of an image is started; pure
%%
%% evum-init runs the words of /etc/evum/node, one a line: `env NAME=VALUE' and
%% `arg WORD', the first of which is the program.
-module(evum_release_node).

-export([file/1, words/1, flags/0, least/1, mem/1]).

%% who tells where other nodes are
-define(GUEST, ["-epmd_module", "evum_guest", "-start_epmd", "false"]).
-define(MIB, 1048576).
%% MiB: the kernel 13, the emulator and Erlang at rest 32 (35 with ssl), and some to start by
-define(REST, 51).
%% MiB: the kernel while the image is there twice, as it was given and unpacked
-define(UNPACKING, 24).
%% MiB for a node's own work, where nobody says how much
-define(WORK, 32).

%% @doc The file: `erts' the version, `boot' the boot file without its ending, `paths' the
%% applications whose beams go before the others', `words' what the release adds.
-spec file(#{erts := string(), boot := iodata(), paths := [string()], words := [iodata()], atom() => term()}) -> iodata().
file(#{erts := Erts, boot := Boot, paths := Paths, words := Words}) ->
    Bin = ["/erlang/erts-", Erts, "/bin"],
    Env = [{"ROOTDIR", "/erlang"}, {"BINDIR", Bin}, {"EMU", "beam"}, {"PROGNAME", "erl"}, {"HOME", "/root"}, {"TERM", "linux"},
           {"LANG", "C.UTF-8"}, {"PATH", [Bin, ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
           {"ERL_INETRC", "/etc/evum/inetrc"}, {"ERL_CRASH_DUMP_SECONDS", "0"}],
    [[["env ", Name, $=, Value, $\n] || {Name, Value} <- Env],
     words([[Bin, "/erlexec"] | flags()] ++ ["-boot", Boot] ++ lists:append([["-pa", ["/erlang/lib/", evum_release_files:bytes(Path), "/ebin"]] || Path <- Paths])
           ++ ?GUEST ++ Words)].

%% @doc Words of a command line.
-spec words([iodata()]) -> iodata().
words(Words) -> [["arg ", Word, $\n] || Word <- Words].

%% @doc The emulator's flags for a small machine with one CPU; whoever starts the node may
%% give others, which count more. In a guest a fresh page costs as much as three system
%% calls, and a thread that has nothing to do still takes CPU of the one that has.
-spec flags() -> [string()].
flags() ->
    [
        %% one thread of each kind: with the ten dirty ones of default the boot takes a fifth more
        "+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+A", "1",
        %% a thread that waits busily has the guest's only CPU
        "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
        %% processes, ports: tables of the default size take 3.4 MB, and 900 fresh pages
        "+P", "32768", "+Q", "8192"
    ].

%% @doc The least memory that a machine boots an image with: MiB, from the bytes that it has unpacked.
-spec least(non_neg_integer()) -> pos_integer().
least(Unpacked) ->
    Image = (Unpacked + ?MIB - 1) div ?MIB,
    max(Image + ?REST, 2 * Image + ?UNPACKING).

%% @doc What it gets where nothing else is asked for, MiB.
-spec mem(non_neg_integer()) -> pos_integer().
mem(Unpacked) -> least(Unpacked) + ?WORK.
