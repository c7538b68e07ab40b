"""`callboard verify --through-restarts` against a node that is killed and begun anew while it runs, and broken ones."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from callboard.transport.verify import Line
from callboard.transport.verify.scenarios.restarts import JUDGED
from tests.integration.faults.lives import Lives, lives
from tests.integration.node_process import REPOSITORY


async def verified(living: Lives, seconds: int, pause_seconds: float, users: int) -> dict[str, object]:
    """Kill the node again and again while the command runs, and give what it says as JSON."""
    await living.serve()
    rng = random.Random(4)
    command = [sys.executable, "-m", "callboard", "verify", living.url, "--users", str(users), "--json"]
    command += ["--through-restarts", str(seconds), "--seed", "4", "--timeout", "40"]
    said = b""
    ended = trio.Event()

    async def verify() -> None:
        nonlocal said
        environ = {"XDG_CONFIG_HOME": str(living.folder), "PATH": "/usr/bin:/bin"}
        done = await trio.run_process(
            command, cwd=REPOSITORY, env=environ, capture_stdout=True, check=False, stderr=subprocess.DEVNULL
        )
        said = done.stdout
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(verify)
        while not ended.is_set():
            with trio.move_on_after(rng.uniform(0.5, 1.5) * pause_seconds):
                await ended.wait()
                break
            await living.end(signal.SIGKILL)
            await living.serve()
    report: dict[str, object] = json.loads(said)
    return report


def failed(report: dict[str, object]) -> dict[str, object]:
    """The lines that failed, with their evidence."""
    lines = report["lines"]
    assert isinstance(lines, list)
    return {line["line"]: line["evidence"] for line in lines if line["status"] == "failed"}


def run(folder: Path, app: str, seconds: int, pause_seconds: float, users: int = 3) -> dict[str, object]:
    """The same with a node of its own."""
    with lives(folder, commands_per_s=1_000, runs=64, retained_records=100_000) as living:
        living.app = app
        return trio.run(verified, living, seconds, pause_seconds, users)


HEALTHY = "tests.integration.sample_app:board"


def check_healthy(report: dict[str, object]) -> None:
    """All that can be judged holds, and was seen; what cannot is named."""
    assert failed(report) == {}
    assert report["passed"] is True
    lines = report["lines"]
    assert isinstance(lines, list)
    status = {line["line"]: line["status"] for line in lines}
    assert {line.value for line in JUDGED} == {name for name, how in status.items() if how == "passed"}
    assert {line.value for line in Line if line not in JUDGED} == {
        name for name, how in status.items() if how == "not checked"
    }
    [resumed] = [line for line in lines if line["line"] == "resume"]
    assert resumed["count"] > 0
    assert "connections were lost to restarts" in resumed["remarks"][0]
    not_checked = report["not_checked"]
    assert isinstance(not_checked, list)
    assert not any(entry["what"].startswith("durability") for entry in not_checked)


@pytest.mark.timeout(300)
def test_a_healthy_node_passes_through_restarts(tmp_path: Path) -> None:
    """S3 S4 S5 S6. Red if what a restart allows is taken for a breach, or nothing is judged."""
    check_healthy(run(tmp_path, HEALTHY, 8, 2.5))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_healthy_node_passes_through_many_restarts(tmp_path: Path) -> None:
    """The same for a minute, with more users."""
    check_healthy(run(tmp_path, HEALTHY, 60, 3.0, users=10))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "app, lines",
    [
        # Where something else took the place of what was lost before the client was back, its position seems to hold.
        ("forgets_the_last_append", {Line.RESUME, Line.IDENTICAL}),
        ("forgets_ids", {Line.REPEAT}),
        ("says_it_again", {Line.IDS}),
    ],
)
def test_a_node_that_forgets_or_repeats_at_a_restart_is_caught(tmp_path: Path, app: str, lines: set[Line]) -> None:
    """Red if a journal that loses its last append, the commands, or says a record twice, passes."""
    found = failed(run(tmp_path, f"tests.integration.verify.restart_mutants:{app}", 20, 2.5))
    assert {line.value for line in lines} & found.keys(), found
