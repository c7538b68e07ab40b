"""Two streams around a connection's own: one that gives back bytes already read, one that writes through the outbox."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import trio

from .outbox import Outbox

__all__ = ["WebSocketStream"]


class WebSocketStream(trio.abc.Stream):
    """What trio-websocket reads from and writes to.

    It reads the bytes that were read before it existed, then the stream; all that it writes goes to the outbox, which
    puts it between two frames.

    Args:
        inner: the connection's stream.
        chunks: bytes already read. The head of the upgrade comes alone: what trio-websocket gets together with it, it
            does not look at before more arrives.
        outbox: where the bytes go.
    """

    def __init__(self, inner: trio.abc.Stream, chunks: Iterable[bytes], outbox: Outbox) -> None:
        self._inner = inner
        self._chunks = deque(chunk for chunk in chunks if chunk)
        self._outbox = outbox

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give what was read already, then what comes."""
        if self._chunks:
            await trio.lowlevel.checkpoint()
            chunk = self._chunks.popleft()
            if max_bytes is not None and len(chunk) > max_bytes:
                self._chunks.appendleft(chunk[max_bytes:])
                chunk = chunk[:max_bytes]
            return chunk
        return bytes(await self._inner.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand bytes to the outbox; it waits for nothing but a checkpoint."""
        await trio.lowlevel.checkpoint()
        if data:
            self._outbox.put_control(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """It never blocks."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the stream beneath."""
        self._outbox.close()
        await self._inner.aclose()
