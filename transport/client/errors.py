"""What can go wrong for a client, split by whose fault it is.

::

    Exception
    ├── SessionClosed        the node: it closed the session for good, with a code that says do not retry
    ├── TicketDenied         the node: it gives no ticket, and will not when it is asked again
    ├── CommandFailed        the session: a command was answered with an error
    ├── Unreachable          the world: the node could not be reached for as long as was allowed
    ├── TooManyCommands      this program: it has to wait for results first (of the wire protocol)
    └── ClosedResourceError  this program: it has left the ``async with`` (of trio)
"""

from __future__ import annotations

__all__ = ["CommandFailed", "SessionClosed", "TicketDenied", "Unreachable"]


class SessionClosed(Exception):
    """The node closed the connection with a code that means: do not retry."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}: {reason or 'no reason given'}")
        self.code = code
        self.reason = reason


class TicketDenied(Exception):
    """The node answered the request for a ticket with an error that will not go away by asking again."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"no ticket: {status} {detail}")
        self.status = status
        self.detail = detail


class CommandFailed(Exception):
    """A command got an error for an answer. With `retry` nothing was done, and it may be sent again as a new one."""

    def __init__(self, code: str, message: str, *, retry: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry = retry


class Unreachable(Exception):
    """The node could not be reached, or gave no session, within `give_up_seconds`."""
