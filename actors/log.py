"""The newest records of a session in memory, and how a cursor reads them. No I/O.

A connection is a cursor: a number, the last seq that it has passed on (law S8). It reads here while it is close to the
head, and from the journal when it has fallen behind what memory holds; what even the journal no longer has is a
declared gap. Only the session that owns the log changes it, and only when the journal has the records (law S3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from .events import Record

__all__ = ["Behind", "Log", "LogGap"]


@attrs.frozen
class LogGap:
    """The records `first` to `last` are no longer kept anywhere."""

    first: int
    last: int


class Behind:
    """The answer to a cursor that has to read from the journal."""


BEHIND = Behind()


class Log:
    """The visible history of one session: `first` is the oldest record kept anywhere, `head` the newest; 0 for none."""

    def __init__(self, epoch: str, first: int, head: int, *, max_records: int, max_bytes: int) -> None:
        self.epoch = epoch
        self.first = first
        self.head = head
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._tail: deque[Record] = deque()
        self._tail_bytes = 0

    @property
    def tail_first(self) -> int:
        """The oldest seq in memory; head + 1 when there is none."""
        return self.head + 1 - len(self._tail)

    def extend(self, records: Sequence[Record], first: int) -> None:
        """Show records that the journal has. `first` is the oldest that it keeps now."""
        head = self.head
        for record in records:
            head += 1
            assert record.seq == head, (record.seq, head)
            self._tail_bytes += len(record.encoded)
        self._tail.extend(records)
        self.head = head
        self.first = first
        while len(self._tail) > 1 and (len(self._tail) > self._max_records or self._tail_bytes > self._max_bytes):
            self._tail_bytes -= len(self._tail.popleft().encoded)

    def dropped(self, first: int) -> None:
        """The journal keeps nothing before `first` any more."""
        self.first = max(self.first, first)

    def after(self, seq: int, max_bytes: int) -> Sequence[Record] | LogGap | Behind:
        """What follows `seq` for a cursor: records of at most `max_bytes` together, but one at least.

        An empty sequence means that the cursor is at the head.
        """
        if seq >= self.head:
            return ()
        if seq + 1 < self.first:
            return LogGap(seq + 1, self.first - 1)
        if seq + 1 < self.tail_first:
            return BEHIND
        tail = self._tail
        taken: list[Record] = []
        size = 0
        # Counted from the end, where nearly every cursor stands: a deque is reached from its nearer end.
        for index in range(seq - self.head, 0):
            record = tail[index]
            size += len(record.encoded)
            if taken and size > max_bytes:
                break
            taken.append(record)
        return taken
