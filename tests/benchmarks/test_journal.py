"""The journal's benchmark: every workload writes what it counts."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.journal.command import CASES, WORKLOADS
from benchmarks.worker import measure_here


@pytest.mark.parametrize("workload", [workload for workload, _ in WORKLOADS.values()])
@pytest.mark.parametrize("durability, per_append", [("process", 1), ("power", 8)])
def test_each_workload_does_what_it_counts(workload: str, durability: str, per_append: int) -> None:
    """A workload that loses a record fails its own check; one that counts wrongly fails here."""
    sample = measure_here("benchmarks.journal.layouts", f"{workload}:{durability}:{per_append}", 1_024, "default")
    assert sample.count == 1_024
    assert sample.wall_seconds > 0


def test_a_quick_run_measures_all(tmp_path: Path) -> None:
    """The command measures every layout."""
    done = CliRunner().invoke(main, ["journal", "--quick", "--case", "one", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    measured = [(line["case"], line["contender"]) for line in lines if line.get("line") == "result"]
    assert measured == [(CASES["one"][0].name, contender) for contender in WORKLOADS]


@pytest.mark.parametrize("name", ["memory", "process", "power"])
def test_appends_are_counted_and_timed(name: str) -> None:
    """Red if an append is lost, counted wrongly, or its lateness is not from the time at which it was to be made."""
    sample = measure_here("benchmarks.journal.appends", f"append:{name}:8:4", 40, "default")
    assert sample.count == 320
    assert 0 < sample.details["p50 ms"] <= sample.details["p99 ms"] <= sample.details["max ms"]
