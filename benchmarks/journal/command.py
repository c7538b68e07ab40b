"""``python -m benchmarks journal``: the trials of the journal's scenario."""

from __future__ import annotations

from functools import partial

import rich_click as click

from ..machine import version_of
from ..options import Settings, common, run
from ..trials import OURS, Case, Contender, Scenario, Trial
from ..worker import measure_in_process

__all__ = ["CASES", "WORKLOADS", "command"]

# Each case with its durability, records an append, and records in all.
CASES = {
    "one": (Case("1 record", "records", "64 appends of a record each a commit"), "process", 1, 100_000),
    "eight": (Case("8 records", "records", "64 appends of eight records a commit"), "process", 8, 400_000),
    "power": (Case("8 records, synced", "records", "the same, each commit synced"), "power", 8, 200_000),
}

WORKLOADS = {
    OURS: ("append_to_store", "the journal's store as it ships"),
    "callboard, whole": ("append_to_journal", "the journal, called from trio"),
    "a row a record": ("append_to_table:row", "rows in order of coming, with an index"),
    "ordered by session": ("append_to_table:ordered", "a primary key of session and seq"),
    "no index": ("append_to_table:bare", "rows that cannot be found again"),
}
QUICK = 0.02


@click.command("journal")
@click.option("--case", "names", type=click.Choice(list(CASES)), multiple=True, help="Only these; may be repeated.")
@common
def command(settings: Settings, names: tuple[str, ...]) -> None:
    """Measure appends to an SQLite file: the journal, and other layouts of its table.

    By CPU time, but for what is synced to the disk: `--clock wall` tells what that costs.
    """
    run(Scenario("journal", "The journal: appends to a file", trials(settings, names)), settings)


def trials(settings: Settings, names: tuple[str, ...] = ()) -> list[Trial]:
    """All layouts of each case."""
    return [_trial(settings, name, contender) for name in names or CASES for contender in WORKLOADS]


def _trial(settings: Settings, name: str, contender: str) -> Trial:
    case, durability, per_append, size = CASES[name]
    workload, meaning = WORKLOADS[contender]
    size = int(size * (QUICK if settings.quick else 1))
    collector = settings.collectors[0]
    measure = partial(
        measure_in_process,
        "benchmarks.journal.layouts",
        f"{workload}:{durability}:{per_append}",
        size,
        collector,
        settings.deadline_seconds,
    )
    version = partial(version_of, "callboard" if contender.startswith(OURS) else "apsw")
    return Trial(case, Contender(contender, meaning, version), measure, {"size": size, "gc": collector})
