"""When a session writes down what it has made of its records, and what is in it. No I/O.

A snapshot is what a session needs of the records that it covers: its runs, the time of the newest record, and the
state of its author's class. A session that comes back reads the records behind it only, and the journal may drop those
that it covers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .journal import Snapshot
from .runs import RunsDump

__all__ = ["SnapshotPlan", "Snapshotted"]


class Snapshotted(msgspec.Struct):
    """The data of a snapshot. `authored` tells an author's state that is null from one that there is not."""

    at: int
    runs: RunsDump
    authored: bool = False
    state: Any = None


_decode = msgspec.json.Decoder(Snapshotted).decode
_encode = msgspec.json.Encoder().encode


class SnapshotPlan:
    """The snapshots of one incarnation of a session.

    Args:
        every_records: how many records one covers, besides those that the one before covers.
        every_bytes: the same in bytes. One that is larger itself is written when as much as that has come.
        make: makes the data, of all records there are.
    """

    def __init__(self, *, every_records: int, every_bytes: int, make: Callable[[], Snapshotted]) -> None:
        self._every_records = every_records
        self._every_bytes = every_bytes
        self._make = make
        self._at_once = False
        self._records = 0
        self._bytes = 0
        self._size = 0

    def begin(self, snapshot: Snapshot) -> Snapshotted:
        """Go on from the one before; gives what is in it."""
        self._size = len(snapshot.data)
        return _decode(snapshot.data)

    def at_once(self) -> None:
        """Have one go with the first batch: the author's state must never need records that are dropped."""
        self._at_once = True

    @property
    def behind(self) -> bool:
        """Whether there are records that the last snapshot does not cover."""
        return self._records > 0

    @property
    def due(self) -> bool:
        """Whether one is to go with the next batch."""
        if self._at_once:
            return True
        return self._bytes >= self._size and (self._records >= self._every_records or self._bytes >= self._every_bytes)

    def note(self, records: int, bytes: int) -> bool:
        """So many records came that no snapshot covers yet. Whether one is `due` now."""
        self._records += records
        self._bytes += bytes
        return self.due

    def take(self, head: int) -> Snapshot:
        """Make one that covers all records up to the head."""
        data = _encode(self._make())
        self._at_once = False
        self._records = self._bytes = 0
        self._size = len(data)
        return Snapshot(head, data)
