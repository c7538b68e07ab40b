"""``python -m benchmarks delivery``: the trials of the scenario about delivery."""

from __future__ import annotations

from collections.abc import Callable

import rich_click as click

from ..options import Settings, common, run
from ..samples import Sample
from ..trials import Case, Scenario, Trial
from .measure import measure
from .peer import Task
from .servers import SERVERS, Server

__all__ = ["command"]

# Events of one measurement, over all clients: most of a second of the server's CPU for the quicker ones.
EVENTS = {1: 100_000, 8: 400_000, 64: 640_000}
MANY = 200_000
QUICK_EVENTS = 1_000
# Who takes 50 µs for an event does less of the same.
SHARES = {"python-socketio": 0.1, "trio-websocket": 0.3}


@click.command("delivery")
@click.option(
    "--clients", type=click.IntRange(1, 10_000), multiple=True, help="How many; repeated.  [default: 100, 1000]"
)
@click.option("--burst", "bursts", type=click.IntRange(1), multiple=True, help="Repeated.  [default: 1, 8, 64]")
@click.option("--server", "names", type=click.Choice(list(SERVERS)), multiple=True, help="Only these; repeated.")
@common
def command(settings: Settings, clients: tuple[int, ...], bursts: tuple[int, ...], names: tuple[str, ...]) -> None:
    """Measure events delivered per second of the server's CPU, through callboard's whole node and by its peers.

    Every server says the same number of events of the same bytes to each of its clients, `burst` of them before it lets
    the next client have its turn. Clients are real, in another process on another core, and check that each event is
    their own, and that all come in order. What callboard does besides is told in benchmarks/README.md.
    """
    seen = run(
        Scenario(
            "delivery",
            "Delivery: events to WebSocket clients",
            trials(settings, clients or (100, 1_000), bursts or (1, 8, 64), names or tuple(SERVERS)),
        ),
        settings,
    )
    for result in seen.results:
        share = result.sample.details["load CPU %"]
        if share > 90 and not settings.quick:
            where = f"{result.trial.case.name}, {result.trial.contender.name}, round {result.round + 1}"
            click.echo(
                f"{where}: the load generator took {share:.0f} % of its core; the server may have waited", err=True
            )


def trials(
    settings: Settings, clients: tuple[int, ...], bursts: tuple[int, ...], names: tuple[str, ...]
) -> list[Trial]:
    """All servers at each case."""
    return [
        _trial(settings, Task(_events(settings, name, number, burst), number, burst), SERVERS[name])
        for number in clients
        for burst in bursts
        for name in names
    ]


def _events(settings: Settings, name: str, clients: int, burst: int) -> int:
    if settings.quick:
        return burst * max(1, QUICK_EVENTS // (clients * burst))
    wanted = EVENTS.get(burst, MANY) * SHARES.get(name, 1)
    return burst * max(1, round(wanted / (clients * burst)))


def _trial(settings: Settings, task: Task, server: Server) -> Trial:
    meaning = f"{task.burst} at a time to each of {task.clients:,} clients in turn"
    case = Case(f"{task.clients:,} clients, burst {task.burst}", "events", meaning)
    notes: dict[str, str | int | float] = {
        "clients": task.clients,
        "burst": task.burst,
        "events_each": task.events,
        "gc": "tuned",
    }
    return Trial(case, server.contender, _measure(settings, task, server), notes)


def _measure(settings: Settings, task: Task, server: Server) -> Callable[[], Sample]:
    return lambda: measure(server, task, settings.deadline_seconds)
