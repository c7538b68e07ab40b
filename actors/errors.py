"""The errors of sessions, runs, journals and tickets, split by whose fault they are.

::

    runtime.Refusal
    ├── CommandRefused         the peer: a command that is answered with an error
    ├── TicketRefused          the peer: a ticket that opens nothing
    ├── TooManyTickets         the peer: more tickets wait than one user may have
    ├── PublicationConflict    the peer: a publication under a key that was used for another
    ├── TooManyPublications    the peer: more publications than can be remembered
    ├── SessionQuarantined     the world: the session failed too often and rests
    ├── StoreUnavailable       the world: the journal does not take or give records
    ├── UnknownRun             you: no such run is under way
    ├── RunEnded               you: the run has its terminal event, nothing follows
    └── EventRefused           you: an event that is not yours to say, or not there
    Exception
    ├── InvalidEvent           you: an event that the wire cannot carry
    ├── GrammarError           you: an event that is out of place in its run
    ├── StoreFailed            the world: an append failed; it ends the session's incarnation
    ├── JournalRefused         the operator: a file that this node cannot have for its journal
    │   └── JournalInUse       another node has it
    ├── Fenced                 a newer incarnation of the session has opened the journal
    └── AgentError             you, on purpose: a failure that the user is to read
"""

from __future__ import annotations

from ..runtime import Refusal

__all__ = [
    "AgentError",
    "CommandRefused",
    "EventRefused",
    "Fenced",
    "GrammarError",
    "InvalidEvent",
    "JournalInUse",
    "JournalRefused",
    "PublicationConflict",
    "RunEnded",
    "SessionQuarantined",
    "StoreFailed",
    "StoreUnavailable",
    "TicketRefused",
    "TooManyPublications",
    "TooManyTickets",
    "UnknownRun",
]


class CommandRefused(Refusal):
    """A command gets an error for an answer.

    `code` is one of the wire's command errors; with `retry` the answer is not kept, and the same id may be sent again.
    """

    def __init__(self, code: str, message: str, *, retry: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry = retry


class TicketRefused(Refusal):
    """A ticket opens nothing; `reason` is ``expired``, ``used``, ``invalid``, ``foreign`` or ``revoked``."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the ticket is {reason}")
        self.reason = reason


class TooManyTickets(Refusal):
    """More tickets wait to be used than the user, or the node, may have."""


class PublicationConflict(Refusal):
    """A publication comes under a key that its service has used for another event."""


class TooManyPublications(Refusal):
    """One more publication could not be remembered for the stated time; in `retry_ms` there is room again."""

    def __init__(self, message: str, *, retry_ms: int) -> None:
        super().__init__(message)
        self.retry_ms = retry_ms


class SessionQuarantined(Refusal):
    """The session failed too often and is not started until it is released or its rest is over."""


class StoreUnavailable(Refusal):
    """The journal does not take or give records now; repeat under the same id."""


class UnknownRun(Refusal):
    """No run of this id is under way."""


class RunEnded(Refusal):
    """The run has its terminal event; no other event of it follows (law S6)."""


class EventRefused(Refusal):
    """The session's own table does not allow this event; it was not recorded."""


class StoreFailed(RuntimeError):
    """An append failed or got no answer: what is in memory may differ from what is durable, so the session restarts."""


class InvalidEvent(ValueError):
    """An event that JSON cannot carry exactly, or that lacks what its type asks for. Raised at the agent."""


class GrammarError(RuntimeError):
    """An event that is out of place in its run. Raised at the agent that emits it."""


class JournalRefused(Exception):
    """A file cannot be this node's journal: in use, unreadable, damaged, or not one. It is left as it is."""


class JournalInUse(JournalRefused):
    """Another node has this journal open."""


class Fenced(RuntimeError):
    """An append with the token of an incarnation that is no longer the session's newest."""


class AgentError(Exception):
    """Raise it in `Agent.run` to end the run with an `agent_error` whose code and message the user sees."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
