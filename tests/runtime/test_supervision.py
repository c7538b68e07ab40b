"""A7, the shell: restarts, windows in virtual time, giving up, starts that fail."""

from functools import partial
from random import Random
from typing import Any

import pykka
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import (
    AskCycle,
    Backoff,
    ChildSpec,
    Exit,
    ExitKind,
    Killed,
    NotRunning,
    Ref,
    Restart,
    RestartsExhausted,
    Strategy,
    Supervision,
    Supervisor,
    decide,
    open_system,
)
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Log, Parent, Raise, Sleep, Worker, spawn_child

# Seconds between failures, who fails, and how.
failures = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 6]), st.integers(0, 2), st.sampled_from(["tell", "ask", "slow", "kill"])),
    min_size=4,
    max_size=12,
)


async def crash(ref: Ref[Any], how: str) -> None:
    """Make it fail, in one of the ways there are; it has failed when the mailboxes have settled."""
    try:
        if how == "tell":
            ref.tell(Raise(ValueError("told")))
        elif how == "ask":
            with pytest.raises(ValueError, match="asked"):
                await ref.ask_async(Raise(ValueError("asked")))
        elif how == "slow":
            ref.tell(_fail_slowly)
        else:
            ref.kill()
    except pykka.ActorDeadError:
        pass  # it was given up before


async def _fail_slowly(worker: Worker) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("slow")


# A7
@given(
    failures=failures,
    strategy=st.sampled_from([Strategy.ONE_FOR_ONE, Strategy.DYNAMIC]),
    restarts=st.tuples(*[st.sampled_from([Restart.PERMANENT, *Restart])] * 3),
    intensity=st.integers(0, 3),
    schedule=st.random_module(),
)
async def test_supervisors_carry_out_what_is_decided(
    failures: list[tuple[int, int, str]],
    strategy: Strategy,
    restarts: tuple[Restart, ...],
    intensity: int,
    schedule: object,
) -> None:
    """Three children, one window or a window each: who lives, how often it was restarted, who gave up when."""
    supervision = Supervision(strategy, intensity, period_seconds=5)
    dynamic = strategy is Strategy.DYNAMIC
    # The model: one history, or one for each child; an outer supervisor that restarts this one for ever.
    histories: dict[int, tuple[float, ...]] = {}
    expected_restarts = [0, 0, 0]
    alive = [True, True, True]
    given_up: list[tuple[int, int]] = []
    supervisors = 1
    now = 0
    for pause, child, _ in failures:
        now += pause
        if not alive[child]:
            continue
        window = child if dynamic else -1
        exit = Exit(str(child), ExitKind.ABNORMAL)
        plan = decide(supervision, {exit.id: restarts[child]}, exit, histories.get(window, ()), now)
        histories[window] = plan.history
        if plan.restart:
            expected_restarts[child] += 1
        elif not plan.give_up:
            alive[child] = False
        elif dynamic:
            alive[child] = False
            given_up.append((child, now))
        else:
            # It fails itself: its children go, and the fresh one starts them anew, with an empty window.
            supervisors += 1
            expected_restarts, alive, histories = [0, 0, 0], [True, True, True], {}

    log: Log = []
    ready: list[dict[str, Ref[Any]]] = []

    class Nest(Parent):
        def on_start(self) -> None:
            specs = [ChildSpec(str(n), Worker, restart) for n, restart in enumerate(restarts)]
            ready.append({spec.id: self.start_child(spec) for spec in specs})

        def on_child_given_up(self, id: str, error: BaseException) -> None:
            log.append((int(id), trio.current_time()))

    async with open_system(slice_clock=frozen_clock) as system:
        await spawn_child(system, Supervision(intensity=1_000), partial(Nest, supervision))
        for pause, child, how in failures:
            await trio.sleep(pause)
            await crash(ready[-1][str(child)], how)
            await settle(system)
        assert len(ready) == supervisors
        assert log == given_up
        assert [ref.is_alive() for ref in ready[-1].values()] == alive
        for refs in ready[:-1]:
            assert not any(ref.is_alive() for ref in refs.values())
        counted = {a.path: a.restarts for a in system.statistics().actors}
        for n in range(3):
            if alive[n]:
                assert counted[f"system/parent/child/{n}"] == expected_restarts[n]


@pytest.mark.parametrize("depth", [0, 1, 3])
async def test_giving_up_goes_up_to_the_caller(depth: int) -> None:
    """Each supervisor that tolerates nothing passes it on; the error names the child, with the cause below."""
    wide = Supervision(intensity=0)

    async def nest(parent: Parent, level: int) -> Ref[Any]:
        if level == 0:
            return await parent.spawn(ChildSpec("leaf", Worker))
        child = await parent.spawn(ChildSpec("nest", lambda: Parent(wide)))
        ref: Ref[Any] = await child.ask_async(partial(nest, level=level - 1))
        return ref

    async def run() -> None:
        async with open_system("board") as system:
            top = await system.spawn(lambda: Parent(wide), id="top")
            leaf = await top.ask_async(partial(nest, level=depth))
            for _ in range(100):
                # The top itself is tolerated three times by the system; each time the nest below is built anew.
                leaf.tell(Raise(ValueError("at the leaf")))
                await settle(system)
                leaf = await top.ask_async(partial(nest, level=depth))
            await trio.sleep_forever()

    with pytest.raises(
        RestartsExhausted, match=r"^board/top failed again after 3 restarts within 5\.0 seconds"
    ) as caught:
        await run()
    error: BaseException | None = caught.value
    chain = []
    while error is not None:
        chain.append(str(error).split(" ")[0])
        error = error.__cause__
    assert chain == ["board/top", *["board/top" + "/nest" * n for n in range(1, depth + 1)], *_leaf(depth), "at"]


def _leaf(depth: int) -> list[str]:
    return ["board/top" + "/nest" * depth + "/leaf"]


async def test_a_dynamic_child_that_is_given_up_concerns_nobody_else() -> None:
    """Its siblings are not restarted, its supervisor lives on, and hears of it in a turn of its own."""
    log: Log = []
    supervision = Supervision(Strategy.DYNAMIC, intensity=1, period_seconds=60)
    async with open_system() as system:
        parent, bad = await spawn_child(system, supervision, Worker, log=log)
        good = await parent.ask_async(ChildSpec("good", Worker))
        parent.tell(lambda parent: parent.watch(bad))

        async def busy(parent: Parent) -> None:
            log.append(("busy",))
            await trio.sleep(5)
            log.append(("free",))

        parent.tell(busy)
        bad.tell(Raise(ValueError("one")))
        bad.tell(Raise(ValueError("two")))
        bad.tell("three")
        await settle(system)
        # The decision does not wait for the supervisor's handler; its hook does.
        assert not bad.is_alive()
        assert await good.ask_async("hello") == "hello"
        await trio.sleep(20)
        assert [a.restarts for a in system.statistics().actors] == [0, 0, 0]
        (exhausted,) = [entry[2] for entry in log if entry[0] == "given up"]
        assert isinstance(exhausted, RestartsExhausted)
        assert str(exhausted.__cause__) == "two"
        assert log == [("busy",), ("free",), ("exited", bad, exhausted), ("given up", "child", exhausted)]


async def test_a_busy_supervisor_delays_no_restart() -> None:
    """It may await its own child that has crashed meanwhile: the child is restarted and answers."""
    async with open_system() as system:

        async def ask_through_crash(parent: Parent) -> Any:
            child = await parent.spawn(ChildSpec("child", Worker))
            child.tell(Raise(ValueError("crash")))
            return await child.ask_async("are you back?")

        parent = await system.spawn(lambda: Parent(Supervision()), id="parent")
        assert await parent.ask_async(ask_through_crash) == "are you back?"


async def test_giving_up_cuts_off_the_supervisors_own_handler() -> None:
    """A one-for-one supervisor that has failed does not finish what it is at."""
    log: Log = []
    async with open_system() as system:
        parent, child = await spawn_child(system, Supervision(intensity=0), lambda: Worker(log))
        top = await system.spawn(Worker, id="top")

        async def wait(parent: Parent) -> None:
            try:
                await trio.sleep(100)
            finally:
                log.append(("cut off", trio.current_time()))

        reply = await top.submit(lambda _: parent.ask_async(wait))
        await trio.sleep(1)
        child.tell(Raise(ValueError("crash")))
        await settle(system)
        assert log[-1] == ("cut off", 1)
        with pytest.raises(pykka.ActorDeadError, match="was killed while it worked on the answer"):
            await reply


# A7
@given(
    how=st.sampled_from(["factory", "plain", "async", "child of it", "killed"]),
    pauses=st.integers(0, 3),
    supervisor=st.booleans(),
)
async def test_a_failure_while_starting_is_raised_to_whoever_spawned(how: str, pauses: int, supervisor: bool) -> None:
    """Nothing is restarted, nothing is left, and the id is free again."""
    log: Log = []

    class Broken(Worker):
        def __init__(self) -> None:
            if how == "factory":
                raise ValueError("factory")
            super().__init__(log)

        def on_start(self) -> Any:
            if how == "plain":
                raise ValueError("plain")
            if how in ("async", "child of it", "killed"):
                return self._start()
            return None

        async def _start(self) -> None:
            await trio.sleep(pauses)
            if how == "child of it":
                await self.spawn(ChildSpec("good", partial(Stopped, log)))
                await self.spawn(ChildSpec("bad", NeverStarts))
            if how == "killed":
                self.actor_ref.kill()
                await trio.sleep(1)
            raise ValueError("async")

    class Stopped(Worker):
        def on_stop(self) -> None:
            self.log.append(("good stopped",))

    class NeverStarts(Worker):
        def on_start(self) -> None:
            raise ValueError("bad")

    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision()), id="parent")
        spec = ChildSpec("broken", Broken)

        def spawn() -> Any:
            if supervisor:
                return parent.ask_async(lambda parent: parent.spawn(spec))
            return system.spawn(Broken, id="broken")

        with pytest.raises(Killed if how == "killed" else ValueError):
            await spawn()
        await settle(system)
        assert log == ([("good stopped",)] if how == "child of it" else [])
        alive = [a.path for a in system.statistics().actors]
        # The parent's handler raised, so it was restarted; it is nobody's victim otherwise.
        assert alive == ["system", "system/parent"]
        again = await system.spawn(Worker, id="broken")
        assert await again.ask_async("fine") == "fine"


async def test_start_child_reports_an_async_start() -> None:
    """The ref can be told to at once; `started` hears how it went, and without it the failure is only logged."""
    heard: list[Any] = []

    class Late(Worker):
        async def on_start(self) -> None:  # type: ignore[override]
            await trio.sleep(1)

    class Bad(Worker):
        async def on_start(self) -> None:  # type: ignore[override]
            await trio.sleep(2)
            raise ValueError("no")

    async with open_system() as system:
        log: Log = []
        parent = await system.spawn(lambda: Parent(Supervision()), id="parent")

        def start(parent: Parent) -> Any:
            ref = parent.start_child(ChildSpec("late", lambda: Late(log)), lambda e: heard.append(("late", e)))
            ref.tell("early")
            parent.start_child(ChildSpec("bad", Bad), lambda e: heard.append(("bad", str(e))))
            parent.start_child(ChildSpec("unheard", Bad))
            parent.start_child(ChildSpec("plain", Worker), lambda e: heard.append(("plain", e)))
            return list(parent.children())

        assert await parent.ask_async(start) == ["late", "bad", "unheard", "plain"]
        assert heard == [("plain", None)]
        await trio.sleep(5)
        assert heard == [("plain", None), ("late", None), ("bad", "no")]
        assert log == [("handle", "early")]
        assert [a.path for a in system.statistics().actors] == [
            "system",
            "system/parent",
            "system/parent/late",
            "system/parent/plain",
        ]
        assert [a.restarts for a in system.statistics().actors] == [0, 0, 0, 0]


async def test_a_restart_that_fails_to_start_counts_as_a_failure() -> None:
    """It is tried again until it is given up, and its children of the failed start do not live on."""
    starts: list[float] = []

    class Flaky(Worker):
        async def on_start(self) -> None:  # type: ignore[override]
            starts.append(trio.current_time())
            await self.spawn(ChildSpec("child", Worker))
            await trio.sleep(1)
            if 1 < len(starts) < 4:
                raise ValueError("not yet")

    async with open_system() as system:
        ref = await system.spawn(Flaky, id="flaky")
        ref.tell(Raise(ValueError("crash")))
        assert await ref.ask_async("back?") == "back?"
        assert starts == [0, 1, 2, 3]
        assert [(a.path, a.restarts) for a in system.statistics().actors[1:]] == [
            ("system/flaky", 3),
            ("system/flaky/child", 0),
        ]


async def test_a_restarted_supervisor_begins_with_an_empty_window() -> None:
    """Else it would give up at its children's first failure, and take its own supervisor with it."""
    children: list[Ref[Any]] = []

    class Nest(Parent):
        def on_start(self) -> None:
            children.append(self.start_child(ChildSpec("child", Worker)))

    async with open_system() as system:
        await system.spawn(lambda: Nest(Supervision(intensity=1, period_seconds=60)), id="nest")
        started = []
        for _ in range(5):
            children[-1].kill()
            await settle(system)
            started.append(len(children))
        assert started == [1, 2, 2, 3, 3]


async def test_a_supervisor_starts_its_children_in_order_and_again_after_its_restart() -> None:
    """`Supervisor` is data: specifications in, a tree out."""
    log: list[str] = []

    class Named(Worker):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def on_start(self) -> None:  # type: ignore[override]
            await trio.sleep(1)
            log.append(f"start {self.name}")

        def on_stop(self) -> None:
            log.append(f"stop {self.name}")

    specs = tuple(ChildSpec(name, partial(Named, name)) for name in "abc")
    async with open_system() as system:
        ref = await system.spawn(lambda: Supervisor(specs), id="supervisor")
        assert log == ["start a", "start b", "start c"]
        ref.kill()
        await trio.sleep(10)
        assert log[3:] == ["stop c", "stop b", "stop a", "start a", "start b", "start c"]


async def test_one_id_is_one_child() -> None:
    """A second one of the same id is refused; after the end of the first it is welcome."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        with pytest.raises(ValueError, match="system has a child 'a' already"):
            await system.spawn(Worker, id="a")
        await ref.stop(block=False)
        assert await system.spawn(Worker, id="a") is not ref


async def test_a_failed_spawn_does_not_stop_its_namesake() -> None:
    """Between the failure and its being heard, another task may have started a child of that id."""

    class Bad(Worker):
        async def on_start(self) -> None:  # type: ignore[override]
            await trio.lowlevel.checkpoint()
            raise ValueError("no")

    async with open_system() as system:
        namesakes: list[Ref[Any]] = []
        parent = await system.spawn(lambda: Parent(Supervision()), id="parent")

        def when_bad_is_gone(parent: Parent) -> None:
            (bad,) = parent.children().values()
            bad.when_gone(lambda _: namesakes.append(parent.start_child(ChildSpec("x", Worker))))

        async def spawn_bad(parent: Parent) -> str:
            try:
                await parent.spawn(ChildSpec("x", Bad))
            except ValueError as error:
                return str(error)
            return "started"

        async def both(parent: Parent) -> str:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_later, when_bad_is_gone, parent)
                return await spawn_bad(parent)

        async def _later(function: Any, *args: Any) -> None:
            while not parent._cell.actor.children():
                await trio.lowlevel.checkpoint()
            function(*args)

        assert await parent.ask_async(both) == "no"
        await settle(system)
        assert await namesakes[0].ask_async("alive?") == "alive?"


async def test_a_cancelled_spawn_stops_the_child() -> None:
    """Whoever gives up waiting for a start leaves nothing behind."""

    class Slow(Worker):
        async def on_start(self) -> None:  # type: ignore[override]
            await trio.sleep(1_000)

    async with open_system() as system:
        with trio.move_on_after(1):
            await system.spawn(Slow, id="slow", stop_seconds=3)
        await trio.sleep(2.5)
        assert len(system.statistics().actors) == 2
        await trio.sleep(1)
        assert len(system.statistics().actors) == 1


async def test_nobody_starts_children_below_one_that_ends() -> None:
    """They would have no supervisor: from `on_stop`, from `on_failure`, and in a system that is closed."""
    refused: list[str] = []

    class Late(Worker):
        def on_stop(self) -> None:
            self._try()

        def on_failure(self, *_: Any) -> None:
            self._try()

        def _try(self) -> None:
            try:
                self.start_child(ChildSpec("child", Worker))
            except NotRunning as error:
                refused.append(str(error))

    async with open_system() as system:
        ref = await system.spawn(Late, id="late")
        ref.tell(Raise(ValueError("crash")))
        await settle(system)
        await ref.stop(block=False)
    with pytest.raises(NotRunning, match="system is dead and starts no child 'x'"):
        await system.spawn(Worker, id="x")
    assert refused == [
        "system/late is failed and starts no child 'child'",
        "system/late is stopping and starts no child 'child'",
    ]


async def test_temporary_children_are_gone_after_the_first_failure() -> None:
    """Watchers get the exception itself as the reason."""
    log: Log = []
    async with open_system() as system:
        parent, child = await spawn_child(system, Supervision(), Worker, Restart.TEMPORARY, log)
        parent.tell(lambda parent: parent.watch(child))
        error = ValueError("once")
        child.tell(Raise(error))
        child.tell(Sleep(1))
        await settle(system)
        assert log == [("exited", child, error)]


# A7
@given(seed=st.integers(0, 2**32), strategy=st.sampled_from(Strategy), crashes=st.integers(1, 6))
async def test_a_restart_waits_for_its_back_off(seed: int, strategy: Strategy, crashes: int) -> None:
    """To the very moment, by the system's own chance; messages queue meanwhile, and nobody is told of a death."""
    starts: list[float] = []
    log: Log = []

    class Noted(Worker):
        def on_start(self) -> None:
            starts.append(trio.current_time())

    backoff = Backoff(first_seconds=1, factor=3, cap_seconds=20, jitter=0.5)
    supervision = Supervision(strategy, intensity=100, period_seconds=1_000, backoff=backoff)
    async with open_system(rng=Random(seed)) as system:
        parent, ref = await spawn_child(system, supervision, lambda: Noted(log), log=log)
        parent.tell(lambda parent: parent.watch(ref))
        rng = Random(seed)
        expected = [0.0]
        for number in range(crashes):
            ref.tell(Raise(ValueError(number)))
            expected.append(trio.current_time() + min(3**number, 20) * (1 - 0.5 * rng.random()))
            await settle(system)
            assert [a.state for a in system.statistics().actors if a.path == ref.path] == ["restarting"]
            ref.kill()  # there is nothing to kill
            assert await ref.ask_async(number) == number
        assert starts == [pytest.approx(at) for at in expected]
        assert [entry for entry in log if entry[0] != "raise"] == [("handle", number) for number in range(crashes)]
        assert [a.restarts for a in system.statistics().actors if a.path == ref.path] == [crashes]
        assert system.statistics().timers == 0


# A7 A10
@given(
    actors=st.integers(1, 8),
    what=st.sampled_from(["circle", "bug"]),
    wraps=st.sampled_from(["no", "raises from", "nursery"]),
    intensity=st.integers(1, 3),
    schedule=st.random_module(),
)
async def test_one_incident_counts_once_however_many_it_fails(
    actors: int, what: str, wraps: str, intensity: int, schedule: object
) -> None:
    """A chain of asks whose end has a bug, or would close a circle, fails all that do not catch it: one restart each.

    The window has room for `intensity` such incidents, and the next one is giving up.
    """
    log: Log = []
    refs: list[Ref[Any]] = []

    class Link(Worker):
        async def on_receive(self, message: int) -> None:
            if message == actors - 1 and what == "bug":
                raise ValueError("the bug")
            following = refs[(message + 1) % actors]
            if wraps == "nursery":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(following.ask_async, message + 1)
                return
            try:
                await following.ask_async(message + 1)
            except Exception as error:
                if wraps == "raises from":
                    raise LookupError("no answer") from error
                raise

    async with open_system(slice_clock=frozen_clock) as system:
        supervision = Supervision(intensity=intensity, period_seconds=60)
        outer = Supervision(Strategy.DYNAMIC, intensity=0)
        _, parent = await spawn_child(system, outer, lambda: Parent(supervision), log=log)
        refs += [await parent.ask_async(ChildSpec(str(n), Link)) for n in range(actors)]
        for incident in range(1, intensity + 1):
            with pytest.raises((AskCycle, ValueError, LookupError, ExceptionGroup)):
                await refs[0].ask_async(0)
            await settle(system)
            counted = [a.restarts for a in system.statistics().actors if a.path.startswith(f"{parent.path}/")]
            assert counted == [incident] * actors
        with pytest.raises((AskCycle, ValueError, LookupError, ExceptionGroup, pykka.ActorDeadError)):
            await refs[0].ask_async(0)
        await settle(system)
        assert not parent.is_alive()


async def test_an_exception_that_is_raised_again_and_again_is_counted_again() -> None:
    """One object for all failures is no excuse: each child is forgiven once for an incident."""
    error = ValueError("always the same")
    log: Log = []
    async with open_system() as system:
        _, parent = await spawn_child(
            system, Supervision(Strategy.DYNAMIC, intensity=0), lambda: Parent(Supervision(intensity=2)), log=log
        )
        refs = [await parent.ask_async(ChildSpec(name, Worker)) for name in "ab"]
        for ref in (refs[0], refs[1], refs[0]):
            ref.tell(Raise(error))
            await settle(system)
        assert [a.restarts for a in system.statistics().actors if a.path.startswith(f"{parent.path}/")] == [2, 1]
        refs[0].tell(Raise(error))
        await settle(system)
        assert not parent.is_alive()


def test_a_spec_that_makes_no_sense_is_refused() -> None:
    """By the value and what is allowed; a time that is no number is refused too."""
    with pytest.raises(ValueError, match="the id of a child is empty"):
        ChildSpec("", Worker)
    with pytest.raises(ValueError, match="stop_seconds of 'a' is -1; it must be >= 0"):
        ChildSpec("a", Worker, stop_seconds=-1)
    with pytest.raises(ValueError, match="stop_seconds of 'a' is nan"):
        ChildSpec("a", Worker, stop_seconds=float("nan"))
