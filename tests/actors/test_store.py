"""A store that fails, stalls, loses answers or is late: nothing is told too early, nothing hangs (laws S3, S6, S13)."""

from __future__ import annotations

import pytest
import trio

from callboard.actors import Session, SessionKey, StoreUnavailable, ask_session
from callboard.actors.messages import PublishAlone
from callboard.runtime import Refusal
from tests.actors.faults import Fault
from tests.actors.programs import Counting
from tests.actors.story import check_story, types_of
from tests.actors.world import LIMITS, World, open_world


def go_wrong(world: World, operation: str, fault: Fault, *, ahead: int = 1) -> None:
    """Have the next operation but `ahead` - 1 go wrong."""
    world.journal.faults[operation, world.journal.counts[operation] + ahead] = fault


def restarts(world: World) -> int:
    """How often ada's session was restarted."""
    path = f"t/sessions/{SessionKey('ada').id}"
    return next(actor.restarts for actor in world.system.statistics().actors if actor.path == path)


@pytest.mark.parametrize(
    "fault, seconds, taken",
    [
        (Fault.FAIL, 0.0, False),
        (Fault.LOSE, 0.0, True),
        (Fault.STALL, 10.0, False),
        (Fault.SILENT, 10.0, True),
        (Fault.LATE, 10.0, True),
    ],
)
async def test_an_append_that_fails_is_told_and_the_session_goes_on(fault: Fault, seconds: float, taken: bool) -> None:
    """S3. Red if a publisher hangs, or is told of a position that is not durable, or the session does not come back."""
    async with open_world() as world:
        client, other = await world.connected(), await world.connected("bob")
        go_wrong(world, "append", fault)
        before = trio.current_time()
        with pytest.raises(StoreUnavailable):
            await world.publish("ada", "x.said", {"n": 1})
        assert trio.current_time() - before == seconds
        assert (await world.publish("bob", "x.said", {"n": 1})).seq == 1
        position = await world.publish("ada", "x.said", {"n": 2})
        assert position.seq == (2 if taken else 1)
        await trio.sleep(60)  # the late answer is here by now
        assert (await world.publish("ada", "x.said", {"n": 3})).seq == position.seq + 1
        history = await world.history("ada")
        assert [record["data"]["n"] for record in history] == [*([1] if taken else []), 2, 3]
        assert client.records == history
        assert client.broken_rules == []
        assert len(other.records) == 1
        assert restarts(world) == 1


async def test_an_answer_to_an_earlier_incarnation_is_not_taken_for_ones_own() -> None:
    """S3. Red if a late answer shows records that the journal does not have yet.

    The first append of the new incarnation has the same number as the one that got no answer in time.
    """
    async with open_world() as world:
        client = await world.connected()
        go_wrong(world, "append", Fault.LATE)
        with pytest.raises(StoreUnavailable):
            await world.publish("ada", "x.said", {"n": 1})
        await world.settle()
        assert client.applied == 1, "it was durable, and read back"
        await trio.sleep(14.9)
        go_wrong(world, "append", Fault.STALL)
        async with trio.open_nursery() as nursery:

            async def publish() -> None:
                with pytest.raises(StoreUnavailable):
                    await world.publish("ada", "x.said", {"n": 2})

            nursery.start_soon(publish)
            await trio.sleep(1)  # the late answer came in between
            assert client.applied == 1
            assert world.durable("ada") == 1
        await trio.sleep(5)
        assert (await world.publish("ada", "x.said", {"n": 3})).seq == 2


async def test_a_second_answer_changes_nothing() -> None:
    """S3. Red if a journal that answers twice confuses the append after it."""
    async with open_world() as world:
        client = await world.connected()
        for n in range(1, 4):
            go_wrong(world, "append", Fault.TWICE)
            assert (await world.publish("ada", "x.said", {"n": n})).seq == n
            await world.settle()
        assert client.applied == 3
        assert restarts(world) == 0


async def test_a_slow_append_is_no_failure_until_its_time_is_up() -> None:
    """Red if the time-out is counted from an earlier append, or a slow disk costs the session its life."""
    async with open_world() as world:
        await world.connected()
        world.journal.delay_seconds = LIMITS.store_seconds - 0.1
        for n in range(1, 6):
            assert (await world.publish("ada", "x.said", {"n": n})).seq == n
            await trio.sleep(1.7)
        assert restarts(world) == 0
        world.journal.delay_seconds = 0.0
        go_wrong(world, "append", Fault.STALL)
        before = trio.current_time()
        with pytest.raises(StoreUnavailable):
            await world.publish("ada", "x.said", {})
        assert trio.current_time() - before == pytest.approx(LIMITS.store_seconds)


async def test_what_waits_behind_a_slow_append_goes_together() -> None:
    """S2. Red if each record waits for its own append, or their order changes."""
    async with open_world(delay_seconds=2.0) as world:
        client = await world.connected()
        appends = world.journal.counts["append"]
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(world.publish, "ada", "x.said", {"n": n})
        assert trio.current_time() <= 4.0
        assert world.journal.counts["append"] - appends <= 2
        assert [record["seq"] for record in client.records] == list(range(1, 21))


@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.STALL])
@pytest.mark.parametrize("operation", ["open", "read"])
async def test_a_session_that_cannot_be_read_is_told_to_who_asks(operation: str, fault: Fault) -> None:
    """S11. Red if who asks for it hangs, or the next one cannot have it either."""
    async with open_world(session=Counting) as world:  # which reads all its records
        client = await world.connected()
        await world.publish("ada", "x.said", {})
        client.stays = False
        client.leave()
        await trio.sleep(3 * LIMITS.idle_seconds)
        assert world.live_sessions() == set()
        go_wrong(world, operation, fault)
        before = trio.current_time()
        with pytest.raises(StoreUnavailable):
            await world.publish("ada", "x.said", {})
        assert trio.current_time() - before <= LIMITS.store_seconds
        assert (await world.entries()).waiting == 0
        assert (await world.publish("ada", "x.said", {})).seq == 2


async def test_a_session_outlasts_an_outage_of_its_store() -> None:
    """A7 S6. Red if an outage is counted as failures of the session, which would rest for long after it is over."""
    async with open_world() as world:
        client = await world.connected()
        await client.say("opencall hang")
        await world.settle()
        world.journal.broken = world.journal.unreachable = True
        with pytest.raises(StoreUnavailable):
            await world.publish("ada", "x.said", {})
        await trio.sleep(300)
        assert len(world.live_sessions()) == 1
        world.journal.heal()
        await trio.sleep(30)
        assert restarts(world) == 1
        assert client.records == await world.history("ada")
        check_story(client.records)
        assert types_of(client.records) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
        assert world.runs.started == world.runs.ended


async def test_the_end_of_a_run_is_written_when_the_store_takes_it() -> None:
    """S6. Red if a run stays open because the store was down when its agent died, or has two ends when it is back."""
    async with open_world() as world:
        client = await world.connected()
        await client.say("hang")
        await world.settle()
        world.journal.broken = True
        for agent in world.agents():
            agent.kill()
        await trio.sleep(20)
        assert types_of(await world.history("ada")) == ["agent_started"]
        world.journal.heal()
        await trio.sleep(3 * LIMITS.quarantine_seconds)
        assert types_of(await world.history("ada")) == ["agent_started", "agent_error"]
        assert client.records == await world.history("ada")


async def test_a_stopping_session_waits_for_a_slow_store_and_not_for_ever() -> None:
    """A8 S6. Red if a stop loses what was on its way to the disk, or a store that says nothing keeps a node alive."""
    async with open_world(delay_seconds=3.0) as world:
        client = await world.connected(stays=False)
        await client.say("hang")
        await trio.sleep(10)
        await world.node.sessions.stop(block=False)
        assert types_of(client.records) == ["agent_started", "agent_error"]
        stopped_after = trio.current_time() - 10.0
    assert 3.0 <= stopped_after <= 3.1
    async with open_world() as world:
        client = await world.connected(stays=False)
        await client.say("hang")
        await world.settle()
        go_wrong(world, "append", Fault.STALL)
        before = trio.current_time()
        await world.node.sessions.stop(block=False)
        assert trio.current_time() - before <= LIMITS.drain_seconds + 0.1
        assert types_of(client.records) == ["agent_started"]
        assert len(client.closes) + (client.wire is None) >= 1, "it was told"


async def test_an_answer_that_comes_while_agents_are_stopped_is_not_lost() -> None:
    """A8 S6. Red if a stop hangs until its deadline, because the answer came when the session took no turns."""
    async with open_world(delay_seconds=0.5) as world:
        client = await world.connected(stays=False)
        await client.say("linger")  # its agent takes a second to stop
        await trio.sleep(0.6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.publish, "ada", "x.said", {})
            await trio.sleep(0.1)
            before = trio.current_time()
            await world.node.sessions.stop(block=False)
            assert trio.current_time() - before < 5.0
        assert types_of(client.records) == ["agent_started", "x.said", "agent_error"]
        assert [reason.value for reason in client.closes] == ["draining"]


class Raising(Session):
    """An author who lets a refusal out of a hook, where the kernel would take it for an answer."""

    def on_record(self, record: object) -> None:
        raise Refusal("no")


async def test_a_refusal_out_of_a_hook_is_a_failure() -> None:
    """S3. Red if half a change stays: a record that the journal gets, and the session's own state does not know."""
    async with open_world(session=Raising) as world:
        with pytest.raises(RuntimeError, match="`on_record` was refused something"):
            await ask_session(world.node.registry, SessionKey("ada"), PublishAlone("x.said", {}))
        await trio.sleep(1)
        assert restarts(world) == 1
        assert await world.history("ada") == []
