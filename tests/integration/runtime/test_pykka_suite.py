"""Pykka's own test suite, with callboard's actor and future as one more runtime.

The suite comes with the source distribution of the version that is installed, and runs as it is, but for one more entry
in its list of runtimes. No test of it is left out.
"""

import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

# Where the suite lists its runtimes, and what is put there. Its actors are started by `start()`, on the host thread.
LIST = "RUNTIMES = {\n"
ENTRY = """import callboard.runtime

RUNTIMES = {
    "callboard": pytest.param(
        Runtime(
            name="callboard",
            actor_class=callboard.runtime.Actor,
            event_class=threading.Event,
            future_class=callboard.runtime.Reply,
            sleep_func=time.sleep,
        ),
        id="callboard",
    ),
"""
# Pykka 4.5 has 137 tests that run once for each runtime; less would mean that they were not found.
AT_LEAST = 130


@pytest.fixture
def suite(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """The folder with pykka's `tests`, changed by one entry; fetched once and kept in pytest's cache."""
    release = version("pykka")
    assert pytestconfig.cache is not None
    kept = pytestconfig.cache.mkdir("pykka-source")
    archive = kept / f"pykka-{release}.tar.gz"
    if not archive.exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--no-input"]
        # To a place of its own first, so that a download that was cut is not taken for the whole.
        done = subprocess.run(
            [*command, "--quiet", "--disable-pip-version-check", f"pykka=={release}", "--dest", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"the source of pykka {release} could not be fetched by pip: {done.stderr[-500:]}")
        (tmp_path / archive.name).replace(archive)
    with tarfile.open(archive) as tar:
        tests = [member for member in tar if member.name.startswith(f"pykka-{release}/tests/")]
        tar.extractall(tmp_path, tests, filter="data")
    folder = tmp_path / f"pykka-{release}"
    conftest = folder / "tests" / "conftest.py"
    text = conftest.read_text()
    assert text.count(LIST) == 1, "pykka lists its runtimes in another way now"
    conftest.write_text(text.replace(LIST, ENTRY))
    return folder


@pytest.mark.timeout(300)
def test_pykkas_own_tests_pass_with_callboards_actor(suite: Path) -> None:
    """A pykka program is at home: every test of pykka that runs for each runtime passes for callboard's."""
    # No configuration of ours, none of pykka's: warnings of the suite's own are not what is tested.
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-c", os.devnull, "--rootdir", str(suite), "-p"]
    done = subprocess.run(
        [*command, "no:cacheprovider", "--timeout=60", "-k", "callboard", "tests"],
        cwd=suite,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    report = done.stdout[-8_000:] + done.stderr[-2_000:]
    assert done.returncode == 0, report
    assert "skipped" not in done.stdout, report
    passed = re.findall(r"^PASSED \S+\[callboard", done.stdout, re.MULTILINE)
    assert len(passed) >= AT_LEAST, report
