"""The kernel's benchmark: every workload of every contender is alive and counts what it says."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.kernel.command import CASES, MODULES
from benchmarks.worker import measure_here

COUNTED = {
    "tell": (2_500, 2_000),  # whole windows of 1,000
    "tell_context": (2_500, 2_000),
    "tell_100": (1, 100_000),
    "ask": (20, 20),
    "ring": (600, 600),
    "fan_out": (1_000, 1_000),
    "spawn_stop": (1, 100),
    "memory": (200, 200),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("module", MODULES.values())
def test_each_workload_does_what_it_counts(module: str, name: str) -> None:
    """A workload that loses a message fails its own check; one that counts wrongly fails here."""
    size, counted = COUNTED[name]
    sample = measure_here(module, name, size, "default")
    assert sample.count == counted
    assert sample.wall_seconds > 0
    assert (sample.value is None) == CASES[name][0].rate


def test_a_quick_run_leaves_lines_and_pictures(tmp_path: Path) -> None:
    """The command measures all contenders, prints the JSON lines and draws both files."""
    done = CliRunner().invoke(main, ["kernel", "--quick", "--case", "ask", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    head, *results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert head["quick"]
    results = [line for line in results if line.get("contender") != "Erlang/OTP"]  # where it is installed
    assert set(head["versions"]) - {"Erlang/OTP"} == {"callboard", "pykka", "trio", "asyncio"}
    assert head["machine"]["python"]
    assert [(line["line"], line["case"], line["contender"], line["count"]) for line in results] == [
        ("result", "ask", name, 500) for name in ("callboard", "pykka", "trio", "asyncio")
    ]
    assert all(line["value"] == pytest.approx(line["count"] / line["cpu_seconds"]) for line in results)
    written = [json.loads(line) for line in (tmp_path / "kernel.jsonl").read_text().splitlines()]
    assert written[0] == head
    assert [line for line in written if line in results] == results
    assert (tmp_path / "kernel.png").stat().st_size > 1_000
    assert "<svg" in (tmp_path / "kernel.svg").read_text()
