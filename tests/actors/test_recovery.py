"""What a crash of the whole node leaves open is closed when it starts again, whoever comes by (law S6)."""

from __future__ import annotations

import pytest
import trio

from callboard.actors import SessionKey
from tests.actors.faults import Fault, FaultyJournal
from tests.actors.story import check_story, types_of
from tests.actors.world import open_world

USERS = [f"user{number}" for number in range(40)]


async def crashed_node() -> FaultyJournal:
    """The journal of a node that was lost while each of these users had a run open, and one more had none."""
    async with open_world() as world:
        for user in USERS:
            client = await world.connected(user, stays=False)
            await client.say("opencall hang")
            await world.settle()
        await world.publish("eve", "x.said", {})
        world.journal.broken = True  # so the node writes no ends of its own
    world.journal.heal()
    return world.journal


async def test_every_run_gets_its_end_at_the_start() -> None:
    """S6. Red if a run of a user who does not come back stays open, or sessions are started that have none."""
    journal = await crashed_node()
    opens = journal.counts["open"]
    async with open_world(journal=journal, seed=2) as world:
        await world.settle()
        for user in USERS:
            history = await world.history(user)
            assert types_of(history) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
            assert (history[-1]["data"]["code"], history[-1]["data"]["by"]) == ("node_lost", "supervisor")
            check_story(history)
        assert journal.counts["open"] - opens == len(USERS)
        assert world.actor("recovery") is None, "it has nothing more to do"
    opens = journal.counts["open"]
    async with open_world(journal=journal, seed=3) as world:
        await world.settle()
        assert journal.counts["open"] == opens


@pytest.mark.parametrize("operation", ["open", "append", "read"])
async def test_a_store_that_is_down_just_then_delays_it(operation: str) -> None:
    """S6. Red if a run stays open because the store gave or took nothing at the node's start."""
    journal = await crashed_node()
    for ahead in range(1, 90):
        journal.faults[operation, journal.counts[operation] + ahead] = Fault.FAIL
    async with open_world(journal=journal, seed=2) as world:
        await trio.sleep(600)
        for user in USERS:
            assert types_of(await world.history(user))[2:] == ["tool_completed", "agent_error"]


async def test_who_comes_by_meanwhile_is_served_at_once() -> None:
    """S6 S11. Red if a user waits for the recovery of others, or meets a session that is started twice."""
    journal = await crashed_node()
    async with open_world(journal=journal, seed=2) as world:
        late = await world.connected(USERS[-1])
        new = await world.connected("somebody else")
        await world.settle()
        assert types_of(late.records)[2:] == ["tool_completed", "agent_error"]
        assert new.records == []
        assert world.live_sessions() == {SessionKey(user).id for user in [*USERS, "somebody else"]}
