"""What can be seen of a system from inside: ages, current handlers, the dump."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import Actor, ActorStatistics, ActorSystem, ChildSpec, Overflow, open_system
from callboard.runtime.lookout import Lookout
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Collect, Parent, Sleep, Worker


def of(system: ActorSystem, path: str) -> ActorStatistics:
    """The statistics of one actor."""
    (actor,) = [each for each in system.statistics().actors if each.path == path]
    return actor


async def test_what_an_actor_is_at_and_for_how_long() -> None:
    """So that the one that is stuck stands out."""
    async with open_system() as system:
        stuck = await system.spawn(Worker, id="stuck")
        assert of(system, "system/stuck").current_seconds is None
        stuck.tell(Sleep(100))
        stuck.tell("next")
        await trio.sleep(7)
        actor = of(system, "system/stuck")
        assert (actor.state, actor.current, actor.current_seconds, actor.mailbox) == ("busy", "Sleep", 7.0, 1)
        stuck.kill()
        await settle(system)
        actor = of(system, "system/stuck")
        assert (actor.state, actor.current, actor.current_seconds) == ("running", None, None)
        assert (actor.restarts, actor.last_error) == (1, "Killed")


async def test_messages_of_those_that_are_gone_still_count() -> None:
    """`handled` of the system never goes back, so that a rate can be told from it."""
    async with open_system() as system:
        ref = await system.spawn(lambda: Collect([]), id="a")
        for number in range(5):
            ref.tell(number)
        await settle(system)
        assert system.statistics().handled == 5
        await ref.stop(block=False)
        assert system.statistics().handled == 5
        assert len(system.statistics().actors) == 1


class Gate(Worker):
    """Drops the oldest where there is no room."""

    mailbox_capacity = 5
    mailbox_overflow = Overflow.DROP_OLDEST


steps = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(1, 4)),
        st.tuples(st.just("pass"), st.integers(1, 9)),
        st.tuples(st.just("note"), st.just(0)),
        st.tuples(st.just("go on"), st.just(0)),
    ),
    max_size=40,
)


@given(steps, st.sampled_from([Gate, Worker]))
async def test_the_age_of_the_oldest_message(program: list[tuple[str, int]], kind: type[Worker]) -> None:
    """It is never more than the truth, and short of it by no more than the time to the next note.

    Red if a mark outlives its message, if one is given to a message that came later, or if it is lost in between.
    """
    async with open_system(slice_clock=frozen_clock) as system:
        ref = await system.spawn(kind, id="a")
        lookout = Lookout(system, 1.0)
        # When each waiting message came, and the first note after that.
        waiting: list[list[float | None]] = []
        gates: list[trio.Event] = []

        async def wait(_: Actor) -> None:
            await gates[0].wait()

        def hold() -> None:
            gates.append(trio.Event())
            ref.tell(wait)  # the same message each time: it is not known by its identity

        hold()
        await settle(system)
        for step, number in program:
            now = trio.current_time()
            if step == "tell":
                for _ in range(number):
                    hold()
                    waiting.append([now, None])
                    if kind is Gate and len(waiting) > Gate.mailbox_capacity:
                        del waiting[0], gates[1]
            elif step == "pass":
                await trio.sleep(number)
            elif step == "note":
                lookout.note(now)
                for message in waiting:
                    message[1] = now if message[1] is None else message[1]
            elif waiting:
                gates.pop(0).set()
                del waiting[0]
                await settle(system)
            age = of(system, "system/a").oldest_seconds
            noted = waiting[0][1] if waiting else None
            assert age == (None if noted is None else trio.current_time() - noted)
        for gate in gates:
            gate.set()


async def test_marks_are_bounded() -> None:
    """A mailbox that is never empty for hours is remembered in a few places only, the oldest exactly."""
    async with open_system(slice_clock=frozen_clock) as system:
        ref = await system.spawn(Worker, id="a")
        ref.tell(Sleep(1_000_000))
        await settle(system)
        lookout = Lookout(system, 1.0)
        for _ in range(1_000):
            ref.tell("m")
            lookout.note(trio.current_time())
            await trio.sleep(1)
        assert of(system, "system/a").oldest_seconds == 1_000.0
        marks = ref._cell.marks
        assert marks is not None
        assert len(marks) <= 64
        ref.kill()
        await settle(system)


async def test_a_dump_tells_the_tree_and_where_each_coroutine_is() -> None:
    """With the stack of whoever waits, in its own words, and no value of any message."""

    async def somewhere_deep() -> None:
        await trio.sleep(1_000)

    async with open_system("board") as system:
        parent = await system.spawn(lambda: Parent(Parent.supervision), id="parent")
        for number in range(30):
            await parent.ask_async(ChildSpec(f"child-{number}", Worker))
        busy: Any = await parent.ask_async(ChildSpec("busy", Worker))
        busy.tell(lambda _: somewhere_deep())
        busy.tell("a secret")
        await trio.sleep(3)
        text = system.dump()
    lines = text.splitlines()
    assert lines[0] == "33 actors, 1 of them at work in a coroutine"
    assert lines[1] == "board  (_Root)  running  handled 0"
    assert lines[2] == "  parent  (Parent)  running  handled 31"
    assert "    busy  (Worker)  busy  handled 0  1 of 10000 wait  at function for 3.0 s" in lines
    assert "in test_a_dump_tells_the_tree_and_where_each_coroutine_is.<locals>.somewhere_deep" in text
    assert "    … and 10 more that have nothing to do" in lines
    assert "secret" not in text


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
async def test_a_bound_that_is_none(seconds: float) -> None:
    """It is refused by name and value."""
    with pytest.raises(ValueError, match=rf"slow_seconds is {seconds!r}; it must be above 0"):
        async with open_system(slow_seconds=seconds):
            raise AssertionError("never opened")
