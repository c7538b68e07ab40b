"""What was found: for each line of the table how often it held, how long it took, and the first evidence against it.

Knows no sockets and no node: whoever looks puts down here what it saw. A line that nothing was put down for is not
passed but not checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import Enum

import attrs

from .lines import Line

__all__ = ["Evidence", "Findings", "Lost", "Outcome", "Setback", "Status", "percentile", "shorten"]

# As much of a frame as fits on a few lines of a terminal; its beginning tells which one it is.
FRAME_CHARS = 300


class Setback(Exception):
    """A scenario cannot go on. What is at fault has been put down already."""


class Lost(Setback):
    """The node has gone away, as it may in this verification: nothing is at fault."""


class Status(Enum):
    """How a line came out."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@attrs.frozen(kw_only=True)
class Evidence:
    """One breach, so that whoever looks for it finds it. `frame` is what came, raw and shortened."""

    expected: str
    seen: str = ""
    user: str = ""
    device: str = ""
    seq: int | None = None
    frame: str = ""


@attrs.define(eq=False)
class Outcome:
    """One line of the table. `seconds` are the latencies of what was timed."""

    line: Line
    count: int = 0
    failures: int = 0
    first: Evidence | None = None
    seconds: list[float] = attrs.field(factory=list)
    remarks: list[str] = attrs.field(factory=list)

    @property
    def status(self) -> Status:
        """Failed if it failed once; passed if it held at least once; else not checked."""
        if self.failures:
            return Status.FAILED
        return Status.PASSED if self.count else Status.NOT_CHECKED


class Findings:
    """What was found so far, by line."""

    def __init__(self) -> None:
        self.outcomes = {line: Outcome(line) for line in Line}

    def passed(self, line: Line, count: int = 1, *, seconds: float | None = None) -> None:
        """A line held `count` times more; `seconds` is how long what is timed with it took."""
        outcome = self.outcomes[line]
        outcome.count += count
        if seconds is not None:
            outcome.seconds.append(seconds)

    def failed(self, line: Line, evidence: Evidence) -> None:
        """A line was broken. Only the first evidence is kept, as the others often follow from it."""
        outcome = self.outcomes[line]
        outcome.failures += 1
        if outcome.first is None:
            outcome.first = evidence

    def remark(self, lines: Iterable[Line], text: str) -> None:
        """Say something beside lines: why one was not checked, or what of it was not. Said once."""
        for line in lines:
            remarks = self.outcomes[line].remarks
            if text not in remarks:
                remarks.append(text)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that at least so many percent do not exceed (nearest rank). Needs one value."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def shorten(raw: str | bytes) -> str:
    """The beginning of a frame, with how much was left out."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
    if len(text) <= FRAME_CHARS:
        return text
    return f"{text[:FRAME_CHARS]}… ({len(text) - FRAME_CHARS} more characters)"
