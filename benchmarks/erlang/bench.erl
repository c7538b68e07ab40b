%% The kernel's workloads and Savina's programs on Erlang processes; see kernel/workload.py and savina/programs.py.
%% Prints one sample as JSON. `erl -noshell -run bench main NAME SIZE`
-module(bench).
-export([main/1]).

main([Name, Size]) ->
    Run = fun(N) -> run(list_to_atom(Name), N) end,
    Before = erlang:memory(processes),
    {Cpu0, _} = erlang:statistics(runtime),
    Wall0 = erlang:monotonic_time(microsecond),
    {Count, Value} = case Run(list_to_integer(Size)) of
        {grown, N, After} -> {N, io_lib:format("~.4f", [(After - Before) / 1024 / N])};
        N -> {N, "null"}
    end,
    Wall = (erlang:monotonic_time(microsecond) - Wall0) / 1.0e6,
    {Cpu1, _} = erlang:statistics(runtime),
    %% The runtime counts whole milliseconds.
    Cpu = max(Cpu1 - Cpu0, 1) / 1.0e3,
    io:format("{\"count\": ~b, \"wall_seconds\": ~.6f, \"cpu_seconds\": ~.6f, \"value\": ~s}~n",
              [Count, Wall, Cpu, Value]),
    halt(0).

%% -- the kernel -----------------------------------------------------------------------------------------------------

run(tell, Size) ->
    Counter = spawn_link(fun() -> counter(0) end),
    Total = windows(max(Size div 1000, 1), [Counter]),
    Total;
run(tell_100, Size) ->
    windows(max(Size div 100000, 1), [spawn_link(fun() -> counter(0) end) || _ <- lists:seq(1, 100)]);
run(ask, Size) ->
    Counter = spawn_link(fun() -> counter(0) end),
    lists:foldl(fun(_, _) -> call(Counter) end, 0, lists:seq(1, Size));
run(ring, Size) ->
    ring(503, Size);
run(fan_out, Size) ->
    Rounds = max(Size div 200, 1),
    Workers = [spawn_link(fun worker/0) || _ <- lists:seq(1, 100)],
    Self = self(),
    spawn_link(fun() -> hub(Workers, Rounds), Self ! done end),
    receive done -> Rounds * 200 end;
run(spawn_stop, Size) ->
    Batches = max(Size div 100, 1),
    lists:foreach(fun(_) ->
        Started = [spawn_monitor(fun() -> counter(0) end) || _ <- lists:seq(1, 100)],
        [Pid ! stop || {Pid, _} <- Started],
        [receive {'DOWN', Ref, process, _, _} -> ok end || {_, Ref} <- Started]
    end, lists:seq(1, Batches)),
    Batches * 100;
run(memory, Size) ->
    Pids = [spawn_link(fun() -> counter(0) end) || _ <- lists:seq(1, Size)],
    [call(Pid) || Pid <- Pids],
    {grown, Size, erlang:memory(processes)};

%% -- Savina ---------------------------------------------------------------------------------------------------------

run(thr, Size) ->
    ring(100, Size);
run(fjcreate, Size) ->
    Parts = [spawn_monitor(fun() -> receive Theta -> compute(Theta) end end) || _ <- lists:seq(1, Size)],
    [Pid ! 37.2 || {Pid, _} <- Parts],
    [receive {'DOWN', Ref, process, _, _} -> ok end || {_, Ref} <- Parts],
    Size;
run(fjthrput, Size) ->
    Self = self(),
    Pids = [spawn_link(fun() -> busy(Size), Self ! done end) || _ <- lists:seq(1, 60)],
    [[Pid ! 37.2 || Pid <- Pids] || _ <- lists:seq(1, Size)],
    wait(60),
    60 * Size;
run(count, Size) ->
    Self = self(),
    Counter = spawn_link(fun() -> counter(0) end),
    spawn_link(fun() ->
        tells(Counter, Size),
        Counter ! {ask, self()},
        receive {answer, Count} -> Self ! {count, Count - 1} end
    end),
    receive {count, Count} -> Count end;
run(pingpong, Size) ->
    Self = self(),
    Pong = spawn_link(fun worker/0),
    spawn_link(fun() -> ping(Pong, Size), Self ! done end),
    wait(1),
    2 * Size;
run(big, Size) ->
    Self = self(),
    Pids = [spawn_link(fun() ->
        rand:seed(exsss, Number),
        receive {actors, Actors} -> big(Actors, Size, Self) end
    end) || Number <- lists:seq(1, 120)],
    Actors = list_to_tuple(Pids),
    [Pid ! {actors, Actors} || Pid <- Pids],
    [Pid ! pong || Pid <- Pids],
    wait(120),
    120 * Size * 2;
run(concdict, Size) ->
    Self = self(),
    Dictionary = spawn_link(fun() -> dictionary(#{}) end),
    [spawn_link(fun() ->
        rand:seed(exsss, Number),
        reader(Dictionary, Size),
        Self ! done
    end) || Number <- lists:seq(1, 20)],
    wait(20),
    20 * Size * 2;
run(bndbuffer, Size) ->
    Self = self(),
    Makers = [spawn_link(fun() -> maker(Size, 0.0) end) || _ <- lists:seq(1, 40)],
    Takers = [spawn_link(fun() -> taker(0.0) end) || _ <- lists:seq(1, 40)],
    Manager = spawn_link(fun() ->
        manager(queue:new(), queue:from_list(Takers), queue:new(), 40), Self ! done
    end),
    [Maker ! {more, Manager} || Maker <- Makers],
    wait(1),
    40 * Size;
run(banking, Size) ->
    rand:seed(exsss, 123456),
    Teller = self(),
    Accounts = list_to_tuple([spawn_link(fun() -> account(0.0) end) || _ <- lists:seq(1, 1000)]),
    [begin
        Source = rand:uniform(800),
        To = Source + rand:uniform(1000 - Source),
        element(Source, Accounts) ! {credit, rand:uniform() * 1000, element(To, Accounts), Teller}
    end || _ <- lists:seq(1, Size)],
    wait(Size),
    Size.

%% -- the processes --------------------------------------------------------------------------------------------------

wait(0) -> ok;
wait(N) -> receive done -> wait(N - 1) end.

call(Pid) ->
    Pid ! {ask, self()},
    receive {answer, Count} -> Count end.

counter(N) ->
    receive
        {ask, From} -> From ! {answer, N + 1}, counter(N + 1);
        stop -> ok;
        _ -> counter(N + 1)
    end.

tells(_, 0) -> ok;
tells(Pid, N) -> Pid ! N, tells(Pid, N - 1).

windows(Windows, Pids) ->
    lists:foldl(fun(_, _) ->
        [[Pid ! N || Pid <- Pids] || N <- lists:seq(1, 999)],
        lists:sum([call(Pid) || Pid <- Pids])
    end, 0, lists:seq(1, Windows)).

ring(Members, Hops) ->
    Self = self(),
    Last = spawn_link(fun() -> receive {next, First} -> link_loop(First, Self) end end),
    First = lists:foldl(fun(_, Next) ->
        spawn_link(fun() -> link_loop(Next, Self) end)
    end, Last, lists:seq(2, Members)),
    Last ! {next, First},
    First ! Hops,
    wait(1),
    Hops.

link_loop(Next, Main) ->
    receive
        0 -> Main ! done, link_loop(Next, Main);
        N -> Next ! N - 1, link_loop(Next, Main)
    end.

worker() ->
    receive From -> From ! back, worker() end.

hub(_, 0) -> ok;
hub(Workers, Rounds) ->
    [Worker ! self() || Worker <- Workers],
    [receive back -> ok end || _ <- Workers],
    hub(Workers, Rounds - 1).

compute(Theta) ->
    Sine = math:sin(Theta),
    true = Sine * Sine > 0.

busy(0) -> ok;
busy(N) -> receive Theta -> compute(Theta), busy(N - 1) end.

ping(_, 0) -> ok;
ping(Pong, N) ->
    Pong ! self(),
    receive back -> ping(Pong, N - 1) end.

big(Actors, Left, Main) ->
    receive
        {ping, From} -> From ! pong, big(Actors, Left, Main);
        pong when Left > 0 ->
            element(rand:uniform(120), Actors) ! {ping, self()},
            big(Actors, Left - 1, Main);
        pong -> Main ! done, big(Actors, Left, Main)
    end.

dictionary(Data) ->
    receive
        {write, From, Key, Value} -> From ! {result, Value}, dictionary(Data#{Key => Value});
        {read, From, Key} -> From ! {result, maps:get(Key, Data, none)}, dictionary(Data)
    end.

reader(_, 0) -> ok;
reader(Dictionary, N) ->
    Key = rand:uniform(1 bsl 19),
    Dictionary ! case rand:uniform(10) of
        1 -> {write, self(), Key, Key};
        _ -> {read, self(), Key}
    end,
    receive {result, _} -> reader(Dictionary, N - 1) end.

process(Number) -> Number + math:log(0.5 + 0.01).

maker(0, _) -> receive {more, Manager} -> Manager ! made end;
maker(N, Item) ->
    receive {more, Manager} ->
        Next = process(Item),
        Manager ! {item, self(), Next},
        maker(N - 1, Next)
    end.

taker(Item) ->
    receive {item, Manager, Number} ->
        Next = process(Item + Number),
        Manager ! {free, self()},
        taker(Next)
    end.

%% The room is 50 - 40 items, as in the suite.
manager(Makers, Takers, Items, AtWork) ->
    case AtWork =:= 0 andalso queue:len(Takers) =:= 40 of
        true -> ok;
        false ->
            receive
                made -> manager(Makers, Takers, Items, AtWork - 1);
                {item, Maker, Item} ->
                    {Takers1, Items1} = case queue:out(Takers) of
                        {{value, Taker}, Rest} -> Taker ! {item, self(), Item}, {Rest, Items};
                        {empty, _} -> {Takers, queue:in(Item, Items)}
                    end,
                    case queue:len(Items1) >= 10 of
                        true -> manager(queue:in(Maker, Makers), Takers1, Items1, AtWork);
                        false -> Maker ! {more, self()}, manager(Makers, Takers1, Items1, AtWork)
                    end;
                {free, Taker} ->
                    case queue:out(Items) of
                        {empty, _} -> manager(Makers, queue:in(Taker, Takers), Items, AtWork);
                        {{value, Item}, Rest} ->
                            Taker ! {item, self(), Item},
                            case queue:out(Makers) of
                                {{value, Maker}, Others} ->
                                    Maker ! {more, self()},
                                    manager(Others, Takers, Rest, AtWork);
                                {empty, _} -> manager(Makers, Takers, Rest, AtWork)
                            end
                    end
            end
    end.

account(Balance) ->
    receive
        {debit, Amount, From, Ref} -> From ! {Ref, ok}, account(Balance + Amount);
        {credit, Amount, Other, Teller} ->
            Ref = make_ref(),
            Other ! {debit, Amount, self(), Ref},
            receive {Ref, ok} -> ok end,
            Teller ! done,
            account(Balance - Amount)
    end.
