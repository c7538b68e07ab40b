"""All that clients may do wrong, at the same time, beside a user who does it right; and then everything is counted.

Single wrongs stand in `test_refusals.py` and `test_http_abuse.py`; here they meet.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from tests.integration.boards import Visitors, ask_http, counts, open_board, quiet, settled, visitors
from tests.integration.sample_app import Steps
from tests.integration.wrongs import (
    AFTER_WELCOME,
    BAD_HTTP,
    BEFORE_WELCOME,
    Frame,
    bad_tokens,
    good_token,
    hello,
)
from tests.transport.peer import Closed, Peer

FRAME_BYTES = 2_048
# So many do each of them at the same time.
TIMES = 3

Wrong = Callable[[], Awaitable[None]]


class Crowd:
    """Those who do it wrong, all of them one user, and what each has to get for it."""

    def __init__(self, guests: Visitors) -> None:
        self.guests = guests
        self.devices = 0

    async def enter(self) -> Peer:
        """One who was welcomed."""
        self.devices += 1
        return await self.guests.enter("bad", self.devices)

    async def first_frame(self, what: str, frame: Frame, code: int) -> None:
        """A bad one."""
        peer = await self.guests.connect()
        await peer.send(frame)
        assert await peer.closed() == code, what
        assert peer.records == []
        await peer.stream.aclose()

    async def later_frame(self, what: str, frame: Frame, code: int) -> None:
        """A bad one behind a good hello."""
        peer = await self.enter()
        await peer.send(frame)
        assert await peer.closed() == code, what
        await peer.stream.aclose()

    async def no_text(self) -> None:
        """Text that is no UTF-8."""
        peer = await self.enter()
        peer.protocol.send_text(b'{"t":"\xff\xfe"}')
        await peer._flush()
        assert await peer.closed() == 1007
        await peer.stream.aclose()

    async def ten_megabytes(self) -> None:
        """One message of so many."""
        peer = await self.enter()
        await peer.send('"' + "x" * 10_000_000 + '"')
        assert await peer.closed() == 1009
        await peer.stream.aclose()

    async def no_frame(self) -> None:
        """What breaks WebSocket itself."""
        peer = await self.enter()
        await peer.stream.send_all(b"\x81\x02{}")
        assert await peer.closed() == 1002
        await peer.stream.aclose()

    async def silence(self) -> None:
        """No hello."""
        peer = await self.guests.connect()
        assert await peer.closed() == 4105
        await peer.stream.aclose()

    async def other_subprotocol(self) -> None:
        """A version that there is not."""
        peer = await self.guests.connect(subprotocol="callboard.v2.json")
        assert await peer.closed() == 4000
        await peer.stream.aclose()

    async def other_page(self) -> None:
        """A page of another origin, with a ticket of the user's."""
        peer = await self.guests.connect(origin="http://evil.example")
        assert await peer.closed() == 4005
        await peer.stream.aclose()

    async def old_tickets(self) -> None:
        """A ticket that two sockets race for, a used one, and one of a page's."""
        board = self.guests.board
        ticket = await board.ticket("bad")
        racers = [await self.guests.connect() for _ in range(2)]
        self.devices += 1
        for peer in racers:
            await peer.send(hello(ticket, device=f"{self.devices:032x}"))
        verdicts = []
        for peer in racers:
            try:
                verdicts.append((await peer.receive())["t"])
            except Closed as end:
                verdicts.append(end.code)
        assert sorted(verdicts, key=str) == [4301, "welcome"]
        for late, code in ((ticket, 4301), (await board.ticket("bad", origin=board.url), 4303)):
            await self.first_frame("an old ticket", hello(late), code)
        for peer in racers:
            await (peer.stream.aclose() if peer.protocol.close_code else peer.leave())

    async def commands(self) -> None:
        """Unknown types and ops, wrong types of what they need, an id with another body: each is answered."""
        peer = await self.enter()
        await peer.send({"t": "future"})
        assert (await peer.receive())["code"] == "unknown_type"
        asked: list[tuple[int, str, dict[str, object], str]] = [
            (1, "fly", {}, "unknown_op"),
            (1, "fly", {"high": True}, "id_conflict"),
            (2, "user_message", {"text": 5}, "bad_command"),
            (3, "user_message", {"text": "hi", "agent": []}, "bad_command"),
            (4, "cancel", {}, "bad_command"),
            (1_000, "user_message", {"text": 5}, "bad_command"),
            (5, "fly", {}, "expired_id"),
        ]
        for id, op, data, code in asked:
            await peer.send({"t": "command", "id": id, "op": op, "data": data})
            assert (await peer.result(id))["error"]["code"] == code, (id, op)
        await peer.leave()

    async def request(self, what: str, raw: bytes, status: int) -> None:
        """HTTP that is none."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.guests.board.port)
        answer = b""

        async def send() -> None:
            await stream.send_all(raw)
            await stream.send_eof()

        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(send)
            async for data in stream:
                answer += data
        assert answer.startswith(b"HTTP/1.1 %d " % status), (what, answer[:100])
        assert b"application/problem+json" in answer, what

    async def request_as(self, token: str) -> None:
        """A token that proves nothing."""
        head = f"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        answer = await ask_http(self.guests.board.port, f"{head}Content-Length: 0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 401 "), token

    async def body(self, body: bytes, status: int) -> None:
        """A good token with a body that is no request."""
        token = good_token("bad")
        head = f"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        answer = await ask_http(self.guests.board.port, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (body, answer[:100])

    def wrongs(self) -> list[Wrong]:
        """All of it."""
        return [
            *(partial(self.first_frame, *case) for case in BEFORE_WELCOME),
            *(partial(self.later_frame, *case) for case in AFTER_WELCOME),
            *(partial(self.request, *case) for case in BAD_HTTP),
            *(partial(self.request_as, token) for token in bad_tokens("bad")),
            *(partial(self.body, body, 400) for body in (b"{", b"[]", b'{"session":7}', b'{"session":"\\ud800"}')),
            self.no_text,
            self.ten_megabytes,
            self.no_frame,
            self.silence,
            self.other_subprotocol,
            self.other_page,
            self.old_tickets,
            self.commands,
        ]


async def test_all_wrongs_at_once_harm_nobody_and_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Each gets its code; the good user's runs end as always; then all counters are what they were."""  # S12 S13
    limits = {"frame_bytes": FRAME_BYTES, "connections_per_user": 200, "tickets_per_user": 200, "store_seconds": 1.0}
    async with open_board({"steps": Steps}, **limits) as board, visitors(board) as guests:
        good = await guests.enter("good")
        before = await quiet(board)
        sessions = (await board.report())["sessions"]
        runs: list[str] = []
        async with trio.open_nursery() as beside:

            async def work() -> None:
                while True:
                    text = f"message {len(runs)}"
                    run = await good.ask(text)
                    assert (await good.end_of(run))["data"]["result"] == f"good asked: {text}"
                    runs.append(run)
                    await trio.sleep(0.05)  # its own rate of commands is a limit too

            beside.start_soon(work)
            async with trio.open_nursery() as at_once:
                crowd = Crowd(guests)
                for wrong in crowd.wrongs() * TIMES:
                    at_once.start_soon(wrong)
            beside.cancel_scope.cancel()
        last = await good.ask("still here?")
        assert (await good.end_of(last))["data"]["result"] == "good asked: still here?"
        assert len(runs) >= 3
        assert [record["seq"] for record in good.records] == list(range(1, len(good.records) + 1))
        started = [record["run"] for record in good.records if record["type"] == "agent_started"]
        assert started[: len(runs)] == runs
        await (await board.session("bad")).stop(block=False)
        await settled(board, before)
        assert (await board.report())["sessions"] == sessions == 1
        assert (await counts(board))["tickets"] == 0
        await good.leave()
    errors = [record for record in caplog.records if record.name == "callboard" and record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == []
