"""Erasing a user: no byte of what was said is left, and nobody else loses anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.actors import (
    Batch,
    CommandEntry,
    Event,
    JournalInUse,
    JournalRefused,
    Publication,
    Record,
    Result,
    SessionKey,
    Snapshot,
    SqliteJournal,
    forget_user,
)
from tests.actors.journal_contract import all_records, appended, run_record
from tests.integration.actors.sqlite_files import opened

WORD = "xylophone"
USERS = ("carol", "mallory")


def said(seq: int, word: str) -> Record:
    """Somebody says this word, in a longer text."""
    text = f"{word} {seq} " * 200
    return Record.of(Event.make(f"x/{seq}", "x.said", None, {"text": text}, max_bytes=10**6, max_depth=8), seq, seq)


async def fill(journal: SqliteJournal, key: SessionKey, word: str) -> None:
    """A session with all that a session may have, most of it dropped by retention already."""
    session = await journal.open(key)
    for seq in range(1, 31):
        entry = CommandEntry(f"device-of-{word}", seq, word.encode(), Result(seq, ok={"word": word}))
        snapshot = Snapshot(seq, word.encode() * 10)
        await appended(journal, session, seq, Batch((said(seq, word),), (entry,), snapshot=snapshot))
    published = Publication(f"service-of-{word}", f"key-of-{word}", b"f", 31, session.epoch, 31, "x/31")
    await appended(journal, session, 31, Batch((run_record(31, f"run-of-{word}"),), publications=(published,)))
    while (await journal.open(key)).first == 1:
        pass


def holding(folder: Path, *words: str) -> list[tuple[str, str]]:
    """Which files have which of these words."""
    return [
        (path.name, word) for path in sorted(folder.iterdir()) for word in words if word.encode() in path.read_bytes()
    ]


@pytest.mark.parametrize("killed", [False, True])
async def test_nothing_of_a_forgotten_user_is_left(tmp_path: Path, killed: bool) -> None:
    """Red if a text, name, id or device of the user is in any file, or another user misses a record or command."""
    path = tmp_path / "journal.db"
    keys = [SessionKey("mallory"), SessionKey("mallory", "second"), SessionKey("carol")]
    secrets = [WORD, "mallory", *(key.id for key in keys[:2])]
    async with opened(path, retained_records=5) as journal:
        for key in keys:
            await fill(journal, key, "marimba" if key.user == "carol" else WORD)
        with pytest.raises(JournalInUse, match="in use"):
            forget_user(path, "mallory")
        before = await journal.open(keys[2])
        records = [each.encoded for each in await all_records(journal, keys[2])]
        if killed:
            copy = tmp_path / "killed"
            copy.mkdir()
            for name in ("journal.db", "journal.db-wal"):
                (copy / name).write_bytes((tmp_path / name).read_bytes())
    folder = tmp_path / "killed" if killed else tmp_path
    path = folder / "journal.db"
    assert {word for _, word in holding(folder, *secrets)} == set(secrets)
    assert forget_user(path, "mallory") == 2
    assert holding(folder, *secrets) == []
    assert forget_user(path, "mallory") == 0
    async with opened(path, retained_records=5) as journal:
        assert list(await journal.sessions("mallory")) == []
        assert list(await journal.unfinished()) == [keys[2]]
        after = await journal.open(keys[2])
        assert (after.epoch, after.head, after.commands, after.snapshot) == (
            before.epoch,
            before.head,
            before.commands,
            before.snapshot,
        )
        assert after.publications == before.publications != ()
        assert [each.encoded for each in await all_records(journal, keys[2])] == records
        fresh = await journal.open(keys[0])
        assert (fresh.head, fresh.commands, fresh.snapshot, fresh.publications) == (0, (), None, ())


def test_there_has_to_be_a_journal(tmp_path: Path) -> None:
    """Red if a path that is mistyped is made a journal, in which there is nothing to forget."""
    with pytest.raises(JournalRefused, match="there is no journal"):
        forget_user(tmp_path / "journal.db", "ada")
    assert list(tmp_path.iterdir()) == []
