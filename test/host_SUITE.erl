%% SPDX-License-Identifier: Apache-2.0
%% A machine with the host's own files reads them and changes nothing
-module(host_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [stop/1, out/2]).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> evum_test_lib:init_suite(Config).
end_per_suite(Config) -> evum_test_lib:end_suite(Config).
init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

all() ->
    [two_see_the_host_and_change_nothing, what_is_private_stays_unread, missing_programs_are_busyboxes, the_way_up_leads_nowhere].

start() ->
    {ok, V} = evum:start(),
    V.

two_see_the_host_and_change_nothing(_) ->
    [V, W] = [start(), start()],
    Here = os:cmd("ls /usr/bin | md5sum"),
    [Here = os_like(out(X, "ls /usr/bin | grep -v '^evum-' | md5sum")) || X <- [V, W]],
    <<"mine">> = out(V, "echo mine > /usr/bin/evum-test; cat /usr/bin/evum-test"),
    {ok, #{status := 0}} = evum:exec(V, "rm /usr/bin/env; echo x >> /etc/passwd; mkdir -p /usr/evum/deep; chmod 0 /usr/bin/ls"),
    {ok, #{status := S}} = evum:exec(W, "test -e /usr/bin/evum-test"),
    true = S > 0,
    {ok, #{status := 0}} = evum:exec(W, "test -x /usr/bin/env && ls / > /dev/null"),
    [false, false] = [filelib:is_file(F) || F <- ["/usr/bin/evum-test", "/usr/evum"]],
    true = filelib:is_file("/usr/bin/env"),
    Here = os:cmd("ls /usr/bin | md5sum"),
    {0, _, _} = evum_test_lib:sh("! grep -qx x /etc/passwd"),
    stop(V),
    W2 = start(),
    {ok, #{status := 1}} = evum:exec(W2, "test -e /usr/bin/evum-test"),
    [stop(X) || X <- [W, W2]].

os_like(Bytes) -> binary_to_list(Bytes) ++ "\n".

what_is_private_stays_unread(_) ->
    V = start(),
    {ok, #{stdout := <<>>, status := Failed}} = evum:exec(V, "cat /etc/shadow"),
    true = Failed > 0,
    <<>> = out(V, "ls -A /home; true"),
    {ok, #{stdout := Root}} = evum:exec(V, "ls -A /root"),
    [] = [F || F <- string:lexemes(binary_to_list(Root), "\n"), filelib:is_file("/root/" ++ F)],
    %% /proc and /sys are the guest's own
    Own = out(V, "cat /proc/sys/kernel/hostname"),
    true = Own =:= atom_to_binary(maps:get(label, evum:info(V))),
    <<"1">> = out(V, "cat /proc/1/comm | wc -l"),
    stop(V).

%% Nothing is asked of the host's packages.
missing_programs_are_busyboxes(_) ->
    V = start(),
    [{P, {ok, #{status := 0}}} = {P, evum:exec(V, "command -v " ++ P)} || P <- ["ifconfig", "ping", "vi", "ls", "sh"]],
    {ok, #{status := 0}} = evum:exec(V, "ifconfig -a; touch /tmp/t /root/t /run/t"),
    true = binary_to_integer(out(V, "ulimit -n")) >= 1024,
    stop(V).

%% hostfs resolves names itself: neither `..' nor a mount of its own gets past the jail.
the_way_up_leads_nowhere(_) ->
    V = start(),
    {ok, #{stdout := <<>>}} =
        evum:exec(V, "mkdir /mnt/h; mount -t hostfs none /mnt/h -o / 2>/dev/null;"
                     "for f in root/.profile root/.bashrc home etc/shadow proc/1/environ sys/kernel dev/vda tmp; do"
                     " cat /mnt/h/$f /mnt/h/../$f /mnt/h/../../$f 2>/dev/null; ls /mnt/h/home 2>/dev/null; done;"
                     "mkdir /mnt/r; mount -t hostfs none /mnt/r -o /root 2>/dev/null && ls -A /mnt/r;"
                     "mkdir /mnt/e; mount -t hostfs none /mnt/e -o /etc/../root 2>/dev/null && ls -A /mnt/e; true"),
    stop(V).
