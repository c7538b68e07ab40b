"""What the server's end of a connection tells its caller: one class for each thing that there is to do.

Knows messages and close codes; when each is told is decided in `server.py`.
"""

from __future__ import annotations

import attrs

from .closecodes import CloseCode
from .messages import Command, Hello

__all__ = [
    "AckReceived",
    "Answer",
    "CommandReceived",
    "HelloReceived",
    "Ignored",
    "PongReceived",
    "Refused",
    "SendPing",
    "ServerEvent",
]


@attrs.frozen
class HelloReceived:
    """The client named its ticket; say `welcomed` after the verdict, or close."""

    hello: Hello


@attrs.frozen
class CommandReceived:
    """A command within the rate."""

    command: Command


@attrs.frozen
class AckReceived:
    """The client says what it applied. For metrics only: it may claim anything."""

    seq: int


@attrs.frozen
class PongReceived:
    """The client answered a ping, and says what it applied. It may claim anything."""

    seq: int


@attrs.frozen
class Answer:
    """Send this text to the client; the connection goes on."""

    frame: bytes


@attrs.frozen
class Refused:
    """Close the connection now, with this code and reason (at most 123 UTF-8 bytes)."""

    code: CloseCode
    reason: str


@attrs.frozen
class Ignored:
    """The frame came after the end; do nothing."""


@attrs.frozen
class SendPing:
    """Send a ping that carries the session's head."""


ServerEvent = HelloReceived | CommandReceived | AckReceived | PongReceived | Answer | Refused | Ignored
