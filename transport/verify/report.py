"""The outcome of a verification: as data, as JSON, and as a table for the terminal."""

from __future__ import annotations

from typing import Any

import attrs
from rich.markup import escape
from rich.table import Table

from .evidence import Evidence, Findings, Outcome, Status, percentile
from .lines import BEYOND, Line

__all__ = ["Report", "evidence_lines", "outcome_table"]

# Below this what is timed finds no place beside the rest.
WIDE = 105

MARKS = {Status.PASSED: "[green]pass[/]", Status.FAILED: "[bold red]FAIL[/]", Status.NOT_CHECKED: "[yellow] - [/]"}


@attrs.frozen(kw_only=True)
class Report:
    """What was checked of which node, and how it came out."""

    url: str
    server: str
    users: int
    devices: int
    seconds: float
    through_restarts: bool = False
    findings: Findings

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """All lines, in order."""
        return tuple(self.findings.outcomes[line] for line in Line)

    @property
    def passed(self) -> bool:
        """Whether no line failed. One that was not checked does not fail."""
        return all(outcome.status is not Status.FAILED for outcome in self.outcomes)

    @property
    def failed(self) -> tuple[Line, ...]:
        """The lines that failed."""
        return tuple(outcome.line for outcome in self.outcomes if outcome.status is Status.FAILED)

    @property
    def not_checked(self) -> tuple[tuple[str, str], ...]:
        """What was not checked, and why: lines first, then what cannot be seen from outside at all."""
        lines = tuple(
            (outcome.line.title, "; ".join(outcome.remarks) or "none of its users came that far")
            for outcome in self.outcomes
            if outcome.status is Status.NOT_CHECKED
        )
        return lines + tuple(
            (what, why) for what, _, why in (text.partition(": ") for text in BEYOND[self.through_restarts :])
        )

    def as_json(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "url": self.url,
            "server": self.server,
            "users": self.users,
            "devices": self.devices,
            "seconds": round(self.seconds, 3),
            "passed": self.passed,
            "lines": [_as_json(outcome) for outcome in self.outcomes],
            "not_checked": [{"what": what, "why": why} for what, why in self.not_checked],
        }


def _as_json(outcome: Outcome) -> dict[str, Any]:
    latency = None
    if outcome.seconds and outcome.line.timed:
        latency = {
            "of": outcome.line.timed,
            "p50_ms": round(1000 * percentile(outcome.seconds, 50), 3),
            "p99_ms": round(1000 * percentile(outcome.seconds, 99), 3),
        }
    return {
        "line": outcome.line.value,
        "claim": outcome.line.title,
        "status": outcome.status.value,
        "count": outcome.count,
        "failures": outcome.failures,
        "latency": latency,
        "remarks": outcome.remarks,
        "evidence": None if outcome.first is None else attrs.asdict(outcome.first),
    }


def outcome_table(report: Report, width: int) -> Table:
    """The table for a terminal of so many columns."""
    table = Table(header_style="bold", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("checked")
    for name in ("count", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    wide = width >= WIDE
    if wide:
        table.add_column("from", style="dim", no_wrap=True)
    for outcome in report.outcomes:
        p50 = p99 = timed = ""
        if outcome.seconds and outcome.line.timed:
            p50, p99 = (f"{1000 * percentile(outcome.seconds, percent):,.1f}" for percent in (50, 99))
            timed = outcome.line.timed
        count = f"{outcome.count:,}" if outcome.count else ""
        if outcome.failures:
            count = f"{outcome.failures:,} of {outcome.failures + outcome.count:,}"
        row = (MARKS[outcome.status], escape(outcome.line.title), count, p50, p99)
        table.add_row(*row, *([timed] if wide else []))
    return table


def evidence_lines(line: Line, evidence: Evidence) -> list[tuple[str, str]]:
    """The first evidence against a line, as names and values; what is not known is left out."""
    told = (
        ("line", line.title),
        ("user", evidence.user),
        ("device", evidence.device),
        ("seq", "" if evidence.seq is None else str(evidence.seq)),
        ("expected", evidence.expected),
        ("seen", evidence.seen),
        ("frame", evidence.frame),
    )
    return [(name, value) for name, value in told if value]
