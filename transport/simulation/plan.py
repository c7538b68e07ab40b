"""What is drawn from the seed before a simulated run begins: how large it is, and what kinds of misfortune it knows."""

from __future__ import annotations

import random

import attrs

from ...actors import Limits
from .agents import WORDS

__all__ = ["Plan", "draw_plan"]


@attrs.frozen(kw_only=True)
class Plan:
    """One run.

    Attributes:
        users: their names.
        sessions: the names of each user's sessions.
        devices: devices per session.
        seconds: how long it goes on before it comes to rest, in virtual seconds.
        steps: how many things happen in that time.
        words: what agents may be told to do.
        weights: how often each kind of step is drawn; 0 for never.
        power_safe: durability ``power`` instead of ``process``.
        retained: records kept of one session.
        disk_seconds: how long one operation of the disk takes at the most.
        wire_seconds: how long a piece of data takes at the most.
        limits: the node's.
    """

    users: tuple[str, ...]
    sessions: tuple[str, ...]
    devices: int
    seconds: float
    steps: int
    words: tuple[str, ...]
    weights: dict[str, int]
    power_safe: bool
    retained: int
    disk_seconds: float
    wire_seconds: float
    limits: Limits


EVERYDAY = {"say": 10, "volley": 2, "count": 3, "publish": 2, "post": 3, "cancel": 3, "repeat": 2}
MISCHIEF = {"lie": 1, "babble": 1, "dream": 1, "stop reading": 2}
NETWORK = {"cut": 3, "away": 2, "cut in a frame": 3, "stall": 2}
ACTORS = {
    "kill agent": 2,
    "kill session": 2,
    "crash session": 2,
    "crash at a newcomer": 2,
    "kill registry": 1,
    "kill sessions": 1,
}
DISK = {"disk": 4}
NODE = {"kill node": 2, "deploy": 1}
POWER = {"power": 1}


def draw_plan(rng: random.Random) -> Plan:
    """A plan. Each kind of misfortune is left out of some runs: a bug may hide behind another."""
    weights = dict(EVERYDAY)
    for kind, share in ((MISCHIEF, 0.6), (NETWORK, 0.7), (ACTORS, 0.6), (DISK, 0.5), (NODE, 0.6), (POWER, 0.35)):
        if rng.random() < share:
            weights |= kind
    retained = rng.choice((12, 1_000_000, 1_000_000))
    words = WORDS if rng.random() < 0.7 else tuple(rng.sample(sorted(set(WORDS)), 5))
    return Plan(
        users=("ada", "bob")[: rng.randint(1, 2)],
        sessions=("main", "zoo")[: rng.randint(1, 2)],
        devices=rng.randint(1, 3),
        seconds=rng.choice((5.0, 30.0, 120.0)),
        steps=rng.randint(10, 60),
        words=words,
        weights=weights,
        power_safe=rng.random() < 0.5,
        retained=retained,
        disk_seconds=rng.choice((0.0, 0.005, 0.5)),
        wire_seconds=rng.choice((0.0, 0.01, 0.3)),
        limits=Limits(
            retained_records=retained,
            runs=rng.choice((2, 4)),
            run_seconds=20.0,
            window_bytes=rng.choice((300, 262_144)),
            undurable_bytes=rng.choice((4_000, 2_097_152)),
            tail_records=rng.choice((3, 1_024)),
            tail_bytes=rng.choice((600, 1_048_576)),
            batch_bytes=rng.choice((500, 65_536)),
            commands_per_s=1_000.0,
            burst=1_000,
            store_seconds=4.0,
            idle_seconds=rng.choice((2.0, 60.0)),
            quarantine_seconds=5.0,
            heartbeat_seconds=5.0,
            timeout_seconds=3.0,
            write_seconds=8.0,
            ticket_seconds=20.0,
            drain_seconds=3.0,
        ),
    )
