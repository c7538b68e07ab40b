"""What the actors of this layer say to each other. Requests are imperatives, facts are in the past tense."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from ..runtime import Ref, Refusal, Reply
from .commands import Result
from .events import Event
from .ids import SessionKey
from .log import Log

__all__ = [
    "Attach",
    "Attached",
    "BecameBusy",
    "BecameIdle",
    "ChildrenReported",
    "CloseReason",
    "Connection",
    "Detach",
    "EnsureSession",
    "Exchange",
    "Leave",
    "Locate",
    "Message",
    "Mode",
    "Perform",
    "Publish",
    "PublishAlone",
    "PublishOnce",
    "ReleaseSession",
    "ReportChildren",
    "ReportRuns",
    "Reroute",
    "Route",
    "RouteOfRun",
    "RunCommand",
    "RunOpened",
    "RunTimedOut",
    "RunsReported",
    "SessionRefused",
    "SessionStarted",
    "StartFrom",
    "StoreAnswered",
    "StoreTimedOut",
    "SupervisorRestarted",
    "Sweep",
    "WithdrawIdle",
]


_not_negative = attrs.validators.optional(attrs.validators.ge(0))


class CloseReason(enum.Enum):
    """Why a session closes a connection; the transport knows the code for each."""

    SUPERSEDED = "superseded"
    """The same device has connected anew."""
    DRAINING = "draining"
    """The session stops in order."""


class Connection(Protocol):
    """One WebSocket, as its session sees it. All methods are plain, never wait, and never raise.

    It attaches, holds the `Log` that it got, and reads it when woken. When `session_failed` is called, also between the
    answer to its `Attach` and the time when it hears it, it drops the log and attaches anew. At its end it detaches.
    """

    id: str

    def wake(self) -> None:
        """The log has grown."""

    def deliver(self, result: Result) -> None:
        """Here is the answer to a command of this connection's device."""

    def close(self, reason: CloseReason) -> None:
        """Close the WebSocket."""

    def session_failed(self) -> None:
        """The session's actor failed: attach anew, at the position that was reached."""


@attrs.frozen
class Exchange:
    """An earlier message of the user, and the result of its run; None if that did not complete."""

    text: str
    answer: Any


@attrs.frozen
class Message:
    """What an agent works on. `history` holds the session's earlier exchanges, oldest first."""

    text: str
    run: str
    session: str
    user: str
    agent: str
    history: tuple[Exchange, ...] = ()


@attrs.define(eq=False)
class Route:
    """Where a session is. Good until the registry withdraws it; then ask the registry again."""

    key: SessionKey
    ref: Ref[Any]
    withdrawn: bool = False


# -- to the registry


@attrs.frozen
class Locate:
    """Ask for the route to a session, which is started if it is not there. The answer is a `Route`."""

    key: SessionKey


@attrs.frozen
class RouteOfRun:
    """Ask for the route to the session of a run. The answer is a `Route`."""

    run: str


@attrs.frozen
class SessionStarted:
    """A supervisor has this session, ready for messages."""

    key: SessionKey
    ref: Ref[Any]
    supervisor: Ref[Any]


@attrs.frozen
class SessionRefused:
    """A supervisor could not start the session."""

    key: SessionKey
    error: Exception


@attrs.frozen
class ChildrenReported:
    """A supervisor has told a restarted registry all the sessions that it has."""


@attrs.frozen
class SupervisorRestarted:
    """A supervisor has lost its sessions, and with them what it was asked for and had not answered."""


@attrs.frozen
class WithdrawIdle:
    """A supervisor wants an idle session to leave: give no more routes to it, then tell it to go."""

    key: SessionKey
    ref: Ref[Any]


@attrs.frozen
class RunOpened:
    """A session has started the agent of a run."""

    run: str
    key: SessionKey
    agent: Ref[Any]


@attrs.frozen
class RunsReported:
    """A session has told a restarted registry its open runs and their agents."""

    session: str
    runs: tuple[tuple[str, Ref[Any]], ...]


@attrs.frozen(eq=False)
class Reroute:
    """A message that met a session on its way out: route it once more."""

    key: SessionKey
    message: Any
    reply: Reply[Any] | None


# -- to the session supervisor


@attrs.frozen
class EnsureSession:
    """Have this session, and say so to the registry."""

    key: SessionKey


@attrs.frozen
class ReportChildren:
    """A restarted registry asks for all sessions."""


@attrs.frozen
class BecameIdle:
    """A session has started, or has neither connections nor runs any more."""

    ref: Ref[Any]


@attrs.frozen
class BecameBusy:
    """A session has a connection or a run again, or something came in while it was to leave."""

    ref: Ref[Any]


@attrs.frozen
class ReleaseSession:
    """Ask to end a session's quarantine. The answer says whether there was one."""

    id: str


@attrs.frozen
class Sweep:
    """The supervisor's own tick: look for idle sessions and quarantines that are over."""


# -- to a session


@attrs.frozen
class StartFrom:
    """Where a connection wants to begin: after a position, with the last `last` records, or at the first one kept.

    All three None: with as many of the last ones as the node gives by default.
    """

    epoch: str | None = None
    seq: int | None = attrs.field(default=None, validator=_not_negative)
    last: int | None = attrs.field(default=None, validator=_not_negative)
    first: bool = False


@attrs.frozen(eq=False)
class Attach:
    """Ask to attach a connection. The answer is `Attached`."""

    connection: Connection
    device: str
    start: StartFrom


class Mode(enum.Enum):
    """How a connection begins."""

    REPLAY = "replay"
    """After the position that it named."""
    FRESH = "fresh"
    """It named none."""
    RESET = "reset"
    """The position that it named is of another history: it drops all that it has."""


@attrs.frozen(eq=False)
class Attached:
    """The verdict on an `Attach`. `cursor` is the seq after which the connection begins.

    `ref` is the session that the connection is attached to: commands and `Detach` go there, and not where the question
    went, which may have been routed once more.
    """

    ref: Ref[Any]
    log: Log
    mode: Mode
    cursor: int
    last_id: int
    read: Callable[[int, int], Any]
    """``await read(after, max_bytes)`` gives older records from the journal."""


@attrs.frozen(eq=False)
class Detach:
    """A connection is gone."""

    connection: Connection


@attrs.frozen(eq=False)
class RunCommand:
    """A command of a connection's device; its result comes by `Connection.deliver`.

    `log` is the one that the connection was attached with. A command that was on its way when that incarnation failed
    is passed over by the next one: the connection attaches anew and asks again, in order; out of order a new device's
    second command would be a stranger's (law S5). None means any.
    """

    connection: Connection
    device: str
    id: int
    op: str
    data: dict[str, Any]
    run: str | None
    log: Log | None = None


class Publish:
    """What an agent says, as one message: events of one run, the first of them its `first`-th, the others behind it.

    Until the session takes it, its agent puts what it says next into it, too: a burst costs one message. The answer,
    once all that was taken is durable, is the `Position` of the last of them; `seqs` has those of all.
    """

    __slots__ = ("events", "first", "refused", "run", "seqs", "taken")

    def __init__(self, run: str, first: int, *events: Event) -> None:
        self.run = run
        self.first = first
        self.events = list(events)
        self.taken = False
        """Whether the session has looked at it: nothing more goes in."""
        self.seqs: Sequence[int] = ()
        """The seqs of the events that the session took."""
        self.refused: Refusal | None = None
        """Why it took no more than these."""


@attrs.frozen(eq=False)
class PublishAlone:
    """An author's event outside of any run. The answer, once it is durable, is its `Position`."""

    type: str
    data: dict[str, Any]


@attrs.frozen(eq=False)
class PublishOnce:
    """A service's event outside of any run, named by a key of the service's own.

    The answer, once it is durable, is its `Publication`; a known key gets its first one again.
    """

    service: str
    key: str
    type: str
    data: dict[str, Any]


@attrs.frozen
class RunTimedOut:
    """A run's deadline has passed."""

    run: str


@attrs.frozen
class Leave:
    """The registry gives no more routes to this session: stop, unless something came in meanwhile."""


@attrs.frozen
class ReportRuns:
    """A restarted registry asks for the session's open runs."""


@attrs.frozen
class StoreAnswered:
    """The session's own note: its ledger may have an answer of the journal to take."""


@attrs.frozen
class StoreTimedOut:
    """The session's own note: look whether the journal is late with an answer."""


# -- to an agent


@attrs.frozen(eq=False)
class Perform:
    """Do the work of one run."""

    message: Message
