"""``python -m benchmarks storm``: everybody connects at once."""

from __future__ import annotations

from functools import partial

import rich_click as click

from ..options import Settings, common, run
from ..report import summaries
from ..samples import Sample
from ..trials import Case, Scenario, Trial
from .measure import BARE, OURS_IN_MEMORY, OURS_ON_DISK, Answer, Host, app_option, enough, served, serving
from .verdict import LOAD_PERCENT, say_target, warn_of_load

__all__ = ["command"]

CONNECTS = Case("connect", "connects", "from the TCP connection to `welcome`; of the peer to the end of the handshake")
TICKETS = Case("tickets", "tickets", "one POST each on a connection that stays, before anybody connects")
TARGET = 0.7


@click.command("storm")
@click.option("--sessions", type=click.IntRange(1), default=10_000, show_default=True, help="How many connect.")
@app_option
@common
def command(settings: Settings, sessions: int, app: str | None) -> None:
    """Measure connects: upgrade, hello with a ticket, the session's start, `welcome`.

    128 are being connected at any moment. Each has a session of its own, new to the node. The issue of their tickets is
    a case of its own. The peer is trio-websocket's bare handshake, with its collector tuned as callboard's is.
    """
    sessions = 50 if settings.quick else enough(sessions, 0)
    hosts = [OURS_IN_MEMORY, OURS_ON_DISK, BARE] if app is None else [served(app)]
    trials = [
        Trial(CONNECTS, host.contender, partial(measure, "connect", host, sessions, settings.deadline_seconds))
        for host in hosts
    ] + [
        Trial(TICKETS, host.contender, partial(measure, "tickets", host, sessions, settings.deadline_seconds))
        for host in hosts[:1]
    ]
    seen = run(Scenario("storm", f"Storm: {sessions:,} connects", trials), settings)
    warn_of_load(seen)
    for summary in summaries(seen):
        if summary.trial.contender is BARE.contender:
            say_target(seen, "connects beside bare ones", list(summary.ratios), TARGET, at_most=False, unit=" times")


def measure(order: str, host: Host, sessions: int, deadline_seconds: float) -> Sample:
    """Get all tickets, then connect all."""
    with serving(host, deadline_seconds) as crowd:
        issued = crowd.do("tickets", number=sessions)
        if order == "tickets":
            return _sample(sessions, issued)
        return _sample(sessions, crowd.do("connect", number=sessions))


def _sample(count: int, answer: Answer) -> Sample:
    details = {"a second": count / answer.seconds}
    details |= {name: answer.said[name] for name in ("p50 ms", "p99 ms") if name in answer.said}
    return Sample(count, answer.seconds, answer.server_cpu_seconds, None, details | {LOAD_PERCENT: answer.load_percent})
