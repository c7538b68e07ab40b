"""Deterministic simulation: the whole node and its clients, in virtual time, under faults that a seed draws.

General layout, bottom up:

    schedule, trace     one seed gives one run; what happened in it
    network, disk       connections and a journal that go wrong
    agents, publisher   who says something: in runs, and over HTTP
    device              who listens; like the former it notes what it knows
    plan, world         what is drawn from the seed; the run itself
    judge               the laws, from the outside

Everything between the client's bytes and the journal's port is the product: HTTP, tickets, WebSocket, protocol, board,
actors. Only sockets, threads, the clock and the disk are simulated.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from .disk import Disk
from .plan import draw_plan
from .schedule import Spinning, run_seeded
from .trace import Trace
from .world import World

__all__ = ["Disk", "Outcome", "simulate"]


@attrs.frozen
class Outcome:
    """One simulated run.

    Attributes:
        seed: what it was drawn from.
        wrong: the laws that did not hold, in words.
        events: how many things were written down.
        digest: equal for equal runs.
        trace: the newest lines, or all.
        records: how many records the run ended with.
        lives: how many nodes it took.
    """

    seed: int
    wrong: tuple[str, ...]
    events: int
    digest: str
    trace: tuple[str, ...]
    records: int
    lives: int


def simulate(seed: int, *, keep: int | None = 100, make_disk: Callable[..., Disk] = Disk) -> Outcome:
    """Run one seed.

    Args:
        seed: any integer.
        keep: how many lines of the trace to keep; None for all.
        make_disk: a test may give a disk with a bug in it.
    """
    rng = random.Random(seed)
    trace = Trace(keep=keep)
    world = World(draw_plan(rng), rng, trace, make_disk)
    try:
        wrong = run_seeded(seed, world.run)
    except Spinning as error:
        wrong = [*world.witness.wrong, *(wrong for device in world.devices for wrong in device.wrong), str(error)]
    return Outcome(
        seed,
        tuple(dict.fromkeys(wrong)),
        trace.events,
        trace.digest(),
        tuple(trace.lines),
        sum(stream.head for stream in world.disk.streams.values()),
        world._nodes,
    )
