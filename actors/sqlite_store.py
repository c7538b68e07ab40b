"""What the SQLite journal does to its file, in plain blocking calls. No threads, no trio: `sqlite_journal` has those.

One `SqliteStore` belongs to one thread. `begin`, any number of `open` and `append`, and `commit` are one transaction,
of whatever sessions (group commit). What the store remembers of sessions is only a copy of what the file says: after a
failure it is dropped, and read again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apsw
import attrs
import msgspec

from .commands import DEVICES, RESULTS_PER_DEVICE, CommandEntry, Result
from .errors import Fenced
from .events import TERMINALS, Record
from .ids import SessionKey
from .journal import Appended, Batch, Opened, Snapshot, Token
from .publications import Publication

__all__ = ["Retention", "SqliteStore", "find_session", "read_page", "read_sessions", "read_unfinished"]

# A chunk's body: what reading costs that needs one record of it. SQLite reads a row as a whole.
CHUNK_BYTES = 65_536

# Sessions whose place is remembered; of others it is read from the file when they append.
REMEMBERED = 20_000

# Chunks that one step of retention looks at, and drops at most: some tenths of a millisecond.
STEP_CHUNKS = 64


@attrs.frozen(kw_only=True)
class Retention:
    """How much of a session is kept: so many of its newest records, bytes of them, and milliseconds back."""

    records: int
    bytes: int
    ms: int


@attrs.define(eq=False)
class _Stream:
    """A session as the file has it, with what is added in the transaction under way."""

    n: int
    generation: int
    first: int
    head: int
    total: int
    used: int
    """The highest number given to a device or command."""
    devices: set[str]
    dropped: int
    """What `total` was before the first record kept; an old value until retention looks again."""
    covered: int | None
    """How far the snapshot goes, if there is one: what it does not cover is kept."""


_result = msgspec.json.Decoder(Result).decode
_encode = msgspec.json.Encoder().encode


class SqliteStore:
    """The one writer of a prepared file.

    Args:
        connection: this store's own.
        retention: how much is kept.
        now_ms: Unix milliseconds.
    """

    def __init__(self, connection: apsw.Connection, retention: Retention, now_ms: Callable[[], int]) -> None:
        self._db = connection
        self._retention = retention
        self._now_ms = now_ms
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._chunks: list[tuple[Any, ...]] = []
        # Sessions that may have more than is kept; and how far the search for what is too old has come.
        self._due: dict[str, None] = {}
        self._swept = 0

    # -- the life of the file -----------------------------------------------------------------------------------------

    def enter(self, boot: str | None, durability: str) -> None:
        """Take the file over for this node: note whether its last node may have lost something, and that it is in use.

        Both are on the disk before this returns: a node that says "durable" while its file still says "closed in order"
        could lose records unnoticed.
        """
        self._db.pragma("synchronous", "FULL")
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        era, clean, last_boot, last_durability = self._one("SELECT era, clean, boot, durability FROM node")
        survived = clean or last_durability == "power" or (boot is not None and boot == last_boot)
        self._run(
            "UPDATE node SET era = ?, clean = 0, boot = ?, durability = ?",
            (era if survived else era + 1, boot, durability),
        )
        self._db.pragma("synchronous", "FULL" if durability == "power" else "NORMAL")
        self._era = era if survived else era + 1

    def leave(self) -> None:
        """Note that the file is closed in order, once all of it is on the disk."""
        self._db.pragma("synchronous", "FULL")
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._run("UPDATE node SET clean = 1")

    # -- a transaction ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a transaction."""
        self._run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make durable what was opened and appended since `begin`."""
        self._write_chunks()
        self._run("COMMIT")

    def roll_back(self) -> None:
        """Forget what was opened and appended since `begin`, which may not have come far."""
        self._chunks.clear()
        self._streams.clear()
        # Who has too much is noted again with the next append. To try on at once would find the disk as full as now.
        self._due.clear()
        if self._db.in_transaction:  # some failures have rolled back already
            self._run("ROLLBACK")

    def open(self, key: SessionKey, new_epoch: str) -> Opened:
        """Open a session, making it if need be; `new_epoch` is used if it is made, or may have lost records."""
        self._write_chunks()
        if self._one("SELECT 1 FROM sessions WHERE id = ?", key.id) is None:
            self._run(
                "INSERT INTO sessions VALUES (NULL, ?, ?, ?, ?, ?, 0, 1)",
                (key.id, key.user, key.name, new_epoch, self._era),
            )
        stream = self._stream(key.id)
        assert stream is not None
        stream.generation += 1
        self._run(
            "UPDATE sessions SET generation = ?1, epoch = iif(era = ?2, epoch, ?3), era = ?2 WHERE n = ?4",
            (stream.generation, self._era, new_epoch, stream.n),
        )
        (epoch,) = self._one("SELECT epoch FROM sessions WHERE n = ?", stream.n)
        commands = self._run(
            "SELECT c.device, c.id, c.fingerprint, c.result FROM devices d"
            " JOIN commands c ON c.session = d.session AND c.device = d.device"
            " WHERE d.session = ? ORDER BY d.used, c.n",
            (stream.n,),
        )
        snapshot = self._one("SELECT seq, data FROM snapshots WHERE session = ?", stream.n)
        return Opened(
            Token(key.id, stream.generation),
            epoch,
            stream.first,
            stream.head,
            tuple(
                CommandEntry(device, id, fingerprint, None if result is None else _result(result))
                for device, id, fingerprint, result in commands
            ),
            None if snapshot is None else Snapshot(*snapshot),
            tuple(
                Publication(*found)
                for found in self._run(
                    "SELECT service, key, fingerprint, at, epoch, seq, id FROM publications"
                    " WHERE session = ? ORDER BY at, seq",
                    (stream.n,),
                )
            ),
        )

    def append(self, token: Token, first_seq: int, batch: Batch) -> Appended | Exception:
        """Add a batch to the transaction, or say why it changes nothing."""
        stream = self._stream(token.session)
        if stream is None or token.generation != stream.generation:
            return Fenced(f"session {token.session} was opened anew; this token is of an earlier incarnation")
        if not batch.follows(stream.head, first_seq):
            return ValueError(f"a batch begins at {first_seq}; session {token.session} goes on at {stream.head + 1}")
        for chunk in _cut(batch.records):
            body = b"\n".join([record.encoded for record in chunk])
            stream.total += len(body)
            stream.head = chunk[-1].seq
            self._chunks.append((None, stream.n, chunk[0].seq, stream.head, chunk[-1].at, stream.total, body))
        self._note_runs(stream, batch.records)
        for entry in batch.commands:
            self._remember(stream, entry)
        self._note_publications(stream, batch)
        if batch.epoch is not None:
            self._run("UPDATE sessions SET epoch = ?, era = ? WHERE n = ?", (batch.epoch, self._era, stream.n))
        if batch.snapshot is not None:
            stream.covered = batch.snapshot.seq
            self._run(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)",
                (stream.n, batch.snapshot.seq, batch.snapshot.data),
            )
        if self._too_much(stream):
            self._due[token.session] = None
        return Appended(stream.first)

    def _write_chunks(self) -> None:
        if self._chunks:
            self._db.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", self._chunks)
            self._chunks.clear()

    def _note_runs(self, stream: _Stream, records: Iterable[Record]) -> None:
        for record in records:
            if record.run is None:
                continue
            if record.type == "agent_started":
                self._run("INSERT OR IGNORE INTO open_runs VALUES (?, ?)", (stream.n, record.run))
            elif record.type in TERMINALS:
                self._run("DELETE FROM open_runs WHERE session = ? AND run = ?", (stream.n, record.run))

    def _remember(self, stream: _Stream, entry: CommandEntry) -> None:
        # What `CommandMemory.remember` does, and keeps in the same order.
        stream.used += 1
        self._run(
            "INSERT INTO devices VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET used = excluded.used, highest = max(highest, excluded.highest)",
            (stream.n, entry.device, stream.used, entry.id),
        )
        result = None if entry.result is None else _encode(entry.result)
        self._run(
            "INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET fingerprint = excluded.fingerprint, result = excluded.result",
            (stream.n, entry.device, entry.id, stream.used, entry.fingerprint, result),
        )
        self._run(
            "DELETE FROM commands WHERE session = ?1 AND device = ?2"
            " AND id <= (SELECT highest FROM devices WHERE session = ?1 AND device = ?2) - ?3",
            (stream.n, entry.device, RESULTS_PER_DEVICE),
        )
        stream.devices.add(entry.device)
        if len(stream.devices) > DEVICES:
            (oldest,) = self._one("SELECT device FROM devices WHERE session = ? ORDER BY used LIMIT 1", stream.n)
            for table in ("devices", "commands"):
                self._run(f"DELETE FROM {table} WHERE session = ? AND device = ?", (stream.n, oldest))
            stream.devices.remove(oldest)

    def _note_publications(self, stream: _Stream, batch: Batch) -> None:
        for publication in batch.publications:
            self._run(
                "INSERT OR REPLACE INTO publications VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (stream.n, *attrs.astuple(publication)),
            )
        if batch.forget_before:
            self._run("DELETE FROM publications WHERE session = ? AND at < ?", (stream.n, batch.forget_before))

    def _stream(self, id: str) -> _Stream | None:
        stream = self._streams.get(id)
        if stream is not None:
            self._streams.move_to_end(id)
            return stream
        self._write_chunks()
        found = self._one("SELECT n, generation, first FROM sessions WHERE id = ?", id)
        if found is None:
            return None
        n, generation, first = found
        head, total = self._one("SELECT last, total FROM chunks WHERE session = ? ORDER BY last DESC LIMIT 1", n) or (
            first - 1,
            0,
        )
        oldest = self._one("SELECT total - length(body) FROM chunks WHERE session = ? ORDER BY last LIMIT 1", n)
        (used,) = self._one(
            "SELECT max(coalesce((SELECT max(used) FROM devices WHERE session = ?1), 0),"
            " coalesce((SELECT max(n) FROM commands WHERE session = ?1), 0))",
            n,
        )
        devices = {device for (device,) in self._run("SELECT device FROM devices WHERE session = ?", (n,))}
        snapshot = self._one("SELECT seq FROM snapshots WHERE session = ?", n)
        stream = _Stream(
            n,
            generation,
            first,
            head,
            total,
            used,
            devices,
            dropped=total if oldest is None else oldest[0],
            covered=None if snapshot is None else snapshot[0],
        )
        self._streams[id] = stream
        if len(self._streams) > REMEMBERED:
            self._streams.popitem(last=False)
        return stream

    # -- retention ----------------------------------------------------------------------------------------------------

    def _too_much(self, stream: _Stream) -> bool:
        # Not at every record beyond: a sixteenth at a time, so that many go in one step.
        keep = self._retention
        if stream.covered is not None and stream.covered < stream.first:
            return False
        return (
            stream.head - stream.first + 1 > keep.records + keep.records // 16
            or stream.total - stream.dropped > keep.bytes + keep.bytes // 16
        )

    @property
    def retention_due(self) -> bool:
        """Whether sessions are known to have more than is kept."""
        return bool(self._due)

    def retain(self) -> bool:
        """One small step, a transaction of its own: drop the oldest chunks of a session that has too much, if one has.

        Without such a session, look at the next one whether it has records that are too old. Gives whether there is
        more to do, this time round.
        """
        if not self._due:
            found = self._one(
                "SELECT s.n, s.id, (SELECT at FROM chunks WHERE session = s.n ORDER BY last LIMIT 1)"
                " FROM sessions s WHERE s.n > ? ORDER BY s.n LIMIT 1",
                self._swept,
            )
            if found is None:
                self._swept = 0
                return False
            self._swept, id, oldest_at = found
            if oldest_at is None or oldest_at >= self._now_ms() - self._retention.ms:
                return True
            self._due[id] = None
        id = next(iter(self._due))
        self.begin()
        if not self._drop_oldest(id):
            del self._due[id]
        self.commit()
        return True

    def _drop_oldest(self, id: str) -> bool:
        keep = self._retention
        stream = self._stream(id)
        if stream is None:
            return False  # forgotten meanwhile
        n, too_old = stream.n, self._now_ms() - keep.ms
        last = 0
        count = 0
        oldest = list(
            self._run(
                "SELECT last, at, total, length(body) FROM chunks WHERE session = ? ORDER BY last LIMIT ?",
                (n, STEP_CHUNKS),
            )
        )
        for chunk_last, at, total, size in oldest:
            stream.dropped = total - size
            kept_without = (stream.head - chunk_last, stream.total - total)
            if stream.covered is not None and chunk_last > stream.covered:
                break
            if at >= too_old and kept_without[0] < keep.records and kept_without[1] < keep.bytes:
                break
            last = chunk_last
            stream.dropped = total
            count += 1
        if last:
            self._run("DELETE FROM chunks WHERE session = ? AND last <= ?", (n, last))
            self._run("UPDATE sessions SET first = ? WHERE n = ?", (last + 1, n))
            stream.first = last + 1
        return count == STEP_CHUNKS

    # -- small helps --------------------------------------------------------------------------------------------------

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        return self._db.execute(sql, values)

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()


def _cut(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut a batch into pieces of at most `CHUNK_BYTES`, or one record."""
    start = size = 0
    for index, record in enumerate(records):
        size += len(record.encoded)
        if size > CHUNK_BYTES and index > start:
            yield records[start:index]
            start, size = index, len(record.encoded)
    if start < len(records):
        yield records[start:]


def read_page(db: apsw.Connection, session: str, after: int, max_records: int, max_bytes: int) -> list[Record]:
    """The records of a session that follow `after`; see `Journal.read`."""
    taken: list[Record] = []
    size = 0
    rows = db.execute(
        "SELECT c.first, c.body FROM sessions s JOIN chunks c ON c.session = s.n"
        " WHERE s.id = ? AND c.last > ? ORDER BY c.last",
        (session, after),
    )
    for first, body in rows:
        for encoded in body.split(b"\n")[max(0, after + 1 - first) :]:
            size += len(encoded)
            if len(taken) >= max_records or (taken and size > max_bytes):
                rows.close()
                return taken
            taken.append(Record.read(encoded))
    return taken


def find_session(db: apsw.Connection, id: str) -> SessionKey | None:
    """Whose session has this id."""
    found = db.execute("SELECT user, name FROM sessions WHERE id = ?", (id,)).fetchone()
    return None if found is None else SessionKey(*found)


def read_sessions(db: apsw.Connection, user: str) -> list[SessionKey]:
    """The sessions of a user, in order of their making."""
    return [
        SessionKey(*found) for found in db.execute("SELECT user, name FROM sessions WHERE user = ? ORDER BY n", (user,))
    ]


def read_unfinished(db: apsw.Connection) -> list[SessionKey]:
    """The sessions with runs that began and have no end, in order of their making."""
    return [
        SessionKey(*found)
        for found in db.execute("SELECT user, name FROM sessions WHERE n IN (SELECT session FROM open_runs) ORDER BY n")
    ]
