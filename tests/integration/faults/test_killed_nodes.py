"""A real node is killed with signal 9, many times at random moments, while real clients and agents work."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

import pytest
import trio

from tests.integration.faults.crowd import Crowd, judge
from tests.integration.faults.lives import Lives, lives

# A machine with much to do takes its time for each start.
SECONDS_A_LIFE = 60
# Enough for all that the crowd says in a hundred lives: what retention would drop cannot be compared.
LIMITS = {"retained_records": 1_000_000, "retained_bytes": 10**9, "commands_per_s": 1_000, "runs": 64}


async def killed_often(living: Lives, kills: int, rng: random.Random) -> Counter[str]:
    """Kill the node so often while a crowd works, let it live in the end, and judge."""
    await living.serve()
    crowd = Crowd(living.port, living.token, users=3, strict=2, product=1, rng=rng)
    with trio.fail_after(SECONDS_A_LIFE * (kills + 1)):
        async with crowd.at_work():
            await crowd.until_answers(5)
            for _ in range(kills):
                if rng.random() < 0.2:  # while it begins: imports, opens its journal, ends what was left open
                    await trio.sleep(rng.uniform(0, 1.0))
                else:
                    await living.serve()
                    await trio.sleep(rng.uniform(0, 1.0))
                await living.end(signal.SIGKILL)
                living.start()
            await living.serve()
        return await judge(crowd, living.notes)


def killed(folder: Path, kills: int, seed: int) -> Counter[str]:
    """The same with a node, and with what was counted on standard output."""
    with lives(folder, **LIMITS) as living:
        count = trio.run(killed_often, living, kills, random.Random(seed))
    print(f"\n{kills} kills, seed {seed}:", *(f"\n  {number:>8,}  {what}" for what, number in sorted(count.items())))  # noqa: T201
    return count


@pytest.mark.timeout(300)
def test_a_few_kills(tmp_path: Path) -> None:
    """S3 S4 S5 S6. Red if one loses, repeats or mixes up a record or command, or leaves a run without its one end."""
    count = killed(tmp_path, 3, seed=1)
    assert count["commands answered"] > 20
    assert count["receipts noted"] > 20


@pytest.mark.long
@pytest.mark.timeout(7_200)
def test_a_hundred_kills(tmp_path: Path) -> None:
    """S3 S4 S5 S6. The same, a hundred times; prints what was counted."""
    count = killed(tmp_path, 100, seed=random.randrange(10**6))
    assert count["runs: node_lost"] > 0, "some of them fell into the middle of a run"
