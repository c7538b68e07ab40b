"""``python -m benchmarks tokens``: how late a piece of an answer comes, from its agent to where it is applied."""

from __future__ import annotations

from functools import partial

import rich_click as click

from ..options import Settings, common, run
from ..report import summaries
from ..samples import Sample
from ..trials import Case, Scenario, Trial
from .measure import BARE, OURS_IN_MEMORY, OURS_ON_DISK, Answer, Crowd, Host, enough, serving
from .verdict import LOAD_PERCENT, medians, say_target, warn_of_load

__all__ = ["command", "saturating"]

# A rate is borne if those events that come last come no later than this, half of them: no queue grows.
BORNE_MS = 100.0
STEP = 1.5
# Events a second of all sessions where the search begins, and of one session where it ends.
FIRST = 8_000
MOST = 500
TARGET_MS = 5.0
TARGET_TIMES = 1.5


@click.command("tokens")
@click.option("--sessions", type=click.IntRange(1), default=1_000, show_default=True, help="How many listen.")
@click.option("--rate", type=click.FloatRange(1), default=30.0, show_default=True, help="Deltas a second for each.")
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="How long.")
@common
def command(settings: Settings, sessions: int, rate: float, seconds: float) -> None:
    """Measure the time from `emit` to the client, in an open loop.

    When each delta is to be said is fixed beforehand, and its time counts from that moment, however late the agent came
    to it. At the rate given; and at half of the highest rate that each server bears, found by a search, where
    trio-websocket stands beside: its own half, a task and a `send_message` for each connection.
    """
    sessions, rate, seconds = (10, 20.0, 0.5) if settings.quick else (enough(sessions, 0), rate, seconds)
    fixed = Case(f"{sessions:,} at {rate:g}/s", "ms, p99", "an open loop", rate=False, less_is_better=True)
    half = Case("half of what is borne", "ms, p99", "the same", rate=False, less_is_better=True)
    deadline = settings.deadline_seconds
    trials = [
        Trial(fixed, host.contender, partial(measure, host, sessions, rate, seconds, deadline))
        for host in (OURS_IN_MEMORY, OURS_ON_DISK)
    ] + [
        Trial(half, host.contender, partial(measure, host, sessions, None, seconds, deadline))
        for host in (OURS_IN_MEMORY, BARE)
    ]
    seen = run(Scenario("tokens", f"Tokens: from `emit` to {sessions:,} clients", trials), settings)
    warn_of_load(seen)
    say_target(seen, f"p99 at {rate:g}/s", medians(seen, fixed.name), TARGET_MS, unit=" ms")
    for summary in summaries(seen):
        if summary.trial.contender is BARE.contender:
            worse = [1 / ratio for ratio in summary.ratios]
            say_target(seen, "p99 at half beside trio-websocket at its half", worse, TARGET_TIMES, unit=" times")
            say_target(seen, "p99 at half", medians(seen, half.name), TARGET_MS, unit=" ms")


def measure(host: Host, sessions: int, rate: float | None, seconds: float, deadline_seconds: float) -> Sample:
    """At a rate, or without one at half of what is borne."""
    with serving(host, deadline_seconds) as crowd:
        crowd.do("tickets", number=sessions)
        crowd.do("connect", number=sessions)
        _pace(crowd, rate or 1.0, min(seconds, 1.0))  # whatever is made once is made
        if rate is None:
            rate = saturating(crowd, sessions, min(seconds, 2.0)) / 2
        answer = _pace(crowd, rate, seconds)
    said = answer.said
    details = {name: said[name] for name in ("p50 ms", "p99.9 ms", "max ms")} | {
        "events/s": rate * sessions,
        "server CPU %": 100 * answer.server_cpu_seconds / answer.seconds,
        LOAD_PERCENT: answer.load_percent,
    }
    return Sample(int(said["events"]), answer.seconds, answer.server_cpu_seconds, said["p99 ms"], details)


def _pace(crowd: Crowd, rate: float, seconds: float) -> Answer:
    return crowd.do("pace", rate=rate, count=max(1, round(rate * seconds)))


def saturating(crowd: Crowd, sessions: int, seconds: float) -> float:
    """The highest rate a session that is borne: up by steps until one is not, then closer to it three times.

    With few sessions it may not be found: above `MOST` a second each a session has no rhythm any more.
    """

    def borne(rate: float) -> bool:
        return _pace(crowd, rate, seconds).said["late ms"] < BORNE_MS

    low, high = 0.0, FIRST / sessions
    while high <= MOST and borne(high):
        low, high = high, high * STEP
    if not low:
        low = high / STEP
        while not borne(low):
            low, high = low / STEP, low
    for _ in range(3):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if borne(middle) else (low, middle)
    return low
