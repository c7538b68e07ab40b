"""Idle sessions leave, and nothing that meets them on their way is lost (law S11)."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import trio
import trio._core._run
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Session, SessionKey
from callboard.actors.log import Log
from callboard.actors.messages import Leave, PublishAlone, RunCommand
from callboard.runtime import Killed
from tests.actors.client import Wire
from tests.actors.faults import Fault
from tests.actors.story import check_story, types_of
from tests.actors.world import LIMITS, World, open_world

# A sweep looks every quarter of the shorter of these two.
TICK = min(LIMITS.idle_seconds, LIMITS.quarantine_seconds) / 4


async def registry_is_true(world: World) -> None:
    """Assert S11 of a settled node."""
    await world.settle()
    entries = await world.entries()
    assert set(entries.sessions) == world.live_sessions()
    assert entries.waiting == 0


async def test_a_session_leaves_when_it_was_idle_long_enough() -> None:
    """S11 S13. Red if sessions stay in memory for ever, or leave with a connection or a run."""
    async with open_world() as world:
        await world.publish("cat", "x.said", {})  # never had a connection
        client, other = await world.connected(), await world.connected("bob")
        await client.say("sleep50")
        await trio.sleep(1)
        client.stays = False
        client.leave()
        await trio.sleep(LIMITS.idle_seconds - 2)
        assert len(world.live_sessions()) == 3
        await trio.sleep(TICK + 2)
        assert SessionKey("cat").id not in world.live_sessions()
        await trio.sleep(50 + TICK)
        assert world.live_sessions() == {other.key.id}
        await registry_is_true(world)
        await client.connect()
        await world.settle()
        assert types_of(client.records) == ["agent_started", "agent_completed"]
        assert client.records == await world.history("ada")


async def test_a_session_that_has_left_holds_no_records() -> None:
    """S13. Red if its records wait in memory for the garbage collector, which comes seldom and counts no bytes."""
    gc.collect()
    gc.disable()
    try:
        before = [each for each in gc.get_objects() if isinstance(each, Log)]
        async with open_world() as world:
            client = await world.connected()
            await client.say("echo")
            await world.settle()
            logs = [weakref.ref(each) for each in gc.get_objects() if isinstance(each, Log) and each not in before]
            assert len(logs) == 1
            client.stays = False
            client.leave()
            del client
            await trio.sleep(LIMITS.idle_seconds + 2 * TICK)
            assert not world.live_sessions()
            assert [log() for log in logs] == [None]
    finally:
        gc.enable()


async def test_a_restarted_session_leaves_too() -> None:
    """S13. Red if a session that crashed while it was idle, or with a run, is never thought idle again."""
    async with open_world() as world:
        client = await world.connected()
        await client.say("hang")
        await world.publish("bob", "x.said", {})
        client.stays = False
        client.leave()
        await world.settle()
        for user in ("ada", "bob"):
            session = world.session(user)
            assert session is not None
            session.kill()
        await trio.sleep(LIMITS.idle_seconds + 2 * TICK)
        assert world.live_sessions() == set()
        await registry_is_true(world)


# S4 S5 S11
@settings(max_examples=120)
@given(
    st.lists(st.tuples(st.sampled_from(("attach", "publish", "say")), st.integers(0, 12)), min_size=1, max_size=4),
    st.sampled_from((0.0, 0.01)),
    st.sampled_from(("nothing", "registry", "sessions")),
    st.integers(0, 8),
    st.integers(0, 2**16),
)
async def test_a_message_that_meets_a_leaving_session_is_routed_once_more(
    meetings: list[tuple[str, int]], delay: float, killed: str, when: int, seed: int
) -> None:
    """Red if anything that comes in any step of a session's leaving is lost, done twice, or waits for ever."""
    trio._core._run._r.seed(seed)
    async with open_world(delay_seconds=delay) as world:
        await world.publish("ada", "x.said", {"n": 0})
        # The tick that finds it idle; what follows happens in the turns right before and after.
        await trio.sleep(LIMITS.idle_seconds + delay)
        await trio.sleep_until(TICK * (trio.current_time() // TICK + 1))
        outcomes: list[str] = []
        async with trio.open_nursery() as nursery:
            for index, (what, checkpoints) in enumerate(meetings):
                nursery.start_soon(meet, world, what, checkpoints, index + 1, outcomes)
            for _ in range(when):
                await trio.lowlevel.checkpoint()
            if killed == "registry":
                world.node.registry.kill()
            elif killed == "sessions":
                world.node.sessions.kill()
        await trio.sleep(5)
        lost = {what for what in outcomes if what.endswith("failed")}
        assert lost <= ({"publish failed"} if killed != "nothing" else set())
        assert len(outcomes) == len(meetings)
        history = await world.history("ada")
        check_story(history)
        assert types_of(history).count("x.said") == 1 + outcomes.count("publish")
        assert types_of(history).count("agent_started") == outcomes.count("say")
        await registry_is_true(world)


async def meet(world: World, what: str, checkpoints: int, number: int, outcomes: list[str]) -> None:
    """Come after so many turns."""
    for _ in range(checkpoints):
        await trio.lowlevel.checkpoint()
    if what == "publish":
        try:
            await world.publish("ada", "x.said", {"n": number})
        except Killed:
            outcomes.append("publish failed")
            return
    else:
        client = world.client("ada", f"d{number}")
        await client.connect()
        if what == "say":
            await client.say("think")
            with trio.fail_after(60):
                # A client repeats what was not answered when it comes back; nobody tells it by a trio event.
                while client.final(1) is None:  # noqa: ASYNC110
                    await trio.sleep(0.1)
        client.stays = False
        client.leave()
    outcomes.append(what)


async def test_a_session_told_to_leave_stays_when_something_waits() -> None:
    """S11. Red if what is in the mailbox is bounced without need, or a session that stayed never leaves again."""
    async with open_world() as world:
        await world.publish("ada", "x.said", {})
        session = world.session("ada")
        assert session is not None
        replies = [session.ask(PublishAlone("x.said", {"n": n}), block=False) for n in range(3)]
        session.notify(Leave())
        assert [(await reply).seq for reply in replies] == [2, 3, 4]
        assert world.session("ada") is session
        await trio.sleep(LIMITS.idle_seconds + 2 * TICK)
        assert world.live_sessions() == set()


async def test_a_command_that_comes_too_late_is_routed_and_its_refusal_told() -> None:
    """S5. Red if a command meets a session on its way out and is never answered, since nobody waits for a tell."""
    async with open_world() as world:
        client = await world.connected(stays=False)
        session = world.session("ada")
        assert session is not None
        client.leave()
        wire = Wire(client)
        await world.settle()
        world.journal.faults["open", world.journal.counts["open"] + 1] = Fault.FAIL
        session.notify(Leave())
        # In the same breath: the session takes the first, leaves, and hands the other on.
        session._cell.control(lambda: session.tell(RunCommand(wire, "d1", 1, "user_message", {"text": "hi"}, None)))
        await world.settle()
        assert [(result.error_code, result.retry) for result in client.results[1]] == [("store_unavailable", True)]
        await registry_is_true(world)


async def test_messages_are_handed_on_to_the_next_incarnation_in_order() -> None:
    """S2 S11. Red if what was told to a leaving session arrives out of order at the one that comes after it."""
    async with open_world() as world:
        client = await world.connected(stays=False)
        session = world.session("ada")
        assert session is not None
        client.leave()
        await world.settle()
        session.notify(Leave())

        def tell_all() -> None:
            for n in range(5):
                session.tell(PublishAlone("x.said", {"n": n}))

        session._cell.control(tell_all)
        await world.settle()
        assert [record["data"]["n"] for record in await world.history("ada")] == [0, 1, 2, 3, 4]
        assert world.session("ada") is not session
        assert world.system.statistics().dead_letters["stopped"] == 0


# S11
async def test_a_session_that_fails_when_it_is_to_go_is_told_again() -> None:
    """Red if it stays in memory, unknown to the registry, and whoever asks for it waits for ever."""
    failed = trio.Event()

    class FallsOnce(Session):
        def on_receive(self, message: Any) -> Any:
            if isinstance(message, Leave) and not failed.is_set():
                failed.set()
                raise RuntimeError("fell")
            return super().on_receive(message)

    async with open_world(session=FallsOnce) as world:
        await world.publish("ada", "x.said", {})
        with trio.fail_after(2 * world.limits.idle_seconds):
            await failed.wait()
            assert (await world.publish("ada", "x.said", {})).seq == 2
        await trio.sleep(2 * world.limits.idle_seconds)
        assert world.live_sessions() == set()
        assert (await world.entries()).waiting == 0
