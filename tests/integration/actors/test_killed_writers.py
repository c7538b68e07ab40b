"""A process that writes a journal is killed with signal 9: what it was told to be durable is there (S3)."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors.journal_contract import ADA, all_records, record, same
from tests.integration.actors.sqlite_files import opened
from tests.integration.node_process import REPOSITORY


def killed_writer(path: Path, durability: str, lines: int) -> int:
    """Run a writer until it has said so many lines, kill it in mid-write, and give the last head that it was told."""
    command = [sys.executable, "-m", "tests.integration.actors.appender", str(path), durability]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(lines)]
        process.kill()
        # What it said before it was dead; the last line may be cut.
        told += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    return told[-1]


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_a_killed_writer_has_kept_what_it_was_told(tmp_path: Path, durability: str) -> None:
    """Red if a record is lost that was answered, a half batch is found, or the epoch changes without need."""
    path = tmp_path / "journal.db"
    rng, epochs = random.Random(1), set()
    for _ in range(3):
        told = killed_writer(path, durability, rng.randint(1, 15))
        async with opened(path) as journal:
            session = await journal.open(ADA)
            epochs.add(session.epoch)
            assert session.head >= told
            kept = await all_records(journal, ADA)
            assert len(kept) == session.head
            assert all(same(each, record(seq)) for seq, each in enumerate(kept, 1))
    assert len(epochs) == 1
