%% SPDX-License-Identifier: Apache-2.0
%% A node becomes an image: of exactly the files it needs, always the same, and it boots
-module(release_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-import(evum_test_lib, [sh/1, sentence/1]).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        a_node_boots_with_its_nifs_and_their_libraries, a_path_may_have_any_letters, what_crypto_can_is_as_here, an_application_brings_what_it_needs,
        a_shell_only_when_asked, the_same_files_are_the_same_bytes, it_is_small_in_transport, a_second_bake_finds_the_first,
        a_changed_beam_is_another_image, a_changed_library_is_another_image, what_a_machine_boots_from_stays, bad_options_are_named, a_missing_library_is_named,
        what_is_for_another_machine_is_told, what_is_no_code_is_told, a_start_that_is_not_there_is_told,
        a_release_boots_as_its_files_say, a_release_with_its_own_runtime, a_broken_release_is_told, the_command_bakes,
        a_node_is_among_the_images
    ].

init_per_suite(Config0) ->
    Config = evum_test_lib:init_suite(Config0),
    Dir = "/tmp/ct-release-" ++ os:getpid(),
    {0, _, _} = sh(["rm -rf ", Dir, "; mkdir -p ", Dir, "/cache; chmod 755 ", Dir]),
    Xdg = os:getenv("XDG_CACHE_HOME"),
    true = os:putenv("XDG_CACHE_HOME", Dir ++ "/cache"),
    make_app(Dir),
    [{dir, Dir}, {xdg, Xdg} | Config].

end_per_suite(Config) ->
    {0, _, _} = sh(["rm -rf ", ?config(dir, Config)]),
    case ?config(xdg, Config) of false -> os:unsetenv("XDG_CACHE_HOME"); Xdg -> os:putenv("XDG_CACHE_HOME", Xdg) end,
    evum_test_lib:end_suite(Config).

init_per_testcase(Case, Config) -> evum_test_lib:begin_case(Case, Config).
end_per_testcase(Case, Config) -> evum_test_lib:end_case(Case, Config).

%% --- what is baked ------------------------------------------------------------------------

%% An application with a NIF that needs a library of its own, which lies beside the application.
make_app(Dir) ->
    App = Dir ++ "/lib/native",
    {0, _, _} = sh(["mkdir -p ", App, "/ebin ", App, "/priv ", App, "/src ", Dir, "/own ", Dir, "/plain"]),
    ok = file:write_file(Dir ++ "/own.c", "int own(void);\nint own(void) { return 42; }\n"),
    ok = file:write_file(Dir ++ "/nif.c",
        "#include <erl_nif.h>\nint own(void);\n"
        "static ERL_NIF_TERM answer(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])\n"
        "{ (void)argc; (void)argv; return enif_make_int(env, own()); }\n"
        "static ErlNifFunc functions[] = {{\"answer\", 0, answer, 0}};\n"
        "ERL_NIF_INIT(native, functions, NULL, NULL, NULL, NULL)\n"),
    Include = filename:join([code:root_dir(), "usr", "include"]),
    {0, _, _} = sh(["cd ", Dir, " && cc -shared -fPIC -Wl,-soname,libown.so.1 -o own/libown.so.1 own.c && "
                    "cc -shared -fPIC -I", Include, " -o lib/native/priv/native.so nif.c own/libown.so.1 -Wl,-rpath,'$ORIGIN/../../../own'"]),
    compile(App ++ "/ebin",
        "-module(native). -export([answer/0]). -on_load(load/0).\n"
        "load() -> erlang:load_nif(filename:join(code:priv_dir(native), \"native\"), 0).\n"
        "answer() -> erlang:nif_error(not_loaded).\n"),
    write_app(App ++ "/ebin", native, [kernel, stdlib]),
    ok = file:write_file(App ++ "/src/native.erl", "left out"),
    %% the shell of the node prints to the console too: a line with a mark is the test's
    compile(Dir ++ "/plain",
        "-module(tells). -export([start/1, what/1]).\n"
        "start(Calls) -> [io:format(\"told ~0tp~n\", [erlang:apply(M, F, A)]) || {M, F, A} <- Calls], ok.\n"
        "what(A) -> A.\n").

write_app(Ebin, Name, Needs) ->
    Modules = [list_to_atom(filename:basename(F, ".beam")) || F <- filelib:wildcard(Ebin ++ "/*.beam")],
    ok = file:write_file(filename:join(Ebin, atom_to_list(Name) ++ ".app"),
        io_lib:format("~p.~n", [{application, Name, [{description, ""}, {vsn, "1.0"}, {modules, Modules}, {registered, []}, {applications, Needs}]}])).

%% Module's beam of its text.
compile(Ebin, Text) ->
    {match, [Module]} = re:run(Text, "-module\\(([a-z]+)\\)", [{capture, all_but_first, list}]),
    Source = filename:join(filename:dirname(Ebin), Module ++ ".erl"),
    ok = file:write_file(Source, Text),
    {ok, _} = compile:file(Source, [{outdir, Ebin}, deterministic, debug_info]),
    ok = file:delete(Source).

native(Config) -> ?config(dir, Config) ++ "/lib/native/ebin".
plain(Config) -> ?config(dir, Config) ++ "/plain".

bake(Opts) ->
    {ok, #{image := Image, bytes := Bytes} = Baked} = evum_release:bake(Opts),
    Bytes = filelib:file_size(Image),
    Baked.

%% What the calls return inside the machine, by its console.
inside(Calls, Config, Opts) ->
    Baked = bake(Opts#{paths => [plain(Config) | maps:get(paths, Opts, [])], start => {tells, start, [Calls]}}),
    {Vm, Told} = booted(Baked, length(Calls)),
    done(Vm),
    Told.

booted(#{image := Image, mem := Mem}, Count) ->
    {ok, Vm} = evm:create([{dist, {initramfs, Image}}, {mem, Mem}]),
    {Vm, [told() || _ <- lists:seq(1, Count)]}.

%% The way out that costs least.
done(Vm) ->
    ok = evum:crash(Vm),
    _ = evum_test_lib:flush(),
    ok.

told() ->
    receive
        <<"told ", Term/binary>> ->
            {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Term) ++ "."),
            {ok, Value} = erl_parse:parse_term(Tokens),
            Value;
        Line when is_binary(Line) -> told();
        {evum, _, {down, Reason}} -> error({down, Reason})
    after 20000 -> error(silent)
    end.

%% Of a plain archive: its names.
names(Image) ->
    {ok, Bytes} = file:read_file(Image),
    {ok, Entries} = evum_cpio:entries(Bytes),
    [Name || {Name, _} <- Entries].

%% --- claims -------------------------------------------------------------------------------

a_node_boots_with_its_nifs_and_their_libraries(Config) ->
    Calls = [{native, answer, []}, {application, which_applications, []}, {code, priv_dir, [native]}],
    [42, Running, "/erlang/lib/native-1.0/priv"] = inside(Calls, Config, #{apps => [native], paths => [native(Config)]}),
    [kernel, native, stdlib] = lists:sort([App || {App, _, _} <- Running]).

what_crypto_can_is_as_here(Config) ->
    [Hash, Ciphers, Curves] = inside([{crypto, hash, [sha256, <<"evum">>]}, {crypto, supports, [ciphers]}, {crypto, supports, [curves]}],
                                     Config, #{apps => [crypto]}),
    Hash = crypto:hash(sha256, <<"evum">>),
    Ciphers = crypto:supports(ciphers),
    Curves = crypto:supports(curves).

%% The loader's names are bytes, and a home may have any.
a_path_may_have_any_letters(Config) ->
    New = unicode:characters_to_binary(?config(dir, Config) ++ "/w\x{f6}rter \x{4e2d}"),
    ok = file:rename(copy("letters", Config), New),
    [42] = inside([{native, answer, []}], Config, #{apps => [native], paths => [<<New/binary, "/lib/native/ebin">>]}).

an_application_brings_what_it_needs(Config) ->
    %% a directory without .app is code that can be called; ssl isn't started, and is there with its needs
    Dir = ?config(dir, Config) ++ "/needs/ebin",
    ok = filelib:ensure_path(Dir),
    compile(Dir, "-module(needs). -export([a/0]).\na() -> 1.\n"),
    write_app(Dir, needs, [kernel, stdlib, ssl]),
    #{image := Image} = bake(#{paths => [Dir, native(Config)]}),
    Names = names(Image),
    Libs = lists:usort([hd(binary:split(Rest, <<"-">>)) || <<"erlang/lib/", Rest/binary>> <- Names]),
    [<<"asn1">>, <<"crypto">>, <<"evum_guest">>, <<"evum_guest/ebin">>, <<"evum_guest/ebin/evum_guest.beam">>, <<"kernel">>, <<"native">>,
     <<"needs">>, <<"public_key">>, <<"ssl">>, <<"stdlib">>] = Libs,
    [] = [Name || Name <- Names, re:run(Name, "/(src|include|doc)/|[.]erl$", [{capture, none}]) =:= match],
    [] = [Name || Name <- Names, re:run(Name, "busybox|/sh$", [{capture, none}]) =:= match].

a_shell_only_when_asked(Config) ->
    Start = {tells, start, [[{tells, what, [1]}]]},
    {Bare, [1]} = booted(bake(#{paths => [plain(Config)], start => Start}), 1),
    {error, no_shell} = evum:exec(Bare, "echo hello"),
    done(Bare),
    {Vm, [1]} = booted(bake(#{paths => [plain(Config)], start => Start, busybox => true}), 1),
    {ok, #{stdout := <<"hello\n">>}} = evum:exec(Vm, "echo hello"),
    done(Vm).

%% Two directories, two users, two time zones, locales and umasks, two caches.
the_same_files_are_the_same_bytes(Config) ->
    Dir = ?config(dir, Config),
    {0, _, _} = sh(["mkdir -p ", Dir, "/other/lib ", Dir, "/other/home && cp -r ", Dir, "/lib/native ", Dir, "/other/lib && cp -r ", Dir, "/own ", Dir, "/other"
                    " && touch -d '2001-02-03' ", Dir, "/other/lib/native/ebin/*"]),
    Ebin = filename:dirname(code:which(evum)),
    Bake = fun(Env, Where, Out) ->
        {0, _, _} = sh(["cd ", Where, " && ", Env, " XDG_CACHE_HOME=", filename:dirname(Out), "/cache erl -noinput -boot no_dot_erlang -pa ", Ebin, " -eval '"
                        "{ok, _} = evum_release:bake(#{apps => [native, crypto], paths => [\"lib/native/ebin\"], output => \"", Out, "\"}), halt().'"])
    end,
    Bake("umask 022; TZ=UTC LANG=C.UTF-8", Dir, Dir ++ "/one.img"),
    _ = [sh(["chown -R nobody ", Dir, "/other"]) || sh("id -u") =:= {0, <<"0\n">>, <<>>}],
    User = case sh("id -u") of {0, <<"0\n">>, _} -> "setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="; _ -> "env HOME=" end,
    Bake(["umask 077; ", User, Dir, "/other/home TZ=Asia/Tokyo LC_ALL=C"], Dir ++ "/other", Dir ++ "/other/two.img"),
    {0, _, _} = sh(["cmp ", Dir, "/one.img ", Dir, "/other/two.img"]).

it_is_small_in_transport(Config) ->
    Echo = filename:join(evum_test_lib:tree(), "examples/echoserver/ebin"),
    #{image := Plain, unpacked := Unpacked} = bake(#{paths => [Echo]}),
    #{image := File, bytes := Bytes, unpacked := Unpacked} = bake(#{paths => [Echo], output => ?config(dir, Config) ++ "/small.img"}),
    true = Bytes =< 8000000,
    {0, _, _} = sh(["zcat < ", File, " | cmp - ", Plain]),
    {ok, #{bytes := Bytes, unpacked := Unpacked}} = evum_release:info(File).

a_second_bake_finds_the_first(Config) ->
    Opts = #{apps => [native], paths => [native(Config)]},
    #{image := Image} = bake(Opts),
    {Us, #{image := Image}} = timer:tc(fun() -> bake(Opts) end),
    ct:log("a second bake: ~b us", [Us]),
    %% nothing of it is made anew: there would be room for nothing
    ok = application:set_env(evum, cache_max, 0),
    try #{image := Image} = bake(Opts)
    after application:unset_env(evum, cache_max)
    end.

%% Of the same size, within the same second, in place.
a_changed_beam_is_another_image(Config) ->
    Dir = ?config(dir, Config) ++ "/changes",
    ok = filelib:ensure_path(Dir),
    Images = [begin
        compile(Dir, ["-module(changes). -export([a/0]).\na() -> ", N, ".\n"]),
        maps:get(image, bake([{paths, [Dir]}]))
     end || N <- ["1", "2", "3", "1"]],
    [One, Two, Three, One] = Images,
    3 = length(lists:usort([One, Two, Three])).

%% Outside of the application, in place.
a_changed_library_is_another_image(Config) ->
    Copy = copy("relinked", Config),
    Bake = fun() -> maps:get(image, bake(#{paths => [Copy ++ "/lib/native/ebin"]})) end,
    One = Bake(),
    {ok, Bytes} = file:read_file(Copy ++ "/own/libown.so.1"),
    ok = file:write_file(Copy ++ "/own/libown.so.1", [Bytes, 0]),
    false = Bake() =:= One,
    ok = file:write_file(Copy ++ "/own/libown.so.1", Bytes),
    One = Bake().

what_a_machine_boots_from_stays(Config) ->
    #{image := Image} = Baked = bake(#{paths => [plain(Config)], start => {tells, start, [[{tells, what, [here]}]]}}),
    {Vm, [here]} = booted(Baked, 1),
    {ok, _} = evm:gc(),
    true = filelib:is_regular(Image),
    done(Vm),
    {ok, _} = evm:gc(),
    false = filelib:is_regular(Image).

bad_options_are_named(Config) ->
    Bad = [{apps, x}, {apps, ["crypto"]}, {paths, "ebin"}, {paths, [true]}, {paths, [""]}, {release, 1}, {start, {a, b}}, {start, {a, b, c}},
           {busybox, 1}, {epmd, no}, {output, ""}, {nosuch, 1}, {output, [0]}],
    [{error, {bad_option, Key}} = evum_release:bake([{Key, Value}]) || {Key, Value} <- Bad],
    {error, {bad_option, release}} = evum_release:bake([{apps, [crypto]}, {release, ?config(dir, Config)}]),
    {error, {bad_option, x}} = evum_release:bake(x),
    [_ = sentence({bad_option, Key}) || {Key, _} <- Bad].

refused(Opts, Pattern) ->
    {error, Reason} = evum_release:bake(Opts),
    Text = sentence(Reason),
    {match, _} = re:run(Text, Pattern, [unicode]),
    Reason.

a_missing_library_is_named(Config) ->
    Copy = copy("lost", Config),
    {0, _, _} = sh(["rm ", Copy, "/own/libown.so.1"]),
    {missing_library, "libown.so.1", Of} = refused(#{paths => [Copy ++ "/lib/native/ebin"]}, "native[.]so needs the library libown[.]so[.]1"),
    "native.so" = filename:basename(Of).

copy(Name, Config) ->
    Dir = ?config(dir, Config),
    Copy = filename:join(Dir, Name),
    {0, _, _} = sh(["mkdir -p ", Copy, "/lib && cp -r ", Dir, "/lib/native ", Copy, "/lib && cp -r ", Dir, "/own ", Copy]),
    Copy.

%% The number of the processor is in bytes 18 and 19.
what_is_for_another_machine_is_told(Config) ->
    Copy = copy("foreign", Config),
    Nif = Copy ++ "/lib/native/priv/native.so",
    {ok, <<Head:18/binary, _:16, Rest/binary>>} = file:read_file(Nif),
    ok = file:write_file(Nif, [Head, <<183:16/little>>, Rest]),
    {foreign_architecture, Nif, "arm64", "x86-64"} = refused(#{paths => [Copy ++ "/lib/native/ebin"]}, "native[.]so is for arm64, .*x86-64"),
    %% a library for another machine is passed over, as the loader does
    {0, _, _} = sh(["cp ", Nif, " ", Copy, "/own/libown.so.1 && cp ", ?config(dir, Config), "/lib/native/priv/native.so ", Nif]),
    {missing_library, "libown.so.1", Nif} = refused(#{paths => [Copy ++ "/lib/native/ebin"]}, "libown"),
    ok = file:write_file(Nif, binary:part(Head, 0, 18)),
    {bad_elf, Nif} = refused(#{paths => [Copy ++ "/lib/native/ebin"]}, "damaged").

what_is_no_code_is_told(Config) ->
    Dir = ?config(dir, Config),
    {missing_application, nosuch, apps} = refused(#{apps => [nosuch]}, "no application nosuch"),
    Ebin = Dir ++ "/bad/ebin",
    ok = filelib:ensure_path(Ebin),
    {bad_path, _, no_beams} = refused(#{paths => [Dir ++ "/bad"]}, "has no beams.*bad/ebin"),
    {bad_path, _, enoent} = refused(#{paths => [Dir ++ "/nowhere"]}, "nowhere"),
    compile(Ebin, "-module(bad). -export([a/0]).\na() -> 1.\n"),
    write_app(Ebin, bad, [kernel, stdlib, lacking]),
    {missing_application, lacking, bad} = refused(#{paths => [Ebin]}, "bad needs the application lacking"),
    ok = file:write_file(Ebin ++ "/bad.app", "{application, bad, [{vsn, \"a/b\"}]}.\n"),
    {bad_app, _, vsn} = refused(#{paths => [Ebin]}, "bad.app.*vsn"),
    ok = file:write_file(Ebin ++ "/bad.app", "{application, other, [{vsn, \"1\"}]}.\n"),
    {bad_app, _, name} = refused(#{paths => [Ebin]}, "name"),
    ok = file:write_file(Ebin ++ "/bad.app", "no term"),
    {bad_app, _, syntax} = refused(#{paths => [Ebin]}, "application"),
    ok = file:write_file(Ebin ++ "/bad.app", "{application, bad, [{description, \"\"}, {vsn, \"1\"}, {modules, [bad, gone]}, {registered, []}, {applications, [kernel, stdlib]}]}.\n"),
    {bad_app, _, {no_beam, gone}} = refused(#{paths => [Ebin]}, "lists the module gone"),
    ok = file:write_file(Ebin ++ "/bad.app", "{application, bad, [{vsn, \"1\"}, {applications, [kernel, stdlib]}]}.\n"),
    {bad_release, _} = refused(#{paths => [Ebin]}, "description"),
    [begin
        ok = file:write_file(Ebin ++ "/bad.app", ["{application, bad, [{vsn, \"1\"}, ", Wrong, "]}.\n"]),
        {bad_app, _, {no_atoms, Key}} = refused(#{paths => [Ebin]}, atom_to_list(Key) ++ " must be a list of names")
     end || {Key, Wrong} <- [{applications, "{applications, kernel}"}, {applications, "{applications, [\"kernel\"]}"}, {modules, "{modules, [bad | x]}"},
                             {included_applications, "{included_applications, [1]}"}, {optional_applications, "{optional_applications, x}"}]],
    ok = file:write_file(Ebin ++ "/bad.app", "{application, bad, [{vsn, \"1\"} | x]}.\n"),
    {bad_app, _, syntax} = refused(#{paths => [Ebin]}, "application"),
    TwoLines = Dir ++ "/two\nlines",
    ok = filelib:ensure_path(TwoLines),
    compile(TwoLines, "-module(bad). -export([a/0]).\na() -> 1.\n"),
    {bad_path, _, einval} = refused(#{paths => [TwoLines]}, "line's end in its name"),
    write_app(Ebin, bad, [kernel, stdlib]),
    ok = file:write_file(Ebin ++ "/bad.beam", "FOR1, no"),
    {bad_beam, _} = refused(#{paths => [Ebin]}, "bad.beam").

a_start_that_is_not_there_is_told(Config) ->
    {bad_start, {nosuch, start, 0}} = refused(#{start => {nosuch, start, []}}, "nosuch:start/0"),
    {bad_start, {tells, start, 2}} = refused(#{paths => [plain(Config)], start => {tells, start, [1, 2]}}, "tells:start/2"),
    {bad_start, {tells, nope, 0}} = refused(#{paths => [plain(Config)], calls => {tells, nope, []}}, "tells:nope/0"),
    #{image := Image} = bake(#{paths => [plain(Config)], calls => {tells, start, [x]}}),
    #{image := Image} = bake(#{paths => [plain(Config)], calls => {erlang, halt, []}}).

%% --- releases -----------------------------------------------------------------------------

%% As relx lays it out, of the running OTP: what is in lib are links.
make_release(Name, Config) ->
    Dir = filename:join(?config(dir, Config), Name),
    Home = Dir ++ "/releases/2.0",
    {0, _, _} = sh(["mkdir -p ", Home, " ", Dir, "/lib ", Dir, "/etc && ln -s ", filename:dirname(native(Config)), " ", Dir, "/lib/native-1.0"]),
    Apps = [{App, vsn(App)} || App <- [kernel, stdlib, crypto]],
    [{0, _, _} = sh(["ln -s ", code:lib_dir(App), " ", Dir, "/lib/"]) || {App, _} <- Apps],
    Rel = {release, {"sample", "2.0"}, {erts, erlang:system_info(version)}, Apps ++ [{native, "1.0"}]},
    ok = file:write_file(Home ++ "/sample.rel", io_lib:format("~p.~n", [Rel])),
    {ok, _, _} = systools:make_script(Home ++ "/sample", [silent, no_warn_sasl, {path, [native(Config)]}, {outdir, Home}]),
    ok = file:rename(Home ++ "/sample.boot", Home ++ "/start.boot"),
    ok = file:write_file(Dir ++ "/releases/start_erl.data", [erlang:system_info(version), " 2.0"]),
    ok = file:write_file(Dir ++ "/etc/overlay", "laid over"),
    ok = file:write_file(Home ++ "/sys.config", "[{native, [{key, \"a value\"}]}].\n"),
    ok = file:write_file(Home ++ "/vm.args.src", "# a comment\n-sname ${SAMPLE_NAME:-sample}\n-setcookie 'a cookie'\n-heart\n+P 40000\n-own 'two words'\n"),
    Dir.

vsn(App) ->
    _ = application:load(App),
    {ok, Vsn} = application:get_key(App, vsn),
    Vsn.

a_release_boots_as_its_files_say(Config) ->
    Dir = make_release("rel", Config),
    Calls = [{application, get_env, [native, key]}, {init, get_argument, [own]}, {erlang, node, []}, {erlang, get_cookie, []},
             {erlang, system_info, [process_limit]}, {native, answer, []}, {file, read_file, ["/erlang/etc/overlay"]}, {init, get_argument, [heart]}],
    Baked = #{name := <<"sample">>, cookie := <<"a cookie">>} =
        bake(#{release => Dir, paths => [plain(Config)], start => {tells, start, [Calls]}}),
    {Vm, [{ok, "a value"}, {ok, [["two words"]]}, Node, 'a cookie', Limit, 42, {ok, <<"laid over">>}, error]} = booted(Baked, length(Calls)),
    true = Limit >= 40000 andalso Limit < 100000,
    ["sample", _] = string:split(atom_to_list(Node), "@"),
    done(Vm),
    true = os:putenv("SAMPLE_NAME", "another"),
    try #{name := <<"another">>} = bake(#{release => Dir})
    after os:unsetenv("SAMPLE_NAME")
    end.

a_release_with_its_own_runtime(Config) ->
    Dir = make_release("own-runtime", Config),
    Erts = "erts-" ++ erlang:system_info(version),
    {0, _, _} = sh(["cp -r ", filename:join(code:root_dir(), Erts), " ", Dir]),
    Program = filename:join([Dir, Erts, "bin", "inet_gethost"]),
    #{image := One} = bake(#{release => Dir}),
    {ok, Bytes} = file:read_file(Program),
    ok = file:write_file(Program, [Bytes, 0]),
    #{image := Two} = bake(#{release => Dir}),
    true = One =/= Two,
    ok = file:delete(Program),
    {no_erts, _} = refused(#{release => Dir}, "no whole runtime system"),
    %% one for another version needs nothing of the running one
    {0, _, _} = sh(["mv ", Dir, "/", Erts, " ", Dir, "/erts-99.1 && cp ", filename:join([code:root_dir(), Erts, "bin", "inet_gethost"]), " ", Dir, "/erts-99.1/bin"]),
    ok = file:write_file(Dir ++ "/releases/start_erl.data", "99.1 2.0"),
    #{image := Three} = bake(#{release => Dir}),
    true = lists:member(<<"erlang/erts-99.1/bin/beam.smp">>, names(Three)).

a_broken_release_is_told(Config) ->
    Dir = make_release("broken", Config),
    Home = Dir ++ "/releases/2.0",
    ok = file:write_file(Home ++ "/vm.args.src", "-name ${NOT_SET_HERE}\n"),
    {unset_variable, "NOT_SET_HERE", _} = refused(#{release => Dir}, "NOT_SET_HERE"),
    ok = file:write_file(Home ++ "/vm.args.src", "-args_file other\n"),
    {bad_vm_args, _, _} = refused(#{release => Dir}, "args_file"),
    ok = file:write_file(Home ++ "/vm.args.src", ""),
    {0, _, _} = sh(["rm ", Dir, "/lib/native-1.0"]),
    {missing_application, 'native-1.0', sample} = refused(#{release => Dir}, "sample needs the application native-1.0"),
    ok = file:write_file(Home ++ "/start.boot", "no boot file"),
    {0, _, _} = sh(["ln -s ", filename:dirname(native(Config)), " ", Dir, "/lib/native-1.0"]),
    {bad_release, _} = refused(#{release => Dir}, "no boot file"),
    {ok, Rel} = file:read_file(Home ++ "/sample.rel"),
    [begin
        ok = file:write_file(Home ++ "/sample.rel", ["{release, ", Wrong, "}.\n"]),
        {no_release, _, "*.rel"} = refused(#{release => Dir}, "no [*].rel")
     end || Wrong <- ["{\"sample\", \"2.0\"}, {erts, \"1\"}, [kernel]", "{\"sample\", \"2.0\"}, {erts, \"1\"}, all",
                      "{sample, \"2.0\"}, {erts, \"1\"}, []", "{\"sample\", \"2.0\"}, {erts, \"1\"}, [{kernel, 8}]"]],
    ok = file:write_file(Home ++ "/sample.rel", Rel),
    ok = file:delete(Home ++ "/start.boot"),
    {no_release, _, "start.boot"} = refused(#{release => Dir}, "start.boot"),
    ok = file:write_file(Dir ++ "/releases/start_erl.data", "99.1 2.0"),
    {wrong_erts, "99.1", Here} = refused(#{release => Dir}, "for ERTS 99.1, and .* is running"),
    Here = erlang:system_info(version),
    {no_release, _, _} = refused(#{release => plain(Config)}, "is no release").

%% --- other ways in --------------------------------------------------------------------------

the_command_bakes(Config) ->
    Dir = ?config(dir, Config),
    Out = Dir ++ "/command.img",
    {0, Said, _} = sh([evum_test_lib:evum(), " bake ", plain(Config), " ", Out]),
    Out = string:trim(binary_to_list(Said)),
    {ok, <<31, 139, _/binary>>} = file:read_file(Out),
    {1, <<>>, Sentence} = sh([evum_test_lib:evum(), " bake ", Dir, "/nowhere"]),
    {match, _} = re:run(Sentence, "^evum: .*nowhere"),
    {2, <<>>, _} = sh([evum_test_lib:evum(), " bake"]).

a_node_is_among_the_images(Config) ->
    ok = application:set_env(evum, dist, [{mine, [{bake, [{paths, [plain(Config)]}, {start, {tells, start, [[{tells, what, [mine]}]]}}]}]}]),
    try
        {ok, Vm} = evm:create([{dist, mine}]),
        mine = told(),
        done(Vm),
        [#{present := true}] = [Dist || #{dist := mine} = Dist <- evm:dists()],
        {ok, Image} = evm:fetch(mine),
        {ok, _} = evm:gc(),
        {ok, Image} = evm:fetch(mine)
    after application:unset_env(evum, dist)
    end,
    {ok, Shell} = evm:create([{dist, erlang}]),
    ok = evum:await(Shell, {text, "1> "}, 20000),
    ok = evum:puts(Shell, "length([a, b]) + 40.\r\n"),
    ok = evum:await(Shell, {text, "\\b42\\b"}, 10000),
    done(Shell).
