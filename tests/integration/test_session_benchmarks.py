"""The benchmarks of whole nodes, small: they run, count what they say, and fail when a client misses something."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.sessions.idle import measure as measure_idle
from benchmarks.sessions.measure import BARE, OURS_IN_MEMORY, serving
from benchmarks.sessions.tokens import measure as measure_tokens
from benchmarks.worker import Failed

SECONDS = 60.0


@pytest.mark.parametrize("name", ["storm", "reconnect", "growth", "churn"])
@pytest.mark.long
def test_a_quick_run(name: str, tmp_path: Path) -> None:
    """Red if a scenario does not run to its end."""
    done = CliRunner().invoke(main, [name, "--quick", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert all(line["count"] > 0 and line["cpu_seconds"] > 0 for line in lines if line["line"] == "result")


def test_a_crowd_at_a_node() -> None:
    """One node: connects, paces, says, is cut, resumes; what it did not get is said."""
    with serving(OURS_IN_MEMORY, SECONDS) as crowd:
        crowd.do("tickets", number=4)
        assert crowd.do("connect", number=4).said["p99 ms"] > 0
        paced = crowd.do("pace", rate=50.0, count=5)
        assert paced.said["events"] == 20
        assert 0 < paced.said["p50 ms"] <= paced.said["max ms"]
        assert paced.server_cpu_seconds > 0
        crowd.do("say", count=10)
        crowd.do("cut")
        crowd.do("tickets", number=4)
        assert crowd.do("resume", behind=10).said["max ms"] > 0
        crowd.do("misbehave", stuck=1, seconds=0.5)
        assert crowd.do("pace", rate=50.0, count=5, first=3, number=1).said["events"] == 5
        with pytest.raises(Failed, match="closed with 4301"):  # its ticket was used
            crowd.do("connect", number=4)


def test_a_peer_beside() -> None:
    """The peer is paced by the same clock, and its memory is seen."""
    assert measure_tokens(BARE, 2, 20.0, 0.2, SECONDS).count == 8
    idle = measure_idle(BARE, 20, 1.0, SECONDS)
    assert idle.value is not None
    assert 5 < idle.value < 100
