"""``python -m benchmarks reconnect``: all are cut at once, and all come back."""

from __future__ import annotations

from functools import partial

import rich_click as click

from ..options import Settings, common, run
from ..samples import Sample
from ..trials import Case, Scenario, Trial
from .measure import OURS_IN_MEMORY, OURS_ON_DISK, Host, enough, serving
from .verdict import LOAD_PERCENT, warn_of_load

__all__ = ["command"]

CASE = Case("reconnect", "ms until all have caught up", "from the first connect", rate=False, less_is_better=True)


@click.command("reconnect")
@click.option("--sessions", type=click.IntRange(1), default=1_000, show_default=True, help="How many there are.")
@click.option("--records", type=click.IntRange(1), default=100, show_default=True, help="What each has missed.")
@common
def command(settings: Settings, sessions: int, records: int) -> None:
    """Measure how long it takes until all have caught up who were cut at once.

    Each resumes so many records behind the head, and has to get all of them, in order. All begin to connect in the same
    moment, which no client of ours does (they spread out): it is the worst case. Tickets were got before.
    """
    sessions, records = (20, 5) if settings.quick else (enough(sessions, 0), records)
    trials = [
        Trial(CASE, host.contender, partial(measure, host, sessions, records, settings.deadline_seconds))
        for host in (OURS_IN_MEMORY, OURS_ON_DISK)
    ]
    warn_of_load(run(Scenario("reconnect", f"Reconnect: {sessions:,} resume {records} records each", trials), settings))


def measure(host: Host, sessions: int, records: int, deadline_seconds: float) -> Sample:
    """Have records said to all, cut them, and let them resume."""
    with serving(host, deadline_seconds) as crowd:
        crowd.do("tickets", number=sessions)
        crowd.do("connect", number=sessions)
        crowd.do("say", count=records)
        crowd.do("cut")
        crowd.do("tickets", number=sessions)
        answer = crowd.do("resume", behind=records)
    details = {name: answer.said[name] for name in ("p50 ms", "p99 ms")} | {
        "records/CPU-s": sessions * records / answer.server_cpu_seconds,
        LOAD_PERCENT: answer.load_percent,
    }
    return Sample(sessions, answer.seconds, answer.server_cpu_seconds, answer.said["max ms"], details)
