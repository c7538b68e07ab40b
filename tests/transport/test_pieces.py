"""A connection whose bytes come in pieces: its head, its handshake and its frames may be cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.transport.nodes import DEVICE, Node, open_node, say
from tests.transport.peer import Peer


class Dripping(trio.abc.HalfCloseableStream):
    """A stream that sends in pieces of these sizes, each taken before the next is sent; one byte each after them."""

    def __init__(self, stream: trio.StapledStream[Any, Any], sizes: Sequence[int]) -> None:
        self._stream = stream
        self._sizes: Iterator[int] = chain(sizes, repeat(1))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        while data:
            size = next(self._sizes)
            piece, data = data[:size], data[size:]
            await self._stream.send_all(piece)
            await wait_all_tasks_blocked()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def talked(node: Node, user: str, sizes: Sequence[int] | None) -> list[tuple[object, ...]]:
    """What the node says to one who says a bit of everything; `sizes` None: each message comes as a whole."""
    ours, theirs = memory_stream_pair()
    node.nursery.start_soon(node.board.serve_stream, theirs)
    peer = await Peer.over(ours if sizes is None else Dripping(ours, sizes))
    heard: list[tuple[object, ...]] = [("subprotocol", peer.protocol.subprotocol)]
    welcome = await peer.hello(await node.board.ticket(user), DEVICE)
    heard.append(("welcome", welcome["mode"], welcome["from"], welcome["head"]))
    await peer.send(say(1, "ä wie Ähre"))
    heard.append(("result", (await peer.result(1))["seq"]))
    heard.append(("end", (await peer.until_record("agent_completed"))["data"]["result"]))
    await peer.send({"t": "future"})
    heard.append(("error", (await peer.until(lambda message: message["t"] == "error"))["code"]))
    # One message in three frames, with a ping between them, as RFC 6455 section 5.4 allows.
    peer.protocol.send_text(b'{"t":"command","id":2,', fin=False)
    peer.protocol.send_ping(b"there?")
    peer.protocol.send_continuation(b'"op":"fly","data"', fin=False)
    peer.protocol.send_continuation(b":{}}", fin=True)
    await peer._flush()
    heard.append(("refused", (await peer.result(2))["error"]["code"]))
    heard += [("record", record["seq"], record["type"]) for record in peer.records]
    await peer.send("{")
    heard.append(("close", await peer.closed()))
    await peer.stream.aclose()
    return heard


async def test_byte_by_byte_it_is_the_same() -> None:
    """Each byte for itself: the request's head, the handshake, the frames and their ends."""
    async with open_node() as node:
        whole = await talked(node, "ada", None)
        assert whole[0] == ("subprotocol", "callboard.v1.json")
        assert whole[-1] == ("close", 4001)
        assert await talked(node, "bob", ()) == whole
        assert (await node.board.report())["connections"]["open"] == 0


@settings(max_examples=40)
@given(st.lists(st.integers(min_value=1, max_value=200), max_size=60))
async def test_where_the_bytes_are_cut_makes_no_difference(sizes: list[int]) -> None:
    """Anywhere: also where the end of the head and the first frame come together."""
    async with open_node() as node:
        assert await talked(node, "bob", sizes) == await talked(node, "ada", None)
