"""SQLite journals in real files, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from callboard.actors import SqliteJournal

__all__ = ["opened"]

_epochs = count(1)


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[SqliteJournal]:
    """A journal in this file, closed in order at the end; no two epochs are the same in one run of the tests."""
    # The records of the contract are of about this time.
    options = {"now_ms": lambda: 1_000_000, "boot": "one boot", **options}
    journal = await SqliteJournal.start(path, new_epoch=lambda: f"{next(_epochs):016x}", **options)
    try:
        yield journal
    finally:
        await journal.aclose()
