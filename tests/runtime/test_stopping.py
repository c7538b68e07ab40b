"""A8: children stop in reverse order of start, each within its deadline; nothing survives its supervisor."""

import gc
import weakref
from functools import partial
from typing import Any

import attrs
import pykka
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import Actor, ActorSystem, ChildSpec, DeathReason, Killed, Restart, Supervision, open_system
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Log, Parent, Sleep, Worker, dead_letters, spawn_child


@attrs.frozen
class Node:
    """An actor of the tree: how long it is busy from the start, how long its `on_stop` takes, its own deadline."""

    name: str
    busy: float
    stop: float
    deadline: float
    children: tuple["Node", ...]


def nodes(draw: st.DrawFn, name: str, depth: int, count: list[int]) -> Node:
    """A random tree. Each deadline has a binary fraction of its own, so that no two things happen at once."""
    count[0] += 1
    deadline = draw(st.integers(0, 8)) * 10 + 2.0 ** -count[0]
    busy = draw(st.sampled_from([0, 0, 20, 200]))
    stop = draw(st.sampled_from([0, 0, 10, 100]))
    width = draw(st.integers(0, 3 if depth else 0)) if count[0] < 10 else 0
    children = tuple(nodes(draw, f"{name}/{n}", depth - 1, count) for n in range(width))
    return Node(name, busy, stop, deadline, children)


@st.composite
def trees(draw: st.DrawFn) -> Node:
    """A random tree of at most a dozen nodes, three levels deep."""
    return nodes(draw, "top", 2, [0])


def ends(node: Node, told: float, limit: float) -> tuple[float, list[tuple[str, float, str]]]:
    """When a node that is told to stop is gone, and the ends of all below it, in order; by force at `limit`."""
    limit = min(limit, told + node.deadline)
    now = max(told, node.busy)
    gone: list[tuple[str, float, str]] = []
    left = list(node.children)
    while left and now < limit:
        now, below = ends(left.pop(), now, limit)
        gone += below
    if now < limit and now + node.stop < limit:
        return now + node.stop, [*gone, (node.name, now + node.stop, "stopped")]
    for child in reversed(left):
        gone += _killed(child, limit)
    return limit, [*gone, (node.name, limit, "killed")]


def _killed(node: Node, at: float) -> list[tuple[str, float, str]]:
    gone: list[tuple[str, float, str]] = []
    for child in reversed(node.children):
        gone += _killed(child, at)
    return [*gone, (node.name, at, "killed")]


class Branch(Actor):
    """Starts its children, is busy for a while, and takes its time to stop."""

    def __init__(self, node: Node, log: list[tuple[str, float, str]]) -> None:
        super().__init__()
        self.node, self.log = node, log

    async def on_start(self) -> None:  # type: ignore[override]
        for child in self.node.children:
            spec = ChildSpec(
                child.name.rpartition("/")[2], partial(Branch, child, self.log), stop_seconds=child.deadline
            )
            ref = await self.spawn(spec)
            ref.when_gone(partial(self._note, child.name))
        if self.node.busy:
            self.actor_ref.tell("work")

    def _note(self, name: str, reason: BaseException | None) -> None:
        self.log.append((name, trio.current_time(), "killed" if isinstance(reason, Killed) else "stopped"))

    async def on_receive(self, message: Any) -> None:
        await trio.sleep_until(self.node.busy)

    async def on_stop(self) -> None:  # type: ignore[override]
        await trio.sleep(self.node.stop)


# A8
@given(tree=trees(), way=st.sampled_from(["end of the body", "cancelled", "raised", "stop_child"]))
async def test_a_tree_stops_in_reverse_order_within_its_deadlines(tree: Node, way: str) -> None:
    """When each actor is gone, and whether by force: exactly as the model says, for every way to begin it."""
    log: list[tuple[str, float, str]] = []
    before = trio.lowlevel.current_statistics().tasks_living

    async def run(system: ActorSystem) -> None:
        parent = await system.spawn(lambda: Parent(Supervision()), id="parent", stop_seconds=10_000)
        if way == "stop_child":
            spec = ChildSpec("top", partial(Branch, tree, log), stop_seconds=tree.deadline)
            ref = await parent.ask_async(lambda parent: parent.spawn(spec))
        else:
            ref = await system.spawn(partial(Branch, tree, log), id="top", stop_seconds=tree.deadline)
        ref.when_gone(
            lambda reason: log.append(
                ("top", trio.current_time(), "killed" if isinstance(reason, Killed) else "stopped")
            )
        )
        await settle(system)
        if way == "stop_child":
            parent.tell(lambda parent: parent.stop_child("top"))
            await ref.wait_gone()
        elif way == "cancelled":
            scope.cancel()
            await trio.sleep_forever()
        elif way == "raised":
            raise LookupError("the body")

    systems: list[ActorSystem] = []
    with trio.CancelScope() as scope:
        try:
            async with open_system(slice_clock=frozen_clock) as system:
                systems.append(system)
                await run(system)
        except LookupError:
            assert way == "raised"
    _, expected = ends(tree, 0, 10**6)
    assert log == expected
    assert scope.cancelled_caught == (way == "cancelled")
    statistics = systems[0].statistics()
    assert statistics.actors == ()
    assert statistics.tasks == statistics.timers == 0
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before


# A8
@given(seconds=st.integers(1, 20), deadline=st.integers(0, 20), waiting=st.integers(0, 3))
async def test_an_overrunning_handler_is_cancelled_at_the_deadline(seconds: int, deadline: int, waiting: int) -> None:
    """One that ends in time ends in peace; the messages behind it go to dead letters either way."""
    log: Log = []
    stopped: list[float] = []

    class Stopping(Worker):
        def on_stop(self) -> None:
            stopped.append(trio.current_time())

    async with open_system() as system:
        ref = await system.spawn(lambda: Stopping(log), id="a", stop_seconds=deadline + 0.5)
        answer = ref.ask(Sleep(seconds, "work"), block=False)
        questions = [ref.ask("late", block=False) for _ in range(waiting)]
        await settle(system)
    ended = min(float(seconds), deadline + 0.5)
    in_time = seconds < deadline + 0.5
    assert trio.current_time() == ended
    assert log == [("begin", "work", 0), ("end" if in_time else "cancelled", "work", ended)]
    assert stopped == ([ended] if in_time else [])
    if in_time:
        assert await answer == "work"
    else:
        with pytest.raises(pykka.ActorDeadError, match="was killed while it worked on the answer"):
            await answer
    for question in questions:
        with pytest.raises(pykka.ActorDeadError, match="stopped before it handled the message"):
            await question
    letters = {DeathReason.STOPPED: waiting} if waiting else {}
    assert dead_letters(system) == (letters if in_time else letters | {DeathReason.INTERRUPTED: 1})


class Halt(BaseException):
    """As SystemExit is: no Exception."""


# A8
@given(
    where=st.sampled_from(
        ["plain", "async", "on_start", "async on_start", "on_stop", "async on_stop", "on_failure", "factory"]
    ),
    others=st.integers(0, 3),
)
async def test_what_is_no_exception_stops_everything_in_order_and_is_raised(where: str, others: int) -> None:
    """A SystemExit or KeyboardInterrupt of an actor's own code is nobody's failure to mend."""
    log: list[Any] = []
    made: list[int] = []

    class Orderly(Worker):
        def __init__(self, name: int) -> None:
            super().__init__()
            self.name = name

        def on_stop(self) -> None:
            log.append(self.name)

    class Broken(Worker):
        def __init__(self) -> None:
            if where == "factory" and made:
                raise Halt(where)
            super().__init__()
            made.append(1)

        def on_start(self) -> Any:
            if where == "on_start" and len(made) > 1:
                raise Halt(where)
            return self._halt() if where == "async on_start" and len(made) > 1 else None

        def on_stop(self) -> Any:
            if where == "on_stop":
                raise Halt(where)
            return self._halt() if where == "async on_stop" else None

        def on_failure(self, *_: Any) -> None:
            if where == "on_failure":
                raise Halt(where)

        def on_receive(self, message: Any) -> Any:
            if where == "plain":
                raise Halt(where)
            if where == "async":
                return self._halt()
            raise ValueError("crash")

        async def _halt(self) -> None:
            await trio.sleep(1)
            raise Halt(where)

    async def run() -> None:
        async with open_system() as system:
            for name in range(others):
                await system.spawn(partial(Orderly, name), id=str(name))
            ref = await system.spawn(Broken, id="broken")
            if "on_stop" in where:
                ref.stop(block=False)
            else:
                ref.tell("go")
            await trio.sleep_forever()

    with pytest.raises(Halt, match=where):
        await run()
    assert log == [*reversed(range(others))]


async def test_the_bodys_own_error_gives_way_to_that_of_an_actor() -> None:
    """Both are in the chain, so that neither is lost."""

    async def run() -> None:
        async with open_system() as system:
            ref = await system.spawn(Worker, id="a")

            def halt(worker: Worker) -> None:
                raise Halt("actor")

            ref.tell(halt)
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError("body")

    with pytest.raises(Halt, match="actor") as caught:
        await run()
    assert isinstance(caught.value.__context__, LookupError)


class Hooked(Worker):
    """Writes down its `on_stop`."""

    def on_stop(self) -> None:
        self.log.append(("on_stop", None, trio.current_time()))


async def test_drain_stop_and_kill_are_three_things() -> None:
    """A drain handles what waits, a stop ends after the message in hand, a kill in the middle of it."""
    for way, handled, hook, restarts in (
        ("drain", ["work", "next"], ["on_stop"], None),
        ("stop", ["work"], ["on_stop"], None),
        ("kill", ["next"], [], 1),
    ):
        log: Log = []
        async with open_system() as system:
            parent, ref = await spawn_child(system, Supervision(), partial(Hooked, log))
            ref.tell(Sleep(1, "work"))
            ref.tell(Sleep(1, "next"))
            await settle(system)
            if way == "drain":
                ref.stop(block=False)
            elif way == "stop":
                parent.tell(lambda parent: parent.stop_child("child"))
            else:
                ref.kill()
            await trio.sleep(10)
            assert [value for event, value, _ in log if event == "end"] == handled
            assert [event for event, *_ in log if event == "on_stop"] == hook
            assert [a.restarts for a in system.statistics().actors if a.path == ref.path] == (
                [] if restarts is None else [restarts]
            )


async def test_a_kill_ends_a_drain_that_hangs() -> None:
    """In its handler, in `on_stop`, and while its children stop: the kill is for good, and takes the children along."""

    class Stuck(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            await trio.sleep(1_000)

    async with open_system() as system:
        ref = await system.spawn(Stuck, id="a")
        ref.stop(block=False)
        await settle(system)
        ref.kill()
        assert isinstance(await ref.wait_gone(), Killed)

        parent, child = await spawn_child(system, Supervision(), Stuck)
        parent.stop(block=False)
        await trio.sleep(1)
        parent.kill()
        assert isinstance(await parent.wait_gone(), Killed)
        assert not child.is_alive()
        assert trio.current_time() == 1

        # Both from within one handler: the stop stands in the user lane, the kill overtakes it, the drain is kept.
        parent, child = await spawn_child(system, Supervision(), Worker)

        def stop_and_kill(parent: Parent) -> None:
            parent.stop()
            parent.actor_ref.kill()

        parent.tell(stop_and_kill)
        assert await parent.wait_gone() is None
        assert not child.is_alive()


async def test_a_kill_that_comes_with_a_stop_is_not_lost() -> None:
    """The stop goes first, and there is no turn after it: the kill works all the same."""

    class Stuck(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            await trio.sleep(4)

    async with open_system() as system:
        parent, ref = await spawn_child(system, Supervision(), Stuck)

        def stop_and_kill(parent: Parent) -> None:
            parent.stop_child("child")
            ref.kill()

        parent.tell(stop_and_kill)
        assert isinstance(await ref.wait_gone(), Killed)
        assert trio.current_time() == 0


async def test_a_failed_actor_that_is_to_stop_is_not_restarted() -> None:
    """Its last message crashes while its stop is on the way: the end is the end."""
    starts: list[int] = []

    class Starting(Worker):
        def on_start(self) -> None:
            starts.append(1)

    async with open_system() as system:
        parent, ref = await spawn_child(system, Supervision(), Starting)

        async def crash(worker: Worker) -> None:
            await trio.sleep(1)
            raise ValueError("last")

        ref.tell(crash)
        await settle(system)
        parent.tell(lambda parent: parent.stop_child("child"))
        reason = await ref.wait_gone()
        assert str(reason) == "last"
        assert len(starts) == 1


async def test_stop_child_calls_back_when_the_child_is_gone() -> None:
    """At once for one that is not there, and once for each who asked."""
    log: list[Any] = []

    class Slow(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            await trio.sleep(1)

    async with open_system() as system:
        parent, _ = await spawn_child(system, Supervision(), Slow)

        def stop(parent: Parent) -> None:
            parent.stop_child("nobody", lambda: log.append("nobody"))
            parent.stop_child("child", lambda: log.append(trio.current_time()))
            parent.stop_child("child", lambda: log.append(trio.current_time()))

        await parent.ask_async(stop)
        assert log == ["nobody"]
        await trio.sleep(5)
        assert log == ["nobody", 1, 1]


async def test_what_on_stop_raises_is_the_reason() -> None:
    """The actor is gone all the same; watchers and `wait_gone` get the exception."""

    class Bad(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            raise ValueError("in on_stop")

    async with open_system() as system:
        ref = await system.spawn(Bad, id="a")
        assert await ref.stop(block=False) is True
        assert str(await ref.wait_gone()) == "in on_stop"


async def test_undelivered_messages_are_offered_after_a_normal_stop() -> None:
    """An actor may pass on what met it on its way out, a question with its reply."""
    offered: list[Any] = []

    class Leaving(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            await trio.sleep(1)

        def on_undelivered(self, message: Any, reply: Any) -> bool:
            offered.append(message)
            if message == "question":
                reply.set("passed on")
            if message == "bad":
                raise ValueError("hook")
            return bool(message != "refused")

    async with open_system() as system:
        ref = await system.spawn(Leaving, id="a")
        stopped = ref.stop(block=False)
        await settle(system)
        for message in ("note", "refused", "bad"):
            ref.tell(message)
        assert await ref.ask_async("question") == "passed on"
        assert await stopped is True
        assert offered == ["note", "refused", "bad", "question"]
        assert dead_letters(system) == {DeathReason.STOPPED: 2}


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_an_actor_that_has_ended_is_no_garbage(way: str) -> None:
    """It goes when nobody holds it any more and not with the next collection; a ref that is kept answers all the same.

    Red for each circle among an actor, its cell, its ref and its family: a quarter of what a short life costs.
    """

    class Slow(Actor):
        async def on_start(self) -> None:  # type: ignore[override]
            await trio.sleep(1)

        async def on_receive(self, message: Any) -> Any:
            return self.actor_ref

        async def on_stop(self) -> None:  # type: ignore[override]
            await trio.sleep(1)

    class Nest(Slow):
        async def on_start(self) -> None:  # type: ignore[override]
            for id in ("a", "b"):
                held.append(weakref.ref(await self.spawn(ChildSpec(id, Slow))))
                held.append(weakref.ref(self.start_child(ChildSpec(f"plain {id}", Worker))))
            held.append(weakref.ref(self))

    held: list[weakref.ref[Any]] = []
    async with open_system() as system:
        gc.collect()
        gc.disable()
        try:
            ref = await system.spawn(Nest, id="nest", restart=Restart.TEMPORARY)
            assert await ref.ask_async("you") is ref
            if way == "stop":
                await ref.stop(block=False)
            else:
                ref.kill()
            reason = await ref.wait_gone()
            await trio.sleep(10)
            assert [each() for each in held] == [None] * 5
            assert isinstance(reason, Killed) is (way == "kill")
            assert await ref.wait_gone() is reason
            assert (str(ref), ref.path, ref.is_alive()) == ("Nest (system/nest)", "system/nest", False)
            with pytest.raises(pykka.ActorDeadError, match=r"^Nest \(system/nest\) not found$"):
                ref.tell("m")
            held.append(weakref.ref(ref))
            del ref
            assert held[-1]() is None
        finally:
            gc.enable()


async def test_ten_thousand_children_stop_without_recursion() -> None:
    """One after the other, the youngest first; no timer is left."""
    order: list[int] = []

    class Numbered(Actor):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def on_stop(self) -> None:
            order.append(self.number)

    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision()), id="parent", stop_seconds=1_000)

        def start(parent: Parent) -> None:
            for number in range(10_000):
                parent.start_child(ChildSpec(str(number), partial(Numbered, number)))

        await parent.ask_async(start)
    assert order == [*range(9_999, -1, -1)]
    assert system.statistics().timers == 0
