"""The file of the SQLite journal: its tables, its versions, and whether a file is one at all. Plain calls, no threads.

Theory of the layout. Records are written in the order in which they come, of whatever session: one row, a *chunk*, for
what one append brings, their JSON one record a line. Rows lie in order of writing, so a commit touches the end of the
table; the index by session and seq has one entry a chunk. A table that is itself ordered by session would touch a page
for every session of a commit. Measured in docs/decisions.md.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

import apsw

from .errors import JournalInUse, JournalRefused

__all__ = ["APPLICATION_ID", "SCHEMA", "SqliteFile"]

# "call", in the place where SQLite keeps what a file belongs to.
APPLICATION_ID = 0x63616C6C

CHECKPOINT_PAGES = 2_000
LOG_BYTES = 67_108_864
CACHE_KIB = 32_768

VERSION_1 = """
CREATE TABLE node (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    era INTEGER NOT NULL,      -- counts the times that records may have been lost
    clean INTEGER NOT NULL,    -- 1: the last node closed this file; 0: one has it open, or died with it
    boot TEXT,                 -- the boot of the machine that the last node ran in
    durability TEXT NOT NULL   -- of the last node
) STRICT;
INSERT INTO node VALUES (1, 0, 1, NULL, 'power');

CREATE TABLE sessions (
    n INTEGER PRIMARY KEY,     -- in order of making
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    epoch TEXT NOT NULL,
    era INTEGER NOT NULL,      -- the node's when `epoch` was last known to hold
    generation INTEGER NOT NULL,
    first INTEGER NOT NULL     -- the oldest seq kept; where nothing is kept, the head is the one before it
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user, n);

CREATE TABLE chunks (
    place INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    at INTEGER NOT NULL,       -- of the newest record in it
    total INTEGER NOT NULL,    -- bytes of this session up to and with this chunk
    body BLOB NOT NULL         -- the records' JSON, one a line
) STRICT;
CREATE INDEX chunks_by_session ON chunks (session, last);

CREATE TABLE devices (
    session INTEGER NOT NULL,
    device TEXT NOT NULL,
    used INTEGER NOT NULL,     -- the larger, the later
    highest INTEGER NOT NULL,
    PRIMARY KEY (session, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE commands (
    session INTEGER NOT NULL,
    device TEXT NOT NULL,
    id INTEGER NOT NULL,
    n INTEGER NOT NULL,        -- in order of coming
    fingerprint BLOB NOT NULL,
    result BLOB,               -- JSON; none while it is under way
    PRIMARY KEY (session, device, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE open_runs (
    session INTEGER NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (session, run)
) STRICT, WITHOUT ROWID;
"""

VERSION_2 = """
CREATE TABLE snapshots (
    session INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,      -- it covers the records up to this one
    data BLOB NOT NULL
) STRICT;
"""

VERSION_3 = """
CREATE TABLE publications (
    session INTEGER NOT NULL,
    service TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    at INTEGER NOT NULL,       -- of its record, Unix milliseconds
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (session, service, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX publications_by_time ON publications (session, at);
"""

# From each version to the next; the last one is what this callboard writes.
MIGRATIONS = (VERSION_1, VERSION_2, VERSION_3)
SCHEMA = len(MIGRATIONS)


class SqliteFile:
    """A journal's file, locked against other nodes, with its tables made or brought up to date.

    Raises:
        JournalRefused: it is in use, another kind of file, of a newer version, damaged, or cannot be written.
    """

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self.path = path
        self._vfs = vfs
        try:
            # Not the database itself: whoever closes any descriptor of that takes SQLite's own locks away.
            self._lock = path.with_name(path.name + "-lock").open("a")
        except OSError as error:
            raise JournalRefused(f"{path} cannot be the journal: {error.strerror}: {error.filename}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise JournalInUse(f"{path} is in use by another node; each needs a journal of its own") from None
        connection: apsw.Connection | None = None
        try:
            path.touch(mode=0o600)  # what people said is for the owner's eyes; SQLite's other files get its mode
            connection = self.connection = self._connect()
            self._prepare()
        except BaseException as error:
            if connection is not None:
                connection.close()
            self._lock.close()
            if isinstance(error, apsw.NotADBError):
                raise JournalRefused(f"{path} is no SQLite database, and stays as it is: give another path") from None
            if isinstance(error, apsw.CorruptError):
                raise JournalRefused(f"{path} is damaged, and stays as it is: {error}") from None
            if isinstance(error, apsw.Error | OSError):
                raise JournalRefused(f"{path} cannot be the journal: {type(error).__name__}: {error}") from error
            raise

    def _connect(self) -> apsw.Connection:
        return apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs)

    def connect_reader(self) -> apsw.Connection:
        """A further connection, which only reads. Whoever asks closes it."""
        reader = self._connect()
        reader.pragma("query_only", True)
        return reader

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()
        self._lock.close()

    def _prepare(self) -> None:
        db, path = self.connection, self.path
        empty = not db.pragma("page_count")
        if not empty and db.pragma("application_id") != APPLICATION_ID:
            raise JournalRefused(f"{path} is a database of something else, and stays as it is: give another path")
        version = db.pragma("user_version")
        if version > SCHEMA:
            raise JournalRefused(
                f"{path} was written by a newer callboard: its tables are of version {version}, not up to {SCHEMA}"
            )
        if db.pragma("journal_mode", "wal") != "wal":
            raise JournalRefused(
                f"{path} lies where SQLite can keep no write-ahead log, as on some network file systems"
            )
        # Fewer checkpoints than by default, as each syncs the disk; a large transaction must not leave a large log.
        db.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        db.pragma("journal_size_limit", LOG_BYTES)
        db.pragma("cache_size", -CACHE_KIB)
        if version < SCHEMA:
            with db:
                for step in MIGRATIONS[version:]:
                    db.execute(step)
                db.pragma("application_id", APPLICATION_ID)
                db.pragma("user_version", SCHEMA)
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        size, promised = path.stat().st_size, db.pragma("page_count") * db.pragma("page_size")
        if size < promised:
            raise JournalRefused(f"{path} is damaged: it has {size} bytes, and should have {promised}")
