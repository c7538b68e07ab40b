"""The harness: who is measured when, what a ratio says, and what becomes of those who cannot be measured."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.report import figure, summaries
from benchmarks.rounds import Run, perform
from benchmarks.samples import Sample
from benchmarks.trials import Case, Contender, Missing, Scenario, Trial
from benchmarks.worker import Failed, measure_in_process

SPEED = Case("speed", "messages", "a rate")
MEMORY = Case("memory", "KiB", "no rate", rate=False, less_is_better=True)


def missing() -> str:
    """The version of what is not installed."""
    raise Missing("install it")


class Scripted:
    """Trials whose samples are given beforehand, and the order in which they were taken."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.trials: list[Trial] = []

    def add(self, case: Case, contender: str, *samples: Sample | None) -> None:
        """One trial, a sample a round; None fails."""
        left = list(samples)

        def measure() -> Sample:
            self.order.append(f"{case.name} {contender}")
            sample = left.pop(0)
            if sample is None:
                raise Failed("it broke")
            return sample

        version = missing if not samples else lambda: "1.0"
        self.trials.append(Trial(case, Contender(contender, "", version), measure))

    def run(self, folder: Path, rounds: int, clock: str = "cpu") -> Run:
        """Perform them."""
        scenario = Scenario("scripted", "Scripted", self.trials)
        console = Console(quiet=True)
        return perform(scenario, rounds=rounds, clock=clock, quick=False, folder=folder, console=console)


def test_contenders_take_turns_and_each_round_begins_with_another(tmp_path: Path) -> None:
    """What disturbs the machine for a while must not hit one contender only."""
    script = Scripted()
    for case in (SPEED, MEMORY):
        for contender in ("callboard", "peer"):
            script.add(case, contender, *[Sample(1, 1.0, 1.0, 1.0)] * 2)
    script.run(tmp_path, rounds=2)
    assert script.order == [
        *("speed callboard", "speed peer", "memory callboard", "memory peer"),
        *("speed peer", "speed callboard", "memory peer", "memory callboard"),
    ]


@pytest.mark.parametrize("clock, ratios", [("cpu", (2.0, 4.0)), ("wall", (3.0, 3.0))])
def test_a_ratio_is_taken_round_by_round_and_above_one_callboard_is_better(
    tmp_path: Path, clock: str, ratios: tuple[float, ...]
) -> None:
    """Also where less is better; on the clock that was chosen."""
    script = Scripted()
    script.add(SPEED, "callboard", Sample(100, 1.0, 0.5), Sample(100, 1.0, 0.25))
    script.add(SPEED, "peer", Sample(100, 3.0, 1.0), Sample(100, 3.0, 1.0))
    script.add(MEMORY, "callboard", *[Sample(1, 1.0, 1.0, 2.0)] * 2)
    script.add(MEMORY, "peer", *[Sample(1, 1.0, 1.0, 20.0)] * 2)
    ours, peer, _, heavy = summaries(script.run(tmp_path, rounds=2, clock=clock))
    assert ours.ratios == ()
    assert peer.ratios == ratios
    assert heavy.ratios == (10.0, 10.0)
    assert heavy.unit == "KiB"
    assert peer.spread == 0.0


def test_who_is_not_installed_is_skipped_with_a_word(tmp_path: Path) -> None:
    """And a measurement that fails is told, and ends nothing else."""
    script = Scripted()
    script.add(SPEED, "callboard", Sample(1, 1.0, 1.0), None)
    script.add(SPEED, "peer")
    run = script.run(tmp_path, rounds=2)
    assert run.skipped == {"peer": "install it"}
    assert run.failures == ["speed, callboard: it broke"]
    assert len(run.results) == 1
    lines = [json.loads(line) for line in (tmp_path / "scripted.jsonl").read_text().splitlines()]
    assert [line["line"] for line in lines] == ["run", "skipped", "result", "failure"]


def test_a_workload_that_raises_or_overruns_is_a_failure() -> None:
    """Its process is ended, and the reason is its last word."""
    with pytest.raises(Failed, match=r"status 1.*no_such_workload"):
        measure_in_process("benchmarks.kernel.on_asyncio", "no_such_workload", 1, "default", 60)
    with pytest.raises(Failed, match=r"not done within 0\.01 s"):
        measure_in_process("benchmarks.kernel.on_asyncio", "ask", 1, "default", 0.01)


def test_figures_are_short() -> None:
    """Three digits, and what they count."""
    assert [figure(value) for value in (1_234_567, 45_600, 999, 7.891, 0)] == ["1.23 M", "45.6 k", "999", "7.89", "0"]
