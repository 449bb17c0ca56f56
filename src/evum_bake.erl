%% SPDX-License-Identifier: Apache-2.0
%% ./evum bake: an image from the command line
-module(evum_bake).

-export([main/0]).

%% @doc Bakes the release directory, or the directory of beams, that is the first argument;
%% into the file that is the second, packed, or into the cache. Prints where the image is.
%% Ends the node: status 0, 1 with an error's sentence, 2 for a wrong use.
-spec main() -> no_return().
main() -> halt(run(init:get_plain_arguments())).

run([Dir]) -> done(evum_release:bake(what(Dir)));
run([Dir, File]) -> done(evum_release:bake((what(Dir))#{output => File}));
run(_) ->
    say("usage: ./evum bake DIR [FILE]"),
    2.

what(Dir) ->
    case filelib:is_dir(filename:join(Dir, "releases")) of
        true -> #{release => Dir};
        false -> #{paths => [Dir]}
    end.

done({ok, #{image := Image, bytes := Bytes, least := Mem}}) ->
    io:put_chars([Image, $\n]),
    say(io_lib:format("~b bytes; a machine needs ~b MiB to boot it", [Bytes, Mem])),
    0;
done({error, Reason}) ->
    say(evum:format_error(Reason)),
    1.

say(Text) -> io:put_chars(standard_error, ["evum: ", Text, $\n]).
