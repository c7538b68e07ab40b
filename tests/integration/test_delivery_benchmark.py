"""The delivery benchmark, small: the whole node, a peer, real clients, and what is written down."""

import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks.__main__ import main


def test_a_quick_run_measures_the_node_and_a_peer(tmp_path: Path) -> None:
    """Red if a server does not start, loses an event, or its CPU is not read; `measure` raises for those."""
    few = ["--clients", "5", "--burst", "8", "--server", "callboard", "--server", "trio-websocket"]
    done = CliRunner().invoke(main, ["delivery", "--quick", *few, "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    head, *results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert set(head["versions"]) == {"callboard", "trio-websocket"}
    assert [(line["contender"], line["count"]) for line in results] == [("callboard", 1_000), ("trio-websocket", 1_000)]
    assert all(line["cpu_seconds"] > 0 for line in results)
    ours, peers = (line["details"]["events a message"] for line in results)
    assert ours >= 8  # what an agent says without a pause goes out together
    assert peers == 1
