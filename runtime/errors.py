"""The errors of the actor kernel, split by whose fault they are.

::

    Exception
    ├── Refusal                  an answer, not a failure: the actor that raises it lives on
    ├── MailboxFull              it would block: the receiver has no room
    ├── WouldBlock               you: a blocking call on the thread of a loop
    ├── AskCycle                 you: actors that wait for each other in a circle
    ├── NotRunning               you: nothing is open any more, or yet, where an actor is to start
    ├── RestartsExhausted        the world: a child failed more often than its supervisor tolerates
    ├── Killed                   the reason of an actor that was killed
    ├── CutShort                 the work of an actor elsewhere ended without a result
    ├── pykka.ActorDeadError     the target is gone for good
    └── pykka.Timeout
        └── AskTimeout           the deadline of an ask passed
"""

from __future__ import annotations

import pykka

__all__ = [
    "AskCycle",
    "AskTimeout",
    "CutShort",
    "Killed",
    "MailboxFull",
    "NotRunning",
    "Refusal",
    "RestartsExhausted",
    "WouldBlock",
]


class Refusal(Exception):
    """An answer that says no. Under a supervisor it is the only exception that is no failure."""


class MailboxFull(Exception):
    """The mailbox of the receiver is full and its policy is to fail.

    Use ``await ref.send(message)``, which waits for room, where waiting is possible.
    """


class WouldBlock(RuntimeError):
    """A blocking call was made on a thread that runs a loop, of trio or asyncio, which it would stop."""


class AskCycle(RuntimeError):
    """Actors wait for each other in a circle, so none of them could ever go on.

    The message names the circle, first and last actor alike.
    """


class NotRunning(RuntimeError):
    """An actor was made outside of an open system, or below an actor that has ended or is about to."""


class RestartsExhausted(Exception):
    """A supervisor gave up: a child failed more often than `intensity` in `period_seconds`."""


class Killed(Exception):
    """The exit reason of an actor that was killed; for its supervisor an abnormal end."""


class CutShort(Exception):
    """What worked for an actor elsewhere, a coroutine or a process, ended without a result; the message says why."""


class AskTimeout(pykka.Timeout):
    """The deadline of an ask passed; its handler was told, a late answer is dropped."""
