"""What has come and was not taken yet: between the connection, which does not wait, and the consumer, who may.

Putting is a plain function, so between the protocol's "apply this" and its place here nothing can be lost or repeated.
The bound is kept by whoever puts: as nothing is read while it is full, one message more than fits is held at most. Each
item carries the position behind it: what a consumer may keep is how far it has come itself, not how far the wire has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
import trio

from ..protocol import Gap, WireRecord

__all__ = ["Backlog", "Item", "Position", "Reset"]

Position = tuple[str, int]


@attrs.frozen
class Reset:
    """The node has another history of the session than the one known so far: drop all of that.

    What follows begins with `from_seq` in `epoch`, as for a client that names no position.
    """

    epoch: str
    from_seq: int


Item = WireRecord | Gap | Reset


@attrs.frozen
class _Waiting:
    item: Item
    position: Position
    size: int


class Backlog:
    """Items for one consumer, or for several that share them.

    Args:
        max_items: so many make it full; it stays full until half of them are taken.
        max_bytes: the same in bytes of the wire.
        room: called when it is no longer full.

    Attributes:
        given: the position of the consumer: behind the item that was taken last. None before there is one.
    """

    def __init__(self, max_items: int, max_bytes: int, room: Callable[[], None]) -> None:
        self.given: Position | None = None
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._room = room
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._full = False
        self._closed = False
        self._lot = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether no more should be put."""
        return self._full

    def put(self, item: Item, position: Position, size: int) -> None:
        """Add an item of so many bytes, and the position behind it."""
        self._waiting.append(_Waiting(item, position, size))
        self._bytes += size
        self._full = self._full or len(self._waiting) >= self._max_items or self._bytes >= self._max_bytes
        self._lot.unpark()

    def clear(self) -> None:
        """Drop what was not taken."""
        self._waiting.clear()
        self._bytes = 0
        self._taken()

    def close(self) -> None:
        """Put nothing more; what is there can still be taken."""
        self._closed = True
        self._lot.unpark_all()

    async def take(self) -> Item:
        """Wait for the next item and take it; when cancelled nothing is taken.

        Raises:
            trio.EndOfChannel: all is taken, and no more will come.
        """
        await trio.lowlevel.checkpoint()  # before it is taken: behind it a cancellation would lose it
        while not self._waiting:
            if self._closed:
                raise trio.EndOfChannel
            await self._lot.park()
        first = self._waiting.popleft()
        self._bytes -= first.size
        self.given = first.position
        self._taken()
        return first.item

    def _taken(self) -> None:
        if self._full and len(self._waiting) <= self._max_items // 2 and self._bytes <= self._max_bytes // 2:
            self._full = False
            self._room()
