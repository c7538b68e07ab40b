"""Who a client is by its address: bounds of one address, and what proxies say, over real sockets of loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from websockets.datastructures import Headers

import callboard
from tests.integration.boards import KEY, counts, of_clients, settled, until
from tests.integration.sample_app import Steps
from tests.transport.peer import Closed, Peer

PROXY, OTHER = "127.0.0.2", "127.0.0.3"
# The clients' sockets of the test that runs, closed at its end.
OPENED: list[trio.SocketStream] = []


@asynccontextmanager
async def open_board(
    per_address: int = 2, proxies: tuple[str, ...] = (PROXY,), public_url: str | None = None, **limits: Any
) -> AsyncIterator[callboard.Board]:
    """A board that listens to all of loopback, of which each test's clients use several addresses."""
    bounds = {"drain_seconds": 1.0, "close_seconds": 1.0, "store_seconds": 0.5, "connections_per_address": per_address}
    async with callboard.open(
        agents={"steps": Steps},
        host="0.0.0.0",
        port=0,
        key=KEY,
        limits=callboard.Limits(**{**bounds, **limits}),
        trusted_proxies=proxies,
        public_url=public_url,
    ) as board:
        try:
            yield board
        finally:
            while OPENED:
                await trio.aclose_forcefully(OPENED.pop())


async def dial(board: callboard.Board, address: str) -> trio.SocketStream:
    """A connection from this address."""
    sock = trio.socket.socket()
    stream = trio.SocketStream(sock)
    OPENED.append(stream)
    await sock.bind((address, 0))
    await sock.connect(("127.0.0.1", board.port))
    return stream


async def ask(
    board: callboard.Board, address: str, path: str = "/readyz", method: str = "GET", **headers: str
) -> tuple[int, Any]:
    """One request from this address; the names of headers have underscores here."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in {"host": "asked:1", **headers}.items())
    stream = await dial(board, address)
    async with stream:
        answer = b""
        try:
            await stream.send_all(f"{method} {path} HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode("latin-1"))
            async for data in stream:
                answer += data
        except trio.BrokenResourceError:
            return 0, None
    if not answer:
        return 0, None
    return int(answer.split(b" ")[1]), json.loads(answer.partition(b"\r\n\r\n")[2])


async def visit(board: callboard.Board, address: str, headers: Mapping[str, str] | None = None) -> Peer:
    """A WebSocket from this address, with these headers."""
    return await Peer.over(await dial(board, address), headers=Headers(headers or {}))


async def enter(board: callboard.Board, address: str, user: str, headers: Mapping[str, str] | None = None) -> Peer:
    """The same, welcomed."""
    peer = await visit(board, address, headers)
    await peer.hello(await board.ticket(user))
    return peer


async def test_an_address_has_so_many_connections_and_others_have_theirs() -> None:
    """Beyond the bound 4103 once the WebSocket is open, as a page cannot see a status, and 429 for requests."""  # S13
    async with open_board(per_address=2) as board:
        before = await counts(board)
        first, second = await enter(board, "127.0.0.5", "ada"), await enter(board, "127.0.0.5", "grace")
        third = await visit(board, "127.0.0.5")
        with pytest.raises(Closed) as refused:
            await third.receive()
        await third.stream.aclose()
        assert (refused.value.code, refused.value.reason) == (4103, "too many connections from this address")
        assert (await ask(board, "127.0.0.5"))[0] == 429
        assert (await ask(board, "127.0.0.6"))[0] == 200
        other = await enter(board, "127.0.0.6", "bob")
        await first.leave()
        await until(lambda: len(board.connections()) == 2)
        again = await enter(board, "127.0.0.5", "ada")
        for peer in (second, other, again):
            await peer.leave()
        await settled(board, of_clients(before))
        assert (await board.report())["connections"]["addresses"] == 0


async def test_a_flood_of_one_address_leaves_room_for_others() -> None:
    """Some are told why, the rest is cut unread: it takes no more of the node's connections than stated."""  # S13
    async with open_board(per_address=3, connections=100, head_seconds=1.0) as board:
        for _ in range(300):
            await dial(board, "127.0.0.5")
        await until(lambda: board.tcp <= 3 + 64)
        assert (await ask(board, "127.0.0.5"))[0] in (0, 429)
        assert (await ask(board, "127.0.0.6"))[0] == 200
        while OPENED:
            await OPENED.pop().aclose()
        await until(lambda: board.tcp == 0)
        assert (await ask(board, "127.0.0.5"))[0] == 200


@pytest.mark.parametrize("how", ["leave", "reset", "bad frame", "silence", "no upgrade", "revoked"])
async def test_however_a_connection_ends_its_address_has_room_again(how: str) -> None:
    """One at a time, many times over."""  # S13
    async with open_board(per_address=1, hello_seconds=0.1, head_seconds=0.2, keep_alive_seconds=0.1) as board:
        for _ in range(5):
            await until(lambda: board.tcp == 0)
            if how == "no upgrade":
                stream = await dial(board, "127.0.0.5")
                await stream.send_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
                while await stream.receive_some():
                    pass
                await stream.aclose()
                continue
            peer = await visit(board, "127.0.0.5")
            if how != "silence":
                await peer.hello(await board.ticket("ada"))
            match how:
                case "leave":
                    await peer.leave()
                case "reset":
                    peer.reset()
                case "bad frame":
                    await peer.send("nonsense")
                    assert await peer.closed() == 4001
                case "silence":
                    assert await peer.closed() == 4105
                case "revoked":
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(board.close_user, "ada")
                        assert await peer.closed() == 4006
            await trio.aclose_forcefully(peer.stream)
        await until(lambda: board.tcp == 0)
        assert (await board.report())["connections"]["addresses"] == 0


async def test_behind_a_listed_proxy_each_client_has_its_own_bound() -> None:
    """By what the proxy appended, of both kinds of header; IPv6 by 64 bits. The proxy itself has none."""  # S13
    async with open_board(per_address=1) as board:
        ways: list[dict[str, str]] = [
            {"X-Forwarded-For": "203.0.113.1"},
            {"X-Forwarded-For": "198.51.100.7, 203.0.113.2"},
            {"Forwarded": "for=203.0.113.3"},
            {"Forwarded": 'for=203.0.113.1, for="[2001:db8::1]"'},
        ]
        peers = [await enter(board, PROXY, f"user{index}", headers) for index, headers in enumerate(ways)]
        seen = {connection.peer for connection in board.connections()}
        assert seen == {"203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8::1"}
        for headers in (*ways, {"X-Forwarded-For": "2001:db8::ffff"}):
            assert await (await visit(board, PROXY, headers)).closed() == 4103
        for _ in range(5):
            assert (await ask(board, PROXY, X_Forwarded_For="203.0.113.1"))[0] == 200
        for peer in peers:
            await peer.leave()
        await until(lambda: board.tcp == 0)
        assert (await board.report())["connections"]["addresses"] == 0


async def test_who_is_no_listed_proxy_cannot_take_another_address_or_scheme() -> None:
    """Not to pass by its bound, nor to use up another's; and malformed headers of its own harm nobody."""  # S12
    async with open_board(per_address=2) as board:
        lies = {"X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "https", "Forwarded": 'for="'}
        peer = await enter(board, OTHER, "ada", lies)
        assert [connection.peer for connection in board.connections()] == [OTHER]
        token = board.authenticator.token("ada")
        status, ticket = await ask(
            board, OTHER, "/v1/tickets", "POST", authorization=f"Bearer {token}", x_forwarded_proto="https"
        )
        assert (status, ticket["url"]) == (201, "ws://asked:1/v1/connect")
        second = await enter(board, OTHER, "grace", {"X-Forwarded-For": "203.0.113.2"})
        assert await (await visit(board, OTHER, {"X-Forwarded-For": "203.0.113.3"})).closed() == 4103
        await peer.leave()
        await second.leave()


async def test_what_a_listed_proxy_says_of_the_scheme() -> None:
    """It decides what the ticket's url is; what is malformed is refused, for requests and WebSockets alike."""
    async with open_board() as board:
        bearer = f"Bearer {board.authenticator.token('ada')}"

        async def url(**headers: str) -> tuple[int, Any]:
            status, answer = await ask(board, PROXY, "/v1/tickets", "POST", authorization=bearer, **headers)
            return status, answer.get("url")

        assert await url() == (201, "ws://asked:1/v1/connect")
        assert await url(x_forwarded_proto="https") == (201, "wss://asked:1/v1/connect")
        assert await url(forwarded="for=203.0.113.1;proto=https") == (201, "wss://asked:1/v1/connect")
        assert await url(x_forwarded_proto="http") == (201, "ws://asked:1/v1/connect")
        for headers in ({"x_forwarded_proto": "ftp"}, {"forwarded": 'for="'}, {"x_forwarded_for": "me"}):
            assert await url(**headers) == (400, None)
        with pytest.raises(AssertionError, match="400"):
            await visit(board, PROXY, {"Forwarded": 'for="'})


async def test_a_public_url_is_what_the_node_is_called() -> None:
    """In tickets whatever `Host` says, and its pages are the node's own; foreign ones stay foreign."""  # S12
    async with open_board(public_url="https://node.example/live/") as board:
        bearer = f"Bearer {board.authenticator.token('ada')}"
        for address, host in ((PROXY, "inside:1"), (OTHER, "evil.example")):
            status, ticket = await ask(board, address, "/v1/tickets", "POST", authorization=bearer, host=host)
            assert (status, ticket["url"]) == (201, "wss://node.example/live/v1/connect")
        for origin, expected in (("https://node.example", 201), ("http://node.example", 403), ("https://inside", 403)):
            answer = await ask(board, PROXY, "/v1/tickets", "POST", authorization=bearer, origin=origin)
            assert answer[0] == expected
        assert board.own_host("node.example")
        assert not board.own_host("evil.example")
        page = await Peer.over(await dial(board, PROXY), origin="https://node.example")
        await page.hello(await board.ticket("ada", origin="https://node.example"))
        await page.leave()
