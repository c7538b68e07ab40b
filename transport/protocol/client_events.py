"""What the client's end of a connection tells its caller: one class for each thing that happened.

Knows messages and close codes; when each is told is decided in `client.py`.
"""

from __future__ import annotations

import attrs

from .closecodes import CloseCode
from .messages import Gap, Goaway, ProtocolError, Result, Welcome, WireRecord

__all__ = [
    "Applied",
    "ClientEvent",
    "GapSeen",
    "GoawayReceived",
    "MustReconnect",
    "ProtocolErrorReceived",
    "ResultReceived",
    "Send",
    "Welcomed",
]


@attrs.frozen
class Welcomed:
    """The connection is open: send the frames of `resend` first, in order.

    With `welcome.mode` `reset`, first drop every record that was applied before.

    Attributes:
        welcome: the verdict.
        resend: the frames of all commands without result, by id.
    """

    welcome: Welcome
    resend: tuple[bytes, ...]


@attrs.frozen
class Applied:
    """A record that is new and next: each is told once."""

    record: WireRecord


@attrs.frozen
class GapSeen:
    """Records that cannot be had; the position is behind them now."""

    gap: Gap


@attrs.frozen
class ResultReceived:
    """The answer to a command that was without result.

    With `result.error.retry` the command stays without result: after a pause send `repeat(id)`, or call
    `abandon(id)`.
    """

    result: Result


@attrs.frozen
class GoawayReceived:
    """Connect anew after `goaway.in_ms`, with a new ticket; until then this connection goes on."""

    goaway: Goaway


@attrs.frozen
class ProtocolErrorReceived:
    """The server did not take a frame, and goes on."""

    error: ProtocolError


@attrs.frozen
class Send:
    """Send this text to the server."""

    frame: bytes


@attrs.frozen
class MustReconnect:
    """This connection is of no use: close it with `code` and say hello on a new one."""

    reason: str
    code: CloseCode


ClientEvent = (
    Welcomed | Applied | GapSeen | ResultReceived | GoawayReceived | ProtocolErrorReceived | Send | MustReconnect
)
