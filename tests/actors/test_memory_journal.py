"""The journal in memory keeps the contract, and its own bounds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from callboard.actors import Appended, Batch, Journal, MemoryJournal, SessionKey, StoreUnavailable
from tests.actors.faults import FaultyJournal
from tests.actors.journal_contract import ADA, JournalContract, appended, record


def epochs() -> MemoryJournal:
    """A journal whose epochs are numbers."""
    numbers = count(1)
    return MemoryJournal(lambda: f"{next(numbers):016x}", max_bytes=5_000)


class TestMemoryJournal(JournalContract):
    @asynccontextmanager
    async def opened(self, *, retained_records: int = 10_000) -> AsyncIterator[Journal]:
        numbers = count(1)
        journal = MemoryJournal(lambda: f"{next(numbers):016x}", retained_records=retained_records)
        yield journal
        await journal.aclose()


class TestFaultyJournalWithoutFaults(JournalContract):
    """The fake of the other tests is a journal too."""

    @asynccontextmanager
    async def opened(self, *, retained_records: int = 10_000) -> AsyncIterator[Journal]:
        numbers = count(1)
        yield FaultyJournal(lambda: f"{next(numbers):016x}", retained_records=retained_records)


async def test_a_full_journal_takes_nothing_and_loses_nothing() -> None:
    """S13. Red if the memory that the journal takes has no bound, or a refused batch leaves a part."""
    journal = epochs()
    opened = await journal.open(ADA)
    large = record(1, size=1_900)
    assert len(large.encoded) > 3_800
    assert await appended(journal, opened, 1, Batch((large,))) == Appended(1)
    refused = await appended(journal, opened, 2, Batch((record(2, size=100),)))
    assert isinstance(refused, StoreUnavailable)
    assert (await journal.open(ADA)).head == 1


async def test_sessions_without_records_take_room_too() -> None:
    """S13. Red if one can make sessions without end."""
    journal = epochs()
    for index in range(4):
        await journal.open(SessionKey("ada", str(index)))
    with pytest.raises(StoreUnavailable, match="5000 are allowed"):
        await journal.open(SessionKey("ada", "one more"))
    assert len(await journal.sessions("ada")) == 4
    await journal.open(SessionKey("ada", "0"))


async def test_what_retention_drops_makes_room() -> None:
    """S13. Red if the bytes of dropped records stay counted."""
    numbers = count(1)
    journal = MemoryJournal(lambda: f"{next(numbers):016x}", retained_records=1, max_bytes=5_000)
    opened = await journal.open(ADA)
    for seq in range(1, 30):
        assert await appended(journal, opened, seq, Batch((record(seq, size=500),))) == Appended(seq)
