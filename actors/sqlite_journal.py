"""The embedded journal: one SQLite file, one thread that writes it, and threads that read.

Theory of operation. `open` and `append` go into one queue, in the order in which they are called. The writer thread
takes all that waits and makes it one transaction, of whatever sessions: the busier the node, the larger the
transactions, and one sync of the disk serves them all. The answers of a transaction come to the trio thread together.
Between transactions, when nothing waits, the same thread drops what is no longer kept, in small steps.

Readers have connections of their own. In SQLite's write-ahead log they neither wait for the writer nor hold it up, and
see what is committed. So a cursor that lags costs nobody but itself (law S8).

What is promised, by `durability`: with ``"process"`` an answered append outlives the process, however it ends; a cut of
power may take the last ones, but the file stays whole, and the sessions get new epochs. With ``"power"`` it outlives a
cut of power too, as far as the disk keeps what it says it has synced. A commit then costs one sync.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import apsw
import attrs
import trio

from ..runtime import places
from .errors import JournalRefused, StoreUnavailable
from .events import Record
from .ids import SessionKey
from .journal import Batch, Done, Journal, Opened, Token
from .sqlite_schema import SqliteFile
from .sqlite_store import Retention, SqliteStore, find_session, read_page, read_sessions, read_unfinished

__all__ = ["Durability", "SqliteJournal"]

Durability = Literal["process", "power"]

T = TypeVar("T")

logger = logging.getLogger("callboard")

# One transaction: what it takes to write so much is what an append waits for at most, besides its own.
GROUP_BYTES = 4_194_304
GROUP_JOBS = 1_024

# Two read at a time: enough to fill two cores, and few enough that many lagging cursors do not take all threads.
READERS = 2

# How often all sessions are looked at for records that are too old, and the pause between two of them.
SWEEP_MS = 600_000
SWEEP_PAUSE_SECONDS = 0.01

# While commits follow each other without a pause, every so many of them retention gets its turn.
STEP_EVERY = 16


@attrs.define(eq=False)
class _Open:
    key: SessionKey
    new_epoch: str
    done: Callable[[Opened | BaseException], None]
    bytes: int = 0


@attrs.define(eq=False)
class _Append:
    token: Token
    first_seq: int
    batch: Batch
    done: Done
    bytes: int


_Job = _Open | _Append


class SqliteJournal(Journal):
    """Records in an SQLite file. Made by `start`, ended by `aclose`."""

    def __init__(
        self,
        file: SqliteFile,
        store: SqliteStore,
        new_epoch: Callable[[], str],
        now_ms: Callable[[], int],
        queue_bytes: int,
    ) -> None:
        self.path = file.path
        self._file = file
        self._store = store
        self._new_epoch = new_epoch
        self._now_ms = now_ms
        self._max_queued = queue_bytes
        self._queued = 0
        self._closed = False
        self._failing = False
        self._trio = trio.lowlevel.current_trio_token()
        # None ends the thread. Bounded by `queue_bytes` for appends; opens wait for their answer, one for each session.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reading = trio.CapacityLimiter(READERS)
        self._readers: list[apsw.Connection] = []
        self._thread = threading.Thread(target=self._write, name="callboard journal", daemon=True)
        self._thread.start()

    @classmethod
    async def start(
        cls,
        path: Path,
        *,
        new_epoch: Callable[[], str],
        now_ms: Callable[[], int],
        boot: str | None = None,
        durability: Durability = "process",
        retained_records: int = 10_000,
        retained_bytes: int = 16_777_216,
        retained_seconds: float = 7_776_000.0,
        queue_bytes: int = 67_108_864,
        vfs: str | None = None,
    ) -> SqliteJournal:
        """Open a file, making it if it does not exist.

        Args:
            path: the file; while it is open two more, with ``-wal`` and ``-shm`` behind its name, lie beside it. One
                with ``-lock`` stays.
            new_epoch: makes an epoch, 16 hex digits.
            now_ms: Unix milliseconds; called in the writer's thread.
            boot: what tells this boot of the machine from any other; None: nothing does, and each unclean end with
                durability ``process`` brings new epochs.
            durability: what an answered append outlives; see the head of this file.
            retained_records: the newest records of a session that are kept. What goes beyond one of these three is
                dropped, in pieces and a little later.
            retained_bytes: the newest bytes of a session that are kept.
            retained_seconds: how long a record is kept.
            queue_bytes: encoded bytes of records that may wait for the writer; beyond, appends get StoreUnavailable.
            vfs: the SQLite file system to use.

        Raises:
            JournalRefused: the file cannot be used; it is left as it is.
            ValueError: there is no such durability.
        """
        if durability not in get_args(Durability):
            raise ValueError(f"durability is {durability!r:.80}; allowed are process and power")
        retention = Retention(records=retained_records, bytes=retained_bytes, ms=int(retained_seconds * 1000))

        def open_file() -> tuple[SqliteFile, SqliteStore]:
            file = SqliteFile(path, vfs)
            try:
                store = SqliteStore(file.connection, retention, now_ms)
                store.enter(boot, durability)
            except apsw.Error as error:
                file.close()
                raise JournalRefused(f"{path} cannot be the journal: {_said(error)}") from error
            return file, store

        file, store = await trio.to_thread.run_sync(open_file)
        return cls(file, store, new_epoch, now_ms, queue_bytes)

    # -- the port, on the trio thread ---------------------------------------------------------------------------------

    async def open(self, key: SessionKey) -> Opened:
        """See `Journal.open`."""
        answer: list[Opened | BaseException] = []
        came = trio.Event()

        def done(outcome: Opened | BaseException) -> None:
            answer.append(outcome)
            came.set()

        self._put(_Open(key, self._new_epoch(), done))
        await came.wait()
        (outcome,) = answer
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def append(self, token: Token, first_seq: int, batch: Batch, done: Done) -> None:
        """See `Journal.append`."""
        size = batch.bytes
        if self._queued and self._queued + size > self._max_queued:
            done(StoreUnavailable(f"{self._queued} bytes wait to be written; {self._max_queued} are allowed"))
            return
        try:
            self._put(_Append(token, first_seq, batch, done, size))
        except StoreUnavailable as error:
            done(error)

    def _put(self, job: _Job) -> None:
        if self._closed:
            raise StoreUnavailable("the journal is closed")
        self._queued += job.bytes
        self._jobs.put(job)

    async def read(self, session: str, after: int, *, max_records: int, max_bytes: int) -> Sequence[Record]:
        """See `Journal.read`."""
        return await self._ask(lambda db: tuple(read_page(db, session, after, max_records, max_bytes)))

    async def find(self, session: str) -> SessionKey | None:
        """See `Journal.find`."""
        return await self._ask(lambda db: find_session(db, session))

    async def sessions(self, user: str) -> Sequence[SessionKey]:
        """See `Journal.sessions`."""
        return await self._ask(lambda db: read_sessions(db, user))

    async def unfinished(self) -> Sequence[SessionKey]:
        """See `Journal.unfinished`."""
        return await self._ask(read_unfinished)

    async def _ask(self, question: Callable[[apsw.Connection], T]) -> T:
        async with self._reading:
            if self._closed:
                raise StoreUnavailable("the journal is closed")
            known = self._readers.pop() if self._readers else None

            def work() -> T:
                reader = known or self._file.connect_reader()
                answer: T | None = None
                try:
                    answer = question(reader)
                finally:
                    # One that failed is not used again, nor one that comes back to a journal that was closed meanwhile.
                    if answer is None or self._closed:
                        reader.close()
                    else:
                        self._readers.append(reader)
                return answer

            try:
                return await trio.to_thread.run_sync(work)
            except apsw.Error as error:
                raise StoreUnavailable(f"the journal cannot be read: {_said(error)}") from error

    async def aclose(self) -> None:
        """Write what was appended, note that the file is closed in order, and close it."""
        if self._closed:
            return
        self._closed = True

        def close() -> None:
            self._thread.join()
            try:
                self._store.leave()
            except apsw.Error as error:
                logger.error("the journal %s could not be closed in order: %s", self.path, _said(error))
            for reader in self._readers:
                reader.close()
            self._file.close()

        with trio.CancelScope(shield=True):
            self._jobs.put(None)
            await trio.to_thread.run_sync(close)

    # -- the writer's thread ------------------------------------------------------------------------------------------

    def _write(self) -> None:
        busy, sweeping, sweep_at = 0, True, self._now_ms()
        while True:
            due = self._store.retention_due
            pause = 0.0 if due else SWEEP_PAUSE_SECONDS if sweeping else SWEEP_MS / 1000
            group, last = self._next_group(pause)
            busy = busy + 1 if group else 0
            if group:
                self._commit(group)
            if last:
                return
            sweeping = sweeping or self._now_ms() >= sweep_at
            if (due or sweeping) and busy % STEP_EVERY == 0:
                more = self._retain()
                if sweeping and not more:
                    sweeping, sweep_at = False, self._now_ms() + SWEEP_MS

    def _next_group(self, seconds: float) -> tuple[list[_Job], bool]:
        """What waits, or comes first within so many seconds; and whether it is the last that will come."""
        group: list[_Job] = []
        size = 0
        try:
            job = self._jobs.get(timeout=seconds) if seconds else self._jobs.get_nowait()
            while job is not None:
                group.append(job)
                size += job.bytes
                if size >= GROUP_BYTES or len(group) >= GROUP_JOBS:
                    return group, False
                job = self._jobs.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _commit(self, group: list[_Job]) -> None:
        outcomes: list[Any] = []
        try:
            self._store.begin()
            for job in group:
                match job:
                    case _Open(key, new_epoch):
                        outcomes.append(self._store.open(key, new_epoch))
                    case _Append(token, first_seq, batch):
                        outcomes.append(self._store.append(token, first_seq, batch))
            self._store.commit()
            self._works()
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and this thread serves the others
            outcomes = [self._failed(error)] * len(group)
        self._tell(lambda: self._answer(group, outcomes))

    def _retain(self) -> bool:
        """One step of retention; whether there is more to do."""
        try:
            return self._store.retain()
        except Exception as error:  # noqa: BLE001 - what is kept too long is no reason to take no more
            self._failed(error)
            return False

    def _failed(self, error: Exception) -> Exception:
        try:
            self._store.roll_back()
        except apsw.Error as again:
            error.add_note(f"and it was not rolled back: {_said(again)}")
        if not isinstance(error, apsw.Error | OSError):
            logger.error("the journal %s failed: %s", self.path, places(error))
            return error
        if not self._failing:
            self._failing = True
            logger.error("the journal %s takes nothing: %s", self.path, _said(error))
        unavailable = StoreUnavailable(f"the journal takes nothing: {_said(error)}")
        unavailable.__cause__ = error
        return unavailable

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            logger.warning("the journal %s takes records again", self.path)

    def _tell(self, job: Callable[[], None]) -> None:
        # The loop may have ended without closing this journal: then nobody waits any more.
        with contextlib.suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(job)

    def _answer(self, group: list[_Job], outcomes: list[Any]) -> None:
        for job, outcome in zip(group, outcomes, strict=True):
            self._queued -= job.bytes
            job.done(outcome)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
