"""Erasing a user from a journal that no node has open: of what was said, no byte stays in its files."""

from __future__ import annotations

from pathlib import Path

import apsw

from .errors import JournalRefused
from .sqlite_schema import SqliteFile

__all__ = ["forget_user"]

TABLES = ("chunks", "devices", "commands", "open_runs", "snapshots", "publications")


def forget_user(path: Path, user: str) -> int:
    """Erase all sessions of a user; gives how many there were. Blocks, for large files a while.

    The file is written anew, so that also what retention dropped earlier is gone from its free pages. That takes as
    much room again while it lasts. Copies of the file, and what a disk does below its files, are not reached.

    Raises:
        JournalInUse: a node has it open.
        JournalRefused: it cannot be used, or the disk has no room.
    """
    if not path.exists():
        raise JournalRefused(f"there is no journal {path}")
    file = SqliteFile(path)
    try:
        db = file.connection
        db.pragma("synchronous", "FULL")
        # Pages are overwritten as they become free, or the old content would stay until they are used again.
        db.pragma("secure_delete", True)
        with db:
            sessions = [n for (n,) in db.execute("SELECT n FROM sessions WHERE user = ?", (user,))]
            for table in TABLES:
                db.executemany(f"DELETE FROM {table} WHERE session = ?", [(n,) for n in sessions])
            db.execute("DELETE FROM sessions WHERE user = ?", (user,))
        db.execute("VACUUM")
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return len(sessions)
    except apsw.Error as error:
        raise JournalRefused(f"{path} could not be written anew: {type(error).__name__}: {error}") from error
    finally:
        file.close()
