"""A6, A7, A8: siblings restarted together: who goes down and comes up, when, and what becomes of their messages."""

from functools import partial
from typing import Any

import attrs
import pykka
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import (
    Actor,
    AskCycle,
    Backoff,
    ChildSpec,
    DeadLetter,
    DeathReason,
    Exit,
    ExitKind,
    Killed,
    Ref,
    Restart,
    Strategy,
    Supervision,
    decide,
    open_system,
)
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Log, Parent, Raise, Sleep, Worker, dead_letters, nap, spawn_child

APART_SECONDS = 1_000


@attrs.frozen
class Traits:
    """A child: how long it takes to start and to stop, within what, and which of its starts fail."""

    restart: Restart
    starting: int
    stopping: int
    deadline: float
    """In whole seconds as drawn; each then gets a fraction of its own, so that no two things happen at once."""
    failing_starts: frozenset[int]


@attrs.frozen
class Crash:
    """One child crashes while others are at work for so many seconds."""

    victim: int
    busy: tuple[int, ...]


traits = st.builds(
    Traits,
    restart=st.sampled_from([Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY]),
    starting=st.integers(0, 3),
    stopping=st.integers(0, 3),
    deadline=st.integers(0, 4),
    failing_starts=st.frozensets(st.integers(2, 5), max_size=2),
)
crashes = st.lists(
    st.builds(Crash, victim=st.integers(0, 3), busy=st.tuples(*[st.sampled_from([0, 0, 1, 6])] * 4)), max_size=4
)


class Member(Actor):
    """Writes down its life."""

    def __init__(self, name: str, traits: Traits, starts: dict[str, int], log: list[Any], got: dict[str, Any]) -> None:
        super().__init__()
        self.name, self.traits, self.starts, self.log = name, traits, starts, log
        self.got = got.setdefault(name, [])

    async def on_start(self) -> None:  # type: ignore[override]
        self.starts[self.name] += 1
        self.log.append((trio.current_time(), "start", self.name))
        await trio.sleep(self.traits.starting)
        if self.starts[self.name] in self.traits.failing_starts:
            raise ValueError("start")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Sleep):
            return nap(message.seconds)
        if isinstance(message, Raise):
            raise message.error
        self.got.append(message)
        return None

    async def on_stop(self) -> None:  # type: ignore[override]
        self.log.append((trio.current_time(), "on_stop", self.name))
        await trio.sleep(self.traits.stopping)


class Model:
    """One round after the other, step by step; `log` is what the members write."""

    def __init__(self, supervision: Supervision, members: list[Traits]) -> None:
        self.supervision = supervision
        self.members = {str(n): member for n, member in enumerate(members)}
        self.starts = dict.fromkeys(self.members, 1)
        self.up = set(self.members)
        self.failures = dict.fromkeys(self.members, 0)
        self.up_since: dict[str, float] = {}
        self.restarts = dict.fromkeys(self.members, 0)
        self.history: tuple[float, ...] = ()
        self.log: list[Any] = []
        self.interrupted = 0
        self.gave_up: float | None = None

    def fail(self, id: str, now: float, busy_until: dict[str, float]) -> None:
        """It failed; carry out what is decided, up to the next failure of a start."""
        up_since = self.up_since.pop(id, None)
        exit = Exit(id, ExitKind.ABNORMAL, self.failures[id], 0.0 if up_since is None else now - up_since)
        kinds = {name: member.restart for name, member in self.members.items()}
        plan = decide(self.supervision, kinds, exit, self.history, now)
        self.history, self.failures[id] = plan.history, plan.failures
        self.up.discard(id)
        if plan.give_up:
            self.gave_up = now
        if not plan.restart:
            del self.members[id]
            return
        not_before = now + plan.delay_seconds
        for sibling in plan.stop:
            if sibling in self.up:
                now = self.stop(sibling, now, max(now, busy_until.get(sibling, 0)))
        now = max(now, not_before)
        for name in plan.start:
            self.starts[name] += 1
            self.restarts[name] += 1
            self.log.append((now, "start", name))
            now += self.members[name].starting
            if self.starts[name] in self.members[name].failing_starts:
                self.fail(name, now, {})
                return
            self.up.add(name)
            self.up_since[name] = now

    def stop(self, name: str, told: float, free: float) -> float:
        """Its end by order; when that is."""
        member = self.members[name]
        self.up.discard(name)
        up_since = self.up_since.pop(name, None)
        if up_since is not None and told - up_since >= self.supervision.period_seconds:
            self.failures[name] = 0
        if member.restart is Restart.TEMPORARY:
            del self.members[name]
        limit = told + member.deadline
        if free > limit:
            self.interrupted += 1
            return limit
        self.log.append((free, "on_stop", name))
        return min(free + member.stopping, limit)


# A7 A6 A8
@given(
    strategy=st.sampled_from([Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]),
    members=st.lists(traits, min_size=4, max_size=4),
    crashes=crashes,
    intensity=st.integers(0, 4),
    first_seconds=st.sampled_from([0, 2, 5]),
    schedule=st.random_module(),
)
async def test_siblings_are_restarted_together(
    strategy: Strategy,
    members: list[Traits],
    crashes: list[Crash],
    intensity: int,
    first_seconds: float,
    schedule: object,
) -> None:
    """Down the youngest first, each within its deadline; up the eldest first; the very seconds, and every message."""
    members = [attrs.evolve(each, deadline=each.deadline + 0.5**n) for n, each in enumerate(members, 1)]
    backoff = Backoff(first_seconds, factor=2, cap_seconds=15, jitter=0) if first_seconds else None
    supervision = Supervision(strategy, intensity, period_seconds=2.5 * APART_SECONDS, backoff=backoff)
    log: list[Any] = []
    starts = dict.fromkeys("0123", 0)
    got: dict[str, list[int]] = {name: [] for name in starts}
    letters: list[DeadLetter] = []
    watched: Log = []
    gave_up: list[float] = []

    class Watched(Parent):
        def on_failure(self, *_: Any) -> None:
            gave_up.append(trio.current_time())

    async def start(parent: Parent) -> list[Ref[Any]]:
        refs = []
        for name, each in zip(starts, members, strict=True):
            make = partial(Member, name, each, starts, log, got)
            refs.append(await parent.spawn(ChildSpec(name, make, each.restart, each.deadline)))
        return refs

    async with open_system(slice_clock=frozen_clock) as system:
        system.dead_letters.listen(letters.append)
        outer = Supervision(Strategy.DYNAMIC, intensity=0)
        _, parent = await spawn_child(system, outer, lambda: Watched(supervision))
        refs = await parent.ask_async(start)
        watcher = await system.spawn(lambda: Parent(Supervision(), watched), id="watcher")
        for ref in refs:
            watcher.tell(lambda watcher, ref=ref: watcher.watch(ref))
        begun = len(log)

        model = Model(supervision, members)
        sent: dict[str, list[int]] = {name: [] for name in starts}
        for number, crash in enumerate(crashes):
            now = (number + 1) * APART_SECONDS
            victim = str(crash.victim)
            if model.gave_up is not None or victim not in model.members:
                continue
            await trio.sleep_until(now)
            at_work: dict[str, float] = {}
            for name, seconds in zip(starts, crash.busy, strict=True):
                if seconds and name != victim and name in model.members:
                    at_work[name] = now + seconds
                    refs[int(name)].tell(Sleep(seconds))
            await settle(system)
            refs[crash.victim].tell(Raise(ValueError("crash")))
            model.fail(victim, now, at_work)
            # Whatever state it is in by then, each hears what comes in the middle of it.
            for step in range(6):
                await trio.sleep_until(now + 0.25 + step)
                for name, ref in zip(starts, refs, strict=True):
                    if ref.tell_if_alive(number * 10 + step):
                        sent[name].append(number * 10 + step)
        await trio.sleep(APART_SECONDS)
        assert gave_up == ([] if model.gave_up is None else [model.gave_up])
        end = model.gave_up or trio.current_time()
        assert [entry for entry in log[begun:] if entry[0] < end] == [entry for entry in model.log if entry[0] < end]
        if not gave_up:
            assert {name for name, ref in zip(starts, refs, strict=True) if ref.is_alive()} == set(model.members)
            counted = {a.path.rpartition("/")[2]: a.restarts for a in system.statistics().actors}
            assert {name: counted[name] for name in model.members} == {n: model.restarts[n] for n in model.members}
            assert sum(letter.reason is DeathReason.INTERRUPTED for letter in letters) == model.interrupted
            # A restart is no death: only those that are gone were told of.
            assert {entry[1] for entry in watched} == {ref for ref in refs if not ref.is_alive()}
        for name, ref in zip(starts, refs, strict=True):
            buried = [x.message for x in letters if x.path == ref.path and isinstance(x.message, int)]
            alive = name in model.members and not gave_up
            lost = [] if alive else [number for number in buried if number in sent[name]]
            assert got[name] + lost == sent[name]


async def group(system: Any, supervision: Supervision, *factories: Any, log: Log | None = None) -> Any:
    """A supervisor with such children; gives its ref and theirs."""
    parent = await system.spawn(lambda: Parent(supervision, log), id="parent", stop_seconds=1_000)

    async def start(parent: Parent) -> list[Ref[Any]]:
        return [await parent.spawn(ChildSpec(str(n), factory, stop_seconds=10)) for n, factory in enumerate(factories)]

    return parent, await parent.ask_async(start)


def restarts(system: Any) -> list[int]:
    """Of those below the supervisor, in order of start."""
    return [actor.restarts for actor in system.statistics().actors if actor.path.startswith("system/parent/")]


def states(system: Any) -> list[str]:
    """Of those below the supervisor, in order of start."""
    return [actor.state for actor in system.statistics().actors if actor.path.startswith("system/parent/")]


class Slow(Worker):
    """Takes two seconds to start, three to stop."""

    async def on_start(self) -> None:  # type: ignore[override]
        await trio.sleep(2)

    async def on_stop(self) -> None:  # type: ignore[override]
        await trio.sleep(3)


async def test_a_failure_of_one_that_was_to_go_down_is_not_counted() -> None:
    """While its younger sibling stops, one that waits for its turn crashes: one restart for both, one in the window."""
    async with open_system() as system:
        _, refs = await group(system, Supervision(Strategy.ONE_FOR_ALL, intensity=1), Worker, Worker, Slow)
        refs[0].tell(Raise(ValueError("first")))
        await settle(system)
        assert states(system) == ["restarting", "running", "stopping"]
        refs[1].tell(Raise(ValueError("second")))
        refs[1].tell("kept")
        await settle(system)
        assert states(system) == ["restarting", "restarting", "stopping"]
        await trio.sleep(10)
        assert restarts(system) == [1, 1, 1]
        assert states(system) == ["running", "running", "running"]
        assert dead_letters(system) == {DeathReason.CRASHED: 2}


async def test_an_elder_that_fails_in_the_middle_takes_the_rest_with_it() -> None:
    """Rest-for-one: 2 is being restarted when 0 fails; then 1 goes down too, and 2 comes up once only."""
    async with open_system() as system:
        _, refs = await group(system, Supervision(Strategy.REST_FOR_ONE), Worker, Slow, Slow, Slow)
        start = trio.current_time()
        refs[2].tell(Raise(ValueError("2")))
        await trio.sleep(1)  # 3 stops
        refs[0].tell(Raise(ValueError("0")))
        await settle(system)
        assert states(system) == ["restarting", "running", "restarting", "stopping"]
        await trio.sleep_until(start + 4)
        assert states(system) == ["restarting", "stopping", "restarting", "restarting"]
        await trio.sleep_until(start + 7)
        assert states(system) == ["running", "starting", "restarting", "restarting"]
        await trio.sleep_until(start + 12.5)
        assert states(system) == ["running", "running", "running", "running"]
        assert restarts(system) == [1, 1, 1, 1]


async def test_one_that_is_still_starting_goes_down_once_it_has_started() -> None:
    """Its sibling fails again in the middle of its start: the end of the start is not taken for its end."""
    async with open_system() as system:
        _, refs = await group(system, Supervision(Strategy.ONE_FOR_ALL), Worker, Slow)
        refs[0].tell(Raise(ValueError("first")))
        await trio.sleep(4)  # three seconds of stopping, and one of starting
        refs[0].tell(Raise(ValueError("second")))
        await settle(system)
        assert states(system) == ["restarting", "starting"]
        await trio.sleep(2)
        assert states(system) == ["restarting", "stopping"]
        assert await refs[0].ask_async("back?") == "back?"
        await trio.sleep(10)
        assert states(system) == ["running", "running"]
        assert restarts(system) == [2, 2]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.DYNAMIC])
@pytest.mark.parametrize("end", ["stop_child", "stop", "kill", "system"])
async def test_a_stop_ends_a_back_off_at_once(strategy: Strategy, end: str) -> None:
    """Nobody waits for the end of it, asks end in that moment, and no timer is left."""
    backoff = Backoff(first_seconds=1_000, cap_seconds=1_000)
    log: Log = []
    async with open_system() as system:
        parent, refs = await group(system, Supervision(strategy, backoff=backoff), Worker, Worker, log=log)
        refs[0].tell(Raise(ValueError("crash")))
        question = refs[0].ask("later", block=False)
        await trio.sleep(10)
        assert states(system)[0] == "restarting"
        parent.tell(lambda parent: parent.watch(refs[0]))
        await settle(system)
        assert log == []
        if end == "stop_child":
            parent.tell(lambda parent: parent.stop_child("0"))
        elif end == "stop":
            parent.stop(block=False)
        elif end == "kill":
            parent.kill()
        if end != "system":
            with pytest.raises(pykka.ActorDeadError, match="stopped before it handled the message"):
                await question
            assert str(await refs[0].wait_gone()) == "crash"
            if end == "stop_child":
                assert log == [("exited", refs[0], log[0][2])]
            await settle(system)
            assert system.statistics().timers == (1 if end == "stop_child" and strategy.together else 0)
    assert trio.current_time() == 10
    assert system.statistics().timers == 0


async def test_a_sibling_that_is_stopping_for_good_stays_stopped() -> None:
    """A drain that was ordered before, and one that is found in the mailbox after the restart."""
    log: Log = []
    async with open_system() as system:
        parent, refs = await group(system, Supervision(Strategy.ONE_FOR_ALL), Worker, Slow, partial(Worker, log))
        refs[2].tell(Sleep(1, "work"))
        drained = refs[2].stop(block=False)
        gone = refs[1].stop(block=False)
        await settle(system)
        refs[0].tell(Raise(ValueError("crash")))
        assert await drained is True
        assert await gone is True
        assert trio.current_time() == 2 + 3  # started, stopped
        await trio.sleep(10)
        # 2 went down between its message and its drain, and was started again to find it.
        assert log == [("begin", "work", 2), ("end", "work", 3)]
        assert restarts(system) == [1]
        assert await parent.ask_async(lambda parent: list(parent.children())) == ["0"]


async def test_a_child_stopped_while_it_goes_down_does_not_come_back() -> None:
    """Its supervisor's order comes in the middle of the restart; the others come up without it."""
    async with open_system() as system:
        parent, refs = await group(system, Supervision(Strategy.ONE_FOR_ALL), Worker, Slow, Slow)
        refs[0].tell(Raise(ValueError("crash")))
        await trio.sleep(1)  # 2 stops, 1 is to stop
        parent.tell(lambda parent: [parent.stop_child("2"), parent.stop_child("1")])
        await trio.sleep(20)
        assert not refs[1].is_alive()
        assert not refs[2].is_alive()
        assert restarts(system) == [1]
        assert states(system) == ["running"]


async def test_the_end_of_a_supervisor_overtakes_a_restart() -> None:
    """In any second of it: nobody is started any more, all are gone within their deadlines."""
    for seconds in range(12):
        started: list[float] = []

        class Noted(Slow):
            async def on_start(self, started: list[float] = started) -> None:  # type: ignore[override]
                started.append(trio.current_time())
                await super().on_start()

        async with open_system() as system:
            begun = trio.current_time()
            parent, refs = await group(system, Supervision(Strategy.ONE_FOR_ALL), Noted, Noted, Noted)
            refs[0].tell(Raise(ValueError("crash")))
            await trio.sleep(seconds + 0.5)
            before = len(started)
            parent.stop(block=False)
            await parent.wait_gone()
            assert len(started) == before
            assert not any(ref.is_alive() for ref in refs)
            assert trio.current_time() - begun <= seconds + 0.5 + 6 + 15
            await settle(system)
            assert system.statistics().tasks == system.statistics().timers == 0


async def test_an_interrupted_message_is_not_delivered_again() -> None:
    """A sibling that overruns its deadline: dead letters have its message, its asker is told, the queue is kept."""
    log: Log = []
    async with open_system() as system:
        _, refs = await group(system, Supervision(Strategy.ONE_FOR_ALL), Worker, partial(Worker, log))
        answer = refs[1].ask(Sleep(100, "long"), block=False)
        deferred = refs[1].ask("next", block=False)
        await settle(system)
        refs[0].tell(Raise(ValueError("crash")))
        with pytest.raises(pykka.ActorDeadError, match="was killed while it worked on the answer"):
            await answer
        assert trio.current_time() == 10
        assert await deferred == "next"
        assert log == [("begin", "long", 0), ("cancelled", "long", 10), ("handle", "next")]
        (crashed, interrupted) = system.dead_letters.newest()
        assert (crashed.reason, interrupted.reason) == (DeathReason.CRASHED, DeathReason.INTERRUPTED)
        assert isinstance(interrupted.error, Killed)
        assert restarts(system) == [1, 1]


async def test_a_promise_of_a_sibling_ends_with_its_incarnation() -> None:
    """A deferred reply that the incarnation took with it fails, instead of never ending."""
    async with open_system() as system:
        _, refs = await group(system, Supervision(Strategy.ONE_FOR_ALL), Worker, Worker)
        promise = refs[1].ask(lambda worker: worker.defer_reply() and None, block=False)
        await settle(system)
        refs[0].tell(Raise(ValueError("crash")))
        with pytest.raises(pykka.ActorDeadError, match="was restarted with a sibling before it answered"):
            await promise


async def test_who_asks_a_sibling_that_waits_for_it_to_stop_is_told() -> None:
    """Until it has stopped itself, the other one cannot be started and answer."""
    asked: list[str] = []

    class Asking(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            try:
                await refs[0].ask_async("still there?")
            except AskCycle as error:
                asked.append(str(error))

    async with open_system() as system:
        _, refs = await group(system, Supervision(Strategy.ONE_FOR_ALL), Worker, Asking)
        refs[0].tell(Raise(ValueError("crash")))
        await settle(system)
        (said,) = asked
        assert said.endswith("system/parent/1 -[str]-> system/parent/0 -[its end]-> system/parent/1")
        assert restarts(system) == [1, 1]


async def test_a_child_started_in_the_middle_of_a_restart_is_left_alone() -> None:
    """It is no sibling of the failure; its own failure is looked after, beside the others' restart."""
    async with open_system() as system:
        parent, refs = await group(system, Supervision(Strategy.REST_FOR_ONE), Worker, Slow)
        refs[0].tell(Raise(ValueError("crash")))
        await trio.sleep(1)
        new = await parent.ask_async(ChildSpec("new", Worker))
        assert states(system) == ["restarting", "stopping", "running"]
        new.tell(Raise(ValueError("new")))
        assert await new.ask_async("back?") == "back?"
        await trio.sleep(10)
        assert restarts(system) == [1, 1, 1]
        assert states(system) == ["running", "running", "running"]
