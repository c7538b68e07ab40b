"""Records of many sessions appended to an SQLite file, with the layout that callboard has and with others.

A commit takes 64 appends of sessions drawn at random out of 1,000; an append brings 1 record, or 8. The clock runs
until the last commit is done. With ``power`` each commit is synced to the disk.

- *callboard* is the journal's store as it ships: places checked, open runs and retention watched.
- *callboard, whole* is the journal itself, called from trio: 64 sessions with an append in flight each.
- *a row a record* writes each record as a row, in order of coming, with the index that finds them.
- *ordered by session* keeps the rows of a session together, as a primary key does.
- *no index* writes only: no session could be found again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import trio

from callboard.actors import Appended, Batch, Event, Opened, Record, SessionKey, SqliteJournal
from callboard.actors.sqlite_schema import SqliteFile
from callboard.actors.sqlite_store import Retention, SqliteStore

from ..samples import Sample, Stopwatch

__all__ = ["append_to_journal", "append_to_store", "append_to_table"]

SESSIONS = 1_000
PER_COMMIT = 64
EPOCH = "0" * 16

TABLES = {
    "row": (
        "CREATE TABLE t (place INTEGER PRIMARY KEY, session INTEGER, seq INTEGER, body BLOB);"
        "CREATE INDEX i ON t (session, seq)",
        "INSERT INTO t (session, seq, body) VALUES (?, ?, ?)",
    ),
    "ordered": (
        "CREATE TABLE t (session INTEGER, seq INTEGER, body BLOB, PRIMARY KEY (session, seq)) WITHOUT ROWID",
        "INSERT INTO t VALUES (?, ?, ?)",
    ),
    "bare": (
        "CREATE TABLE t (place INTEGER PRIMARY KEY, session INTEGER, seq INTEGER, body BLOB)",
        "INSERT INTO t (session, seq, body) VALUES (?, ?, ?)",
    ),
}


def record(seq: int) -> Record:
    """A piece of an answer, as most records are."""
    run = "0123456789abcdef" * 2
    event = Event.make(f"{run}/{seq}", "agent_delta", run, {"text": "x" * 60}, max_bytes=1_000, max_depth=4)
    return Record.of(event, seq, 1_767_225_600_000 + seq)


def commits(size: int, per_append: int, sessions: int) -> Iterator[list[tuple[int, list[Record]]]]:
    """What comes, commit by commit: sessions and their records, each in its place."""
    rng, heads = random.Random(1), [0] * sessions
    for _ in range(max(1, size // (PER_COMMIT * per_append))):
        commit = []
        for session in rng.sample(range(sessions), PER_COMMIT):
            commit.append((session, [record(heads[session] + n + 1) for n in range(per_append)]))
            heads[session] += per_append
        yield commit


@contextmanager
def folder() -> Iterator[Path]:
    """On the disk that the repository lies on: the system's folder for such files may be in memory."""
    with TemporaryDirectory(dir=Path(__file__).parent) as name:
        yield Path(name)


def append_to_table(layout: str, durability: str, per_append: str, size: int) -> Sample:
    """Append with a layout of `TABLES`."""
    table, insert = TABLES[layout]
    with folder() as path:
        db = apsw.Connection(str(path / "t.db"))
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "FULL" if durability == "power" else "NORMAL")
        db.pragma("wal_autocheckpoint", 2_000)
        db.execute(table)
        count = 0
        work = list(commits(size, int(per_append), SESSIONS))
        watch = Stopwatch()
        for commit in work:
            rows = [(session, each.seq, each.encoded) for session, records in commit for each in records]
            with db:
                db.executemany(insert, rows)
            count += len(rows)
        sample = watch.sample(count)
        _check(count, next(iter(db.execute("SELECT count(*) FROM t")))[0])
        db.close()
    return sample


def append_to_store(durability: str, per_append: str, size: int) -> Sample:
    """Append with the journal's own store."""
    with folder() as path:
        file = SqliteFile(path / "t.db")
        store = SqliteStore(file.connection, Retention(records=10**9, bytes=10**12, ms=10**15), lambda: 0)
        store.enter("boot", durability)
        store.begin()
        sessions = [store.open(SessionKey(f"user{n}"), EPOCH) for n in range(SESSIONS)]
        store.commit()
        count = 0
        work = list(commits(size, int(per_append), SESSIONS))
        watch = Stopwatch()
        for commit in work:
            store.begin()
            for session, records in commit:
                assert isinstance(
                    store.append(sessions[session].token, records[0].seq, Batch(tuple(records))), Appended
                )
                count += len(records)
            store.commit()
        sample = watch.sample(count)
        _check(count, next(iter(file.connection.execute("SELECT sum(last - first + 1) FROM chunks")))[0])
        file.close()
    return sample


def append_to_journal(durability: str, per_append: str, size: int) -> Sample:
    """Append through the port, from trio."""

    async def work(path: Path) -> Sample:
        journal = await SqliteJournal.start(
            path / "t.db",
            new_epoch=lambda: EPOCH,
            now_ms=lambda: 0,
            durability="power" if durability == "power" else "process",
            retained_records=10**9,
        )
        sessions = [await journal.open(SessionKey(f"user{n}")) for n in range(PER_COMMIT)]
        each = max(1, size // (PER_COMMIT * int(per_append)))
        batches = [
            Batch(tuple(record(n * int(per_append) + m + 1) for m in range(int(per_append)))) for n in range(each)
        ]
        left = [PER_COMMIT]
        done = trio.Event()

        def go_on(session: Opened, n: int) -> Callable[[Appended | BaseException], None]:
            def answered(outcome: Appended | BaseException) -> None:
                assert isinstance(outcome, Appended), outcome
                if n + 1 < each:
                    append(session, n + 1)
                    return
                left[0] -= 1
                if not left[0]:
                    done.set()

            return answered

        def append(session: Opened, n: int) -> None:
            batch = batches[n]
            journal.append(session.token, batch.records[0].seq, batch, go_on(session, n))

        watch = Stopwatch()
        for session in sessions:
            append(session, 0)
        await done.wait()
        sample = watch.sample(each * PER_COMMIT * int(per_append))
        _check(each * int(per_append), (await journal.open(SessionKey("user0"))).head)
        await journal.aclose()
        return sample

    with folder() as path:
        return trio.run(work, path)


def _check(expected: int, seen: int) -> None:
    if seen != expected:
        raise AssertionError(f"{seen} records are there, not {expected}")
