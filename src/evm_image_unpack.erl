%% SPDX-License-Identifier: Apache-2.0
%% From what was downloaded to a root file system: by what is in it, not by its name
%%
%% Everything is done by programs with a bound on the file they write. A tar archive is
%% unpacked by root of a machine of our own: owners and modes are right, and what its
%% names point at is the machine's.
-module(evm_image_unpack).

-export([unpack/4]).
-export_type([error/0]).

-type error() ::
    {bad_archive, string(), binary()} | {no_file_system, string(), atom()} | {bomb, string(), pos_integer()}
    | evm_image_store:error().

-define(HEAD, 2048).
%% ms
-define(UNPACK_MS, 1800000).
%% packed twice is usual nowhere; more is an attack
-define(LAYERS_MAX, 2).

%% @doc Makes the image of the file in `Work'; at most `Max' bytes. `What' names it in errors.
-spec unpack(File :: file:filename(), What :: string(), Max :: pos_integer(), fun((map()) -> term())) ->
    {ok, file:filename()} | {error, error()}.
unpack(File, What, Max, Progress) -> unpack(kind(File), File, What, Max, Progress, ?LAYERS_MAX).

unpack({packed, Program}, File, What, Max, Progress, Layers) when Layers > 0 ->
    _ = Progress(#{stage => unpack, program => Program}),
    case plain(Program, File, Max) of
        {ok, Plain} -> unpack(kind(Plain), Plain, What, Max, Progress, Layers - 1);
        {error, file_too_big} -> {error, {bomb, What, Max}};
        {error, {program_failed, _, _, Text}} -> bad(File, What, Text);
        {error, _} = Error -> Error
    end;
unpack(tar, File, What, Max, Progress, _Layers) ->
    _ = Progress(#{stage => unpack, program => "tar"}),
    case evm_image_size:is_whole(tar, File) of
        true -> evm_image_tar:image(File, What, Max);
        false -> {error, {no_file_system, What, cut}}
    end;
unpack({file_system, Type}, File, What, Max, _Progress, _Layers) ->
    case {filelib:file_size(File) > Max, evm_image_size:is_whole(Type, File)} of
        {true, _} -> {error, {bomb, What, Max}};
        {false, false} -> {error, {no_file_system, What, cut}};
        {false, true} ->
            %% zeroes take no room
            _ = evm_image_tool:run("fallocate", ["--dig-holes", "--", File], #{time => ?UNPACK_MS}),
            {ok, File}
    end;
unpack({packed, _}, _File, What, _Max, _Progress, _Layers) -> {error, {no_file_system, What, packed}};
unpack(Other, _File, What, _Max, _Progress, _Layers) -> {error, {no_file_system, What, Other}}.

%% A full disk isn't the archive's fault.
bad(File, What, Text) ->
    case re:run(Text, "No space left|Disk quota", [{capture, none}]) of
        match -> {error, evm_image_store:posix(enospc, File)};
        nomatch -> {error, {bad_archive, What, Text}}
    end.

%% The program writes beside its input, takes the name's end away and the input too.
plain(Program, File, Max) ->
    Dir = filename:dirname(File),
    {Suffix, Args} = args(Program),
    Packed = filename:join(Dir, "plain" ++ Suffix),
    ok = file:rename(File, Packed),
    case evm_image_tool:run(Program, Args ++ ["--", filename:basename(Packed)], #{cd => Dir, time => ?UNPACK_MS, file_max => Max}) of
        {ok, _} ->
            Plain = filename:join(Dir, "unpacked"),
            ok = file:rename(filename:join(Dir, "plain"), Plain),
            {ok, Plain};
        {error, _} = Error -> Error
    end.

args("gzip") -> {".gz", ["-d", "-f", "-q"]};
args("bzip2") -> {".bz2", ["-d", "-f", "-q"]};
args("xz") -> {".xz", ["-d", "-f", "-q", "--memlimit-decompress=1GiB"]};
args("zstd") -> {".zst", ["-d", "-f", "-q", "--rm", "--memory=1024MB"]}.

%% --- what a file is -------------------------------------------------------------------

kind(File) ->
    case file:open(File, [read, raw, binary]) of
        {ok, Fd} ->
            Head = file:pread(Fd, [{0, ?HEAD}, {16#10040, 8}]),
            ok = file:close(Fd),
            head(Head);
        {error, _} -> unreadable
    end.

head({ok, [eof, _]}) -> empty;
head({ok, [Head, Far]}) -> magic(Head, Far);
head({error, _}) -> unreadable.

magic(<<16#1f, 16#8b, 8, _/binary>>, _) -> {packed, "gzip"};
magic(<<"BZh", _/binary>>, _) -> {packed, "bzip2"};
magic(<<16#fd, "7zXZ", 0, _/binary>>, _) -> {packed, "xz"};
magic(<<16#28, 16#b5, 16#2f, 16#fd, _/binary>>, _) -> {packed, "zstd"};
magic(<<"hsqs", _/binary>>, _) -> {file_system, squashfs};
magic(<<"XFSB", _/binary>>, _) -> {file_system, xfs};
magic(<<_:1080/binary, 16#53, 16#ef, _/binary>>, _) -> {file_system, ext};
magic(<<_:1024/binary, 16#e2, 16#e1, 16#f5, 16#e0, _/binary>>, _) -> {file_system, erofs};
magic(_, <<"_BHRfS_M">>) -> {file_system, btrfs};
magic(<<_:257/binary, "ustar", _/binary>>, _) -> tar;
magic(<<_:510/binary, 16#55, 16#aa, _/binary>>, _) -> partition_table;
magic(_, _) -> unknown.
