%% SPDX-License-Identifier: Apache-2.0
%% The management console of the guest's kernel, a command a function
%%
%% Each answers {ok, Text} with what the kernel said, or {error, {refused, Text}}.
-module(evum_mcons).

-export([version/1, help/1, config/2, remove/2, sysrq/2, cad/1, stop/1, go/1, log/2, proc/2]).
-export([stack/2, halt/1, reboot/1]).

-type answer() :: {ok, binary()} | {error, term()}.
-type text() :: unicode:chardata().

%% @doc The kernel's release.
-spec version(evum:vm()) -> answer().
version(Vm) -> evum:system(Vm, "version").

%% @doc The commands.
-spec help(evum:vm()) -> answer().
help(Vm) -> evum:system(Vm, "help").

%% @doc Sets a device (`"ubd1=/file"'), or, without a value, tells its setting.
%% It can name any host file that the jail shows.
-spec config(evum:vm(), text()) -> answer().
config(Vm, Device) -> evum:system(Vm, ["config ", Device]).

%% @doc Removes a device.
-spec remove(evum:vm(), text()) -> answer().
remove(Vm, Device) -> evum:system(Vm, ["remove ", Device]).

%% @doc The magic SysRq key with a letter.
-spec sysrq(evum:vm(), char()) -> answer().
sysrq(Vm, Key) when Key >= $\s, Key =< $~ -> evum:system(Vm, ["sysrq ", Key]).

%% @doc Ctrl-Alt-Del.
-spec cad(evum:vm()) -> answer().
cad(Vm) -> evum:system(Vm, "cad").

%% @doc Freezes the guest, as {@link evum:pause/1}.
-spec stop(evum:vm()) -> answer().
stop(Vm) -> evum:system(Vm, "stop").

%% @doc Lets it go on, as {@link evum:resume/1}.
-spec go(evum:vm()) -> answer().
go(Vm) -> evum:system(Vm, "go").

%% @doc Puts a line into the guest kernel's log.
-spec log(evum:vm(), text()) -> answer().
log(Vm, Line) -> evum:system(Vm, ["log ", Line]).

%% @doc Reads a file of the guest's /proc, without a program in the guest.
-spec proc(evum:vm(), text()) -> answer().
proc(Vm, File) -> evum:system(Vm, ["proc ", File]).

%% @doc The kernel stack of a guest process.
-spec stack(evum:vm(), pos_integer()) -> answer().
stack(Vm, Pid) -> evum:system(Vm, ["stack ", integer_to_list(Pid)]).

%% @doc Halts the kernel at once, without telling the guest's programs.
-spec halt(evum:vm()) -> answer().
halt(Vm) -> evum:system(Vm, "halt").

%% @doc Reboots the kernel at once.
-spec reboot(evum:vm()) -> answer().
reboot(Vm) -> evum:system(Vm, "reboot").
