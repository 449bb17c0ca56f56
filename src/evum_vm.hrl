%% SPDX-License-Identifier: Apache-2.0
%% What a machine's process knows, for the modules that it is made of

-define(BOOT_MS, 60000).
-define(STOP_GRACE_MS, 5000).
%% what the port's ladder may take after its grace, and the port to end
-define(LADDER_MS, 5000).
-define(KILL_MS, 3000).
-define(PORT_EXIT_MS, 2000).
-define(REBOOT_MS, 10000).
-define(REBOOT_CAD_MS, 5000).
-define(REBOOTS_MAX, 10).
-define(REBOOTS_MS, 60000).
-define(CONSOLE_WINDOW, 65536).
-define(CREDIT_MIN, 8192).
-define(EARLY_MAX, 1000).
-define(LINES, 50).
-define(ATTACH_RETRY_MS, 1000).
-define(SETTLE_MS, 50).
-define(SETTLE_MAX_MS, 300).
%% what a pipe of a guest's holds at most, bytes
-define(PIPE_MAX, 1048576).
%% how soon awaited text is looked for
-define(TEXT_MS, 10).

-record(waiter, {
    kind :: echo | {text, term()} | up | reboot | typing | memory | {early, Op :: atom()},
    from :: gen_statem:from()
}).

-record(data, {
    machine :: evum_vm:machine(),
    label :: atom(),
    parent :: pid(),
    owner :: evum_owner:owner(),
    life :: reference() | undefined,
    %% who waits for the boot, until it is up
    creator :: reference() | undefined,
    console :: evum_console:console(),
    chan :: evum_chan:chan() | undefined,
    net :: evum_vm_net:net(),
    dirs :: evum_vm_dirs:dirs(),
    started = false :: boolean(),
    stage = spawn :: atom(),
    release = <<>> :: binary(),
    was_up = false :: boolean(),
    up_since :: integer() | undefined,
    %% MiB given back by memory/2
    shrunk = 0 :: non_neg_integer(),
    %% the resize that is under way, and those that wait for it
    resizes = [] :: [{reference(), pos_integer()}],
    panic :: undefined | binary(),
    boot_error = [] :: [binary()],
    %% why the machine is to end, or that it is to reboot, once asked
    ending :: undefined | {graceful | kill, Reason :: term()},
    rebooting = false :: boolean(),
    %% and that what was written is to be gone then
    reverting = false :: boolean(),
    %% a halt or reboot that the management console was asked for
    asked :: undefined | halted | rebooted,
    %% what happens when the port is gone
    outcome :: undefined | reboot | {finish, Reason :: term()},
    reboots = [] :: [integer()],
    %% lines to be typed, one at a time; the one whose echo is awaited; the last output
    lines = [] :: [{reference(), binary()}],
    typing :: undefined | {reference(), typed | integer()},
    output_at = 0 :: integer(),
    %% the console was written to, and will be looked at for awaited text
    unchecked = false :: boolean(),
    waiters = #{} :: #{reference() => #waiter{}},
    early = [] :: [{reference() | undefined, term()}],
    next_id = 1 :: pos_integer(),
    programs = #{} :: #{pos_integer() => {pid(), reference()} | term()},
    attach :: undefined | pid(),
    %% where the console goes while somebody is attached, and what he has not read
    viewer :: undefined | pid(),
    unseen = 0 :: non_neg_integer()
}).
