"""``python -m benchmarks neighbour``: what the others notice of those who behave badly."""

from __future__ import annotations

from functools import partial

import attrs
import rich_click as click

from ..options import Settings, common, run
from ..report import summaries
from ..samples import Sample
from ..trials import Case, Contender, Scenario, Trial
from .measure import OURS_IN_MEMORY, enough, serving
from .verdict import LOAD_PERCENT, say_target, warn_of_load

__all__ = ["command"]

CASE = Case("the others", "ms, p99", "from `emit` to the client, of those who behave", rate=False, less_is_better=True)
QUIET = Contender("nobody misbehaves", "the same load without them", OURS_IN_MEMORY.contender.version)
TARGET = 1.25


@click.command("neighbour")
@click.option("--sessions", type=click.IntRange(10), default=1_000, show_default=True, help="How many listen.")
@click.option("--rate", type=click.FloatRange(1), default=5.0, show_default=True, help="Deltas a second for each.")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="How long.")
@click.option("--pairs", type=click.IntRange(1), default=5, show_default=True, help="Runs with and without, in turns.")
@common
def command(settings: Settings, sessions: int, rate: float, seconds: float, pairs: int) -> None:
    """Measure the p99 of those who behave, beside some who do not, against a run where all do.

    Of the clients one in a hundred stops reading, with megabytes on their way to it; one session is made to crash over
    and over, until it is quarantined and after that again; one agent says as much as it can.
    """
    sessions, seconds = (20, 0.5) if settings.quick else (enough(sessions, 0), seconds)
    settings = settings if settings.quick else attrs.evolve(settings, rounds=pairs)
    trials = [
        Trial(CASE, contender, partial(measure, sessions, rate, seconds, bad, settings.deadline_seconds))
        for contender, bad in ((OURS_IN_MEMORY.contender, True), (QUIET, False))
    ]
    seen = run(Scenario("neighbour", "Neighbour: what the others notice", trials), settings)
    warn_of_load(seen)
    for summary in summaries(seen):
        if summary.trial.contender is QUIET:
            times = [1 / ratio for ratio in summary.ratios]
            say_target(seen, "p99 of the others beside a run without bad neighbours", times, TARGET, unit=" times")


def measure(sessions: int, rate: float, seconds: float, bad: bool, deadline_seconds: float) -> Sample:
    """Pace those who behave, with or without the others at work."""
    stuck = max(1, sessions // 100)
    with serving(OURS_IN_MEMORY, deadline_seconds) as crowd:
        crowd.do("tickets", number=sessions)
        crowd.do("connect", number=sessions)
        crowd.do("pace", rate=rate, count=1)
        if bad:
            crowd.do("misbehave", stuck=stuck, seconds=seconds + 2)
        answer = crowd.do("pace", rate=rate, count=max(1, round(rate * seconds)), first=stuck + 2)
    said = answer.said
    details = {name: said[name] for name in ("p50 ms", "p99.9 ms", "max ms")} | {
        "server CPU %": 100 * answer.server_cpu_seconds / answer.seconds,
        LOAD_PERCENT: answer.load_percent,
    }
    return Sample(int(said["events"]), answer.seconds, answer.server_cpu_seconds, said["p99 ms"], details)
