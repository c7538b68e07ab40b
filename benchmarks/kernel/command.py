"""``python -m benchmarks kernel``: the trials of the kernel's scenario."""

from __future__ import annotations

from functools import partial

import rich_click as click

from .. import erlang
from ..contenders import ASYNCIO, CALLBOARD, PYKKA, TRIO
from ..options import Settings, common, run
from ..trials import Case, Contender, Scenario, Trial
from ..worker import measure_in_process

__all__ = ["command"]

MODULES = {
    CALLBOARD: "benchmarks.kernel.on_callboard",
    PYKKA: "benchmarks.kernel.on_pykka",
    TRIO: "benchmarks.kernel.on_trio",
    ASYNCIO: "benchmarks.kernel.on_asyncio",
}

CASES = {
    "tell": (Case("tell", "messages", "999 tells and an ask, again and again, to one actor"), 500_000),
    "tell_context": (Case("tell, context", "messages", "as tell, with a context variable set"), 500_000),
    "tell_100": (Case("tell 100", "messages", "the same to 100 actors in turn"), 500_000),
    "ask": (Case("ask", "asks", "one after the other"), 50_000),
    "ring": (Case("ring", "hops", "one message round 503 actors"), 200_000),
    "fan_out": (Case("fan-out", "messages", "one actor to 100 others and back"), 200_000),
    "spawn_stop": (Case("spawn, stop", "actors", "100 actors started, then stopped"), 10_000),
    "memory": (Case("memory", "KiB/actor", "of an idle actor", rate=False, less_is_better=True), 20_000),
}

# A second is long enough for a rate; where a contender is slower by an order, it does so much less of the same.
SHARES = {
    ("ring", PYKKA): 0.5,
    ("spawn_stop", PYKKA): 0.5,
    ("memory", PYKKA): 0.05,  # a thread each; more of them meet the machine's limits
}
QUICK = 0.01


@click.command("kernel")
@click.option("--case", "names", type=click.Choice(list(CASES)), multiple=True, help="Only these; may be repeated.")
@common
def command(settings: Settings, names: tuple[str, ...]) -> None:
    """Measure messages, starts and stops, and memory of actors, beside pykka, trio, asyncio and Erlang.

    Every contender does the same work with the same acknowledgements, in a fresh process of the same interpreter, and
    what waits in a queue has to be handled before the clock stops.
    """
    run(Scenario("kernel", "The kernel: messages between actors", trials(settings, names)), settings)


def trials(settings: Settings, names: tuple[str, ...] = ()) -> list[Trial]:
    """All contenders of each case, those in Python under each setting of the collector."""
    found = []
    for name in names or CASES:
        for collector in settings.collectors:
            found += [_trial(settings, name, contender, module, collector) for contender, module in MODULES.items()]
        if name == "tell_context":
            continue  # Erlang has no such thing
        case, size = CASES[name]
        size = int(size * QUICK) if settings.quick else size * (erlang.TIMES if case.rate else 1)
        measure = partial(erlang.measure, name, size, settings.deadline_seconds)
        # It has no such collector, and stands with the first setting.
        if settings.collectors[0] != "default":
            case = case.variant(f"gc {settings.collectors[0]}")
        found.append(Trial(case, erlang.ERLANG, measure, {"size": size}))
    return found


def _trial(settings: Settings, name: str, contender: Contender, module: str, collector: str) -> Trial:
    case, size = CASES[name]
    size = max(int(size * SHARES.get((name, contender), 1) * (QUICK if settings.quick else 1)), 1)
    if collector != "default":
        case = case.variant(f"gc {collector}")
    measure = partial(measure_in_process, module, name, size, collector, settings.deadline_seconds)
    return Trial(case, contender, measure, {"size": size, "gc": collector})
