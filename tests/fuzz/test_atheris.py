"""Every target under a fuzzer that is led by coverage, for a while; prints how often it was tried."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.integration.node_process import REPOSITORY

SECONDS = 60
# Far fewer than a busy machine manages, and far more than without any coverage to be led by.
MIN_TRIES = 2_000


@pytest.mark.long
@pytest.mark.timeout(SECONDS * 3)
@pytest.mark.parametrize("name", TARGETS)
def test_a_minute_of_each_target(name: str, tmp_path: Path) -> None:
    """Nothing is found; what is, is to be added to `found.py`."""
    pytest.importorskip("atheris", reason="there is no fuzzer for this platform")
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(SECONDS), "--found", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    found = [path.read_bytes() for path in tmp_path.iterdir()]
    assert (found, done.returncode) == ([], 0), done.stderr[-3_000:]
    tries = re.search(r"^stat::number_of_executed_units: (\d+)$", done.stderr, re.MULTILINE)
    assert tries is not None, done.stderr[-3_000:]
    print(f"{name}: {int(tries[1]):,} tries in {SECONDS} s")  # noqa: T201 - the count is what is wanted
    assert int(tries[1]) >= MIN_TRIES
