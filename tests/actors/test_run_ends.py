"""However an agent ends, its run has one terminal event, and the right one (laws S6, S7, S9)."""

import random
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Ids
from tests.actors.client import Client
from tests.actors.story import check_story, types_of
from tests.actors.world import LIMITS, World, open_world

Blow = Callable[[World, Client], Awaitable[None]]


async def kill_the_agent(world: World, client: Client) -> None:
    """As an operator does."""
    for agent in world.agents():
        agent.kill()


async def kill_the_session(world: World, client: Client) -> None:
    """As a bug in it does."""
    session = world.session("ada")
    assert session is not None
    session.kill()


async def kill_the_supervisor(world: World, client: Client) -> None:
    """As a bug in it does: its sessions stop in order."""
    world.node.sessions.kill()


async def cancel(world: World, client: Client) -> None:
    """As the stop button does."""
    await client.command("cancel", {}, client.run_of(1))


async def wait_for_the_deadline(world: World, client: Client) -> None:
    """As a hanging agent makes one do."""
    await trio.sleep(LIMITS.run_seconds)


ERROR = "agent_error"
BLOWS: dict[str, tuple[Blow, str, dict[str, str]]] = {
    "agent killed": (kill_the_agent, ERROR, {"code": "agent_killed", "message": "the agent was killed"}),
    "session killed": (kill_the_session, ERROR, {"code": "session_restarted", "message": "the run was cut short"}),
    "supervisor killed": (kill_the_supervisor, ERROR, {"code": "node_stopped", "message": "the node stopped"}),
    "deadline": (
        wait_for_the_deadline,
        ERROR,
        {"code": "deadline", "message": "the agent took longer than 60 seconds"},
    ),
    "cancelled": (cancel, "agent_cancelled", {"by": "user", "reason": "cancelled by the user"}),
}


@pytest.mark.parametrize("delay_seconds", [0.0, 0.005])
@pytest.mark.parametrize("blow", BLOWS)
async def test_a_run_that_is_ended_from_outside_ends_once(blow: str, delay_seconds: float) -> None:
    """S6. Red if the terminal is missing, doubled, of the wrong kind, or before the open call is closed."""
    strike, terminal, data = BLOWS[blow]
    async with open_world(delay_seconds=delay_seconds) as world:
        client = await world.connected()
        other = await world.connected("bob")
        for each in (client, other):
            await each.say("think opencall hang")
        await trio.sleep(1)
        assert types_of(client.records) == ["agent_started", "agent_thinking", "tool_executing"]
        other_run = other.run_of(1)
        await strike(world, client)
        await trio.sleep(1)
        history = await world.history("ada")
        check_story(history)
        assert client.records == history, "S4"
        assert types_of(history)[3:] == ["tool_completed", terminal]
        assert history[3]["data"] == {
            "call": "mine",
            "tool": "own",
            "ok": False,
            "result": None,
            "duration_ms": history[3]["at"] - history[2]["at"],
            "by": "supervisor",
        }
        assert history[4]["data"] == {"by": "supervisor", **data}
        assert world.runs.ended[client.run_of(1)] == 1
        if blow in ("session killed", "cancelled"):
            assert types_of(other.records) == ["agent_started", "agent_thinking", "tool_executing"], "isolation"
            assert other_run in (await world.entries()).runs


@pytest.mark.parametrize(
    "words, agent, code",
    [
        ("boom", "scripted", "agent_failed (ValueError)"),
        ("think", "unmakeable", "agent_failed (LookupError)"),
        ("opencall", "scripted", "agent_failed (GrammarError)"),
        ("done boom", "scripted", ""),
    ],
)
async def test_an_agent_that_fails_is_told_by_type_only(words: str, agent: str, code: str) -> None:
    """S6 S7. Red if such a run never ends, ends twice, or what the exception says is shown to a user."""
    async with open_world() as world:
        client = await world.connected()
        await client.say(words, agent=agent)
        await trio.sleep(1)
        check_story(client.records)
        end = client.records[-1]
        if code:
            assert end["data"]["by"] == "supervisor"
            assert f"{end['data']['code']} {end['data']['message'].split('result ')[1]}" == code
        assert "secret" not in str(client.records)
        assert world.runs.started == world.runs.ended


async def test_a_run_cancelled_before_its_beginning_is_durable_never_starts() -> None:
    """S6 S9. Red if its agent is started all the same, or the run has two ends."""
    async with open_world(delay_seconds=5.0) as world:
        client = await world.connected()
        await client.say("think")
        await trio.sleep(1)
        assert client.records == await world.history("ada") == []
        # The page does not know the run's id yet; here it is foreseen: it is drawn right after the session's epoch.
        ids = Ids(random.Random(1).randbytes)
        assert ids.epoch() == client.epoch
        run = ids.run()
        await client.command("cancel", {}, run)
        await trio.sleep(20)
        assert types_of(client.records) == ["agent_started", "agent_cancelled"]
        assert client.run_of(1) == run
        assert client.results[2][0].ok == {"state": "cancelling"}
        assert world.runs.started == {}
        assert world.agents() == []


async def test_a_run_is_cancelled_once() -> None:
    """S6. Red if a second cancel writes a second end, or a run of nobody is said to be cancelled."""
    async with open_world() as world:
        client = await world.connected()
        other = await world.connected("bob")
        await client.say("hang")
        await world.settle()
        run = client.run_of(1)
        assert (await client.ask("cancel", {}, run)).ok == {"state": "cancelling"}
        assert (await client.ask("cancel", {}, run)).ok == {"state": "ended"}
        assert (await client.ask("cancel", {}, "0" * 32)).error_code == "unknown_run"
        assert (await other.ask("cancel", {}, run)).error_code == "unknown_run", "it is not one of bob's"
        assert types_of(client.records) == ["agent_started", "agent_cancelled"]


async def test_the_node_stops_in_order() -> None:
    """S6. Red if an ordered stop leaves a run open, a connection untold, or does not wait for a slow disk."""
    async with open_world(delay_seconds=2.0) as world:
        client = await world.connected(stays=False)
        await client.say("opencall hang")
        await trio.sleep(10)
        session = world.session("ada")
        assert session is not None
        stopping = world.node.sessions.stop(block=False)
        await stopping
        assert types_of(client.records)[2:] == ["tool_completed", "agent_error"]
        assert client.records[-1]["data"]["code"] == "node_stopped"
        assert [reason.value for reason in client.closes] == ["draining"]
        assert not session.is_alive()


async def test_what_an_earlier_process_left_open_is_closed_before_anything_else() -> None:
    """S5 S6. Red if a new node shows an open run, forgets its commands, or changes the epoch without need."""
    async with open_world() as world:
        client = await world.connected(stays=False)
        await client.say("opencall hang")
        await world.settle()
        journal, epoch, result, before = world.journal, client.epoch, client.final(1), list(client.records)
        client.leave()
        journal.broken = True  # the node writes no ends of its own, as one that is lost
    journal.heal()
    async with open_world(journal=journal, seed=2) as world:
        client.world = world
        await client.connect()
        await world.settle()
        assert (client.epoch, [mode.value for mode in client.modes]) == (epoch, ["fresh", "replay"])
        assert client.records[: len(before)] == before
        assert types_of(client.records)[2:] == ["tool_completed", "agent_error"]
        assert client.records[-1]["data"]["code"] == "node_lost"
        check_story(await world.history("ada"))
        await client.repeat(1)
        await world.settle()
        assert client.results[1] == [result, result]
        assert world.runs.started == world.runs.ended == {}


# S9
@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(("come", "leave", "come as another")), st.floats(0.0, 2.0)), max_size=12),
    st.sampled_from((0.0, 0.05)),
)
async def test_a_closed_connection_cancels_nothing(program: list[tuple[str, float]], delay: float) -> None:
    """Red if a run ends, or an event is missing, because its reader went away."""
    async with open_world(delay_seconds=delay) as world:
        client = await world.connected(stays=False)
        await client.say("think sleep5 tool sleep5 delta")
        await trio.sleep(0.2)
        for what, seconds in program:
            if what == "come":
                await client.connect()
            elif what == "leave":
                client.leave()
            else:
                await world.connected("ada", "d2", stays=False)
            await trio.sleep(seconds)
        client.leave()
        await trio.sleep(20)
        await client.connect()
        check_story(client.records)
        assert client.broken_rules == []
        assert types_of(client.records) == [
            *("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_delta", "agent_completed"),
        ]


async def test_open_runs_are_bounded_and_so_are_their_agents() -> None:
    """S13. Red if a user can open runs without end, or pile up agents that shield their end."""
    async with open_world(limits=attrs.evolve(LIMITS, runs=2)) as world:
        client = await world.connected()
        for _ in range(3):
            await client.say("linger")
        await world.settle()
        assert [client.results[id][0].error_code for id in (1, 2, 3)] == [None, None, "busy"]
        assert client.results[3][0].retry
        # Ended at once for the user, while the agents take their time: in their place two more fit, and then no more.
        for id in (1, 2):
            await client.command("cancel", {}, client.run_of(id))
        await client.repeat(3)
        await client.say("linger")
        await world.settle()
        assert len(world.agents()) == 4
        for id in (3, 6):
            await client.command("cancel", {}, client.run_of(id))
        refused = await client.ask("user_message", {"text": "think"})
        assert (refused.error_code, refused.retry) == ("busy", True)
        assert refused.error_message == "agents of ended runs have not stopped yet"
        await trio.sleep(10)
        assert world.agents() == []
        await client.repeat(refused.id)
        await world.settle()
        assert client.final(refused.id) is not None
