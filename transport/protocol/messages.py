"""The messages of `callboard.v1`: one class for each `t`, with the bounds of every key.

The wire grows by optional keys only: unknown ones are ignored when a message is decoded, and absent ones
stay absent when it is encoded. The bounds are checked when a message is decoded, not when it is built.

This file knows names, types and bounds. It does not know when a message may be sent (`server.py`,
`client.py`) nor how it becomes text (`codec.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, field

__all__ = [
    "MAX_INTEGER",
    "SUBPROTOCOL",
    "Ack",
    "ClientMessage",
    "Command",
    "CommandError",
    "Events",
    "Gap",
    "Goaway",
    "Hello",
    "Limits",
    "Ping",
    "Pong",
    "ProtocolError",
    "Result",
    "ServerMessage",
    "Start",
    "Welcome",
    "WireRecord",
]

SUBPROTOCOL = "callboard.v1.json"
"""What both ends name in `Sec-WebSocket-Protocol`."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (ECMA-262, `Number.MAX_SAFE_INTEGER`)."""

Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Number = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
# `$` of a Python pattern also matches before a last newline; max_length closes that hole.
Epoch = Annotated[str, Meta(pattern="^[0-9a-f]{16}$", max_length=16)]
Device = Annotated[str, Meta(pattern="^[0-9a-f]{32}$", max_length=32)]
# 256 random bits take 43 characters; 512 leave room for another kind of ticket, not for a payload.
Ticket = Annotated[str, Meta(min_length=1, max_length=512)]
ClientName = Annotated[str, Meta(max_length=200)]
Op = Annotated[str, Meta(min_length=1, max_length=64)]
RunId = Annotated[str, Meta(min_length=1, max_length=128)]


def _no_data() -> dict[str, object]:
    # A function of our own, not `dict`: msgspec leaves out an empty map whose default is `dict`, and the
    # key `data` is always written.
    return {}


class Start(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a connection begins: after a position (`epoch` and `seq`, applied so far) or at the `last` n.

    Raises:
        ValueError: unless exactly one of the two forms is given, and whole.
    """

    epoch: Epoch | None = None
    seq: Count | None = None
    last: Count | None = None

    def __post_init__(self) -> None:
        if (self.epoch is None) != (self.seq is None) or (self.epoch is None) == (self.last is None):
            raise ValueError('start is "first", {"epoch", "seq"} or {"last"}')

    @property
    def position(self) -> tuple[str, int] | None:
        """`(epoch, seq)` when a position was given, else None."""
        return None if self.epoch is None or self.seq is None else (self.epoch, self.seq)


class Hello(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="hello"):
    """The first frame of a connection. `start` None: the last `limits.history` records."""

    ticket: Ticket
    device: Device
    client: ClientName
    start: Start | Literal["first"] | None = None
    merge: bool = False


class Ack(Struct, frozen=True, tag_field="t", tag="ack"):
    """All records up to `seq` were applied; cumulative, for metrics only."""

    seq: Count


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="command"):
    """An order of a device, known by `id`, which the device counts upwards. `data` may be left out."""

    id: Number
    op: Op
    run: RunId | None = None
    data: dict[str, object] = field(default_factory=_no_data)


class Pong(Struct, frozen=True, tag_field="t", tag="pong"):
    """The answer to `Ping`; `seq` is the last record applied."""

    seq: Count


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds that the server tells a client when it welcomes it."""

    frame_bytes: Number
    depth: Number
    commands_per_s: float
    burst: Number
    runs: Number
    history: Count


class Welcome(Struct, frozen=True, kw_only=True, tag_field="t", tag="welcome"):
    """The verdict on a hello: this connection accounts for the records from `from_seq` on.

    `first` is the oldest record kept and `head` the newest (0: none), `last_id` the highest command id
    known of this device (0: none).
    """

    session: str
    connection: str
    epoch: Epoch
    first: Count
    head: Count
    from_seq: Number = field(name="from")
    mode: Literal["replay", "fresh", "reset"]
    last_id: Count
    heartbeat_ms: Number
    timeout_ms: Number
    limits: Limits
    server: str


class WireRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record as a client sees it. `seq` is `(a, b)` where records a to b came merged into one."""

    # Bounded below and not by `Number`: where a bounded type stands beside a fixed tuple in a union, msgspec
    # 0.22 builds a decoder that crashes the interpreter at its next garbage collection.
    seq: int | tuple[int, int]
    id: str
    type: str
    run: str | None = None
    at: int
    data: object

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last <= MAX_INTEGER:
            raise ValueError(f"seq is {self.seq}: a number from 1 to {MAX_INTEGER}, or two of them in order")

    @property
    def first(self) -> int:
        """The first seq that this record stands for."""
        return self.seq if isinstance(self.seq, int) else self.seq[0]

    @property
    def last(self) -> int:
        """The last seq that this record stands for."""
        return self.seq if isinstance(self.seq, int) else self.seq[1]


class Events(Struct, frozen=True, tag_field="t", tag="events"):
    """Records in order. The server does not build this class: it splices encoded records (`codec.py`)."""

    events: tuple[WireRecord, ...]


class Gap(Struct, frozen=True, kw_only=True, tag_field="t", tag="gap"):
    """The records from `from_seq` to `to_seq` cannot be had."""

    from_seq: Number = field(name="from")
    to_seq: Number = field(name="to")
    reason: str

    def __post_init__(self) -> None:
        if self.from_seq > self.to_seq:
            raise ValueError(f"gap from {self.from_seq} to {self.to_seq}: from must not be above to")


class CommandError(Struct, frozen=True, kw_only=True):
    """Why a command was refused. With `retry` the same id may be sent again later."""

    code: str
    message: str
    retry: bool


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="result"):
    """The answer to a command: `ok` (any JSON value) or `error`; `seq` is where its effect is.

    Raises:
        ValueError: unless exactly one of `ok` and `error` is given.
    """

    id: Number
    ok: object = UNSET
    error: CommandError | None = None
    seq: Number | None = None

    def __post_init__(self) -> None:
        if (self.ok is UNSET) == (self.error is None):
            raise ValueError("a result has either ok or error")


class ProtocolError(Struct, frozen=True, kw_only=True, tag_field="t", tag="error"):
    """A protocol error that does not end the connection. A message, not an exception."""

    code: str
    message: str


class Ping(Struct, frozen=True, tag_field="t", tag="ping"):
    """Asks for a `Pong`; `seq` is the session's head."""

    seq: Count


class Goaway(Struct, frozen=True, kw_only=True, tag_field="t", tag="goaway"):
    """Connect anew after `in_ms`; this connection delivers until `by_ms`."""

    reason: str
    in_ms: Count
    by_ms: Count


ClientMessage = Hello | Ack | Command | Pong
ServerMessage = Welcome | Events | Gap | Result | ProtocolError | Ping | Goaway
