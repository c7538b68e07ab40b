"""The heartbeat and the times that a client is given, on the real clock with small limits."""

from __future__ import annotations

from time import perf_counter, time

import trio
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.integration.boards import KEY, ask_http, open_board, settled, visitors
from tests.integration.boards import counts as counted
from tests.integration.sample_app import Steps


async def test_a_ping_comes_and_silence_ends_the_connection() -> None:
    """A client that hears the pings and says nothing is closed with 4201; one that answers stays."""
    async with (
        open_board({"steps": Steps}, heartbeat_seconds=0.2, timeout_seconds=0.3, store_seconds=0.3) as board,
        visitors(board) as guests,
    ):
        before = await counted(board)
        began = perf_counter()
        silent, alive = await guests.enter("silent"), await guests.enter("alive")
        silent_code: list[int] = []

        async def say_nothing() -> None:
            ping = await silent.receive()
            assert ping == {"t": "ping", "seq": 0}
            assert perf_counter() - began >= 0.2
            silent_code.append(await silent.closed())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say_nothing)
            while not silent_code or perf_counter() - began < 1.5:
                ping = await alive.receive()
                assert ping["t"] == "ping"
                await alive.send({"t": "pong", "seq": ping["seq"]})
        assert silent_code == [4201]
        assert perf_counter() - began >= 0.5
        assert (await alive.end_of(await alive.ask("there?")))["type"] == "agent_completed"
        await alive.leave()
        await silent.stream.aclose()
        for user in ("silent", "alive"):
            await (await board.session(user)).stop(block=False)
        await settled(board, before)


async def test_a_login_that_ends_ends_the_connection() -> None:
    """With 4300, on the real clock: get a new ticket, with a new login."""  # S12
    async with open_board({"steps": Steps}, store_seconds=0.3) as board, visitors(board) as guests:
        token = jwt.encode({"alg": "HS256"}, {"sub": "ada", "exp": time() + 1}, OctKey.import_key(KEY))
        request = (
            b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
            b"Authorization: Bearer %s\r\n\r\n" % token.encode()
        )
        answer = await ask_http(board.port, request)
        ticket = answer.partition(b'"ticket":"')[2].partition(b'"')[0].decode()
        peer = await guests.connect()
        await peer.hello(ticket)
        assert await peer.closed() == 4300
        assert b" 401 " in await ask_http(board.port, request)
