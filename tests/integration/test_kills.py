"""Killing an agent, a session and a connection in mid-run, by the interface that a supervisor has: nothing is lost.

One terminal event, the others go on, and the node's own counts are back to what they were.
"""

from __future__ import annotations

import os

import pytest
import trio

from callboard.transport.protocol import CloseCode
from tests.integration.boards import open_board, quiet, settled, until, visitors
from tests.integration.sample_app import Steps, Waits
from tests.transport.peer import Peer

AGENTS = {"waits": Waits, "steps": Steps}


async def goes_on(peer: Peer) -> None:
    """A new run of this client ends as always, and it has a contiguous stretch."""
    run = await peer.ask("and you?", "steps")
    assert (await peer.end_of(run))["type"] == "agent_completed"
    first = peer.records[0]["seq"]
    assert [record["seq"] for record in peer.records] == list(range(first, first + len(peer.records)))


async def test_an_agent_is_killed() -> None:
    """The session writes the one terminal, closing the open call first; both devices see it."""  # S6, A7, A9
    async with open_board(AGENTS, store_seconds=0.3) as board, visitors(board) as guests:
        other, waiting = await guests.enter("other"), await guests.enter("waiting")
        untouched = await waiting.ask("hold on", "waits")
        await waiting.until_record("tool_executing")
        devices = [await guests.enter("victim", number) for number in (1, 2)]
        before = await quiet(board)
        run = await devices[0].ask("hold on", "waits")
        for peer in devices:
            await peer.until_record("tool_executing")
        entries = [actor["path"] for actor in (await board.report())["actors"] if actor["path"].endswith(run)]
        assert len(entries) == 1
        next(cell.ref for cell in board.system.cells if cell.path == entries[0]).kill()
        for peer in devices:
            error = await peer.end_of(run)
            assert (error["data"]["code"], error["data"]["by"]) == ("agent_killed", "supervisor")
            assert peer.of_run(run) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
        await settled(board, before)
        await goes_on(other)
        assert waiting.of_run(untouched) == ["agent_started", "tool_executing"]
        await waiting.command("cancel", run=untouched)
        assert (await waiting.end_of(untouched))["type"] == "agent_cancelled"
        await goes_on(devices[1])


async def test_a_session_is_killed() -> None:
    """It comes back at its address, closes the open run, and its connections notice nothing."""  # S6, A6, S11
    async with open_board(AGENTS, store_seconds=0.3) as board, visitors(board) as guests:
        other = await guests.enter("other")
        devices = [await guests.enter("victim", number) for number in (1, 2)]
        before = await quiet(board)
        run = await devices[0].ask("hold on", "waits")
        for peer in devices:
            await peer.until_record("tool_executing")
        session = await board.session("victim")
        session.kill()
        for peer in devices:
            error = await peer.end_of(run)
            assert (error["data"]["code"], error["data"]["by"]) == ("session_restarted", "supervisor")
            assert peer.of_run(run) == ["agent_started", "tool_executing", "tool_completed", "agent_error"]
        assert await board.session("victim") == session
        await settled(board, before)
        await goes_on(other)
        # The command from before the kill is still known, and is not run again.
        devices[0].commands = 0
        assert await devices[0].ask("hold on", "waits") == run
        for peer in devices:
            await goes_on(peer)


async def test_a_session_is_killed_again_and_again() -> None:
    """Beyond its restarts it rests: 4101 for its devices, nobody else notices, and `release` ends it."""  # A7
    async with open_board(AGENTS, store_seconds=0.3) as board, visitors(board) as guests:
        other, victim = await guests.enter("other"), await guests.enter("victim")
        await goes_on(victim)
        session = await board.session("victim")
        with trio.fail_after(10):
            while session.is_alive():
                session.kill()
                await trio.lowlevel.checkpoint()
        assert await victim.closed() == 4101
        refused = await guests.connect()
        await refused.send({"t": "hello", "ticket": await board.ticket("victim"), "device": "1" * 32, "client": "x"})
        assert await refused.closed() == 4101
        await goes_on(other)
        assert await board.release("victim")
        again = await guests.enter("victim", start="first")
        await goes_on(again)
        assert again.records[0]["seq"] == 1


async def test_a_connection_is_cut() -> None:
    """The run goes on; the device resumes where it was, and its sibling saw all of it meanwhile."""  # S4, S9
    async with open_board(AGENTS, store_seconds=0.3) as board, visitors(board) as guests:
        other, sibling = await guests.enter("other"), await guests.enter("victim", 2)
        before = await quiet(board)
        victim = await guests.enter("victim", 1)
        run = await victim.ask("hold on", "waits")
        await victim.until_record("tool_executing")
        [connection] = [each for each in board.connections("victim") if each.id == victim.welcome["connection"]]
        connection.end(CloseCode.INTERNAL)
        assert await victim.closed() == 4100
        await until(lambda: len(board.connections("victim")) == 1)
        start = {"epoch": victim.welcome["epoch"], "seq": victim.records[-1]["seq"]}
        again = await guests.enter("victim", 1, start=start)
        assert again.welcome["mode"] == "replay"
        assert again.commands == 1
        await again.command("cancel", run=run)
        for peer in (again, sibling):
            assert (await peer.end_of(run))["type"] == "agent_cancelled"
        assert victim.records + again.records == sibling.records
        await again.leave()
        await victim.stream.aclose()
        await settled(board, before)
        await goes_on(other)


@pytest.mark.parametrize("how", ["reset", "half-close", "vanish in a frame", "close and go", "close and wait"])
async def test_a_peer_that_ends_in_its_own_way(how: str) -> None:
    """Whatever a client does to its socket in mid-run, tasks, descriptors and counts are what they were."""  # S9
    async with open_board(AGENTS, store_seconds=0.3) as board, visitors(board) as guests:
        sibling = await guests.enter("victim")
        run = await sibling.ask("hold on", "waits")
        await sibling.until_record("tool_executing")
        before = await quiet(board)
        for number in range(2, 7):
            peer = await guests.enter("victim", number, start="first")
            await peer.until_record("tool_executing")
            assert isinstance(peer.stream, trio.SocketStream)
            match how:
                case "reset":
                    peer.reset()
                case "half-close":
                    await peer.stream.send_eof()
                    assert await peer.closed() == 1006
                case "vanish in a frame":
                    await peer.stream.send_all(b"\x81\xfe\x10\x00" + os.urandom(100))
                case "close and go":
                    await peer.stream.send_all(b"\x88\x82\0\0\0\0\x03\xe8")
                case _:
                    await peer.stream.send_all(b"\x88\x82\0\0\0\0\x03\xe8")
                    assert await peer.closed() == 1000
            await peer.stream.aclose()
        await settled(board, before)
        assert sibling.of_run(run) == ["agent_started", "tool_executing"]
