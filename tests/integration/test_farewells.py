"""A node parts from its clients, over real sockets: one user is shut out, or all are asked to go."""

from __future__ import annotations

import json

import pytest
import trio

import callboard
from callboard.transport import SessionClosed, TicketDenied
from tests.integration.boards import ask_http, counts, of_clients, open_board, settled, until, visitors
from tests.integration.sample_app import Steps

AGENTS = {"steps": Steps}


def operator(board: callboard.Board, user: str) -> bytes:
    """The request that shuts a user out."""
    token = board.authenticator.token("root", scope="operator")
    body = json.dumps({"user": user}).encode()
    return (
        b"POST /v1/revocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n"
        b"Authorization: Bearer %s\r\n\r\n%s" % (len(body), token.encode(), body)
    )


async def test_an_operator_shuts_a_user_out() -> None:
    """A program, a tab and a stuck client of one user are gone when the answer is there; the neighbour stays."""  # S12
    async with open_board(AGENTS, write_seconds=60.0, close_seconds=30.0) as board, visitors(board) as guests:
        neighbour = await guests.enter("grace")
        before = await counts(board)
        token = board.authenticator.token("ada")
        tab = await guests.enter("ada", 1)
        stuck = await guests.enter("ada", 2, options={"receive_buffer": 4_096})
        async with callboard.connect(board.url, token=token) as program:
            await program.wait_connected()
            for _ in range(50):
                await board.publish("ada", "x.big", {"text": "x" * 100_000})
            await until(lambda: any(each.waiting_bytes for each in board.connections("ada")))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tab.closed)
                began = trio.current_time()
                answer = await ask_http(board.port, operator(board, "ada"))
            assert trio.current_time() - began < 10  # a second, on a machine that has nothing else to do
            assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"connections": 3, "tickets": 0}
            assert board.connections("ada") == ()
            with pytest.raises(SessionClosed) as closed:
                async for _ in program:
                    pass
            assert closed.value.code == tab.protocol.close_code == 4006
        async with callboard.connect(board.url, token=token) as again:
            with pytest.raises(TicketDenied, match="revoked"):
                await again.wait_connected()
        await tab.stream.aclose()
        await stuck.stream.aclose()
        await settled(board, of_clients(before))
        await neighbour.ask("still here?")
        await neighbour.until_record("agent_completed")
        await neighbour.leave()


async def test_all_are_asked_to_go() -> None:
    """Each in a slot of its own, served until it leaves; the drain ends with the last, long before its deadline."""
    async with open_board(AGENTS) as board, visitors(board) as guests:
        peers = [await guests.enter(f"user{number}") for number in range(10)]
        reports = []

        async def drain() -> None:
            reports.append(await board.drain(60.0))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            slots = []
            for peer in peers:
                goaway = await peer.until(lambda message: message["t"] == "goaway")
                assert goaway["by_ms"] == 60_000
                slots.append(goaway["in_ms"] // 3_000)
            assert sorted(slots) == list(range(10))
            for number, peer in enumerate(peers):
                await board.publish(f"user{number}", "x.said", {"text": "before you go"})
                await peer.until_record("x.said")
                await peer.leave()
        assert trio.current_time() - began < 30
        assert [(report.connections, report.runs_cut) for report in reports] == [(10, 0)]
        assert board.tcp == 0
