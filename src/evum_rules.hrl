%% SPDX-License-Identifier: Apache-2.0
%% What a rule is: to its switch, and where it is applied, in the link of a port

-record(rule, {
    ref :: evum_rules:ref(),
    kind :: evum_rule:kind(),
    on :: evum_rules:on(),
    spec :: evum_rule:spec(),
    asker :: evum_asker:asker(),
    %% what ends it when it ends
    monitors :: #{reference() => life | {vm, pid()}},
    counters :: counters:counters_ref(),
    %% a filter's or a capture's process, and where that takes frames
    helper :: undefined | pid(),
    inbox :: undefined | evum_inbox:inbox()
}).

%% Frames that came from these ports, and what becomes of them.
-record(stage, {
    ref :: evum_rules:ref(),
    counters :: counters:counters_ref(),
    from = any :: any | [evum_lan:port_no()],
    what :: block | {fault, evum_fault:spec(), Place :: term()} | {filter, pid()}
}).

%% Who is shown frames. A tap changes nothing.
-record(tap, {
    ref :: evum_rules:ref(),
    counters :: counters:counters_ref(),
    direction :: evum_rules:direction(),
    to :: {capture, evum_inbox:inbox(), Interface :: binary()} | {subscriber, evum_asker:asker(), evum_rules:who()},
    %% frames that weren't shown, since the last one that was
    missed = 0 :: non_neg_integer()
}).

%% The counters of a rule: frames that it was applied to, ...
-define(RULE_FRAMES, 1).
%% ... that it took away: lost, blocked, or dropped by a filter, ...
-define(RULE_DROPPED, 2).
%% ... and that were lost for lack of room: in a line's queue, among what is
%% delayed or held, in an inbox
-define(RULE_FULL, 3).
-define(RULE_COUNTERS, 3).
