"""A10: a circle of waits fails at once, with an error that names it; no wait that could end is refused."""

from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import Actor, AskCycle, ChildSpec, Ref, Strategy, Supervision, open_system
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Parent, Worker, spawn_child

WAYS = ("ask_async", "future", "submit", "map", "nursery")


class Linked(Actor):
    """Asks those it is linked to, one after the other, and gives the names on the way."""

    def __init__(self, name: int, links: list[tuple[int, str]], refs: list[Ref[Any]], seconds: float) -> None:
        super().__init__()
        self.name, self.links, self.refs, self.seconds = name, links, refs, seconds

    async def on_receive(self, message: Any) -> list[int]:
        names = [self.name]
        for target, way in self.links:
            await trio.sleep(self.seconds)
            names += await self._ask(self.refs[target], way)
        return names

    async def _ask(self, ref: Ref[Any], way: str) -> Any:
        if way == "future":
            return await ref.ask("names", block=False)
        if way == "submit":
            return await (await ref.submit("names"))
        if way == "map":
            return await ref.ask("names", block=False).map(list)
        if way == "nursery":
            got: list[Any] = []

            async def ask() -> None:
                got.extend(await ref.ask_async("names"))

            async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                inner.start_soon(ask)
                outer.start_soon(trio.sleep, 0)
            return got
        return await ref.ask_async("names")


def walk(links: list[list[tuple[int, str]]], start: int, way: list[int]) -> list[int]:
    """The names on the way, as a naive walk gives them; raises the circle it meets."""
    if start in way:
        raise AskCycle(" -[str]-> ".join(f"board/all/{n}" for n in [way[-1], *way[way.index(start) :]]))
    names = [start]
    for target, _ in links[start]:
        names += walk(links, target, [*way, start])
    return names


def innermost(error: BaseException) -> BaseException:
    """What is in the groups of nurseries."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


# A10
@given(
    links=st.lists(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(WAYS)), max_size=3), min_size=6, max_size=6),
    seconds=st.sampled_from([0.0, 1.0]),
    schedule=st.random_module(),
)
async def test_a_circle_of_asks_is_named_and_everything_else_is_answered(
    links: list[list[tuple[int, str]]], seconds: float, schedule: object
) -> None:
    """Random graphs of actors that ask each other in all ways there are, against a walk of the graph."""
    expected: list[int] | str
    try:
        expected = walk(links, 0, [])
    except AskCycle as circle:
        expected = f"actors would wait for each other: {circle}"
    refs: list[Ref[Any]] = []
    async with open_system("board", slice_clock=frozen_clock) as system:
        parent = await system.spawn(lambda: Parent(Supervision(intensity=10_000)), id="all")
        for name, targets in enumerate(links):
            refs.append(await parent.ask_async(ChildSpec(str(name), partial(Linked, name, targets, refs, seconds))))
        answer: list[int] | str
        try:
            answer = await refs[0].ask_async("names", timeout_seconds=10_000)
        except (AskCycle, BaseExceptionGroup) as error:
            found = innermost(error)
            assert isinstance(found, AskCycle), found
            answer = str(found)
        assert answer == expected
        await settle(system)
        assert not system.waits._targets
        assert system.statistics().tasks == 0


async def test_a_self_ask_is_the_smallest_circle() -> None:
    """Awaiting one's own answer, room in one's own mailbox, or one's own end."""

    class Narrow(Worker):
        mailbox_capacity = 1

    async def ask(worker: Worker) -> Any:
        return await worker.actor_ref.ask_async("x")

    async def send(worker: Worker) -> Any:
        worker.actor_ref.tell("fills it")
        await worker.actor_ref.send("no room")

    async def wait(worker: Worker) -> Any:
        await worker.actor_ref.wait_gone()

    async def stop(worker: Worker) -> Any:
        await worker.actor_ref.stop(block=False)

    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision(intensity=10)), id="all")
        waits = {ask: "str", send: "room for str", wait: "its end", stop: "its end"}
        for n, (handler, what) in enumerate(waits.items()):
            ref = await parent.ask_async(ChildSpec(str(n), Narrow))
            with pytest.raises(AskCycle, match=rf"system/all/{n} -\[{what}\]-> system/all/{n}$"):
                await ref.ask_async(handler)
            assert trio.current_time() == 0


async def test_waiting_for_room_closes_a_circle_too() -> None:
    """A waits for room at B, whose handler asks A: the one that comes second is told."""

    class Narrow(Worker):
        mailbox_capacity = 1

    async with open_system() as system:
        a = await system.spawn(Worker, id="a")
        b = await system.spawn(Narrow, id="b")

        async def ask_back(worker: Worker) -> Any:
            await trio.sleep(1)
            return await a.ask_async("back")

        async def send(worker: Worker) -> None:
            await b.send("fills it")
            await b.send("waits")

        answer = b.ask(ask_back, block=False)
        await settle(system)
        a.tell(send)
        await settle(system)
        with pytest.raises(AskCycle, match=r"system/b -\[str\]-> system/a -\[room for str\]-> system/b$"):
            await answer
        assert trio.current_time() == 1


async def test_a_child_that_asks_its_parent_while_it_starts_is_told() -> None:
    """The parent waits for the start; the failure of the start is raised to it."""

    class Asking(Worker):
        async def on_start(self) -> None:  # type: ignore[override]
            await parent.ask_async("hello")

    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision()), id="parent")
        match = r"system/parent/child -\[str\]-> system/parent -\[its start\]-> system/parent/child$"
        with pytest.raises(AskCycle, match=match):
            await parent.ask_async(lambda parent: parent.spawn(ChildSpec("child", Asking)))
        assert trio.current_time() == 0


async def test_a_child_that_asks_its_parent_while_that_one_stops_is_told() -> None:
    """The parent waits for it to stop, and will answer nobody any more."""
    asked: list[str] = []

    class Asking(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            try:
                await parent.ask_async("may I?")
            except AskCycle as error:
                asked.append(str(error))

    async with open_system() as system:
        parent, _ = await spawn_child(system, Supervision(), Asking)
        await parent.stop(block=False)
    (said,) = asked
    assert said.endswith("system/parent/child -[str]-> system/parent -[its end]-> system/parent/child")
    assert trio.current_time() == 0


async def test_two_systems_of_one_loop_are_one_graph() -> None:
    """A circle through both is found like any other."""
    async with open_system("here") as here, open_system("there") as there:
        a = await here.spawn(Worker, id="a")
        b = await there.spawn(Worker, id="b")
        with pytest.raises(AskCycle, match=r"there/b -\[str\]-> here/a -\[function\]-> there/b$"):
            await a.ask_async(lambda _: b.ask_async(lambda _: a.ask_async("x")))


async def test_a_chain_of_two_thousand_is_no_circle() -> None:
    """A long way of waits is followed without recursion."""
    refs: list[Ref[Any]] = []

    def start(parent: Parent) -> None:
        for name in range(2_000):
            links = [((name + 1) % 2_000, "ask_async")] if name < 1_999 or closed else []
            refs.append(parent.start_child(ChildSpec(str(name), partial(Linked, name, links, refs, 0.0))))

    for closed in (False, True):
        refs.clear()
        async with open_system() as system:
            parent = await system.spawn(lambda: Parent(Supervision(intensity=10_000)), id="all", stop_seconds=1_000)
            await parent.ask_async(start)
            if closed:
                with pytest.raises(AskCycle, match=r"^[^>]*all/1999 -\[str\]-> system/all/0 -.*-> system/all/1999$"):
                    await refs[0].ask_async("names")
            else:
                assert await refs[0].ask_async("names") == [*range(2_000)]


async def test_an_ask_that_would_close_a_circle_is_not_delivered() -> None:
    """It is neither in the mailbox nor in dead letters: it was never sent."""
    async with open_system() as system:
        handled: list[Any] = []
        a = await system.spawn(lambda: Worker(handled), id="a")

        async def careful(worker: Worker) -> str:
            try:
                return str(await worker.actor_ref.ask_async("me"))
            except AskCycle:
                return "told"

        assert await a.ask_async(careful) == "told"
        await settle(system)
        assert handled == []
        assert set(system.statistics().dead_letters.values()) == {0}


# A10
@given(
    way=st.sampled_from(["ask", "future", "send", "through another"]),
    end=st.sampled_from(["stop", "crash", "sibling"]),
    catches=st.booleans(),
)
async def test_a_wait_that_becomes_a_circle_ends_in_that_moment(way: str, end: str, catches: bool) -> None:
    """Who waits for its supervisor, or a sibling, when that comes to wait for its end: told at once.

    One that catches the error can end in order.
    """
    log: list[Any] = []

    class Narrow(Worker):
        mailbox_capacity = 1

    async def run(worker: Worker) -> None:
        try:
            if way == "ask":
                await target.ask_async("question")
            elif way == "future":
                await target.ask("question", block=False)
            elif way == "send":
                await target.send("fills it")
                await target.send("waits for room")
            else:
                await other.ask_async(lambda _: target.ask_async("question"))
        except AskCycle as error:
            log.append((trio.current_time(), str(error)))
            if not catches:
                raise

    async def busy(worker: Worker) -> None:
        await trio.sleep(3)
        if end != "stop":
            raise ValueError("crash")

    class Nest(Narrow):
        supervision = Supervision(Strategy.ONE_FOR_ALL)

    async with open_system() as system:
        other = await system.spawn(Worker, id="other")
        nest = await system.spawn(Nest, id="nest", stop_seconds=1_000)
        specs = [ChildSpec("elder", Narrow, stop_seconds=500), ChildSpec("asking", Worker, stop_seconds=500)]
        elder, asking = await nest.ask_async(lambda nest: [nest.start_child(spec) for spec in specs])
        target = elder if end == "sibling" else nest
        target.tell(busy)
        await settle(system)
        asking.tell(run)
        await settle(system)
        if end == "stop":
            nest._cell.control(nest._cell.begin_stop)
        await trio.sleep(3)
        await settle(system)
        ((when, said),) = log
        assert when == 3
        steps = {
            "send": "-[room for str]->",
            "through another": "-[function]-> system/other -[str]->",
        }
        circle = f"system/nest/asking {steps.get(way, '-[str]->')} {target.path} -[its end]-> system/nest/asking"
        assert said == f"actors would wait for each other: {circle}"
        if end == "stop":
            assert not nest.is_alive()
        else:
            # The crashed one is back, and so is whoever was restarted with it.
            assert await target.ask_async(lambda worker: worker.restarts) == 1
