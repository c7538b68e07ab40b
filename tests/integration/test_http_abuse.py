"""HTTP that is wrong, slow or too much, on real sockets: each asker reads its answer, and nothing is left of it."""

from __future__ import annotations

import contextlib
import resource
import socket
from time import process_time

import pytest
import trio

from tests.integration.boards import ask_http, counts, open_board, settled, visitors
from tests.integration.sample_app import Steps
from tests.integration.wrongs import BAD_HTTP, bad_tokens, good_token

AGENTS = {"steps": Steps}


@pytest.mark.parametrize("what, request_bytes, status", BAD_HTTP, ids=[case[0] for case in BAD_HTTP])
async def test_what_is_wrong_is_answered_and_the_answer_can_be_read(
    what: str, request_bytes: bytes, status: int
) -> None:
    """No reset throws the answer away, also where much more was sent than is read."""
    async with open_board(AGENTS) as board:
        before = await counts(board)
        stream = await trio.open_tcp_stream("127.0.0.1", board.port)
        answer = b""

        async def send() -> None:
            await stream.send_all(request_bytes)
            await stream.send_eof()

        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(send)
            async for data in stream:
                answer += data
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
        assert b"application/problem+json" in answer
        await settled(board, before)


async def test_tokens_that_prove_nothing() -> None:
    """Expired, unsigned, of another key: 401, on every route that is somebody's."""  # S12
    tokens, good = bad_tokens("ada"), good_token("ada", scope="operator")
    async with open_board(AGENTS) as board:
        for method, path in (("POST", "/v1/tickets"), ("GET", "/v1/sessions"), ("GET", "/v1/statistics")):
            for token in [*tokens, good]:
                request = (
                    f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
                    f"Authorization: Bearer {token}\r\n\r\n"
                )
                answer = await ask_http(board.port, request.encode())
                assert (b" 401 " in answer.splitlines()[0]) is (token in tokens), (path, token)


async def test_those_who_drip() -> None:
    """A hundred connections that send a byte now and then are gone after `head_seconds`; others are served."""
    async with open_board(AGENTS, head_seconds=0.5) as board, visitors(board) as guests:
        good = await guests.enter("good")
        before = await counts(board)
        streams = [await trio.open_tcp_stream("127.0.0.1", board.port) for _ in range(100)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(_drip, stream)
            assert (await good.end_of(await good.ask("and me?")))["type"] == "agent_completed"
        for stream in streams:
            await stream.aclose()
        after = await counts(board)
        await settled(board, before | {"timers": after["timers"]})


async def _drip(stream: trio.SocketStream) -> None:
    ended = trio.Event()

    async def read() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
        ended.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            try:
                for byte in b"GET /healthz HTTP/1.1\r\nX-Padding: " + b"x" * 1_000:
                    if ended.is_set():
                        break
                    await stream.send_all(bytes((byte,)))
                    with trio.move_on_after(0.05):
                        await ended.wait()
            except trio.BrokenResourceError:
                pass


async def test_more_connections_than_the_node_takes() -> None:
    """Those beyond the bound are closed unread; the others work, and so does the next when one is gone."""  # S13
    async with open_board(AGENTS, connections=3) as board, visitors(board) as guests:
        before = await counts(board)
        good = [await guests.enter("good", number) for number in (1, 2)]
        idle = await trio.open_tcp_stream("127.0.0.1", board.port)
        await idle.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await idle.receive_some()).startswith(b"HTTP/1.1 200")
        beyond = await trio.open_tcp_stream("127.0.0.1", board.port)
        async with beyond:
            assert await beyond.receive_some() == b""
        await idle.aclose()
        with trio.fail_after(10):
            while (await counts(board))["tcp"] != 2:
                await trio.lowlevel.checkpoint()
        assert b" 200 " in await ask_http(board.port, b"GET /healthz HTTP/1.0\r\n\r\n")
        for peer in good:
            await peer.leave()
        await (await board.session("good")).stop(block=False)
        await settled(board, before)


async def test_a_system_without_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can be accepted, and the node neither falls nor spins; with descriptors it accepts again."""
    async with open_board(AGENTS) as board, visitors(board) as guests:
        good = await guests.enter("good")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        waiting = [socket.socket() for _ in range(20)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(sock.fileno() for sock in waiting) + 1, hard))
            for sock in waiting:
                sock.setblocking(False)
                assert sock.connect_ex(("127.0.0.1", board.port)) in (0, 115)
            used = process_time()
            with trio.move_on_after(1):
                while True:
                    assert (await good.end_of(await good.ask("and me?")))["type"] == "agent_completed"
                    await trio.sleep(0.2)
            assert process_time() - used < 0.5
            said = [record for record in caplog.records if "no connections can be taken now" in record.getMessage()]
            assert len(said) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for sock in waiting:
                sock.close()
        assert b" 200 " in await ask_http(board.port, b"GET /healthz HTTP/1.0\r\n\r\n")
