"""What a run came to, beside what it was to come to; and whether the load generator was what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import rich_click as click

from ..rounds import Result, Run
from ..trials import OURS

__all__ = ["LOAD_PERCENT", "medians", "say_target", "warn_of_load"]

LOAD_PERCENT = "load CPU %"
# From here on a server may have waited for the load generator.
BUSY = 90


def warn_of_load(run: Run) -> None:
    """Say where the load generator had little of its core left."""
    for result in run.results:
        share = result.sample.details.get(LOAD_PERCENT, 0)
        if share > BUSY and not run.quick:
            where = f"{result.trial.case.name}, {result.trial.contender.name}, round {result.round + 1}"
            click.echo(
                f"{where}: the load generator took {share:.0f} % of its core; it may be the bottleneck", err=True
            )


def medians(run: Run, case: str, contender: str = OURS) -> list[float]:
    """The values of one contender at one case, round by round."""
    return [each.value for each in _of(run.results, case, contender)]


def _of(results: Iterable[Result], case: str, contender: str) -> list[Result]:
    return [each for each in results if (each.trial.case.name, each.trial.contender.name) == (case, contender)]


def say_target(run: Run, what: str, values: list[float], bound: float, *, at_most: bool = True, unit: str = "") -> None:
    """Say whether the median of some values is where it is to be; nothing of a quick run."""
    if run.quick or not values:
        return
    value = statistics.median(values)
    met = value <= bound if at_most else value >= bound
    side = "at most" if at_most else "at least"
    click.echo(f"{what}: {value:.3g}{unit}, to be {side} {bound:g}{unit}: {'met' if met else 'MISSED'}")
