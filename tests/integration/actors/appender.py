"""Appends to ada's session in a journal until it is killed, and says on standard output what was answered durable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import trio

from callboard.actors import Appended, Batch
from tests.actors.journal_contract import ADA, appended, record
from tests.integration.actors.sqlite_files import opened


async def main(path: Path, durability: str) -> None:
    """Append for ever, each time a little more at once."""
    async with opened(path, durability=cast(Any, durability)) as journal:
        session = await journal.open(ADA)
        head = session.head
        while True:
            count = 1 + head % 5
            batch = Batch(tuple(record(seq) for seq in range(head + 1, head + count + 1)))
            assert isinstance(await appended(journal, session, head + 1, batch), Appended)
            head += count
            sys.stdout.write(f"{head}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
