"""``python -m benchmarks idle``: what a crowd costs that is connected and says nothing."""

from __future__ import annotations

from functools import partial

import rich_click as click

from ..launch import memory_of, wakeups
from ..options import Settings, common, run
from ..samples import Sample
from ..trials import Case, Scenario, Trial
from .measure import BARE, OURS_IN_MEMORY, OURS_ON_DISK, Host, app_option, enough, served, serving
from .verdict import LOAD_PERCENT, medians, say_target, warn_of_load

__all__ = ["command"]

CASE = Case(
    "idle", "KiB a session", "resident memory that each connected session adds", rate=False, less_is_better=True
)
# Connected first, and not counted: what the first connections make is there once.
WARM = 100
TARGET_KIB = 26


@click.command("idle")
@click.option("--sessions", type=click.IntRange(1), default=10_000, show_default=True, help="How many connect.")
@click.option(
    "--rest", "seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="How long they idle."
)
@app_option
@common
def command(settings: Settings, sessions: int, seconds: float, app: str | None) -> None:
    """Measure memory, CPU and wake-ups of sessions that are connected and idle.

    Memory is what the kernel counts for the server's process, everything included, before and after all have
    connected. While they idle, each is pinged and answers, every 25 s at callboard. The peer has connections only.
    """
    sessions, seconds = (50, 1.0) if settings.quick else (enough(sessions, WARM), seconds)
    hosts = [OURS_IN_MEMORY, OURS_ON_DISK, BARE] if app is None else [served(app)]
    trials = [
        Trial(CASE, host.contender, partial(measure, host, sessions, seconds, settings.deadline_seconds))
        for host in hosts
    ]
    seen = run(Scenario("idle", f"Idle: {sessions:,} connected sessions", trials), settings)
    warn_of_load(seen)
    say_target(seen, "a connected idle session", medians(seen, CASE.name), TARGET_KIB, unit=" KiB")


def measure(host: Host, sessions: int, seconds: float, deadline_seconds: float) -> Sample:
    """Connect them and let them be."""
    with serving(host, deadline_seconds) as crowd:
        crowd.do("tickets", number=WARM)
        crowd.do("connect", number=WARM)
        crowd.do("tickets", first=WARM, number=sessions)
        before = memory_of(crowd.server_pid)
        crowd.do("connect", first=WARM, number=sessions)
        crowd.do("rest", seconds=1)
        after, woken = memory_of(crowd.server_pid), wakeups(crowd.server_pid)
        rested = crowd.do("rest", seconds=seconds)
        woken = wakeups(crowd.server_pid) - woken
    details = {
        "PSS KiB": (after.pss - before.pss) / sessions,
        "wake-ups/s": woken / rested.seconds,
        "CPU %": 100 * rested.server_cpu_seconds / rested.seconds,
        LOAD_PERCENT: rested.load_percent,
    }
    value = (after.rss - before.rss) / sessions
    return Sample(sessions, rested.seconds, rested.server_cpu_seconds, value, details)
