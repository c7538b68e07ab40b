"""How a node goes away: what clients are told and see, in which order, and what is left. In virtual time."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import callboard
from callboard.transport import DrainReport
from tests.transport.held_journal import HeldJournal
from tests.transport.memory_client import open_board
from tests.transport.nodes import Echo, open_node, say
from tests.transport.peer import Closed, Message, Peer

A, B = "a" * 32, "b" * 32


class Obedient(callboard.Agent):
    """Ends when the test says so: its text names the event that it waits for."""

    gates: dict[str, trio.Event]

    async def run(self, message: callboard.Message) -> str:
        await self.emit("agent_delta", {"text": "at work"})
        await self.gates[message.text].wait()
        await self.emit("agent_delta", {"text": "done"})
        return message.text


def obedient() -> type[Obedient]:
    """The agent, with gates of one test's own."""
    return type("Obedient", (Obedient,), {"gates": {"soon": trio.Event(), "never": trio.Event()}})


async def rest_of(peer: Peer) -> tuple[list[Message], int]:
    """All that still comes, and the code with which it ends."""
    messages = []
    try:
        while True:
            messages.append(await peer.receive())
    except Closed as end:
        return messages, end.code


async def test_a_run_that_ends_in_time_is_seen_to_its_end() -> None:
    """goaway, the rest of the run, and then the close: no record that was written is kept back."""  # S6, S10
    agent = obedient()
    async with open_node(agents={"obedient": agent}) as node:
        peer, _ = await node.enter()
        await peer.send(say(1, "soon"))
        await peer.until_record("agent_delta")
        reports: list[object] = []
        started = trio.current_time()

        async def drain() -> None:
            reports.append(await node.board.drain())

        node.nursery.start_soon(drain)
        goaway = await peer.receive()
        assert (goaway["t"], goaway["reason"], goaway["by_ms"]) == ("goaway", "draining", 10_000)
        await trio.sleep(4)
        agent.gates["soon"].set()
        messages, code = await rest_of(peer)
        assert code == 4200
        assert [record["type"] for record in peer.records] == [
            "agent_started",
            "agent_delta",
            "agent_delta",
            "agent_completed",
        ]
        assert {message["t"] for message in messages} == {"events"}
        await node.board.wait_closed()
        assert trio.current_time() - started == pytest.approx(10)
        await wait_all_tasks_blocked()
        assert repr(reports) == "[DrainReport(connections=1, runs_finished=1, runs_cut=0)]"


async def test_a_run_that_does_not_end_is_cut_with_its_one_terminal() -> None:
    """At the deadline: tool calls closed, one terminal that says why, seen by every device."""  # S6
    async with open_node() as node:
        first, _ = await node.enter()
        second, _ = await node.enter(device=B)
        await first.send(say(1, "wait"))
        for peer in (first, second):
            await peer.until_record("agent_started")
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for peer in (first, second):
                nursery.start_soon(rest_of, peer)
            report = await node.board.drain()
        assert trio.current_time() - started == pytest.approx(10)
        assert (report.connections, report.runs_finished, report.runs_cut) == (2, 0, 1)
        for peer in (first, second):
            assert peer.protocol.close_code == 4200
            assert [record["type"] for record in peer.records] == ["agent_started", "agent_error"]
            assert peer.records[-1]["data"]["by"] == "supervisor"


async def test_what_is_said_to_a_node_that_drains_is_left_for_the_next_one() -> None:
    """Red if a run begins that is cut with the node, or a command is answered before one in front. A stop works."""
    async with open_node() as node:
        first, _ = await node.enter()
        second, _ = await node.enter(device=B)
        await first.send(say(1, "wait"))
        started = await first.until_record("agent_started")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.board.drain)
            for peer in (first, second):
                await peer.until(lambda message: message["t"] == "goaway")
            await first.send({"t": "command", "id": 2, "op": "cancel", "run": started["run"], "data": {}})
            await first.until(lambda message: message["t"] == "result" and message["id"] == 2)
            await second.send(say(1, "too late"))
            await second.send({"t": "command", "id": 2, "op": "cancel", "run": started["run"], "data": {}})
            messages, code = await rest_of(second)
            assert code == 4200
            assert {message["t"] for message in messages} == {"events"}
            await rest_of(first)
        for peer in (first, second):
            assert [record["type"] for record in peer.records] == ["agent_started", "agent_cancelled"]


async def test_a_platform_that_just_leaves_tells_its_clients() -> None:
    """At the end of `open()`: one terminal, 4200, and no time is spent on waiting for runs."""  # A8, S6
    async with trio.open_nursery() as nursery:
        async with open_board(agents={"echo": Echo}) as board:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(board.serve_stream, theirs)
            peer = await Peer.over(ours)
            await peer.hello(await board.ticket("ada"))
            await peer.send(say(1, "wait"))
            await peer.until_record("agent_started")
            nursery.start_soon(rest_of, peer)
            started = trio.current_time()
        assert trio.current_time() == started
    assert peer.protocol.close_code == 4200
    assert [record["type"] for record in peer.records] == ["agent_started", "agent_error"]


async def test_whoever_has_no_welcome_yet_is_sent_away_at_once() -> None:
    """Before the hello, and between hello and welcome; no goaway, as nothing comes before welcome."""
    journal = HeldJournal()
    async with open_node(journal=journal) as node:
        silent = await node.connect()
        waiting = await node.connect()
        journal.hold_opens = True
        await waiting.send({"t": "hello", "ticket": await node.board.ticket("ada"), "device": A, "client": "peer"})
        await wait_all_tasks_blocked()
        node.nursery.start_soon(node.board.drain, 1)
        assert await rest_of(silent) == ([], 4200)
        assert await rest_of(waiting) == ([], 4200)
        journal.release()
        await node.board.wait_closed()


async def test_who_comes_while_the_node_drains() -> None:
    """The WebSocket is opened to say 4200; a ticket from before does not help."""
    async with open_node() as node:
        ticket = await node.board.ticket("ada")
        peer, _ = await node.enter("grace")
        await peer.send(say(1, "wait"))
        await peer.until_record("agent_started")
        node.nursery.start_soon(node.board.drain, 5)
        await wait_all_tasks_blocked()
        late = await node.connect()
        assert await rest_of(late) == ([], 4200)
        assert ticket


async def test_goaways_are_spread() -> None:
    """Over half of the time in equal slots, one client in each, dealt by chance; a seed gives a spread."""  # A12
    spreads = []
    for seed in (1, 1, 2):
        async with open_node(random_bytes=random.Random(seed).randbytes) as node:
            peers = [(await node.enter(f"user{number % 5}", f"{number:032x}"))[0] for number in range(40)]
            node.nursery.start_soon(node.board.drain, 8)
            goaways = [await peer.until(lambda message: message["t"] == "goaway") for peer in peers]
            assert {goaway["by_ms"] for goaway in goaways} == {8_000}
            spreads.append([goaway["in_ms"] for goaway in goaways])
    for spread in spreads:
        assert sorted(in_ms // 100 for in_ms in spread) == list(range(40))
        assert spread != sorted(spread)
        assert len({in_ms % 100 for in_ms in spread}) > 10  # at any time in its slot
    assert spreads[0] == spreads[1] != spreads[2]


async def test_a_drain_serves_until_the_last_client_has_left() -> None:
    """Each delivers until it leaves in its slot, also where no run is open; the drain ends with the last of them."""
    async with open_node() as node:
        first, _ = await node.enter()
        second, _ = await node.enter(device=B)
        started = trio.current_time()
        node.nursery.start_soon(node.board.drain)
        await first.until(lambda message: message["t"] == "goaway")
        goaway = await second.until(lambda message: message["t"] == "goaway")
        await trio.sleep(1)
        await first.leave()
        await trio.sleep(2)
        assert goaway["by_ms"] == 10_000
        await node.board.publish("ada", "x.said", {})
        await second.until_record("x.said")
        assert not node.board.serving
        assert len(node.board.connections()) == 1
        await second.leave()
        await node.board.wait_closed()
        assert trio.current_time() - started == pytest.approx(3)


async def test_a_run_that_outlives_its_clients_may_end() -> None:
    """That all clients have left is no reason to cut what they asked for."""  # S9
    agent = obedient()
    async with open_node(agents={"obedient": agent}) as node:
        peer, _ = await node.enter()
        await peer.send(say(1, "soon"))
        await peer.until_record("agent_delta")
        started = trio.current_time()
        reports: list[DrainReport] = []

        async def drain() -> None:
            reports.append(await node.board.drain())

        node.nursery.start_soon(drain)
        await peer.until(lambda message: message["t"] == "goaway")
        await peer.leave()
        await trio.sleep(4)
        agent.gates["soon"].set()
        await node.board.wait_closed()
        await wait_all_tasks_blocked()
        assert trio.current_time() - started == pytest.approx(4)
        assert [(report.runs_finished, report.runs_cut) for report in reports] == [(1, 0)]


async def test_clients_that_do_not_answer_hold_the_node_no_longer_than_stated() -> None:
    """`close_seconds` and a second more, whatever they do."""
    async with open_node(limits=callboard.Limits(close_seconds=2.0)) as node:
        silent, _ = await node.enter()
        ours, theirs = memory_stream_pair()
        node.nursery.start_soon(node.board.serve_stream, theirs)
        await ours.send_all(b"GET / HT")
        started = trio.current_time()
        await node.board.drain(0)
        assert trio.current_time() - started <= 3
        assert node.board.connections() == ()
        assert silent.protocol.close_code is None


async def test_a_store_that_is_stuck_holds_the_node_no_longer_than_stated() -> None:
    """What cannot be made durable is given up; the clients are closed all the same."""
    journal = HeldJournal()
    async with open_node(journal=journal, limits=callboard.Limits(close_seconds=2.0)) as node:
        peer, _ = await node.enter()
        journal.hold_appends = True
        await peer.send(say(1, "hi"))
        await wait_all_tasks_blocked()
        started = trio.current_time()
        await node.board.drain(0)
        assert trio.current_time() - started <= 3
        journal.release()


async def test_a_second_drain_finds_nothing_to_do() -> None:
    """It is harmless."""
    async with open_node() as node:
        await node.enter()
        assert (await node.board.drain(1)).connections == 1
        assert (await node.board.drain(1)).connections == 0
