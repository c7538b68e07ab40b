"""Ways into a node that must not be any: cookies, URLs, other pages, headers that say two things, and others' ids."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import trio

import callboard
from callboard.transport.cli.demo import demo_routes
from tests.integration.boards import KEY, Visitors, ask_http, open_board, settled, until, visitors
from tests.integration.boards import counts as counts_of
from tests.integration.sample_app import Steps, Waits
from tests.integration.wrongs import good_token, hello
from tests.transport.peer import Closed, Peer

AGENTS = {"steps": Steps, "waits": Waits}
KEY_LINE = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
HANDSHAKE = ["Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY_LINE]


def upgrade(*more: str, target: str = "/v1/connect") -> bytes:
    """A handshake with these header lines besides."""
    lines = [f"GET {target} HTTP/1.1", *HANDSHAKE, "Sec-WebSocket-Protocol: callboard.v1.json", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def head_of(port: int, raw: bytes) -> bytes:
    """The head of the answer to a request."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(raw)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await stream.receive_some()
    return answer.partition(b"\r\n\r\n")[0]


async def test_what_a_browser_sends_by_itself_opens_nothing() -> None:
    """Cookies, a ticket or a token in the URL: none is looked at, by HTTP or WebSocket; hello alone opens a session."""
    token = good_token("ada", scope="operator")
    async with open_board(AGENTS, hello_seconds=0.3) as board, visitors(board):  # S12
        ticket = await board.ticket("ada")
        cookies = f"Cookie: token={token}; session={token}; ticket={ticket}; authorization=Bearer {token}"
        for method, path in (("POST", "/v1/tickets"), ("GET", "/v1/sessions"), ("GET", "/v1/statistics")):
            query = f"?token={token}&access_token={token}&ticket={ticket}"
            head = await head_of(
                board.port, f"{method} {path}{query} HTTP/1.1\r\nHost: x\r\n{cookies}\r\n\r\n".encode()
            )
            assert head.startswith(b"HTTP/1.1 401 "), (path, head)
        raw = upgrade(cookies, f"Authorization: Bearer {token}", target=f"/v1/connect?ticket={ticket}&token={token}")
        async with await trio.open_tcp_stream("127.0.0.1", board.port) as stream:
            await stream.send_all(raw)
            said = b""
            async for data in stream:
                said += data
        head, _, frames = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert frames[:4] == b"\x88" + bytes((len(frames) - 2,)) + (4105).to_bytes(2, "big")
        assert (await board.report())["sessions"] == 0


async def test_a_page_of_another_origin_gets_nothing_out_of_a_visitors_browser() -> None:
    """It may not ask for tickets, read answers, or be let in with a ticket of its own; each refusal burns no other."""
    evil = "http://evil.example"
    async with open_board(AGENTS) as board, visitors(board) as guests:  # S12
        ours = await board.ticket("ada", origin=board.url)
        request = f"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nOrigin: {evil}\r\nContent-Length: 0\r\n"
        for more, status in ((f"Authorization: Bearer {good_token('ada')}\r\n", b" 403 "), ("", b" 401 ")):
            head = await head_of(board.port, f"{request}{more}\r\n".encode())
            assert status in head.splitlines()[0]
            assert b"access-control" not in head.lower()
        preflight = f"OPTIONS /v1/tickets HTTP/1.1\r\nHost: x\r\nOrigin: {evil}\r\nAccess-Control-Request-Method: POST"
        assert b"access-control" not in (await head_of(board.port, f"{preflight}\r\n\r\n".encode())).lower()
        # Together with the handshake, as behind it the close may have come already. Masked with zeros.
        text = json.dumps(hello(ours)).encode()
        peer = await guests.connect(origin=evil, glued=b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
        assert await peer.closed() == 4005
        await peer.stream.aclose()
        owner = await guests.connect(origin=board.url)
        await owner.hello(ours)
        await owner.leave()


async def test_compression_is_not_to_be_had() -> None:
    """So no small frame unfolds to gigabytes, and no length tells of a secret: RFC 7692 is not spoken."""
    async with open_board(AGENTS) as board, visitors(board) as guests:
        offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        head = await head_of(board.port, upgrade(offer))
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in head.lower()
        peer = await guests.connect()
        await peer.stream.send_all(b"\xc1\x84\0\0\0\0\xaa\x56\x2a\x01")  # a compressed text, as RSV1 says
        assert await peer.closed() == 1002
        await peer.stream.aclose()


TWICE = [
    ("two versions", upgrade("Sec-WebSocket-Version: 13"), 426),
    ("two keys", upgrade(KEY_LINE), 400),
    ("two hosts", upgrade("Host: y"), 400),
    ("a body", upgrade("Content-Length: 5"), 400),
    ("a body in chunks", upgrade("Transfer-Encoding: chunked"), 400),
    ("a length of no number", upgrade("Content-Length: +0"), 400),
    ("two lengths", upgrade("Content-Length: 0", "Content-Length: 5"), 400),
    ("a space before the colon", upgrade("X : y"), 400),
    ("a bare line feed", upgrade().replace(b"Host: x\r\n", b"Host: x\n").replace(b"Upgrade: w", b"Upgrade : w"), 400),
    ("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("HTTP/1.0", upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
    ("another method", upgrade().replace(b"GET", b"POST"), 405),
]


@pytest.mark.parametrize("what, raw, status", TWICE, ids=[case[0] for case in TWICE])
async def test_a_handshake_that_says_two_things_is_refused(what: str, raw: bytes, status: int) -> None:
    """Whoever stood between might have read the other one."""
    async with open_board(AGENTS) as board:
        answer = await head_of(board.port, raw)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (what, answer)


async def test_two_origins_or_two_tokens_are_none() -> None:
    """A header that comes twice is one list, and a list is no allowed origin and no token."""
    async with open_board(AGENTS) as board, visitors(board):  # S12
        raw = upgrade(f"Origin: {board.url}", "Origin: http://evil.example")
        async with await trio.open_tcp_stream("127.0.0.1", board.port) as stream:
            await stream.send_all(raw)
            said = b""
            while (b"\r\n\r\n" not in said) or len(said.partition(b"\r\n\r\n")[2]) < 4:
                said += await stream.receive_some()
        assert said.partition(b"\r\n\r\n")[2][2:4] == (4005).to_bytes(2, "big")
        bearer = f"Authorization: Bearer {good_token('ada')}\r\n" * 2
        head = await head_of(board.port, f"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n{bearer}\r\n".encode())
        assert head.startswith(b"HTTP/1.1 401 ")


async def _answers(guests: Visitors, probe: dict[str, str]) -> list[Any]:
    """All that bob is told when he uses these ids, with what differs by itself made the same."""
    board, said = guests.board, list[Any]()
    token = good_token("bob")
    for raw in (
        f"GET /v1/sessions/{probe['session']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n",
        f"POST /v1/sessions/{probe['session']}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n",
        f"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n",
    ):
        said.append((await ask_http(board.port, f"{raw}Connection: close\r\n\r\n".encode())).decode())
    peer = await guests.connect()
    start = {"epoch": probe["epoch"], "seq": 1}
    said.append(await peer.hello(await board.ticket("bob"), probe["device"], start=start))
    for id, op, more in (
        (1, "cancel", {"run": probe["run"]}),
        (2, "cancel", {"run": probe["run"], "data": {"session": probe["session"], "user": "ada"}}),
        (3, "user_message", {"data": {"text": "", "run": probe["run"], "session": probe["session"]}}),
    ):
        await peer.send({"t": "command", "id": id, "op": op, **more})
        said.append(await peer.result(id))
    said.append(peer.records)
    await peer.leave()
    other = await guests.connect()
    await other.send(hello(probe["ticket"]))
    try:
        said.append(await other.receive())
    except Closed as end:
        said.append((end.code, end.reason))
    await other.stream.aclose()
    text = json.dumps(said)
    for name, value in probe.items():
        text = text.replace(value, f"<{name}>")
    text = re.sub(r"date: [^\\]+", "", text)
    assert isinstance(said[3], dict)
    return [text.replace(said[3]["connection"], "<connection>")]


async def test_ids_of_another_users_session_are_as_good_as_made_up_ones() -> None:
    """Nothing that is answered tells bob what ada has; no message of his reaches her session, so neither does time."""
    async with open_board(AGENTS) as board, visitors(board) as guests:  # S1 S12
        ada = await guests.enter("ada")
        run = await ada.ask("wait for me", agent="waits")
        await ada.until(lambda message: message["t"] == "events" and "tool_executing" in json.dumps(message))
        bob = await guests.enter("bob", 77)
        await bob.leave()
        await until(lambda: not board.connections("bob"))
        real = {
            "session": ada.welcome["session"],
            "epoch": ada.welcome["epoch"],
            "device": f"{1:032x}",
            "run": run,
            "ticket": "5" * 64,
        }
        made_up = {"session": "6" * 32, "epoch": "7" * 16, "device": "8" * 32, "run": "9" * 32, "ticket": "a" * 64}

        def handled() -> list[int]:
            actors = board.statistics().actors
            return [actor.handled for actor in actors if actor.path.endswith(f"sessions/{real['session']}")]

        before, hers = handled(), await counts_of(board)
        assert before
        assert before[0] > 0
        assert await _answers(guests, made_up) == await _answers(guests, real)
        assert handled() == before
        await settled(board, {name: hers[name] for name in ("connections", "tcp", "runs")})
        await _still_hers(ada, run)


async def _still_hers(ada: Peer, run: str) -> None:
    """Nobody has cancelled her run or taken her connection."""
    assert not [record for record in ada.records if record["type"] == "agent_cancelled"]
    assert (await ada.result(await ada.command("cancel", run=run)))["ok"]
    assert (await ada.end_of(run))["type"] == "agent_cancelled"
    await ada.leave()


async def test_the_demos_page_may_run_and_load_its_own_files_only() -> None:
    """Its pages say so to the browser; and its open login is for them alone, from this machine's own name."""
    async with callboard.open(agents=AGENTS, port=0, key=KEY, routes=demo_routes) as board:
        own = board.url.removeprefix("http://")
        for path in ("/", "/app.js"):
            head = (await head_of(board.port, f"GET {path} HTTP/1.1\r\nHost: {own}\r\n\r\n".encode())).lower()
            policy = next(line for line in head.splitlines() if line.startswith(b"content-security-policy:"))
            assert b"default-src 'self'" in policy
            assert b"unsafe" not in policy
            assert b"x-content-type-options: nosniff" in head
        for host, origin, status in (
            (own, f"http://{own}", b" 200 "),
            (own, "http://evil.example", b" 403 "),
            (own, "null", b" 403 "),
            # A foreign name that was made to point here: the browser takes it for the page's own.
            (f"evil.example:{board.port}", f"http://evil.example:{board.port}", b" 403 "),
            (f"evil.example:{board.port}", None, b" 403 "),
        ):
            body = '{"user":"ada"}'
            lines = [f"Host: {host}", f"Content-Length: {len(body)}", "Connection: close"]
            lines += [] if origin is None else [f"Origin: {origin}"]
            raw = "\r\n".join(["POST /demo/login HTTP/1.1", *lines]) + f"\r\n\r\n{body}"
            answer = await ask_http(board.port, raw.encode())
            assert status in answer.splitlines()[0], (host, origin)
            assert (b"token" in answer) is (status == b" 200 ")
