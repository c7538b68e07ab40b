"""A proxy whose wire can go dead: from then on it forwards nothing, and closes nothing.

So a network fails that drops packets, a laptop that sleeps, a middle box that has forgotten a connection. New
connections go through as ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Literal

import trio

from tests.integration.faults.news import News

__all__ = ["Dead", "SilentProxy", "silent_proxy"]

# What is lost: what the node says, what the client says, both; or nothing is even taken any more, of either.
Dead = Literal["down", "up", "both", "stuck"]


class _Wire:
    def __init__(self, client: trio.SocketStream, node: trio.SocketStream) -> None:
        self._streams = {"up": (client, node), "down": (node, client)}
        self.dead: Dead | None = None

    async def carry(self, way: Literal["up", "down"]) -> None:
        source, sink = self._streams[way]
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                if self.dead == "stuck":
                    await trio.sleep_forever()
                if self.dead not in (way, "both"):
                    await sink.send_all(data)
        # The end of a side is forwarded only by a wire that is alive that way.
        if self.dead not in (way, "both", "stuck"):
            for stream in self._streams[way]:
                await trio.aclose_forcefully(stream)


class SilentProxy:
    """Listens on `port`. What it does with new connections, and whether those that there are live, is the test's."""

    def __init__(self, node_port: int) -> None:
        self.port = 0
        self._node_port = node_port
        self._wires: list[_Wire] = []
        self._refusing = False
        self._swallowing = False
        self._swallowed = 0
        self._news = News()

    def die(self, how: Dead) -> None:
        """From now on the open connections are dead, and nobody is told."""
        for wire in self._wires:
            wire.dead = wire.dead or how

    def refuse(self) -> None:
        """From now on end new connections at once."""
        self._refusing = True

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Take new connections, and answer nothing on them; nor later, on those that were taken so."""
        self._swallowing = True
        try:
            yield
        finally:
            self._swallowing = False

    async def until_swallowed(self, number: int) -> None:
        """Wait until so many connections were taken and are not answered."""
        await self._news.until(lambda: self._swallowed >= number)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Forward one connection."""
        async with stream:
            if self._refusing:
                return
            if self._swallowing:
                self._swallowed += 1
                self._news.tell()
                await trio.sleep_forever()
            async with await trio.open_tcp_stream("127.0.0.1", self._node_port) as node, trio.open_nursery() as nursery:
                wire = _Wire(stream, node)
                self._wires.append(wire)
                nursery.start_soon(wire.carry, "up")
                nursery.start_soon(wire.carry, "down")


@asynccontextmanager
async def silent_proxy(node_port: int) -> AsyncIterator[SilentProxy]:
    """A proxy before a node, for the body of an ``async with``."""
    proxy = SilentProxy(node_port)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy.port = listener.socket.getsockname()[1]
    failed: BaseException | None = None
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        try:
            yield proxy
        except BaseException as error:  # noqa: BLE001 - raised again outside of the nursery
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
