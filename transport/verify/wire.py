"""What comes from the node, read by forms of the verifier's own: a frame is kept raw, and judged as it was written.

The node's own codec is not used: what it lets through by mistake, it would let through here too. Knows no sockets.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Envelope", "GapFrame", "PingFrame", "RecordForm", "WelcomeFrame", "read", "read_as", "read_record"]


class Envelope(msgspec.Struct):
    """Any frame. `events` are the records of an `events` frame, raw."""

    t: str
    events: list[msgspec.Raw] = []


class Limits(msgspec.Struct):
    """What the node says of its bounds; those that the verifier goes by."""

    frame_bytes: int
    depth: int
    commands_per_s: float
    burst: int
    runs: int
    history: int


class WelcomeFrame(msgspec.Struct):
    """A `welcome`."""

    session: str
    connection: str
    epoch: str
    first: int
    head: int
    begins: int = msgspec.field(name="from")
    mode: str
    last_id: int
    heartbeat_ms: int
    timeout_ms: int
    limits: Limits
    server: str


class RecordForm(msgspec.Struct):
    """A record. `seq` is `[a, b]` in one that stands for the deltas a to b of a run."""

    seq: int | list[int]
    id: str
    type: str
    at: int
    data: msgspec.Raw
    run: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.seq, list) and not (len(self.seq) == 2 and self.seq[0] < self.seq[1]):
            raise ValueError(f"seq is {self.seq}: a number, or two of them, the smaller one first")


class GapFrame(msgspec.Struct):
    """A `gap`."""

    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    reason: str


class PingFrame(msgspec.Struct):
    """A `ping`."""

    seq: int


_envelope: msgspec.json.Decoder[Envelope] = msgspec.json.Decoder(Envelope)
_record: msgspec.json.Decoder[RecordForm] = msgspec.json.Decoder(RecordForm)


def read(text: str) -> Envelope:
    """Read a frame as far as telling what it is. Raises msgspec.DecodeError."""
    return _envelope.decode(text)


def read_record(raw: bytes) -> RecordForm:
    """Read one record. Raises msgspec.DecodeError."""
    return _record.decode(raw)


def read_as(text: str, form: type[Any]) -> Any:
    """Read a whole frame. Raises msgspec.DecodeError."""
    return msgspec.json.decode(text, type=form)
