%% SPDX-License-Identifier: Apache-2.0
-module(evm_image_size_tests).
-include_lib("eunit/include/eunit.hrl").

%% Superblocks of 1 MiB each, as the kernel's headers lay them out.
a_file_system_says_how_long_it_is_test_() ->
    [?_assertEqual({Type, At, Whole}, {Type, At, is_whole(Type, Head, At)})
        || {Type, Head} <- heads(), {At, Whole} <- [{1 bsl 20, true}, {2 bsl 20, true}, {(1 bsl 20) - 512, false}, {(1 bsl 20) + 1, false}]].

heads() ->
    [
        {ext, [<<0:1024/unit:8>>, ext(256, 2, 0, 99)]},
        {ext, [<<0:1024/unit:8>>, ext(1024, 0, 16#80, 0)]},
        {squashfs, ["hsqs", <<0:36/unit:8, (1 bsl 20):64/little>>]},
        {xfs, ["XFSB", <<4096:32, 256:64>>]},
        {erofs, [<<0:1024/unit:8>>, <<16#e2, 16#e1, 16#f5, 16#e0, 0:64, 12, 0:23/unit:8, 256:32/little>>]},
        {btrfs, [<<0:65536/unit:8>>, <<0:112/unit:8, (1 bsl 20):64/little, 0:128, 1:64/little>>]}
    ].

ext(Blocks, Log, Incompatible, High) ->
    <<0:32, Blocks:32/little, 0:16/unit:8, Log:32/little, 0:68/unit:8, Incompatible:32/little, 0:236/unit:8, High:32/little>>.

more_than_32_bits_of_blocks_count_test() ->
    ?assertNot(is_whole(ext, [<<0:1024/unit:8>>, ext(0, 2, 16#80, 1)], 1 bsl 30)).

%% What says nothing that makes sense is the kernel's to judge.
nonsense_is_whole_test() ->
    [?assert(is_whole(Type, [binary:copy(<<255>>, 70000)], 1 bsl 20)) || Type <- [ext, erofs, foo]].

an_archive_ends_with_zeroes_test() ->
    ?assert(is_whole(tar, [<<1:4096>>], 1024)),
    ?assertNot(is_whole(tar, [<<1:4096>>], 512)),
    ?assertNot(is_whole(tar, [], 0)).

is_whole(Type, Head, Bytes) ->
    File = filename:join("/tmp", "evm-image-size-" ++ os:getpid()),
    {ok, Fd} = file:open(File, [write, raw, binary]),
    ok = file:write(Fd, Head),
    {ok, Bytes} = file:position(Fd, Bytes),
    ok = file:truncate(Fd),
    ok = file:close(Fd),
    Whole = evm_image_size:is_whole(Type, File),
    ok = file:delete(File),
    Whole.
