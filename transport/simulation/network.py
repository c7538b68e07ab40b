"""Connections in memory that behave as a network does: late, in pieces, with bounded buffers, and cut or stalled.

A stream has two directions. Each holds at most `BUFFER_BYTES`, so a reader that stops makes its writer wait, as TCP's
window does. What is sent arrives in pieces of random length after a random delay, in order. A cut may come after any
byte, in the middle of a frame or of a head; what was on its way then is lost.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

import trio

__all__ = ["Wire", "stream_pair"]

# Small, so that a simulated client which stops reading is felt soon.
BUFFER_BYTES = 4_096


class _Direction:
    """Bytes on their way from one end to the other."""

    def __init__(self, rng: random.Random, delay: Callable[[], float]) -> None:
        self._rng = rng
        self._delay = delay
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._last_due = 0.0
        self._changed = trio.Event()
        self.ended = False
        """The sender has said that no more comes."""
        self.broken = False
        self.stalled = False
        self.bytes_until_cut: int | None = None
        self.cut: Callable[[], None] = lambda: None

    def poke(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def send(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self.broken or self.ended:
                raise trio.BrokenResourceError("the simulated connection is cut")
            room = BUFFER_BYTES - self._bytes
            if room <= 0:
                await self._changed.wait()
                continue
            size = min(room, len(data) - at, self._rng.choice((1, 7, 64, 512, 4_096)))
            if self.bytes_until_cut is not None:
                size = min(size, max(1, self.bytes_until_cut))
            self._last_due = max(self._last_due, trio.current_time() + self._delay())
            self._pieces.append((self._last_due, data[at : at + size]))
            self._bytes += size
            at += size
            self.poke()
            if self.bytes_until_cut is not None:
                self.bytes_until_cut -= size
                if self.bytes_until_cut <= 0:
                    self.cut()

    async def receive(self, most: int) -> bytes:
        while True:
            if self.broken:
                raise trio.BrokenResourceError("the simulated connection is cut")
            if self.stalled:
                await self._changed.wait()
            elif self._pieces:
                due, piece = self._pieces[0]
                if due > trio.current_time():
                    with trio.move_on_at(due):
                        await self._changed.wait()
                    continue
                self._pieces.popleft()
                if len(piece) > most:
                    self._pieces.appendleft((due, piece[most:]))
                    piece = piece[:most]
                self._bytes -= len(piece)
                self.poke()
                return piece
            elif self.ended:
                return b""
            else:
                await self._changed.wait()


class Wire:
    """A connection, as misfortune sees it."""

    def __init__(self, down: _Direction, up: _Direction) -> None:
        self._directions = {"down": down, "up": up}
        self.is_cut = False
        down.cut = up.cut = self.cut

    def cut(self) -> None:
        """Break it for both ends, at once; what is on its way is lost."""
        self.is_cut = True
        for direction in self._directions.values():
            direction.broken = True
            direction.poke()

    def cut_after(self, which: str, count: int) -> None:
        """Break it when so many more bytes have gone ``down`` (to the client) or ``up``."""
        self._directions[which].bytes_until_cut = count

    def stall(self, which: str, *, stalled: bool) -> None:
        """Let nothing arrive in this direction, or go on."""
        self._directions[which].stalled = stalled
        self._directions[which].poke()


class _End(trio.abc.Stream):
    def __init__(self, incoming: _Direction, outgoing: _Direction) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        await self._outgoing.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this end was closed")
        return await self._incoming.receive(max_bytes or BUFFER_BYTES)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._outgoing.ended = True
            self._incoming.broken = True
            self._outgoing.poke()
            self._incoming.poke()
        await trio.lowlevel.checkpoint()


def stream_pair(rng: random.Random, delay: Callable[[], float]) -> tuple[trio.abc.Stream, trio.abc.Stream, Wire]:
    """The client's end, the node's end, and the wire between them. `delay` gives seconds, drawn anew each time."""
    down, up = _Direction(rng, delay), _Direction(rng, delay)
    return _End(down, up), _End(up, down), Wire(down, up)
