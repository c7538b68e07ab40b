"""What a supervisor decides, as pure functions; `family.py` carries the plan out.

The rules are OTP's: a child's `restart` says whether its end is repaired at all, `intensity` in `period_seconds` says
how often, in a sliding window, before the supervisor gives up. With ``Strategy.ONE_FOR_ONE`` the window is the
supervisor's and giving up ends the supervisor itself; with ``Strategy.DYNAMIC`` each child has a window of its own and
giving up ends that child only, so that one broken session never takes another with it (law A7).

A stop is an order and no end to be repaired: nobody is asked about it here. So a callboard actor ends abnormally or by
order, and `PERMANENT` and `TRANSIENT` part only for children that can end by themselves, as a thread or a process can.

This file knows no clock, no actor and no message.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import attrs
import pykka

__all__ = ["ChildSpec", "ExitKind", "Plan", "Restart", "Strategy", "Supervision", "decide"]


class Restart(enum.Enum):
    """When the end of a child is repaired."""

    PERMANENT = "permanent"
    """After any end that nobody ordered."""
    TRANSIENT = "transient"
    """Only after an abnormal end: an exception or a kill."""
    TEMPORARY = "temporary"
    """Never."""


class Strategy(enum.Enum):
    """Whom the failure of one child concerns."""

    ONE_FOR_ONE = "one_for_one"
    """The child alone is restarted; one window for all children; giving up ends the supervisor."""
    DYNAMIC = "dynamic"
    """The child alone is restarted; a window per child; giving up ends that child alone."""


class ExitKind(enum.Enum):
    """How a child ended."""

    NORMAL = "normal"
    """It came to its end by itself, in good order."""
    ABNORMAL = "abnormal"
    """An exception left a handler, or it was killed."""


@attrs.frozen
class Supervision:
    """How an actor supervises its children.

    `intensity` restarts within `period_seconds` are tolerated, one more is giving up. The default is 3 in 5 seconds:
    OTP's default of 1 in 5 gives up on two users who hit one bug at the same time.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = attrs.field(default=3, validator=attrs.validators.ge(0))
    period_seconds: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))


@attrs.frozen
class ChildSpec:
    """What a supervisor has to know to start a child, and to start it again.

    `factory` makes a fresh actor each time. `stop_seconds` is how long an ordered stop may take before the child is
    cancelled; 5 seconds is OTP's default for workers.
    """

    id: str = attrs.field(validator=attrs.validators.min_len(1))
    factory: Callable[[], pykka.Actor]
    restart: Restart = Restart.PERMANENT
    stop_seconds: float = attrs.field(default=5.0, validator=attrs.validators.ge(0))


@attrs.frozen
class Plan:
    """What is to be done about the end of one child.

    Exactly one of these holds: `restart` (start it again), `give_up` (too many restarts), or neither (forget it).
    `history` is the window of restart times to remember from now on.
    """

    restart: bool
    give_up: bool
    history: tuple[float, ...]


def decide(
    supervision: Supervision, restart: Restart, exit_kind: ExitKind, history: Sequence[float], now: float
) -> Plan:
    """Decide about the end of a child.

    Args:
        supervision: the supervisor's policy.
        restart: the child's own rule.
        exit_kind: how it ended.
        history: times of earlier restarts in the window that counts for this child, oldest first, in seconds.
        now: the time of the end, in the same seconds.
    """
    recent = tuple(at for at in history if now - at < supervision.period_seconds)
    wanted = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and exit_kind is ExitKind.ABNORMAL)
    if not wanted:
        return Plan(restart=False, give_up=False, history=recent)
    if len(recent) >= supervision.intensity:
        return Plan(restart=False, give_up=True, history=recent)
    return Plan(restart=True, give_up=False, history=(*recent, now))
