"""Files that cannot be a journal, or fail while they are one: a clear error, and nothing is lost or overwritten."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from callboard.actors import (
    Appended,
    Batch,
    CommandEntry,
    JournalRefused,
    Result,
    Snapshot,
    StoreUnavailable,
)
from callboard.actors.sqlite_schema import APPLICATION_ID, SCHEMA, VERSION_1, SqliteFile
from callboard.actors.sqlite_store import Retention, SqliteStore
from tests.actors.journal_contract import (
    ADA,
    BOB,
    all_records,
    appended,
    first_is,
    publication,
    record,
    run_record,
    same,
)
from tests.integration.actors.power import Power
from tests.integration.actors.sqlite_files import opened


def content(path: Path) -> bytes | None:
    """What is in a file, if it is one."""
    return path.read_bytes() if path.is_file() else None


def modes(folder: Path) -> list[int]:
    """Who may do what with the files that hold records."""
    return [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.suffix != ".db-lock"]


async def refusal(path: Path) -> str:
    """Why this file is refused, which must leave it as it is."""
    before = content(path)
    with pytest.raises(JournalRefused) as caught:
        async with opened(path):
            pass
    assert content(path) == before
    return str(caught.value)


async def test_a_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    """S1. Red if others on the machine may read what users said."""
    async with opened(tmp_path / "journal.db") as journal:
        await journal.open(ADA)
        assert modes(tmp_path) == [0o600] * 3


async def test_two_nodes_cannot_have_one_journal(tmp_path: Path) -> None:
    """Red if a second node writes into the file of a running one, or cannot have it when that has ended."""
    path = tmp_path / "journal.db"
    async with opened(path):
        assert "is in use by another node" in await refusal(path)
    async with opened(path):
        pass


async def test_what_is_no_journal_stays_as_it_is(tmp_path: Path) -> None:
    """Red if a file of something else is overwritten, or opened as far as it goes."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"Dear diary, " * 1_000)
    assert "is no SQLite database" in await refusal(path)
    path.unlink()
    foreign = apsw.Connection(str(path))
    foreign.execute("CREATE TABLE recipes (name)")
    foreign.close()
    assert "is a database of something else" in await refusal(path)
    assert "cannot be the journal: " in await refusal(tmp_path)
    assert "No such file or directory" in await refusal(tmp_path / "nowhere" / "journal.db")


async def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Red if an older callboard writes into tables that it does not know."""
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        await journal.open(ADA)
    db = apsw.Connection(str(path))
    db.pragma("user_version", SCHEMA + 1)
    db.close()
    assert f"written by a newer callboard: its tables are of version {SCHEMA + 1}" in await refusal(path)


def older(path: Path) -> None:
    """A journal as version 1 of the tables left it: two records, a command, an open run."""
    db = apsw.Connection(str(path))
    db.execute(VERSION_1)
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", 1)
    db.execute("INSERT INTO sessions VALUES (1, ?, 'ada', 'main', '00000000000000aa', 0, 7, 1)", (ADA.id,))
    body = b"\n".join((record(1).encoded, run_record(2, "r").encoded))
    db.execute("INSERT INTO chunks VALUES (1, 1, 1, 2, 1000002, ?, ?)", (len(body), body))
    db.execute("INSERT INTO devices VALUES (1, 'd', 1, 4)")
    db.execute("INSERT INTO commands VALUES (1, 'd', 4, 1, x'66', ?)", (b'{"id":4,"ok":{"run":"r"},"seq":2}',))
    db.execute("INSERT INTO open_runs VALUES (1, 'r')")
    db.close()


async def test_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """Red if an update of callboard loses a record, a command, an epoch, a token or an open run."""
    path = tmp_path / "journal.db"
    older(path)
    async with opened(path) as journal:
        assert list(await journal.unfinished()) == [ADA]
        session = await journal.open(ADA)
        assert (session.epoch, session.first, session.head, session.token.generation) == ("00000000000000aa", 1, 2, 8)
        assert session.commands == (CommandEntry("d", 4, b"f", Result(4, ok={"run": "r"}, seq=2)),)
        kept = await all_records(journal, ADA)
        assert all(map(same, kept, [record(1), run_record(2, "r")]))
        assert session.publications == ()
        batch = Batch((record(3),), snapshot=Snapshot(3, b"new"), publications=(publication(3, "k"),))
        assert await appended(journal, session, 3, batch) == Appended(1)
    async with opened(path) as journal:
        session = await journal.open(ADA)
        assert (session.snapshot, session.publications) == (Snapshot(3, b"new"), (publication(3, "k"),))


async def test_an_update_that_is_cut_short_changes_nothing(tmp_path: Path) -> None:
    """Red if a half updated file is left behind: it must be of the one version or the other."""
    path, power = tmp_path / "journal.db", Power()
    older(path)
    async with opened(tmp_path / "other.db"):
        pass
    power.failing["sync"] = apsw.IOError
    with pytest.raises(JournalRefused, match="cannot be the journal: IOError"):
        async with opened(path, vfs=power.name):
            pass
    async with opened(path) as journal:
        assert (await journal.open(ADA)).head == 2


async def test_a_damaged_file_gives_no_wrong_records(tmp_path: Path) -> None:
    """Red if damage is taken for a journal with less in it, or for one that is empty."""
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        session = await journal.open(ADA)
        for seq in range(1, 200):
            await appended(journal, session, seq, Batch((record(seq, size=500),)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "is damaged" in await refusal(path)
    # A stretch in the middle, which nothing looks at before it is read.
    middle = len(whole) // 2 // 4_096 * 4_096
    path.write_bytes(whole[:middle] + bytes(8 * 4_096) + whole[middle + 8 * 4_096 :])
    async with opened(path) as journal:
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            await all_records(journal, ADA)
        assert "cannot be read" in str(await _outcome(journal.read(ADA.id, 0, max_records=500, max_bytes=10**9)))


async def _outcome(reading: object) -> BaseException | None:
    try:
        await reading  # type: ignore[misc]
    except StoreUnavailable as error:
        return error
    return None


@contextmanager
def nobody() -> Iterator[None]:
    """Work as a user without rights, if this is root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Red if the node starts without a journal, or with a traceback."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    with nobody(), pytest.raises(JournalRefused, match="Permission denied"):
        async with opened(folder / "journal.db"):
            pass


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """The system takes no byte beyond this size of any file, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """S3. Red if something is answered "durable" that is not, a part of a batch stays, or the journal stays stuck."""
    async with opened(tmp_path / "journal.db") as journal:
        ada, bob = await journal.open(ADA), await journal.open(BOB)
        assert await appended(journal, ada, 1, Batch((record(1),))) == Appended(1)
        with small_files(100_000):
            entry = CommandEntry("d", 1, b"f", Result(1, ok={}))
            outcome = await appended(journal, ada, 2, Batch((record(2, size=200_000),), (entry,), "f" * 16))
            assert isinstance(outcome, StoreUnavailable)
        assert await appended(journal, bob, 1, Batch((record(1),))) == Appended(1)
        assert await appended(journal, ada, 2, Batch((record(2),))) == Appended(1)
        again = await journal.open(ADA)
        assert (again.head, again.epoch, again.commands) == (2, ada.epoch, ())
        assert all(map(same, await all_records(journal, ADA), [record(1), record(2)]))


@pytest.mark.parametrize("operation", ["write", "sync"])
async def test_a_disk_that_fails_is_told_and_comes_back(tmp_path: Path, operation: str) -> None:
    """S3. Red if a failed transaction leaves something behind, or an open or append hangs."""
    power = Power()
    async with opened(tmp_path / "journal.db", vfs=power.name, durability="power") as journal:
        ada = await journal.open(ADA)
        power.failing[operation] = apsw.FullError
        assert isinstance(await appended(journal, ada, 1, Batch((record(1),))), StoreUnavailable)
        with pytest.raises(StoreUnavailable, match="FullError"):
            await journal.open(BOB)
        power.failing.clear()
        assert list(await journal.sessions("bob")) == []
        assert await appended(journal, ada, 1, Batch((record(1),))) == Appended(1)
        assert all(map(same, await all_records(journal, ADA), [record(1)]))


async def test_reads_that_fail_are_told_and_come_back(tmp_path: Path) -> None:
    """S10. Red if a page that cannot be read looks like the end of the session."""
    power = Power()
    async with opened(tmp_path / "journal.db", vfs=power.name) as journal:
        ada = await journal.open(ADA)
        await appended(journal, ada, 1, Batch((record(1, size=50_000),)))
        power.failing["read"] = apsw.IOError
        with pytest.raises(StoreUnavailable, match="cannot be read: IOError"):
            await all_records(journal, ADA)
        power.failing.clear()
        assert len(await all_records(journal, ADA)) == 1


def test_retention_does_not_try_for_ever(tmp_path: Path) -> None:
    """S13. Red if a disk that takes nothing keeps the writer busy with what could be dropped, or nothing ever goes."""
    power = Power()
    file = SqliteFile(tmp_path / "journal.db", power.name)
    store = SqliteStore(file.connection, Retention(records=2, bytes=10**9, ms=10**9), lambda: 1_000_000)
    store.enter("boot", "process")
    store.begin()
    token = store.open(ADA, "0" * 16).token
    for seq in range(1, 6):
        assert store.append(token, seq, Batch((record(seq),))) == Appended(1)
    store.commit()
    assert store.retention_due
    power.failing["write"] = apsw.FullError
    with pytest.raises(apsw.FullError):
        store.retain()
    store.roll_back()
    assert not store.retention_due
    power.failing.clear()
    store.begin()
    assert store.append(token, 6, Batch((record(6),))) == Appended(1)
    store.commit()
    assert store.retention_due
    store.retain()
    assert not store.retention_due
    store.begin()
    assert store.append(token, 7, Batch((record(7),))) == Appended(5)
    store.commit()
    file.close()


async def test_what_waits_for_the_disk_is_bounded(tmp_path: Path) -> None:
    """S13. Red if a slow disk lets the queue grow without end."""
    async with opened(tmp_path / "journal.db", queue_bytes=5_000) as journal:
        ada = await journal.open(ADA)
        outcomes: list[Appended | BaseException] = []
        for seq in range(1, 20):
            journal.append(ada.token, seq, Batch((record(seq, size=500),)), outcomes.append)
        # All in one turn of this loop, so no answer has come, but for the refusals.
        assert len(outcomes) >= 15
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        ada = await journal.open(ADA)
        assert [isinstance(outcome, Appended) for outcome in outcomes].count(True) == ada.head >= 1


async def test_records_that_are_too_many_bytes_or_too_old_go(tmp_path: Path) -> None:
    """S13. Red if retention by bytes or by age keeps all, or drops what is to stay."""
    async with opened(tmp_path / "bytes.db", retained_bytes=3_000) as journal:
        ada = await journal.open(ADA)
        for seq in range(1, 31):
            await appended(journal, ada, seq, Batch((record(seq, size=50),)))
        size = len(record(30, size=50).encoded)
        await first_is(journal, 30 - 3_000 // size)
    now = [1_000_000]
    async with opened(tmp_path / "age.db", retained_seconds=10.0, now_ms=lambda: now[0]) as journal:
        ada = await journal.open(ADA)
        for seq in range(1, 6):
            await appended(journal, ada, seq, Batch((record(seq),)))
        assert (await journal.open(ADA)).first == 1
        now[0] = 1_000_003 + 10_000  # the first two are older than ten seconds
        # At the next start all sessions are looked at.
    async with opened(tmp_path / "age.db", retained_seconds=10.0, now_ms=lambda: now[0]) as journal:
        await first_is(journal, 3)
        assert [kept.seq for kept in await all_records(journal, ADA)] == [3, 4, 5]
