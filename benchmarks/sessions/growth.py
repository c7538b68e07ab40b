"""``python -m benchmarks growth``: what an event costs when there are more clients, or more sessions that are idle."""

from __future__ import annotations

import statistics
import sys
from functools import partial

import rich_click as click

from ..contenders import CALLBOARD
from ..delivery.measure import measure
from ..delivery.peer import Task
from ..delivery.servers import SERVERS, Server
from ..options import Settings, common, run
from ..samples import Sample
from ..trials import Case, Contender, Scenario, Trial
from .measure import enough
from .verdict import medians, say_target, warn_of_load

__all__ = ["command"]

CLIENTS = (100, 1_000, 4_000)
EVENTS = 200_000
TARGET = 0.95


@click.command("growth")
@click.option("--burst", type=click.IntRange(1), default=8, show_default=True, help="Events between two pauses.")
@click.option("--passive", type=click.IntRange(1), default=100_000, show_default=True, help="Idle sessions.")
@common
def command(settings: Settings, burst: int, passive: int) -> None:
    """Measure events per CPU-second at 100, 1,000 and 4,000 clients, and at 100 beside 100,000 idle sessions.

    The load is that of `delivery`. What an event costs should not grow with the clients, nor with sessions that are in
    the registry and have nothing to do.
    """
    counts = (5, 10) if settings.quick else tuple(enough(number, 0) for number in CLIENTS)
    passive = 20 if settings.quick else passive
    deadline = settings.deadline_seconds
    crowded = Server(
        Contender(f"beside {passive:,} idle sessions", "the same node", CALLBOARD.version),
        lambda _: (sys.executable, "-m", "benchmarks.sessions.beside", str(passive)),
        "callboard",
    )
    pairs = [(number, SERVERS["callboard"]) for number in counts] + [(counts[0], crowded)]
    trials = [_trial(number, burst, server, settings.quick, deadline) for number, server in sorted(pairs, key=_clients)]
    seen = run(Scenario("growth", "Growth: events per CPU-second", trials), settings)
    warn_of_load(seen)
    few = statistics.median(medians(seen, _name(counts[0])) or [0.0])
    for number in counts[1:]:
        for value in medians(seen, _name(number))[:1]:
            if few and not settings.quick:
                share = statistics.median(medians(seen, _name(number))) / few
                click.echo(
                    f"{number:,} clients: {share:.0%} of the events per CPU-second at {counts[0]} ({value:,.0f})"
                )
    beside = medians(seen, _name(counts[0]), crowded.contender.name)
    if few:
        what = f"beside {passive:,} idle sessions"
        say_target(seen, what, [value / few for value in beside], TARGET, at_most=False, unit=" times")


def _clients(pair: tuple[int, Server]) -> int:
    return pair[0]


def _name(clients: int) -> str:
    return f"{clients:,} clients"


def _trial(clients: int, burst: int, server: Server, quick: bool, deadline_seconds: float) -> Trial:
    events = burst * max(1, (1_000 if quick else EVENTS) // (clients * burst))
    task = Task(events, clients, burst)
    case = Case(_name(clients), "events", f"{burst} at a time to each in turn")
    return Trial(case, server.contender, partial(_measure, server, task, deadline_seconds), {"burst": burst})


def _measure(server: Server, task: Task, deadline_seconds: float) -> Sample:
    return measure(server, task, deadline_seconds)
