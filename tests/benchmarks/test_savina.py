"""Savina's programs: each ends, on every kind of actor, with the messages that it counts."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import erlang
from benchmarks.__main__ import main
from benchmarks.kernel.command import CASES
from benchmarks.savina.command import MODULES, PUBLISHED
from benchmarks.savina.programs import PROGRAMS, transactions
from benchmarks.trials import Missing
from benchmarks.worker import measure_here

# The parameter, and what is counted then.
COUNTED = {
    "thr": (250, 250),
    "fjcreate": (30, 30),
    "fjthrput": (3, 180),
    "count": (1_500, 1_500),
    "pingpong": (40, 80),
    "big": (3, 720),
    "concdict": (10, 400),
    "bndbuffer": (3, 120),
    "banking": (60, 60),
}


def test_every_program_has_its_published_size() -> None:
    """A program without one would never be run."""
    assert list(PROGRAMS) == list(PUBLISHED) == list(COUNTED)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("module", MODULES.values())
def test_each_program_counts_what_it_does(module: str, name: str) -> None:
    """A lost message would leave it hanging, and the clock of the test end it."""
    size, counted = COUNTED[name]
    sample = measure_here(module, f"run:{name}", size, "default")
    assert sample.count == counted
    assert sample.wall_seconds > 0


def test_money_always_goes_to_a_higher_account() -> None:
    """Two accounts that wait for each other would wait for ever."""
    assert all(0 <= source < 800 and source < to < 1000 for _, source, to in transactions(5_000))


def test_erlang_does_the_same_or_says_what_to_install() -> None:
    """Each workload of both scenarios, in one program."""
    if shutil.which("erl") is None:
        with pytest.raises(Missing, match="erlang-base"):
            erlang.ERLANG.version()
        return
    assert erlang.ERLANG.version().startswith("OTP ")
    for name, (size, counted) in COUNTED.items():
        assert erlang.measure(name, size, 60).count == counted
    for name, (case, _) in CASES.items():
        if name == "tell_context":
            continue  # nothing that Erlang knows
        sample = erlang.measure(name, 1_000, 60)
        assert sample.count == {"tell_100": 100_000}.get(name, 1_000)
        assert (sample.value is None) == case.rate


def test_a_quick_run_of_one_program(tmp_path: Path) -> None:
    """The command measures it with every contender that is here."""
    arguments = ["savina", "--quick", "--case", "thr", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    results = {line["contender"]: line for line in lines if line["line"] == "result"}
    assert {"callboard", "pykka", "trio"} <= set(results)
    assert all(line["count"] == line["size"] == 500 for line in results.values())
    assert (tmp_path / "savina.png").exists()
    assert (tmp_path / "savina.svg").exists()
