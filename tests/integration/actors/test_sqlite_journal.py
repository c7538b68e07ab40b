"""The journal in an SQLite file keeps the contract."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import given, settings

from callboard.actors import Appended, Batch, Journal
from tests.actors.journal_contract import ADA, BOB, JournalContract, all_records, appended, record
from tests.actors.test_journal_contract import RETAINED, Burst, Open, Read, programs, run_program
from tests.integration.actors.power import Power
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


async def test_reading_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    """S8. Red if a page, or a list of sessions, waits behind a commit for which the disk takes its time."""
    power = Power()
    async with opened(tmp_path / "journal.db", vfs=power.name, durability="power") as journal:
        ada, bob = await journal.open(ADA), await journal.open(BOB)
        await appended(journal, ada, 1, Batch(tuple(map(record, range(1, 51)))))
        outcomes: list[Appended | BaseException] = []
        power.held = threading.Event()
        journal.append(bob.token, 1, Batch((record(1),)), outcomes.append)
        await trio.to_thread.run_sync(power.waits.wait)
        assert len(await all_records(journal, ADA)) == 50
        assert list(await journal.sessions("bob")) == [BOB]
        assert outcomes == []
        assert list(await journal.read(BOB.id, 0, max_records=9, max_bytes=999)) == [], "it is not durable yet"
        power.held.set()
        assert (await journal.open(BOB)).head == 1
        assert outcomes == [Appended(1)]
