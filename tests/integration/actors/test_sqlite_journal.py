"""The journal in an SQLite file keeps the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from callboard.actors import Journal
from tests.actors.journal_contract import JournalContract
from tests.actors.test_journal_contract import RETAINED, Burst, Open, Read, programs, run_program
from tests.integration.actors.sqlite_files import opened


class TestSqliteJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "journal.db"

    @asynccontextmanager
    async def opened(self, *, retained_records: int = 10_000) -> AsyncIterator[Journal]:
        async with opened(self.path, retained_records=retained_records) as journal:
            yield journal


# S3 S10
@settings(max_examples=50)
@given(program=programs)
async def test_an_sqlite_journal_holds_exactly_what_it_took(program: list[Open | Burst | Read]) -> None:
    """Red if it says "durable" of what it lacks, holds a part of a batch, hides a gap, or answers twice or never."""
    with TemporaryDirectory() as folder:
        async with opened(Path(folder) / "journal.db", retained_records=RETAINED) as journal:
            await run_program(journal, program)
