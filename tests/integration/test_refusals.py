"""What a client may do wrong, each over a real socket, gets the close code that the wire names for it.

Meanwhile a well-behaved user's run ends as always, and afterwards nothing is left: no task, socket, timer or count.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import callboard
from tests.integration.boards import Visitors, counts, open_board, settled, until, visitors
from tests.integration.sample_app import Steps
from tests.integration.wrongs import AFTER_WELCOME, BEFORE_WELCOME, Frame, hello
from tests.transport.peer import Closed


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client does is no failure of the node's: nothing is logged as one."""
    yield
    errors = [record for record in caplog.get_records("call") if record.name == "callboard"]
    assert [record.getMessage() for record in errors if record.levelno >= logging.ERROR] == []


@asynccontextmanager
async def a_good_user_beside(**limits: Any) -> AsyncIterator[Visitors]:
    """A board that has to be, at the end, what it was; a good user connects, and its run ends as always."""
    async with open_board({"steps": Steps}, store_seconds=1.0, **limits) as board, visitors(board) as guests:
        good = await guests.enter("good")
        before = await counts(board)
        yield guests
        await settled(board, before)
        assert (await good.end_of(await good.ask("still here?")))["data"]["result"] == "good asked: still here?"
        assert [record["seq"] for record in good.records] == list(range(1, len(good.records) + 1))
        await good.leave()


@pytest.mark.parametrize("what, frame, code", BEFORE_WELCOME, ids=[case[0] for case in BEFORE_WELCOME])
async def test_a_bad_first_frame_gets_its_code_and_nothing_else(what: str, frame: Frame, code: int) -> None:
    """Nothing is sent before welcome but the close."""  # S12
    async with a_good_user_beside(frame_bytes=2_048) as guests:
        peer = await guests.connect()
        await peer.send(frame)
        assert await peer.closed() == code, what
        assert not peer.records
        await peer.stream.aclose()


@pytest.mark.parametrize("what, frame, code", AFTER_WELCOME, ids=[case[0] for case in AFTER_WELCOME])
async def test_a_bad_frame_gets_its_code(what: str, frame: Frame, code: int) -> None:
    """After welcome too, what cannot be read ends the connection."""
    async with a_good_user_beside(frame_bytes=2_048) as guests:
        peer = await guests.connect()
        await peer.hello(await guests.board.ticket("bad"))
        await peer.send(frame)
        assert await peer.closed() == code
        await peer.stream.aclose()
        await gone(guests.board, "bad")


async def gone(board: callboard.Board, user: str) -> None:
    """Have the user's session leave, so that the actors can be compared."""
    ref = await board.session(user)
    await ref.stop(block=False)


async def test_no_hello_in_time() -> None:
    """Who opens a WebSocket and says nothing is closed with 4105; before, it is told nothing."""
    async with a_good_user_beside(hello_seconds=0.2) as guests:
        peer = await guests.connect()
        assert await peer.closed() == 4105
        await peer.stream.aclose()


async def test_hello_late_in_the_middle_of_a_message() -> None:
    """Half a message is no hello."""
    async with a_good_user_beside(hello_seconds=0.2) as guests:
        peer = await guests.connect()
        peer.protocol.send_text(b'{"t":"hel', fin=False)
        await peer._flush()
        assert await peer.closed() == 4105
        await peer.stream.aclose()


async def test_no_subprotocol() -> None:
    """Who does not speak callboard.v1.json is told so with 4000."""
    async with a_good_user_beside() as guests:
        for offered in (None, "callboard.v2.json"):
            peer = await guests.connect(subprotocol=offered)
            assert await peer.closed() == 4000
            await peer.stream.aclose()


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://[", "https://127.0.0.1", "http://localhost"])
async def test_wrong_origin(origin: str) -> None:
    """A page of another origin is let in far enough to read 4005, with a good ticket too."""
    async with a_good_user_beside() as guests:
        peer = await guests.connect(origin=origin)
        assert await peer.closed() == 4005
        await peer.stream.aclose()


async def test_a_ticket_opens_one_connection_from_its_own_origin() -> None:
    """Used, foreign, expired and forged tickets each get their code, and a foreign one is burnt."""  # S12
    async with a_good_user_beside(ticket_seconds=0.3) as guests:
        origin = guests.board.url
        used = await guests.board.ticket("bad")
        first = await guests.connect()
        await first.hello(used)

        async def refusal(ticket: str, *, origin: str | None = None) -> int:
            peer = await guests.connect(origin=origin)
            await peer.send(hello(ticket))
            code = await peer.closed()
            await peer.stream.aclose()
            return code

        assert await refusal(used) == 4301
        foreign = await guests.board.ticket("bad", origin=origin)
        assert await refusal(foreign) == 4303
        assert await refusal(foreign, origin=origin) == 4301
        assert await refusal(await guests.board.ticket("bad"), origin=origin) == 4303
        expired = await guests.board.ticket("bad")
        await trio.sleep(0.3)
        assert await refusal(expired) == 4300
        assert await refusal(used[::-1]) == 4302
        await first.leave()
        await gone(guests.board, "bad")


async def test_a_ticket_raced_by_two_sockets() -> None:
    """Of sockets that present one ticket at the same time exactly one gets in."""  # S12
    async with a_good_user_beside() as guests:
        ticket = await guests.board.ticket("racer")
        peers = [await guests.connect() for _ in range(8)]
        for peer in peers:
            await peer.send(hello(ticket))
        verdicts = []
        for peer in peers:
            try:
                verdicts.append((await peer.receive())["t"])
            except Closed as end:
                verdicts.append(str(end.code))
        assert sorted(verdicts) == ["4301"] * 7 + ["welcome"]
        for peer, verdict in zip(peers, verdicts, strict=True):
            await (peer.leave() if verdict == "welcome" else peer.stream.aclose())
        await gone(guests.board, "racer")


async def test_too_many_connections_of_a_user() -> None:
    """The bound is one user's own, and a place is free again as soon as a connection is gone."""  # S13
    async with a_good_user_beside(connections_per_user=2) as guests:
        peers = []
        for number in range(2):
            peers.append(await guests.connect())
            await peers[-1].hello(await guests.board.ticket("many"), device=f"{number:032x}")
        third = await guests.connect()
        await third.send(hello(await guests.board.ticket("many")))
        assert await third.closed() == 4103
        await third.stream.aclose()
        peers.pop().reset()
        await until(lambda: len(guests.board.connections("many")) == 1)
        fourth = await guests.connect()
        await fourth.hello(await guests.board.ticket("many"))
        await fourth.leave()
        await peers.pop().leave()
        await gone(guests.board, "many")


async def test_the_same_device_again() -> None:
    """The newer connection of a device closes the older one with 4008, and its place is free."""
    async with a_good_user_beside(connections_per_user=2) as guests:
        older = await guests.connect()
        await older.hello(await guests.board.ticket("twin"))
        newer = await guests.connect()
        await newer.hello(await guests.board.ticket("twin"))
        assert await older.closed() == 4008
        await older.stream.aclose()
        await until(lambda: len(guests.board.connections("twin")) == 1)
        await newer.send({"t": "command", "id": 1, "op": "user_message", "data": {"text": "me"}})
        assert (await newer.until_record("agent_completed"))["data"]["result"] == "twin asked: me"
        await newer.leave()
        await gone(guests.board, "twin")


async def test_unknown_type_and_unknown_op_are_answered() -> None:
    """What a newer client might say is answered, and the connection goes on."""
    async with a_good_user_beside() as guests:
        peer = await guests.connect()
        await peer.hello(await guests.board.ticket("newer"))
        await peer.send({"t": "future", "x": 1})
        error = await peer.receive()
        assert (error["t"], error["code"]) == ("error", "unknown_type")
        await peer.send({"t": "command", "id": 1, "op": "fly", "data": {}})
        assert (await peer.result(1))["error"]["code"] == "unknown_op"
        for id, data in ((2, {}), (3, {"text": ""}), (4, {"text": 5}), (5, {"text": "hi", "agent": "nobody"})):
            await peer.send({"t": "command", "id": id, "op": "user_message", "data": data})
            assert (await peer.result(id))["error"]["code"] == "bad_command"
        await peer.send({"t": "command", "id": 6, "op": "cancel", "run": "0" * 32})
        assert (await peer.result(6))["error"]["code"] == "unknown_run"
        await peer.send({"t": "command", "id": 7, "op": "user_message", "data": {"text": "yes"}})
        first = await peer.result(7)
        assert first["ok"]["run"]
        await peer.send({"t": "command", "id": 7, "op": "user_message", "data": {"text": "yes"}})
        assert await peer.result(7) == first
        await peer.send({"t": "command", "id": 7, "op": "user_message", "data": {"text": "no"}})
        assert (await peer.result(7))["error"]["code"] == "id_conflict"
        await peer.until_record("agent_completed")
        await peer.leave()
        await gone(guests.board, "newer")


async def test_too_many_commands() -> None:
    """Beyond the burst commands get `rate`; who goes on all the same is closed with 4102."""  # S13
    async with a_good_user_beside(burst=3, commands_per_s=0.01) as guests:
        peer = await guests.connect()
        await peer.hello(await guests.board.ticket("eager"))
        for id in range(1, 8):
            await peer.send({"t": "command", "id": id, "op": "fly", "data": {}})
        codes = [(await peer.result(id))["error"]["code"] for id in range(1, 7)]
        assert codes == ["unknown_op"] * 3 + ["rate"] * 3
        assert await peer.closed() == 4102
        await peer.stream.aclose()
        await gone(guests.board, "eager")


@pytest.mark.parametrize("t", ["ack", "pong"])
async def test_too_many_frames_that_ask_for_nothing(t: str) -> None:
    """Acks and unasked pongs cost the node a parse each: a flood of them is closed with 4102, what is usual is not."""
    async with a_good_user_beside() as guests:
        for number, code in ((80, 1000), (500, 4102)):  # S13
            peer = await guests.connect()
            await peer.hello(await guests.board.ticket("chatty"))
            for _ in range(number):
                await peer.send({"t": t, "seq": 0})
            if code == 1000:
                await peer.send({"t": "command", "id": 1, "op": "fly", "data": {}})
                assert (await peer.result(1))["error"]["code"] == "unknown_op"
                await peer.leave()
            else:
                assert await peer.closed() == code
                await peer.stream.aclose()
        await gone(guests.board, "chatty")


async def test_bad_utf_8() -> None:
    """Text that is none gets WebSocket's own 1007, before welcome and after it."""
    async with a_good_user_beside() as guests:
        for welcomed in (False, True):
            peer = await guests.connect()
            if welcomed:
                await peer.hello(await guests.board.ticket("garbled"))
            peer.protocol.send_text(b'{"t":"\xff\xfe"}')
            await peer._flush()
            assert await peer.closed() == 1007
            await peer.stream.aclose()
        await gone(guests.board, "garbled")


async def test_frames_that_break_websocket_itself() -> None:
    """A frame without a mask, with reserved bits or an unknown opcode gets WebSocket's own 1002."""
    async with a_good_user_beside() as guests:
        for raw in (b"\x81\x02{}", b"\xf1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x80\x80\0\0\0\0"):
            peer = await guests.connect()
            await peer.stream.send_all(raw)
            assert await peer.closed() == 1002, raw
            await peer.stream.aclose()


async def test_a_message_of_ten_megabytes() -> None:
    """It is refused long before it is there, and the client can read why, as it is let write on for a while."""
    async with a_good_user_beside() as guests:
        for size, code in ((100_000, 4007), (10_000_000, 1009)):
            peer = await guests.connect()
            await peer.hello(await guests.board.ticket("large"))
            await peer.send('"' + "x" * size + '"')
            assert await peer.closed() == code
            await peer.stream.aclose()
        await gone(guests.board, "large")


async def test_a_close_crosses_pings() -> None:
    """A client that pings when the node has closed already reads the code all the same, and nothing fails."""
    async with a_good_user_beside() as guests:
        peer = await guests.connect()
        await peer.send("{")
        assert isinstance(peer.stream, trio.SocketStream)
        await trio.lowlevel.wait_readable(peer.stream.socket)
        for _ in range(100):
            peer.protocol.send_ping(b"still there?")
        await peer._flush()
        assert await peer.closed() == 4001
        await peer.stream.aclose()


async def test_a_hello_that_comes_with_the_handshake() -> None:
    """What a client sends without waiting for the answer to its handshake is not lost."""
    async with a_good_user_beside() as guests:
        # Often enough for every order of the node's own tasks.
        for _ in range(20):
            text = json.dumps(hello(await guests.board.ticket("hasty"))).encode()
            # Masked with zeros, which leaves the text as it is.
            frame = b"\x81" + (b"\xfe" + len(text).to_bytes(2, "big")) + bytes(4) + text
            peer = await guests.connect(glued=frame)
            assert (await peer.receive())["t"] == "welcome"
            await peer.leave()
        await gone(guests.board, "hasty")


@pytest.mark.parametrize("part", ["", "x"], ids=["empty", "of one byte"])
async def test_a_message_in_too_many_frames(part: str) -> None:
    """Frames cost memory that no byte counts: beyond 64 of one message it is refused, before it ends and after it."""
    text = '{"t":"future","x":"' + part * 40 + '"}'
    async with a_good_user_beside(fragments=64) as guests:  # S13
        for welcomed, frames, code in ((True, 64, 0), (True, 65, 4007), (False, 65, 4007), (True, 2_000, 4007)):
            peer = await guests.connect()
            if welcomed:
                await peer.hello(await guests.board.ticket("pieces"))
            pieces = [text[:19], *([part] * (frames - 2)), text[-2:]]
            peer.protocol.send_text(pieces[0].encode(), fin=False)
            for piece in pieces[1:-1]:
                peer.protocol.send_continuation(piece.encode(), fin=False)
            peer.protocol.send_continuation(pieces[-1].encode(), fin=True)
            await peer._flush()
            if code:
                assert await peer.closed() == code
                await peer.stream.aclose()
            else:
                assert (await peer.receive())["code"] == "unknown_type"
                await peer.leave()
        await gone(guests.board, "pieces")


@pytest.mark.parametrize("send", ["send_ping", "send_pong"])
async def test_too_many_pings(send: str) -> None:
    """WebSocket's own pings and pongs count as commands do, apart from them; a flood is closed with 4102."""
    async with a_good_user_beside(burst=40, commands_per_s=1.0) as guests:  # S13
        for number, code in ((40, 1000), (2_000, 4102)):
            peer = await guests.connect()
            await peer.hello(await guests.board.ticket("pinging"))
            for _ in range(number):
                getattr(peer.protocol, send)(b"still there?")
            await peer._flush()
            if code == 1000:
                await peer.send({"t": "command", "id": 1, "op": "fly", "data": {}})
                assert (await peer.result(1))["error"]["code"] == "unknown_op"
                await peer.leave()
            else:
                assert await peer.closed() == code
                await peer.stream.aclose()
        await gone(guests.board, "pinging")


async def test_a_storm_of_resumes() -> None:
    """A user who connects again and again, each time from the first record on, is told to back off; others are not."""
    async with a_good_user_beside(connections_per_user=2, hellos_per_s=0.001) as guests:  # S13
        codes = []
        for _ in range(11):
            peer = await guests.connect()
            await peer.send(hello(await guests.board.ticket("stormy"), start="first"))
            try:
                assert (await peer.receive())["t"] == "welcome"
            except Closed as end:
                codes.append(end.code)
                await peer.stream.aclose()
            else:
                await peer.leave()
                await until(lambda: not guests.board.connections("stormy"))
        assert codes == [4102] * 3
        other = await guests.connect()
        await other.hello(await guests.board.ticket("calm"))
        await other.leave()
        await gone(guests.board, "calm")
        await gone(guests.board, "stormy")
