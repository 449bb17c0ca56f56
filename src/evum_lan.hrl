%% SPDX-License-Identifier: Apache-2.0
%% What the modules of a network share: its tables' rows

%% What the sender of a frame needs. The tables end with the switch.
-record(lan, {
    switch :: pid(),
    name :: atom(),
    %% #port{}, by number; public
    ports :: ets:tid(),
    %% {Mac, No, static | dynamic, SeenSeconds}; public
    fdb :: ets:tid(),
    %% what evum_flow knows; public
    flows :: ets:tid()
}).

-record(port, {
    %% 0 the gateway, 1 the uplink, 2 and more machines and foreign ports
    no :: non_neg_integer(),
    kind :: gateway | uplink | machine | foreign,
    out :: none | {port, port(), Nic :: byte()} | {inbox, evum_inbox:inbox()},
    %% its evum_link, while it has rules
    via = none :: none | evum_inbox:inbox(),
    %% gets broadcasts and frames for unknown addresses (`ipv6': only IPv6's)
    flood = true :: boolean() | ipv6,
    %% the longest frame that it takes, bytes: MTU and 18
    max_frame :: pos_integer(),
    counters :: counters:counters_ref(),
    label :: atom() | binary(),
    owner :: pid(),
    nic = 0 :: byte(),
    mac :: undefined | evum_frame:mac(),
    ip :: undefined | inet:ip4_address()
}).

%% The counters of a port: rx is what came from it, tx what went to it.
-define(LAN_RX_FRAMES, 1).
-define(LAN_RX_BYTES, 2).
-define(LAN_TX_FRAMES, 3).
-define(LAN_TX_BYTES, 4).
%% on their way to the port
-define(LAN_DROPPED, 5).
%% from an address that isn't the port's to use
-define(LAN_SPOOFED, 6).
%% from an address that wasn't learned: the port has too many
-define(LAN_UNLEARNED, 7).
%% addresses that are learned now; the switch's sweep counts them anew
-define(LAN_LEARNED, 8).
%% of those that went to the port, what went from machine to machine
-define(LAN_FLOW_FRAMES, 9).
-define(LAN_FLOW_BYTES, 10).
-define(LAN_COUNTERS, 10).

%% addresses that are learned of a port, at most
-define(LAN_LEARN_MAX, 1024).
