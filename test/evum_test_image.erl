%% SPDX-License-Identifier: Apache-2.0
%% What the suites of images share: a small root in every packing, a server, a cache a case
-module(evum_test_image).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").

-export([init_suite/2, end_suite/1, begin_case/2, end_case/2]).
-export([packed/1, plain/1, content/2, sha/1, dist/2, trust/2, images/1, whole/1, refused/2]).

-import(evum_test_lib, [sentence/1, sh/1]).

%% A directory of the suite's own, with root.img and root.tar and what packs them.
init_suite(Suite, Config0) ->
    Config = evum_test_lib:init_suite(Config0),
    Dir = "/tmp/ct-" ++ atom_to_list(Suite) ++ "-" ++ os:getpid(),
    {0, _, _} = sh(["rm -rf ", Dir, "; mkdir -p ", Dir]),
    make_images(Dir),
    [{dir, Dir}, {xdg, os:getenv("XDG_CACHE_HOME")} | Config].

end_suite(Config) ->
    {0, _, _} = sh(["rm -rf ", ?config(dir, Config)]),
    ok = application:unset_env(evum, dist),
    case ?config(xdg, Config) of false -> os:unsetenv("XDG_CACHE_HOME"); Xdg -> os:putenv("XDG_CACHE_HOME", Xdg) end,
    evum_test_lib:end_suite(Config).

%% Each case has a cache of its own.
begin_case(Case, Config) ->
    Cache = filename:join([?config(dir, Config), "cache", atom_to_list(Case)]),
    true = os:putenv("XDG_CACHE_HOME", Cache),
    ok = application:set_env(evum, fetch_idle, 3000),
    evum_test_lib:begin_case(Case, [{cache, filename:join(Cache, "evum")} | Config]).

end_case(Case, Config) ->
    [ok = application:unset_env(evum, Key) || Key <- [fetch_idle, fetch_time, cache_max]],
    evum_test_lib:end_case(Case, Config).

%% busybox with its links and an init of its own, as a tar archive and as an image.
make_images(Dir) ->
    Script = ["set -e; cd ", Dir, "; mkdir -p root/bin root/sbin root/etc root/dev root/proc root/sys root/tmp root/root root/run;"
              "cp $(command -v busybox) root/bin/busybox;"
              "for a in $(root/bin/busybox --list); do [ $a = busybox ] || ln -sf busybox root/bin/$a; done;"
              "ln -sf /bin/busybox root/sbin/init; ln -sf /bin/busybox root/sbin/poweroff; ln -sf /bin/busybox root/sbin/reboot;"
              "printf '::sysinit:/bin/true\\n' > root/etc/inittab; echo root:x:0:0:root:/root:/bin/sh > root/etc/passwd;"
              "echo base > root/etc/mark; chmod 640 root/etc/mark; chmod 4755 root/bin/busybox; ",
              "tar --owner=7 --group=8 -C root -cf root.tar .;"
              "PATH=$PATH:/usr/sbin:/sbin; mkfs.ext4 -q -F -b 4096 -d root root.img 16M;"
              "gzip -1 -k root.img; bzip2 -1 -k root.img; xz -0 -k root.img; zstd -q -1 -k root.img; xz -0 -k root.tar; gzip -1 -k root.tar"],
    {0, _, _} = sh(Script).

packed(Config) -> content(Config, "root.img.gz").
plain(Config) -> content(Config, "root.img").

content(Config, Name) ->
    {ok, Bytes} = file:read_file(filename:join(?config(dir, Config), Name)),
    Bytes.

sha(Bytes) -> string:lowercase(binary_to_list(binary:encode_hex(crypto:hash(sha256, Bytes)))).

trust(Config, More) -> [{cacertfile, filename:join(?config(dir, Config), "ca.pem")} | More].

dist(Name, Entry) -> ok = application:set_env(evum, dist, [{Name, Entry}]).

images(Config) -> filelib:wildcard(filename:join([?config(cache, Config), "images", "*"])).

%% Nothing but whole images has a good name, and nothing waits in the way.
whole(Config) ->
    [begin
         {ok, Bytes} = file:read_file(File),
         {ok, #file_info{mode = Mode, mtime = Time}} = file:read_file_info(File, [{time, posix}]),
         {8#444, 946684800} = {Mode band 8#777, Time},
         Name = filename:basename(File),
         Name = sha(Bytes) ++ ".img"
     end || File <- images(Config)],
    ok.

refused(Config, Name) ->
    {error, Reason} = evm:fetch(Name),
    ct:pal("~0p~n~ts", [Reason, sentence(Reason)]),
    [] = images(Config),
    Reason.
