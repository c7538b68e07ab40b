"""HTTP/1.1 on a stream in memory: every request as a whole and byte by byte, and whatever a peer may get wrong."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import lockstep_stream_pair, memory_stream_pair

from callboard.transport.errors import Problem
from callboard.transport.http import HttpLimits, Request, Response, Upgrade, json_response, problem_response, serve_http

LIMITS = HttpLimits(head_seconds=5.0, keep_alive_seconds=30.0, linger_seconds=2.0, head_bytes=2_048, body_bytes=1_024)
HANDSHAKE = (
    b"GET /v1/connect HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


async def answer(request: Request) -> Response:
    """Say what was asked."""
    if request.path == "/problem":
        raise AssertionError("a bug")
    if request.path == "/none":
        return Response(204)
    return json_response(200, {"method": request.method, "path": request.path, "body": request.body.decode()})


@attrs.frozen
class Outcome:
    """What a peer read until the server was done, how long that took, and how the server went on."""

    answer: bytes
    seconds: float
    upgrade: Upgrade | None

    @property
    def statuses(self) -> list[int]:
        """The statuses of the answers."""
        lines = self.answer.replace(b"}HTTP/1.1", b"}\nHTTP/1.1").splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith(b"HTTP/1.1 ")]

    @property
    def problem(self) -> dict[str, Any]:
        """The body of the one answer."""
        head, _, body = self.answer.partition(b"\r\n\r\n")
        assert b"content-type: application/problem+json" in head.lower()
        problem: dict[str, Any] = json.loads(body)
        return problem


async def ask(*chunks: bytes, ends: bool = True, pause_seconds: float = 0.0) -> Outcome:
    """Feed chunks to a server and read until it is done."""
    ours, theirs = memory_stream_pair()
    upgrades: list[Upgrade | None] = []
    answers = bytearray()
    started = trio.current_time()

    async def serve() -> None:
        upgrades.append(await serve_http(theirs, LIMITS, answer, upgrades=("/v1/connect",)))
        await theirs.aclose()

    async def read() -> None:
        async for data in ours:
            answers.extend(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(read)
        try:
            for chunk in chunks:
                await ours.send_all(chunk)
                await trio.sleep(pause_seconds)
            if ends:
                await ours.send_eof()
        except trio.BrokenResourceError:
            pass  # the server has had enough
    return Outcome(bytes(answers), trio.current_time() - started, upgrades[0])


def one_by_one(data: bytes) -> list[bytes]:
    """Each byte for itself."""
    return [data[index : index + 1] for index in range(len(data))]


GOOD: list[tuple[str, bytes, list[int]]] = [
    ("get", b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    ("head", b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    ("post", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", [200]),
    ("chunked", b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", [200]),
    ("expect", b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", [100, 200]),
    ("two at once", b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", [200, 200]),
    ("no body by status", b"GET /none HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", [204, 200]),
    ("after a bug", b"GET /problem HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", [500, 200]),
    ("HTTP/1.0", b"GET /a HTTP/1.0\r\n\r\n", [200]),
    ("HTTP/1.0 has no second", b"GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n", [200]),
    ("close", b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    ("absolute", b"GET http://other/a?q HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    ("star", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    (
        "upgrade elsewhere",
        HANDSHAKE.replace(b"/v1/connect", b"/a") + b"\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
        [200, 200],
    ),
    ("upgrade in HTTP/1.0", HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n", [200]),
    (
        "upgrade to other things",
        b"GET /v1/connect HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        [200],
    ),
]


@pytest.mark.parametrize("what, request_bytes, statuses", GOOD, ids=[case[0] for case in GOOD])
async def test_requests_are_answered_however_they_come(what: str, request_bytes: bytes, statuses: list[int]) -> None:
    """As a whole and byte by byte the answers are the same."""
    whole = await ask(request_bytes)
    assert whole.statuses == statuses, whole.answer
    assert (await ask(*one_by_one(request_bytes))).answer == whole.answer


@given(st.data())
async def test_where_the_bytes_are_cut_makes_no_difference(data: st.DataObject) -> None:
    """Three requests on one connection, cut anywhere."""
    whole = GOOD[2][1] + GOOD[3][1] + GOOD[0][1]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8)))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert (await ask(*parts)).statuses == [200, 200, 200]


async def test_head_has_the_length_and_no_body() -> None:
    """HEAD is GET without the body."""
    get = (await ask(GOOD[0][1])).answer.replace(b'"method":"GET"', b'"method":"HEAD"')
    head = await ask(GOOD[1][1])
    assert head.answer.endswith(b"\r\n\r\n")
    assert int(head.answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) == len(
        get.partition(b"\r\n\r\n")[2]
    )


@pytest.mark.parametrize("rest", [b"/%ff HTTP/1.1", b"/ HTTP/3.0", b"/ HTTP/1.1\r\nContent-Length: 99999"])
async def test_head_is_refused_without_a_body(rest: bytes) -> None:
    """The status and the length of what a GET would read, as for any other HEAD."""
    got, head = await ask(b"GET " + rest + b"\r\nHost: x\r\n\r\n"), await ask(b"HEAD " + rest + b"\r\nHost: x\r\n\r\n")
    assert head.statuses == got.statuses
    assert head.statuses[0] >= 400
    assert head.answer == got.answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


async def test_no_content_has_no_length() -> None:
    """RFC 9110 section 8.6."""
    assert b"content-length" not in (await ask(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n")).answer.lower()


HOST = b"\r\nHost: x\r\n"
BAD: list[tuple[str, bytes, int]] = [
    ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("text", b"hello there\r\n\r\n", 400),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", b"GET / HTTP/1.1" + HOST + b"Host: y\r\n\r\n", 400),
    ("HTTP/3", b"GET / HTTP/3.0" + HOST + b"\r\n", 505),
    ("lengths that differ", b"POST / HTTP/1.1" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi", 400),
    ("a negative length", b"POST / HTTP/1.1" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    (
        "a length and chunks",
        b"POST / HTTP/1.1" + HOST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        400,
    ),
    ("an unknown coding", b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    ("bad chunks", b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    (
        "a chunk with another end than its length says",
        b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhiXX0\r\n\r\n",
        400,
    ),
    (
        "a length of a thousand digits",
        b"POST / HTTP/1.1" + HOST + b"Content-Length: " + b"1" * 1_000 + b"\r\n\r\n",
        400,
    ),
    ("a header without a name", b"GET / HTTP/1.1" + HOST + b": x\r\n\r\n", 400),
    ("a folded header", b"GET / HTTP/1.1" + HOST + b"X : y\r\n\r\n", 400),
    ("a huge head", b"GET / HTTP/1.1" + HOST + b"X: " + b"y" * 3_000, 431),
    ("a huge target", b"GET /" + b"y" * 3_000, 431),
    ("a huge body", b"POST / HTTP/1.1" + HOST + b"Content-Length: 1025\r\n\r\n", 413),
    ("an endless body", b"POST / HTTP/1.1" + HOST + b"Transfer-Encoding: chunked\r\n\r\n800\r\n" + b"x" * 2_048, 413),
    (
        "a huge body, asked for first",
        b"POST / HTTP/1.1" + HOST + b"Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n",
        413,
    ),
    ("a path that is no UTF-8", b"GET /%ff HTTP/1.1" + HOST + b"\r\n", 400),
    ("a target that is no URL", b"GET http://[/ HTTP/1.1" + HOST + b"\r\n", 400),
    ("no end of the body", b"POST / HTTP/1.1" + HOST + b"Content-Length: 5\r\n\r\nhi", 400),
]


@pytest.mark.parametrize("what, request_bytes, status", BAD, ids=[case[0] for case in BAD])
async def test_what_breaks_http_gets_its_status_and_the_end(what: str, request_bytes: bytes, status: int) -> None:
    """One problem, RFC 9457, and nothing that comes behind it is taken for a request."""
    outcome = await ask(request_bytes + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n" * (what == "lengths that differ"))
    assert outcome.statuses == [status], outcome.answer
    assert outcome.problem["status"] == status
    assert b"connection: close" in outcome.answer.lower()
    byte_by_byte = await ask(*one_by_one(request_bytes))
    assert byte_by_byte.statuses == [status]


async def test_an_upgrade_is_given_to_the_caller() -> None:
    """With its key, what the client offers to speak, and the bytes behind it; nothing was answered."""
    head = HANDSHAKE + b"Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c\r\nOrigin: http://o\r\n\r\n"
    for chunks in ([head + b"rest"], [*one_by_one(head), b"rest"]):
        outcome = await ask(*chunks)
        assert outcome.answer == b""
        assert outcome.upgrade is not None
        assert outcome.upgrade.subprotocols == ("a", "b", "c")
        assert outcome.upgrade.key == "AAAAAAAAAAAAAAAAAAAAAA=="
        assert outcome.upgrade.request.headers["origin"] == "http://o"
        assert outcome.upgrade.rest == (b"rest" if len(chunks) == 1 else b"")


BAD_UPGRADES: list[tuple[str, bytes, bytes, int]] = [
    ("no Connection", b"Connection: keep-alive, Upgrade\r\n", b"", 400),
    ("an old version", b"Version: 13", b"Version: 8", 426),
    ("no version", b"Sec-WebSocket-Version: 13\r\n", b"", 426),
    ("no key", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b"", 400),
    ("a short key", b"AAAAAAAAAAAAAAAAAAAAAA==", b"AAAA", 400),
    ("a key that is no base64", b"AAAAAAAAAAAAAAAAAAAAAA==", b"????????????????????????", 400),
    ("a key that is no ASCII", b"AAAAAAAAAAAAAAAAAAAAAA==", b"\xe4" * 24, 400),
    ("a body", b"Host: here\r\n", b"Host: here\r\nContent-Length: 5\r\n", 400),
    ("a body in chunks", b"Host: here\r\n", b"Host: here\r\nTransfer-Encoding: chunked\r\n", 400),
]


@pytest.mark.parametrize("what, part, instead, status", BAD_UPGRADES, ids=[case[0] for case in BAD_UPGRADES])
async def test_a_handshake_that_is_not_sound_is_refused_in_http(
    what: str, part: bytes, instead: bytes, status: int
) -> None:
    """RFC 6455 section 4.2.1; with 426 the version that is spoken is named."""
    assert part in HANDSHAKE
    outcome = await ask(HANDSHAKE.replace(part, instead) + b"\r\n")
    assert outcome.upgrade is None
    assert outcome.statuses == [status]
    assert (b"sec-websocket-version: 13" in outcome.answer.lower()) is (status == 426)


async def test_a_slow_head_is_cut_off() -> None:
    """The first byte of a request begins its time; one byte a second does not stretch it."""
    outcome = await ask(*one_by_one(b"GET / HTTP/1.1\r\nHost: x\r\n"), ends=False, pause_seconds=1.0)
    assert outcome.answer == b""
    assert 5.0 <= outcome.seconds <= 6.0


async def test_a_slow_body_is_cut_off() -> None:
    """Neither does a body that drips."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    outcome = await ask(head, *one_by_one(b"x" * 20), ends=False, pause_seconds=1.0)
    assert outcome.answer == b""
    assert 5.0 <= outcome.seconds <= 6.0


async def test_who_says_nothing_is_cut_off() -> None:
    """Before the first request after `head_seconds`, between two after `keep_alive_seconds`."""
    assert (await ask(ends=False)).seconds == 5.0
    outcome = await ask(GOOD[0][1], ends=False)
    assert outcome.statuses == [200]
    assert outcome.seconds == 30.0


async def test_the_second_request_has_its_own_time() -> None:
    """Twenty-nine seconds of quiet, then five for the head: none of it counts for the other."""
    request = GOOD[0][1]
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, theirs, LIMITS, answer)
        started = trio.current_time()
        await ours.send_all(request)
        await ours.receive_some()
        await trio.sleep(29)
        await ours.send_all(request[:10])
    assert trio.current_time() - started == 34.0


async def test_who_does_not_read_the_answer_is_cut_off() -> None:
    """An answer may take as long as an idle connection, no longer."""
    ours, theirs = lockstep_stream_pair()
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, theirs, LIMITS, answer)
        await ours.send_all(GOOD[0][1])
    assert trio.current_time() - started == 30.0


def test_a_problem_is_json_by_rfc_9457() -> None:
    """Type, title, status and detail; nothing is to be stored."""
    response = problem_response(Problem(403, "Forbidden", "not for you", (("x-more", "1"),)))
    assert json.loads(response.body) == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "detail": "not for you",
    }
    assert dict(response.headers) == {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-more": "1",
    }
