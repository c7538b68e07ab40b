"""``python -m benchmarks savina``: nine programs of the Savina suite."""

from __future__ import annotations

from functools import partial

import rich_click as click

from .. import erlang
from ..contenders import CALLBOARD, PYKKA, TRIO
from ..options import Settings, common, run
from ..trials import Case, Scenario, Trial
from ..worker import measure_in_process

__all__ = ["PUBLISHED", "command", "trials"]

MODULES = {
    CALLBOARD: "benchmarks.savina.on_callboard",
    PYKKA: "benchmarks.savina.on_pykka",
    TRIO: "benchmarks.savina.on_trio",
}

PUBLISHED = {
    "thr": (Case("thr", "passes", "thread ring: one message round 100 actors"), 100_000),
    "fjcreate": (Case("fjcreate", "actors", "fork-join: actors of one message"), 40_000),
    "fjthrput": (Case("fjthrput", "messages", "fork-join: messages to each of 60 actors"), 10_000),
    "count": (Case("count", "messages", "one actor counts another's messages"), 1_000_000),
    "pingpong": (Case("pingpong", "messages", "two actors; pings"), 40_000),
    "big": (Case("big", "messages", "120 actors, pings of each at random"), 20_000),
    "concdict": (Case("concdict", "messages", "20 workers and a dictionary; requests of each"), 10_000),
    "bndbuffer": (Case("bndbuffer", "items", "40 producers and 40 consumers; items of each"), 1_000),
    "banking": (Case("banking", "transactions", "1,000 accounts that wait for one another"), 50_000),
}
"""Each program, and its published size: the parameter that is scaled."""

# What the slowest contender, a thread an actor, does within some seconds; the same for all, and in the JSON lines.
SCALE = {"fjcreate": 0.1, "fjthrput": 0.5, "big": 0.02, "concdict": 0.2, "bndbuffer": 0.5, "banking": 0.2}
QUICK = 0.005


@click.command("savina")
@click.option("--case", "names", type=click.Choice(list(PUBLISHED)), multiple=True, help="Only these; may be repeated.")
@click.option("--published", is_flag=True, help="The published sizes, none scaled down: minutes for each thread ring.")
@common
def command(settings: Settings, names: tuple[str, ...], published: bool) -> None:
    """Run nine programs of the Savina actor benchmarks, beside pykka, trio and Erlang.

    Sizes are the published ones, some of them scaled down for all contenders alike; Erlang does everything ten times.
    """
    found = trials(settings, names, published=published)
    run(Scenario("savina", "Nine programs of the Savina suite", found), settings)


def trials(settings: Settings, names: tuple[str, ...] = (), *, published: bool = False) -> list[Trial]:
    """All contenders of each program."""
    found = []
    for name in names or PUBLISHED:
        case, size = PUBLISHED[name]
        size = max(int(size * (1 if published else SCALE.get(name, 1)) * (QUICK if settings.quick else 1)), 1)
        variants = [case if each == "default" else case.variant(f"gc {each}") for each in settings.collectors]
        for collector, variant in zip(settings.collectors, variants, strict=True):
            for contender, module in MODULES.items():
                measure = partial(measure_in_process, module, f"run:{name}", size, collector, settings.deadline_seconds)
                found.append(Trial(variant, contender, measure, {"size": size, "gc": collector}))
        times = 1 if settings.quick else erlang.TIMES
        measure = partial(erlang.measure, name, size * times, settings.deadline_seconds)
        found.append(Trial(variants[0], erlang.ERLANG, measure, {"size": size * times}))
    return found
