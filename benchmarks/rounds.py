"""The loop: rounds of all trials, the contenders of a case one after the other, each round beginning with another.

So what disturbs the machine for a while disturbs all of them alike, and a ratio is made of two measurements that are
neighbours in time. Results are written line by line as they come: a run that is cut short keeps what it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .machine import Machine, this_machine
from .samples import Sample
from .trials import Missing, Scenario, Trial
from .worker import Failed

__all__ = ["Result", "Run", "perform"]


@attrs.frozen
class Result:
    """One measurement of one trial."""

    trial: Trial
    round: int
    sample: Sample
    value: float
    unit: str


@attrs.define
class Run:
    """All that one run of a scenario saw."""

    scenario: Scenario
    machine: Machine
    clock: str
    quick: bool
    results: list[Result] = attrs.field(factory=list)
    skipped: dict[str, str] = attrs.field(factory=dict)
    versions: dict[str, str] = attrs.field(factory=dict)
    failures: list[str] = attrs.field(factory=list)


def perform(scenario: Scenario, *, rounds: int, clock: str, quick: bool, folder: Path, console: Console) -> Run:
    """Measure every trial `rounds` times; results go to ``folder/NAME.jsonl`` as they come."""
    run = Run(scenario, this_machine(), clock, quick)
    trials = [trial for trial in scenario.trials if _is_here(trial, run)]
    folder.mkdir(parents=True, exist_ok=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        (folder / f"{scenario.name}.jsonl").open("w", encoding="utf-8") as lines,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        head = {"scenario": scenario.name, "quick": quick, "rounds": rounds, "clock": clock}
        _write(lines, {"line": "run"} | head | {"machine": attrs.asdict(run.machine), "versions": run.versions})
        for name, reason in run.skipped.items():
            _write(lines, {"line": "skipped", "contender": name, "reason": reason})
            console.print(f"[yellow]{name} is skipped:[/] {reason}")
        task = progress.add_task(scenario.name, total=rounds * len(trials))
        for round, trial in _in_turns(trials, rounds):
            progress.update(task, description=f"{scenario.name}: {trial.case.name}, {trial.contender.name}")
            _measure(run, trial, round, lines, console)
            progress.advance(task)
    return run


def _is_here(trial: Trial, run: Run) -> bool:
    name = trial.contender.name
    if name not in run.versions and name not in run.skipped:
        try:
            run.versions[name] = trial.contender.version()
        except Missing as missing:
            run.skipped[name] = str(missing)
    return name in run.versions


def _in_turns(trials: Sequence[Trial], rounds: int) -> Iterator[tuple[int, Trial]]:
    cases: dict[str, list[Trial]] = {}
    for trial in trials:
        cases.setdefault(trial.case.name, []).append(trial)
    for round in range(rounds):
        for contenders in cases.values():
            first = round % len(contenders)
            for trial in contenders[first:] + contenders[:first]:
                yield round, trial


def _measure(run: Run, trial: Trial, round: int, lines: TextIO, console: Console) -> None:
    named: dict[str, Any] = {"case": trial.case.name, "contender": trial.contender.name, "round": round}
    try:
        sample = trial.measure()
    except Failed as failure:
        run.failures.append(f"{trial.case.name}, {trial.contender.name}: {failure}")
        console.print(f"[red]{run.failures[-1]}")
        _write(lines, {"line": "failure"} | named | {"error": str(failure)})
        return
    value, unit = _figure(trial, sample, run.clock)
    run.results.append(Result(trial, round, sample, value, unit))
    _write(
        lines,
        {"line": "result"}
        | named
        | {"value": value, "unit": unit}
        | attrs.asdict(sample, filter=_is_measured)
        | dict(trial.notes),
    )


def _figure(trial: Trial, sample: Sample, clock: str) -> tuple[float, str]:
    if not trial.case.rate:
        if sample.value is None:
            raise Failed(f"{trial.case.name} is no rate and its sample has no value")
        return sample.value, trial.case.unit
    seconds = sample.cpu_seconds if clock == "cpu" else sample.wall_seconds
    # The processor clock of a tiny smoke test may not have ticked.
    return sample.count / max(seconds, 1e-6), f"{trial.case.unit}/{'CPU-s' if clock == 'cpu' else 's'}"


def _is_measured(attribute: attrs.Attribute[Any], value: Any) -> bool:
    return attribute.name != "value"


def _write(lines: TextIO, line: dict[str, Any]) -> None:
    lines.write(json.dumps(line) + "\n")
    lines.flush()
