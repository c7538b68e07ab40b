"""The errors of the actor kernel, split by whose fault they are.

::

    Exception
    ├── Refusal                  an answer, not a failure: the actor that raises it lives on
    ├── MailboxFull              it would block: the receiver has no room
    ├── WouldBlock               you: a blocking call on the trio thread
    ├── AskCycle                 you: actors that wait for each other in a circle
    ├── NotRunning               you: no system is open where one is needed
    ├── RestartsExhausted        the world: a child failed more often than its supervisor tolerates
    ├── Killed                   the reason of an actor that was killed
    ├── pykka.ActorDeadError     the target is gone for good
    └── pykka.Timeout
        └── AskTimeout           the deadline of an ask passed
"""

from __future__ import annotations

import pykka

__all__ = [
    "AskCycle",
    "AskTimeout",
    "Killed",
    "MailboxFull",
    "NotRunning",
    "Refusal",
    "RestartsExhausted",
    "WouldBlock",
]


class Refusal(Exception):  # noqa: N818 - it is an answer, and reads as one
    """An answer that says no. Under a supervisor it is the only exception that is no failure."""


class MailboxFull(Exception):  # noqa: N818 - named as trio names WouldBlock
    """The mailbox of the receiver is full and its policy is to fail.

    Use ``await ref.send(message)``, which waits for room, where waiting is possible.
    """


class WouldBlock(RuntimeError):  # noqa: N818
    """A blocking call was made on the trio thread, where it would stop every actor."""


class AskCycle(RuntimeError):  # noqa: N818
    """Actors wait for each other in a circle, so none of them could ever go on.

    The message names the circle, first and last actor alike.
    """


class NotRunning(RuntimeError):  # noqa: N818
    """An actor was made outside of an open system."""


class RestartsExhausted(Exception):  # noqa: N818
    """A supervisor gave up: a child failed more often than `intensity` in `period_seconds`."""


class Killed(Exception):  # noqa: N818
    """The exit reason of an actor that was killed; for its supervisor an abnormal end."""


class AskTimeout(pykka.Timeout):
    """The deadline of an ask passed; its handler was told, a late answer is dropped."""
