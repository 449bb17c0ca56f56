%% SPDX-License-Identifier: Apache-2.0
%% Makes a Debian from the sources that this host's own packages come from
%%
%% mmdebstrap chooses how: root in a chroot; an ordinary user in a user namespace
%% where /etc/subuid has numbers for him, else by fakechroot.
-module(evm_image_debian).

-export([archive/3, suite/0, key/1]).
-export_type([recipe/0]).

-include_lib("kernel/include/file.hrl").

-type recipe() :: #{variant := string(), include := [string()], suite => string()}.

%% ms
-define(BUILD_MS, 1800000).
-define(APT_MS, 60000).
-define(TEXT_MAX, 1048576).
-define(FORMAT, "deb $(ARCHITECTURE) $(REPO_URI) $(RELEASE) $(COMPONENT) $(CODENAME)").
%% what tells apt how to reach its sources
-define(WANTED, "^Acquire::(Check-|Retries|http|https|ftp)").
%% Last. How this host reaches its sources, passwords included, is its own.
-define(HOOKS, [
    "echo image >\"$1/etc/hostname\"",
    "sed -i '/^Acquire::\\(Check-\\|Retries\\)/!d' \"$1/etc/apt/apt.conf.d/99mmdebstrap\"",
    "sed -i 's,://[^/@ ]*@,://,' \"$1\"/etc/apt/sources.list.d/*.list"
]).

%% @doc What the image depends on, besides the time at which it is made.
-spec key(recipe()) -> term().
key(Recipe) -> maps:merge(#{suite => suite()}, Recipe).

%% @doc This host's own suite: `VERSION_CODENAME' of os-release.
-spec suite() -> string().
suite() ->
    case file:read_file("/etc/os-release") of
        {ok, Text} ->
            case re:run(Text, "^VERSION_CODENAME=\"?([a-z]+)", [multiline, {capture, all_but_first, list}]) of
                {match, [Name]} -> Name;
                nomatch -> "stable"
            end;
        {error, _} -> "stable"
    end.

%% @doc Makes a tar archive in a directory.
-spec archive(recipe(), file:filename(), fun((map()) -> term())) -> {ok, file:filename()} | {error, term()}.
archive(#{variant := Variant, include := Include} = Recipe, Dir, Progress) ->
    #{suite := Suite} = key(Recipe),
    Tar = filename:join(Dir, "debian.tar"),
    case inputs(Suite, Dir) of
        {ok, Sources, Conf} ->
            Args = ["--mode=auto", "--format=tar", "--variant=" ++ Variant, "--aptopt=" ++ Conf,
                    "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
                    "--dpkgopt=path-exclude=/usr/share/locale/*"]
                ++ [hook(Variant) ++ Command || Command <- ?HOOKS]
                ++ ["--include=" ++ lists:flatten(lists:join(",", Include)) || Include =/= []] ++ [Suite, Tar, Sources],
            built(mmdebstrap(file:read_file_info("/proc/self"), Args, #{
                cd => Dir, env => [{"TMPDIR", Dir}], time => ?BUILD_MS,
                on_text => fun(Text) -> Progress(#{stage => build, text => last_line(Text)}) end
            }), Tar);
        {error, _} = Error -> Error
    end.

%% Which are run last.
hook("extract") -> "--extract-hook=";
hook(_Variant) -> "--customize-hook=".

%% Root's mounts on this host. In namespaces of its own they and all that runs there end
%% with it, even by a kill; else the next try would empty what is mounted.
mmdebstrap({ok, #file_info{uid = 0}}, Args, Options) ->
    case evm_image_tool:find("mmdebstrap") of
        {ok, File} -> evm_image_tool:run("unshare", ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", File | Args], Options);
        {error, _} = Error -> Error
    end;
mmdebstrap(_User, Args, Options) -> evm_image_tool:run("mmdebstrap", Args, Options).

built({ok, _}, Tar) -> {ok, Tar};
built({error, _} = Error, _Tar) -> Error.

last_line(Text) ->
    case string:lexemes(Text, "\r\n") of
        [] -> <<>>;
        Lines -> lists:last(Lines)
    end.

%% As one-line entries, whatever form the system's own are written in.
inputs(Suite, Dir) ->
    Sources = filename:join(Dir, "sources.list"),
    Conf = filename:join(Dir, "apt.conf"),
    Apt = #{time => ?APT_MS, keep => ?TEXT_MAX},
    case {evm_image_tool:run("apt-get", ["indextargets", "--format", ?FORMAT, "Created-By: Packages"], Apt),
          evm_image_tool:run("apt-config", ["dump"], Apt)} of
        {{ok, Targets}, {ok, Config}} ->
            case lists:usort(lists:append([entry(string:lexemes(L, " "), Suite) || L <- string:lexemes(Targets, "\n")])) of
                [] -> {error, {no_sources, Suite}};
                Entries ->
                    ok = file:write_file(Sources, Entries),
                    ok = file:write_file(Conf, [[L, $\n] || L <- string:lexemes(Config, "\n"), re:run(L, ?WANTED, [{capture, none}]) =:= match]),
                    {ok, Sources, Conf}
            end;
        {{error, _} = Error, _} -> Error;
        {_, Error} -> Error
    end.

entry([<<"deb">>, Arch, Uri, Release, Component, Codename], Suite) ->
    Ours = lists:any(fun(Name) -> string:prefix(Name, Suite) =/= nomatch end, [Release, Codename]),
    [["deb [arch=", Arch, "] ", Uri, $\s, Release, $\s, Component, $\n] || Ours, Arch =:= <<"amd64">>];
entry(_, _Suite) -> [].
