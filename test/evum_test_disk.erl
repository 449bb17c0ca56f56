%% SPDX-License-Identifier: Apache-2.0
%% Images that the suites boot, and a folder for their layers
-module(evum_test_disk).

-export([init_suite/1, end_suite/1, image/2, dists/1, layers/1, sum/1]).

-include_lib("common_test/include/ct.hrl").

%% An image and a folder for temporary layers, in /tmp: a machine of root's must
%% reach them as 65534.
init_suite(Config0) ->
    Config = evum_test_lib:init_suite(Config0),
    Dir = filename:join("/tmp", "ct-disk-" ++ os:getpid()),
    Layers = filename:join(Dir, "layers"),
    ok = filelib:ensure_path(Layers),
    ok = application:set_env(evum, disk_dir, Layers),
    Image = image(Dir, "64M"),
    [{dir, Dir}, {layers, Layers}, {image, Image} | Config].

end_suite(Config) ->
    ok = application:unset_env(evum, disk_dir),
    ok = application:unset_env(evum, dist),
    ok = file:del_dir_r(?config(dir, Config)),
    evum_test_lib:end_suite(Config).

dists(Dists) -> ok = application:set_env(evum, dist, Dists).

%% busybox with its links, and an init of its own.
image(Dir, Size) ->
    Image = filename:join(Dir, "image"),
    Script = ["set -e; cd ", Dir, "; mkdir -p root/bin root/etc root/dev root/proc root/sys root/tmp root/root root/run root/data root/sbin;"
              "cp $(command -v busybox) root/bin/busybox;"
              "for a in $(root/bin/busybox --list); do [ $a = busybox ] || ln -sf busybox root/bin/$a; done;"
              "ln -sf /bin/busybox root/sbin/init; ln -sf /bin/busybox root/sbin/poweroff; ln -sf /bin/busybox root/sbin/reboot;"
              "printf '::sysinit:/bin/true\\ntty0::respawn:-/bin/sh\\nconsole::respawn:-/bin/sh\\n' > root/etc/inittab;"
              "echo root:x:0:0:root:/root:/bin/sh > root/etc/passwd; echo base > root/etc/mark;"
              "PATH=$PATH:/usr/sbin:/sbin; mkfs.ext4 -q -F -b 4096 -d root ", Image, " ", Size, "; rm -r root; chmod 666 ", Image],
    {0, _, _} = evum_test_lib:sh(Script),
    Image.

%% The temporary layers that there are.
layers(Config) -> filelib:wildcard(filename:join(?config(layers, Config), "*")).

sum(File) ->
    {ok, Bytes} = file:read_file(File),
    crypto:hash(sha256, Bytes).
