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
        # What came last, which nearly every cursor that looks wants as it is: all of it, and what that weighs.
        self._newest: Sequence[Record] = ()
        self._newest_after = head
        self._newest_bytes = 0

    @property
    def tail_first(self) -> int:
        """The oldest seq in memory; head + 1 when there is none."""
        return self.head + 1 - len(self._tail)

    def extend(self, records: Sequence[Record], first: int, bytes: int | None = None) -> None:
        """Show records that the journal has. `first` is the oldest that it keeps now, `bytes` what these weigh.

        The sequence is handed out as it is: nobody may change it afterwards.
        """
        head = self.head
        count = len(records)
        if bytes is None:
            bytes = sum(len(record.encoded) for record in records)
        if count:
            assert records[0].seq == head + 1, (records[0].seq, head)
            assert records[-1].seq == head + count, (records[-1].seq, head, count)
            self._newest, self._newest_after, self._newest_bytes = records, head, bytes
            self.head = head + count
        self.first = first
        tail = self._tail
        tail.extend(records)
        size = self._tail_bytes + bytes
        too_many = len(tail) - self._max_records
        while (too_many > 0 or size > self._max_bytes) and len(tail) > 1:
            size -= len(tail.popleft().encoded)
            too_many -= 1
        self._tail_bytes = size

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
        if seq == self._newest_after and self._newest_bytes <= max_bytes:
            return self._newest
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
