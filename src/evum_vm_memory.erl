%% SPDX-License-Identifier: Apache-2.0
%% Gives a guest's memory back to the host, and takes it again
%%
%% One resize at a time: each is told to the kernel as a difference. The guest's
%% caches go first. The agent takes its orders one after the other, so the answer
%% to a program that doesn't exist says that they are gone.
-module(evum_vm_memory).

-export([ask/4, dropped/2, resized/4, failed/3]).

-include("evum_vm.hrl").

%% @doc Sets the guest's memory, after what was asked for before.
-spec ask(pos_integer(), pos_integer(), gen_statem:from(), #data{}) -> gen_statem:event_handler_result(evum_vm:state()).
ask(MiB, _Ms, From, #data{machine = #{mem := Mem}}) when MiB > Mem ->
    evum_vm_data:reply(From, {error, {mem_range, 32, Mem}});
ask(MiB, Ms, From, #data{resizes = Resizes} = D) ->
    Ref = make_ref(),
    D1 = evum_vm_data:wait_for(Ref, memory, From, D#data{resizes = Resizes ++ [{Ref, MiB}]}),
    Expire = [{{timeout, Ref}, Ms, expire}],
    case Resizes of
        [] -> {keep_state, first(D1), Expire};
        _ -> {keep_state, D1, Expire}
    end.

first(#data{resizes = []} = D) -> D;
first(#data{resizes = [{Ref, MiB} | _], machine = #{mem := Mem}, shrunk = Shrunk, waiters = Waiters} = D) ->
    Now = Mem - Shrunk,
    if
        not is_map_key(Ref, Waiters) -> done(D);
        MiB =:= Now -> done(evum_vm_data:answer(Ref, ok, D));
        MiB > Now -> resize("+", MiB - Now, D);
        true -> drop_caches(D)
    end.

done(#data{resizes = [_ | Rest]} = D) -> first(D#data{resizes = Rest}).

drop_caches(#data{next_id = Id, programs = Programs} = D) ->
    D1 = evum_vm_data:cast(drop_caches, [], D#data{next_id = Id + 1, programs = Programs#{Id => barrier}}),
    evum_vm_data:ask(run, [Id, #{argv => [<<"/proc/evum">>]}], {barrier, Id}, D1).

%% @doc The caches are gone.
-spec dropped(Id :: pos_integer(), #data{}) -> #data{}.
dropped(Id, #data{programs = Programs, resizes = [{_, MiB} | _], machine = #{mem := Mem}, shrunk = Shrunk} = D) ->
    resize("-", Mem - Shrunk - MiB, D#data{programs = maps:remove(Id, Programs)}).

resize(Sign, By, #data{resizes = [{Ref, MiB} | _]} = D) ->
    Command = iolist_to_binary(["config mem=", Sign, integer_to_binary(By), "M"]),
    evum_vm_data:ask(mconsole, [Command], {memory, Ref, MiB}, D).

%% @doc The kernel has answered.
-spec resized(reference(), pos_integer(), {ok, term()} | {error, term()}, #data{}) -> #data{}.
resized(Ref, MiB, {ok, _}, #data{machine = #{mem := Mem}} = D) ->
    done(evum_vm_data:answer(Ref, ok, D#data{shrunk = Mem - MiB}));
resized(Ref, _MiB, {error, _} = Error, D) ->
    done(evum_vm_data:answer(Ref, Error, D)).

%% @doc The caches can't be dropped.
-spec failed(Id :: pos_integer(), {error, term()}, #data{}) -> #data{}.
failed(Id, Error, #data{programs = Programs, resizes = [{Ref, _} | _]} = D) ->
    done(evum_vm_data:answer(Ref, Error, D#data{programs = maps:remove(Id, Programs)})).
