"""What is measured: cases, contenders, and a trial for each pair that can be run here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from .samples import Sample

__all__ = ["OURS", "Case", "Contender", "Missing", "Scenario", "Trial"]

OURS = "callboard"
"""The contender that all others are compared with."""


class Missing(Exception):
    """A contender is not installed here; says what to install."""


@attrs.frozen
class Case:
    """One row of a scenario's table.

    With `rate` the figure is `unit` per second of the clock chosen; else it is the sample's own value in `unit`.
    """

    name: str
    unit: str
    meaning: str
    rate: bool = True
    less_is_better: bool = False

    def variant(self, words: str) -> Case:
        """The same under another condition, as a case of its own."""
        return attrs.evolve(self, name=f"{self.name} ({words})")


@attrs.frozen
class Contender:
    """Someone who does the work. `version` raises `Missing` where it cannot be run."""

    name: str
    meaning: str
    version: Callable[[], str]


@attrs.frozen
class Trial:
    """One contender at one case. `measure` may be called any number of times, and raises `worker.Failed`."""

    case: Case
    contender: Contender
    measure: Callable[[], Sample]
    notes: Mapping[str, str | int | float] = attrs.field(factory=dict)
    """What else a reader of the JSON line has to know, such as the size."""


@attrs.frozen
class Scenario:
    """What one command of ``python -m benchmarks`` measures, in the order of its table."""

    name: str
    title: str
    trials: Sequence[Trial]
