"""What the workloads are, whoever does them: the numbers that all contenders share, and the checks.

*tell* and *tell 100*: an actor counts. Its sender tells it 999 times, asks once, and goes on when the answer has come:
callboard's mailboxes hold 1,000 messages unless said otherwise, the channel and the queue get the same bound, and
pykka's inbox has none. With 100 actors the sender takes them in turn for each message, then asks each. A message counts
once it has been handled.

*tell, context*: as *tell*, by a sender who has set a context variable, as tracing and structured logs do.
callboard runs the handler in a copy of that context; none of the others carries it. (Importing `trio.testing` sets one,
so no workload does that, or *tell* would be this case.)

*ask*: one after the other, each waits for the answer.

*ring*: 503 actors (a prime, as in the thread-ring of the benchmarks game), one message goes round.

*fan-out*: an actor tells 100 others, each tells it back, and when all have done so the next round begins. Messages of
both ways count.

*spawn, stop*: 100 actors are started, each has run its start hook, then all are told to stop and have stopped; then the
next 100. A thousand at once would be unkind to pykka, whose registry is searched from its beginning for each that ends.

*memory*: what the process grows by, for each actor started and idle.
"""

from __future__ import annotations

import contextvars

__all__ = ["BATCH", "CAPACITY", "CROWD", "RING", "TELLS", "check", "set_context", "split"]

CAPACITY = 1_000
"""What a mailbox holds: callboard's default."""
TELLS = CAPACITY - 1
"""Tells before the ask that acknowledges them; together they fill a mailbox."""
CROWD = 100
"""Actors that are told in turn, or fanned out to."""
RING = 503
BATCH = 100
"""Actors that are alive together when starting and stopping is measured."""


_user: contextvars.ContextVar[str] = contextvars.ContextVar("user")


def set_context() -> None:
    """Set a variable in the context of the sender, as a web framework would."""
    _user.set("ann")


def split(size: int, part: int) -> int:
    """How many whole parts there are in `size`, at least one."""
    return max(size // part, 1)


def check(expected: int, seen: int) -> None:
    """A benchmark that lost a message measured something else."""
    if seen != expected:
        raise AssertionError(f"{seen} messages were handled, not {expected}")
