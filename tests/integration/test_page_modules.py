"""The page's own modules, tested by Node's test runner: its client against an in-memory node on a virtual clock."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_page_modules() -> None:
    """The browser client and the pure parts of the page pass their own tests, all of them."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing; install it with: apt-get install nodejs")
    files = sorted(str(path) for path in (ROOT / "tests" / "page").glob("*.test.mjs"))
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap", *files],
        cwd=ROOT,
        env={**os.environ, "NODE_OPTIONS": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None
    # A glob that finds nothing would pass too.
    assert int(passed[1]) >= 79, done.stdout[-2_000:]
