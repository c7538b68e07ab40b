"""A journal in memory: for development, tests, and platforms that keep their history elsewhere.

Records live as long as the process: they survive the crash of a session, not that of the node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile

import attrs
import trio

from .commands import CommandMemory
from .errors import Fenced, StoreUnavailable
from .events import TERMINALS, Record
from .ids import SessionKey
from .journal import Appended, Batch, Done, Journal, Opened, Snapshot, Token
from .publications import Publication

__all__ = ["MemoryJournal"]

# The two ends of a run.
BEGINNINGS_AND_ENDS = TERMINALS | {"agent_started"}
# What a session without records takes; counted, so that one who makes sessions without end meets the bound too.
STREAM_BYTES = 1_024


@attrs.define(eq=False)
class _Stream:
    key: SessionKey
    epoch: str
    generation: int = 0
    head: int = 0
    records: deque[Record] = attrs.field(factory=deque)
    memory: CommandMemory = attrs.field(factory=CommandMemory)
    open_runs: dict[str, None] = attrs.field(factory=dict)
    snapshot: Snapshot | None = None
    publications: dict[tuple[str, str], Publication] = attrs.field(factory=dict)


class MemoryJournal(Journal):
    """Keeps the newest `retained_records` of each session, and `max_bytes` of records in all.

    Args:
        new_epoch: makes an epoch, 16 hex digits.
        retained_records: records kept of one session; older ones are dropped.
        max_bytes: encoded bytes of records kept in all; at the bound appends and new sessions fail with
            StoreUnavailable. What is remembered of commands and
            publications is not counted: it has a bound of its own per session.
    """

    def __init__(
        self, new_epoch: Callable[[], str], *, retained_records: int = 10_000, max_bytes: int = 1_073_741_824
    ) -> None:
        self._new_epoch = new_epoch
        self._retained = retained_records
        self._max_bytes = max_bytes
        self._bytes = 0
        self._streams: dict[str, _Stream] = {}
        self._users: dict[str, list[SessionKey]] = {}

    async def open(self, key: SessionKey) -> Opened:
        """See `Journal.open`."""
        await trio.lowlevel.checkpoint()
        stream = self._streams.get(key.id)
        if stream is None:
            if self._bytes + STREAM_BYTES > self._max_bytes:
                raise StoreUnavailable(f"the journal holds {self._bytes} bytes; {self._max_bytes} are allowed")
            self._bytes += STREAM_BYTES
            stream = self._streams[key.id] = _Stream(key, self._new_epoch())
            self._users.setdefault(key.user, []).append(key)
        stream.generation += 1
        return Opened(
            Token(key.id, stream.generation),
            stream.epoch,
            stream.records[0].seq if stream.records else stream.head + 1,
            stream.head,
            tuple(stream.memory.entries()),
            stream.snapshot,
            tuple(stream.publications.values()),
        )

    def append(self, token: Token, first_seq: int, batch: Batch, done: Done) -> None:
        """See `Journal.append`; here `done` is called at once."""
        stream = self._streams.get(token.session)
        if stream is None or token.generation != stream.generation:
            done(Fenced(f"session {token.session} was opened anew; this token is of an earlier incarnation"))
            return
        records = batch.records
        if not batch.follows(stream.head, first_seq):
            done(ValueError(f"a batch begins at {first_seq}; session {token.session} goes on at {stream.head + 1}"))
            return
        size = batch.bytes - (len(stream.snapshot.data) if stream.snapshot and batch.snapshot else 0)
        if self._bytes + size > self._max_bytes:
            done(StoreUnavailable(f"the journal holds {self._bytes} bytes; {self._max_bytes} are allowed"))
            return
        self._bytes += size
        for record in () if batch.plain else records:
            if record.type in BEGINNINGS_AND_ENDS and record.run is not None:
                if record.type == "agent_started":
                    stream.open_runs[record.run] = None
                else:
                    stream.open_runs.pop(record.run, None)
        kept = stream.records
        kept.extend(records)
        stream.head += len(records)
        if batch.snapshot is not None:
            stream.snapshot = batch.snapshot
        if len(kept) > self._retained:
            self._drop(stream)
        if batch.epoch is not None:
            stream.epoch = batch.epoch
        for entry in batch.commands:
            stream.memory.remember(entry)
        if batch.publications or batch.forget_before:
            self._note_publications(stream, batch)
        done(Appended(kept[0].seq if kept else stream.head + 1))

    def _drop(self, stream: _Stream) -> None:
        """Keep no more than `retained_records`, but all that no snapshot covers."""
        kept = stream.records
        too_many = len(kept) - self._retained
        if stream.snapshot is not None:
            too_many = min(too_many, stream.snapshot.seq + 1 - kept[0].seq)
        for _ in range(too_many):
            self._bytes -= len(kept.popleft().encoded)

    def _note_publications(self, stream: _Stream, batch: Batch) -> None:
        known = stream.publications
        for publication in batch.publications:
            known.pop((publication.service, publication.key), None)
            known[publication.service, publication.key] = publication
        for name in [*takewhile(lambda name: known[name].at < batch.forget_before, known)]:
            del known[name]

    async def read(self, session: str, after: int, *, max_records: int, max_bytes: int) -> Sequence[Record]:
        """See `Journal.read`."""
        await trio.lowlevel.checkpoint()
        stream = self._streams.get(session)
        if stream is None or not stream.records:
            return ()
        first = stream.records[0].seq
        taken: list[Record] = []
        size = 0
        for index in range(max(0, after + 1 - first), len(stream.records)):
            record = stream.records[index]
            size += len(record.encoded)
            if len(taken) >= max_records or (taken and size > max_bytes):
                break
            taken.append(record)
        return taken

    async def find(self, session: str) -> SessionKey | None:
        """See `Journal.find`."""
        await trio.lowlevel.checkpoint()
        stream = self._streams.get(session)
        return None if stream is None else stream.key

    async def sessions(self, user: str) -> Sequence[SessionKey]:
        """See `Journal.sessions`."""
        await trio.lowlevel.checkpoint()
        return tuple(self._users.get(user, ()))

    async def unfinished(self) -> Sequence[SessionKey]:
        """See `Journal.unfinished`."""
        await trio.lowlevel.checkpoint()
        return tuple(stream.key for stream in self._streams.values() if stream.open_runs)
