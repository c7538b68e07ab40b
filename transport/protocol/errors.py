"""What can be wrong with a frame, split by whose fault it is.

    WireError                 the peer wrote something that this end cannot take
    ├── FrameTooBig           more UTF-8 bytes than allowed; ends the connection with 4007
    ├── BadFrame              no JSON map, wrong types, too deep; ends the connection with 4001
    └── UnknownType           well formed, but its `t` is not known; is answered, the connection goes on
    LocalStateError           this end called the protocol at the wrong time: a bug of the caller
    TooManyCommands           this end has to wait for results before its next command

Knows close codes, nothing else.
"""

from __future__ import annotations

from .closecodes import CloseCode

__all__ = ["BadFrame", "FrameTooBig", "LocalStateError", "TooManyCommands", "UnknownType", "WireError"]

# A peer chooses its `t`; an answer or a log line repeats no more of it than identifies it.
_SHOWN_TYPE_CHARS = 40


class WireError(Exception):
    """The peer wrote a frame that this end cannot take."""


class FrameTooBig(WireError):
    """The frame has more bytes than this end takes.

    Attributes:
        close_code: the code that ends the connection.
    """

    close_code = CloseCode.TOO_BIG


class BadFrame(WireError):
    """The frame is not a message of `callboard.v1`: not JSON, not a map, wrong types or nested too deep.

    Attributes:
        close_code: the code that ends the connection.
    """

    close_code = CloseCode.BAD_FRAME


class UnknownType(WireError):
    """The frame is a map with a key `t` that this end does not know; the connection goes on.

    Attributes:
        type: the unknown `t`, cut to 40 characters.
    """

    def __init__(self, type_: str, known: tuple[str, ...]) -> None:
        self.type = type_[:_SHOWN_TYPE_CHARS]
        super().__init__(f"unknown t {self.type!r}, known are {', '.join(known)}")


class LocalStateError(RuntimeError):
    """This end used the protocol object in a state that does not allow it: a bug here, not at the peer."""


class TooManyCommands(Exception):
    """Too many commands of this device are without result, or one is too old; wait for results first."""
