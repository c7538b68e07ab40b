"""What an answered record outlives, the process or a cut of power, and when an epoch has to change (S3, S10)."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Appended, Batch, CommandEntry, Durability, Result, SqliteJournal
from tests.actors.journal_contract import ADA, BOB, all_records, appended, record, same
from tests.integration.actors.power import Power
from tests.integration.actors.sqlite_files import opened


async def write(journal: SqliteJournal, start: int, sizes: list[int]) -> tuple[str, int]:
    """Open ada's session and append so many records of these sizes, one by one; gives epoch and head."""
    session = await journal.open(ADA)
    assert session.head == start
    for seq, size in enumerate(sizes, start + 1):
        entry = CommandEntry("d", seq, b"f", Result(seq, ok={}))
        answer = await appended(journal, session, seq, Batch((record(seq, size=size),), (entry,)))
        assert isinstance(answer, Appended)
    return session.epoch, start + len(sizes)


# S3 S10
@settings(max_examples=25)
@given(
    durability=st.sampled_from(("process", "power")),
    lives=st.lists(st.lists(st.sampled_from((5, 500, 20_000)), max_size=4), min_size=1, max_size=3),
    last=st.lists(st.sampled_from((5, 500, 20_000)), min_size=1, max_size=6),
    keep=st.sampled_from((0.0, 0.0, 0.5, 0.9, 1.0)),
    seed=st.integers(0, 10_000),
)
async def test_a_cut_of_power_takes_nothing_that_was_promised_or_brings_a_new_epoch(
    durability: Durability, lives: list[list[int]], last: list[int], keep: float, seed: int
) -> None:
    """Red if an answered record is lost with `power`, or with `process` without a new epoch; or the file is damaged."""
    rng = random.Random(seed)
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        power, sizes = Power(), [size for life in [*lives, last] for size in life]
        path, epoch, head = Path(first) / "journal.db", "", 0
        for life in lives:  # each closed in order
            async with opened(path, durability=durability, vfs=power.name, boot="first") as journal:
                again, head = await write(journal, head, life)
                assert epoch in ("", again)
                epoch = again
        async with opened(path, durability=durability, vfs=power.name, boot="first") as journal:
            _, head = await write(journal, head, last)
            power.cut(Path(second), rng, keep=keep)
        async with opened(Path(second) / "journal.db", durability=durability, boot="second") as journal:
            session = await journal.open(ADA)
            kept = await all_records(journal, ADA)
            assert [each.seq for each in kept] == [*range(1, session.head + 1)]
            assert all(same(each, record(each.seq, size=size)) for each, size in zip(kept, sizes, strict=False))
            assert [entry.id for entry in session.commands] == [*range(max(1, session.head - 127), session.head + 1)]
            assert session.head >= len(sizes) - len(last), "what was closed in order is there"
            if durability == "power":
                assert (session.head, session.epoch) == (head, epoch)
            else:
                assert session.epoch != epoch


@pytest.mark.parametrize(
    "boots, closed, changes",
    [
        (("a", "a"), False, False),
        (("a", "b"), False, True),
        (("a", "b"), True, False),
        ((None, None), False, True),
        ((None, None), True, False),
    ],
)
async def test_an_epoch_changes_when_records_may_be_lost_and_only_then(
    tmp_path: Path, boots: tuple[str | None, str | None], closed: bool, changes: bool
) -> None:
    """S10. Red if clients are told of a loss that there was none of, or are not told of one that there may be."""
    path, copy = tmp_path / "journal.db", tmp_path / "copy"
    copy.mkdir()
    async with opened(path, boot=boots[0]) as journal:
        epoch, head = await write(journal, 0, [5, 5])
        other = (await journal.open(BOB)).epoch
        if not closed:  # as it stands when the process is killed
            for file in ("journal.db", "journal.db-wal"):
                shutil.copy(tmp_path / file, copy / file)
    if closed:
        shutil.copy(path, copy / path.name)
    for _ in range(2):
        async with opened(copy / "journal.db", boot=boots[1]) as journal:
            session = await journal.open(ADA)
            assert session.head == head == len(await all_records(journal, ADA))
            assert (session.epoch != epoch) is changes
            assert ((await journal.open(BOB)).epoch != other) is changes
            # It changes once, also for a session that is opened later; and not at the next start in order.
            epoch, other, changes = session.epoch, (await journal.open(BOB)).epoch, False
