"""`callboard.agents.v1`: what workers of remote agents and a node say to each other, and when. No I/O, no clock.

The messages with their bounds, both ways as text, and the node's end of a connection as a table: for each state what
follows from each input, a state or a close code. The wire grows by optional keys and by types: unknown ones are passed
over.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from .closecodes import CloseCode
from .codec import read_message
from .errors import BadFrame, FrameTooBig, UnknownType
from .heartbeat import Beat, Heartbeat
from .messages import ClientName, Device, Number, RunId

__all__ = [
    "AGENTS_SUBPROTOCOL",
    "AgentsProtocol",
    "FromNode",
    "FromWorker",
    "HeldRun",
    "Offer",
    "RunCancel",
    "RunEnd",
    "RunError",
    "RunEvent",
    "RunExchange",
    "RunOrder",
    "RunRefused",
    "RunSettled",
    "WorkerGoaway",
    "WorkerHello",
    "WorkerPing",
    "WorkerPong",
    "WorkerWelcome",
    "decode_node",
    "encode_agents",
]

AGENTS_SUBPROTOCOL = "callboard.agents.v1.json"
"""What both ends name in `Sec-WebSocket-Protocol`."""

Attempt = Annotated[int, Meta(ge=1, le=1_000)]
AgentName = Annotated[str, Meta(min_length=1, max_length=200)]


class HeldRun(Struct, frozen=True, kw_only=True):
    """A run that the worker is at."""

    run: RunId
    attempt: Attempt


class Offer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent that the worker has; `restartable`: a run of it may begin again at another worker."""

    restartable: bool = False


class WorkerHello(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="hello"):
    """The first message, once. `worker` is 128 random bits of one process, the same whenever it connects again."""

    worker: Device
    client: ClientName
    agents: Annotated[dict[AgentName, Offer], Meta(min_length=1, max_length=64)]
    capacity: Annotated[int, Meta(ge=1, le=1_024)]
    runs: Annotated[list[HeldRun], Meta(max_length=1_024)] = []


class RunEvent(Struct, frozen=True, kw_only=True, tag_field="t", tag="event"):
    """An event; `n` counts what is said of this attempt from 1."""

    run: RunId
    attempt: Attempt
    n: Number
    type: str
    data: dict[str, Any]


class RunError(Struct, frozen=True, kw_only=True):
    """Why a run failed, for its user to read."""

    code: Annotated[str, Meta(min_length=1, max_length=64)]
    message: Annotated[str, Meta(max_length=2_000)]


class RunEnd(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="end"):
    """The last thing that is said of an attempt: its `result`, or an `error`."""

    run: RunId
    attempt: Attempt
    n: Number
    result: Any = None
    error: RunError | None = None


class WorkerPong(Struct, frozen=True, tag_field="t", tag="pong"):
    """The answer to a ping."""


class WorkerWelcome(Struct, frozen=True, kw_only=True, tag_field="t", tag="welcome"):
    """The verdict. Up to `window` events of a run, and `window_bytes`, may be without an `ack`."""

    heartbeat_ms: int
    timeout_ms: int
    window: int
    window_bytes: int
    event_bytes: int
    depth: int
    server: str


class RunExchange(Struct, frozen=True, kw_only=True):
    """An earlier message of the session, and the answer."""

    text: str
    answer: Any


class RunOrder(Struct, frozen=True, kw_only=True, tag_field="t", tag="run"):
    """Do this run."""

    run: str
    attempt: int
    agent: str
    session: str
    user: str
    text: str
    history: list[RunExchange]


class RunSettled(Struct, frozen=True, kw_only=True, tag_field="t", tag="ack"):
    """All that was said up to the n-th is durable, or was refused. Cumulative."""

    run: str
    attempt: int
    n: int


class RunRefused(Struct, frozen=True, kw_only=True, tag_field="t", tag="refused"):
    """The n-th is out of place, or cannot be said; it was not recorded, and the run goes on."""

    run: str
    attempt: int
    n: int
    message: str


class RunCancel(Struct, frozen=True, kw_only=True, tag_field="t", tag="cancel"):
    """Stop this attempt, and say nothing more of it: ``cancelled``, or ``fenced`` as it is another worker's now."""

    run: str
    attempt: int
    reason: str


class WorkerPing(Struct, frozen=True, tag_field="t", tag="ping"):
    """Answer it."""


class WorkerGoaway(Struct, frozen=True, kw_only=True, tag_field="t", tag="goaway"):
    """The node goes away in so many milliseconds; runs go on until then."""

    by_ms: int


FromWorker = WorkerHello | RunEvent | RunEnd | WorkerPong
FromNode = WorkerWelcome | RunOrder | RunSettled | RunRefused | RunCancel | WorkerPing | WorkerGoaway

_worker: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)
_node: msgspec.json.Decoder[FromNode] = msgspec.json.Decoder(FromNode)
_encode = msgspec.json.Encoder().encode
_WORKER_TYPES = ("end", "event", "hello", "pong")
_NODE_TYPES = ("ack", "cancel", "goaway", "ping", "refused", "run", "welcome")


def encode_agents(message: FromWorker | FromNode) -> bytes:
    """The message as the UTF-8 text of one frame."""
    return _encode(message)


def decode_node(data: str | bytes) -> FromNode:
    """What a node wrote. Raises BadFrame, or UnknownType for a newer node's message."""
    return read_message(data, _node, _NODE_TYPES)


class State(enum.Enum):
    """Where a worker's connection stands."""

    AWAIT_HELLO = "await hello"
    OPEN = "open"
    CLOSED = "closed"


class Input(enum.Enum):
    """What can happen to it."""

    HELLO = "hello"
    WORK = "work"
    PONG = "pong"
    UNKNOWN = "unknown"
    BAD_FRAME = "bad frame"
    TOO_BIG = "too big"
    HELLO_LATE = "hello late"
    SILENCE = "silence"


TABLE: Final[Mapping[State, Mapping[Input, State | CloseCode]]] = {
    State.AWAIT_HELLO: {
        Input.HELLO: State.OPEN,
        Input.WORK: CloseCode.HELLO,
        Input.PONG: CloseCode.HELLO,
        Input.UNKNOWN: CloseCode.HELLO,
        Input.BAD_FRAME: CloseCode.BAD_FRAME,
        Input.TOO_BIG: CloseCode.TOO_BIG,
        Input.HELLO_LATE: CloseCode.HELLO_LATE,
        Input.SILENCE: CloseCode.HELLO_LATE,
    },
    State.OPEN: {
        Input.HELLO: CloseCode.HELLO,
        Input.WORK: State.OPEN,
        Input.PONG: State.OPEN,
        Input.UNKNOWN: State.OPEN,
        Input.BAD_FRAME: CloseCode.BAD_FRAME,
        Input.TOO_BIG: CloseCode.TOO_BIG,
        Input.HELLO_LATE: State.OPEN,
        Input.SILENCE: CloseCode.HEARTBEAT_LOST,
    },
    # What still comes is passed over.
    State.CLOSED: dict.fromkeys(Input, State.CLOSED),
}


class AgentsProtocol:
    """The node's end of one worker's connection.

    Args:
        hello_seconds: how long the hello may take.
        heartbeat_seconds: silence before a ping.
        timeout_seconds: how long its answer may take.
        max_bytes: the longest message.
        max_depth: how deep it may be nested.
        now: when it was accepted, on the clock of all later calls.
    """

    def __init__(
        self,
        *,
        hello_seconds: float,
        heartbeat_seconds: float,
        timeout_seconds: float,
        max_bytes: int,
        max_depth: int,
        now: float,
    ) -> None:
        self.state = State.AWAIT_HELLO
        self._hello_by = now + hello_seconds
        self._heartbeat = Heartbeat(heartbeat_seconds, timeout_seconds, now)
        self._max_bytes = max_bytes
        self._max_depth = max_depth

    def receive(self, data: str | bytes, now: float) -> FromWorker | tuple[CloseCode, str] | None:
        """Take one message: what it says, why the connection ends, or None for what is passed over."""
        if self.state is State.CLOSED:
            return None
        self._heartbeat.heard(now)
        if isinstance(data, bytes):
            return self._step(Input.BAD_FRAME, "a binary message")
        try:
            message = read_message(data, _worker, _WORKER_TYPES, max_bytes=self._max_bytes, max_depth=self._max_depth)
        except FrameTooBig as error:
            return self._step(Input.TOO_BIG, str(error))
        except BadFrame as error:
            return self._step(Input.BAD_FRAME, str(error))
        except UnknownType as error:
            return self._step(Input.UNKNOWN, str(error))
        match message:
            case WorkerHello():
                given = Input.HELLO
            case WorkerPong():
                given = Input.PONG
            case _:
                given = Input.WORK
        return self._step(given, "") or message

    def sent(self, now: float) -> None:
        """Note that something was sent."""
        self._heartbeat.sent(now)

    def closed(self) -> None:
        """Note that it has ended."""
        self.state = State.CLOSED

    def next_deadline(self) -> float:
        """When `tick` has something to say next; `math.inf` for never."""
        if self.state is State.AWAIT_HELLO:
            return self._hello_by
        return self._heartbeat.next_due() if self.state is State.OPEN else math.inf

    def tick(self, now: float) -> WorkerPing | tuple[CloseCode, str] | None:
        """What is due: a ping, or the end."""
        if self.state is State.AWAIT_HELLO:
            return self._step(Input.HELLO_LATE, "") if now >= self._hello_by else None
        if self.state is State.CLOSED:
            return None
        match self._heartbeat.tick(now):
            case Beat.PING:
                return WorkerPing()
            case Beat.LOST:
                return self._step(Input.SILENCE, "")
            case None:
                return None

    def _step(self, given: Input, detail: str) -> tuple[CloseCode, str] | None:
        after = TABLE[self.state][given]
        if isinstance(after, CloseCode):
            self.state = State.CLOSED
            return after, detail
        self.state = after
        return None
