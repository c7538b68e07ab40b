"""What a supervisor decides, as pure functions; `family.py` carries the plan out.

The rules are OTP's: a child's `restart` says whether its end is repaired at all, `strategy` which siblings are
restarted with it, `intensity` in `period_seconds` how often, in a sliding window, before the supervisor gives up. The
window is the supervisor's and giving up ends the supervisor itself; but with ``Strategy.DYNAMIC`` each child has a
window of its own and giving up ends that child only, so that one broken session never takes another with it (law A7).
Back-off is Akka's idea, OTP has none: `Backoff` says how long a restart waits.

A stop is an order and no end to be repaired: nobody is asked about it here. So a callboard actor ends abnormally or by
order, and `PERMANENT` and `TRANSIENT` part only for children that can end by themselves, as a thread or a process can.

This file knows no clock, no chance, no actor and no message.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence

import attrs
import pykka

__all__ = ["Backoff", "ChildSpec", "Exit", "ExitKind", "Plan", "Restart", "Strategy", "Supervision", "decide"]


class Restart(enum.Enum):
    """When the end of a child is repaired."""

    PERMANENT = "permanent"
    """After any end that nobody ordered."""
    TRANSIENT = "transient"
    """Only after an abnormal end: an exception or a kill."""
    TEMPORARY = "temporary"
    """Never; with a sibling's restart it is stopped for good."""


class Strategy(enum.Enum):
    """Whom the failure of one child concerns."""

    ONE_FOR_ONE = "one_for_one"
    """The child alone is restarted; one window for all children; giving up ends the supervisor."""
    ONE_FOR_ALL = "one_for_all"
    """All siblings stop, the youngest first, and all are started again in order; one window."""
    REST_FOR_ONE = "rest_for_one"
    """As `ONE_FOR_ALL`, but only for the child and those started after it."""
    DYNAMIC = "dynamic"
    """The child alone is restarted; a window per child; giving up ends that child alone."""

    @property
    def together(self) -> bool:
        """Whether siblings are restarted too."""
        return self is Strategy.ONE_FOR_ALL or self is Strategy.REST_FOR_ONE


class ExitKind(enum.Enum):
    """How a child ended."""

    NORMAL = "normal"
    """It came to its end by itself, in good order."""
    ABNORMAL = "abnormal"
    """An exception left a handler, or it was killed."""


@attrs.frozen
class Backoff:
    """How long a restart waits.

    `first_seconds` at first, `factor` times as long after each further failure, `cap_seconds` at most. It begins anew
    once the child has run for the supervision's `period_seconds` without failing. `jitter` is the share of the delay
    that is left to chance, so that children which failed together do not come back together: with 0 there is none,
    with 1 a delay is anything down to nothing.

    The intensity counts all the same. Delays that outgrow the window never exhaust it: such a child is tried for ever.
    """

    first_seconds: float = attrs.field(default=0.1, validator=attrs.validators.gt(0))
    factor: float = attrs.field(default=2.0, validator=attrs.validators.ge(1))
    cap_seconds: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    jitter: float = attrs.field(default=0.2, validator=[attrs.validators.ge(0), attrs.validators.le(1)])

    def delay_seconds(self, failures: int, chance: float) -> float:
        """The delay after `failures` earlier ones in a row; `chance` is from 0 to 1."""
        try:
            grown = self.first_seconds * self.factor**failures
        except OverflowError:
            grown = self.cap_seconds
        return min(grown, self.cap_seconds) * (1 - self.jitter * chance)


@attrs.frozen
class Supervision:
    """How an actor supervises its children.

    `intensity` restarts within `period_seconds` are tolerated, one more is giving up. The default is 3 in 5 seconds:
    OTP's default of 1 in 5 gives up on two users who hit one bug at the same time. Without `backoff` a restart follows
    at once, as in OTP.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = attrs.field(default=3, validator=attrs.validators.ge(0))
    period_seconds: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    backoff: Backoff | None = None


@attrs.frozen
class ChildSpec:
    """What a supervisor has to know to start a child, and to start it again.

    `factory` makes a fresh actor each time. `stop_seconds` is how long an ordered stop may take before the child is
    cancelled; 5 seconds is OTP's default for workers.
    """

    id: str
    factory: Callable[[], pykka.Actor]
    restart: Restart = Restart.PERMANENT
    stop_seconds: float = 5.0

    def __attrs_post_init__(self) -> None:
        # attrs' own validators take half a microsecond more, of ten that a short life takes.
        if not self.id:
            raise ValueError("the id of a child is empty; it must have at least one character")
        if not self.stop_seconds >= 0:
            raise ValueError(f"stop_seconds of {self.id!r} is {self.stop_seconds!r}; it must be >= 0")


@attrs.frozen
class Exit:
    """The end of a child: which one, how, and how it had fared."""

    id: str
    kind: ExitKind
    failures: int = 0
    """How often it had failed in a row before."""
    ran_seconds: float = 0.0
    """How long it had run since its last start; 0 if that start itself failed."""
    echo: bool = False
    """It failed with the exception of a sibling that it had asked, and that failure has been counted."""


@attrs.frozen
class Plan:
    """What is to be done about the end of one child.

    It is started again (`restart`), or too many restarts have been (`give_up`), or neither: then it is forgotten.
    """

    give_up: bool
    history: tuple[float, ...]
    """The window of restart times to remember from now on."""
    stop: tuple[str, ...] = ()
    """Siblings to stop before, in this order: the youngest first."""
    start: tuple[str, ...] = ()
    """Whom to start again, in this order; the one that ended is among them."""
    delay_seconds: float = 0.0
    """How long to wait with it, counted from the end of the child."""
    failures: int = 0
    """How often the child has failed in a row by now."""

    @property
    def restart(self) -> bool:
        """Whether the child is started again."""
        return bool(self.start)


def decide(
    supervision: Supervision,
    children: Mapping[str, Restart],
    exit: Exit,
    history: Sequence[float],
    now: float,
    chance: float = 0.0,
) -> Plan:
    """Decide about the end of a child.

    Args:
        supervision: the supervisor's policy.
        children: the children and their own rules in order of start, the one that ended included. Where nobody is
            restarted together, its siblings may be left out.
        exit: the end.
        history: times of earlier restarts in the window that counts for this child, oldest first, in seconds.
        now: the time of the end, in the same seconds.
        chance: a random number from 0 to 1, for the jitter.
    """
    recent = tuple(at for at in history if now - at < supervision.period_seconds)
    restart = children[exit.id]
    wanted = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and exit.kind is ExitKind.ABNORMAL)
    if not wanted:
        return Plan(give_up=False, history=recent)
    if len(recent) >= supervision.intensity and not exit.echo:
        return Plan(give_up=True, history=recent)
    failures = exit.failures if exit.ran_seconds < supervision.period_seconds else 0
    backoff = supervision.backoff
    delay = 0.0 if backoff is None else backoff.delay_seconds(failures, chance)
    concerned = _concerned(supervision.strategy, tuple(children), exit.id)
    return Plan(
        give_up=False,
        # The window begins with the restart: a child is not to be forgiven for having waited.
        history=recent if exit.echo else (*recent, now + delay),
        stop=tuple(id for id in reversed(concerned) if id != exit.id),
        start=tuple(id for id in concerned if children[id] is not Restart.TEMPORARY),
        delay_seconds=delay,
        failures=failures + 1,
    )


def _concerned(strategy: Strategy, ids: tuple[str, ...], ended: str) -> tuple[str, ...]:
    """Who is restarted when one has ended, in order of start."""
    if strategy is Strategy.ONE_FOR_ALL:
        return ids
    if strategy is Strategy.REST_FOR_ONE:
        return ids[ids.index(ended) :]
    return (ended,)
