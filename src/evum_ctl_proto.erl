%% SPDX-License-Identifier: Apache-2.0
%% The messages of uml_switch's control socket, version 3; pure
%%
%%   request  u32 magic, u32 version, i32 type, sockaddr_un; then, from VDE's
%%            programs, a description of up to 128 bytes
%%   reply    sockaddr_un
%%
%% in the host's byte order. Who asks gives the address of his datagram socket and
%% gets that of ours; a datagram is a frame. VDE puts the number of the port that
%% it would like into the type's upper bytes, and 1 into the lowest for a port
%% that isn't its switch's to manage: all of ours are alike. Versions 1 and 2 are of
%% kernels older than 2.6: they are refused.
-module(evum_ctl_proto).

-export([request/1, request_size/0, reply/1]).
-export_type([error/0]).

-define(MAGIC, 16#feedface).
-define(VERSION, 3).
-define(NEW_CONTROL, 0).
-define(NEW_PORT0, 1).
-define(AF_UNIX, 1).
-define(PATH_SIZE, 108).
%% 12 bytes and a sockaddr_un
-define(REQUEST_SIZE, 122).

-type error() :: bad_magic | {bad_version, non_neg_integer()} | {bad_type, integer()} | bad_address.

%% @doc Bytes of a request without its description.
-spec request_size() -> pos_integer().
request_size() -> ?REQUEST_SIZE.

%% @doc The address of the datagram socket whose owner asks: a path, or a name that begins
%% with a NUL. `more': the request isn't complete.
-spec request(binary()) -> {ok, Address :: binary()} | more | {error, error()}.
request(<<?MAGIC:32/native, ?VERSION:32/native, Type:32/native-signed, Family:16/native, Path:?PATH_SIZE/binary, _/binary>>) ->
    if
        Type band 16#ff =/= ?NEW_CONTROL, Type band 16#ff =/= ?NEW_PORT0 -> {error, {bad_type, Type}};
        Family =/= ?AF_UNIX -> {error, bad_address};
        true -> address(Path)
    end;
request(<<?MAGIC:32/native, ?VERSION:32/native, _/binary>>) -> more;
request(<<?MAGIC:32/native, Version:32/native, _/binary>>) -> {error, {bad_version, Version}};
request(<<?MAGIC:32/native, _/binary>>) -> more;
request(Bytes) when byte_size(Bytes) < 4 -> more;
request(_) -> {error, bad_magic}.

%% The kernel takes an abstract name with all its bytes: User Mode Linux doesn't clear
%% those that it doesn't use.
address(<<0:?PATH_SIZE/unit:8>>) -> {error, bad_address};
address(<<0, _/binary>> = Abstract) -> {ok, Abstract};
address(<<$/, _/binary>> = Padded) ->
    case binary:split(Padded, <<0>>) of
        [Path, _] -> {ok, Path};
        [_Unended] -> {error, bad_address}
    end;
address(_) -> {error, bad_address}.

%% @doc The reply: the path of our datagram socket, at most 107 bytes.
-spec reply(Path :: binary()) -> binary().
reply(Path) ->
    Padding = ?PATH_SIZE - byte_size(Path),
    <<?AF_UNIX:16/native, Path/binary, 0:Padding/unit:8>>.
