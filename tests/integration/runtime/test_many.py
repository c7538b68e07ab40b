"""Many idle actors in one process: what they weigh, and that stopping them is not a search for each."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def many(count: int) -> dict[str, float]:
    """What a process of its own saw of so many actors."""
    command = [sys.executable, "-m", "tests.integration.runtime.many", str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=True)
    seen: dict[str, float] = json.loads(done.stdout)
    return seen


@pytest.mark.long
def test_100_000_idle_actors_fit_into_250_mb_and_stop_in_linear_time() -> None:
    """In random order: a list of them, searched from its beginning for each that ends, would take 25 times as long.

    The CPU time of five times as many is compared, and the bound is twice what is expected, for a machine that is busy.
    """
    few, all_of_them = many(20_000), many(100_000)
    assert all_of_them["mib"] < 250
    assert few["alive"] == all_of_them["alive"] == 2  # the root and the supervisor
    assert all_of_them["seconds"] < 10 * few["seconds"]
