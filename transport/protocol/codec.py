"""Messages to text and back. JSON only; one message is one frame.

What a peer wrote ends in a message or in one of the three errors of `errors.py`, whatever it is. This file
does not know what a connection's state allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from .depth import nested_deeper_than
from .errors import BadFrame, FrameTooBig, UnknownType
from .messages import (
    Ack,
    ClientMessage,
    Command,
    Events,
    Gap,
    Goaway,
    Hello,
    Ping,
    Pong,
    ProtocolError,
    Result,
    ServerMessage,
    Welcome,
)

__all__ = ["decode_client", "decode_server", "encode", "events_parts"]

M = TypeVar("M")


class _Envelope(msgspec.Struct, frozen=True):
    t: str


def _tags(*types: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(sorted(str(kind.__struct_config__.tag) for kind in types))


_CLIENT_TYPES = _tags(Hello, Ack, Command, Pong)
_SERVER_TYPES = _tags(Welcome, Events, Gap, Result, ProtocolError, Ping, Goaway)
_envelope: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)
_client: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_server: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_encoder = msgspec.json.Encoder()
_EVENTS_HEAD = b'{"t":"events","events":['
_EVENTS_TAIL = b"]}"


def encode(message: ClientMessage | ServerMessage) -> bytes:
    """Return the message as the UTF-8 text of one frame."""
    return _encoder.encode(message)


def events_parts(records: Sequence[bytes]) -> tuple[bytes, bytes, bytes]:
    """Splice records that are already encoded into an `events` message, without looking into them.

    In parts, which `text_frame` takes, so that no byte is copied more often than it has to be.
    """
    return _EVENTS_HEAD, records[0] if len(records) == 1 else b",".join(records), _EVENTS_TAIL


def decode_client(text: str | bytes, *, max_bytes: int, max_depth: int) -> ClientMessage:
    """Return the message that a client wrote.

    Args:
        text: the frame; bytes are taken as UTF-8.
        max_bytes: how many UTF-8 bytes it may have.
        max_depth: how many maps and lists may be nested, the frame's own map included.

    Raises:
        FrameTooBig: it has more bytes.
        BadFrame: it is not well-formed JSON in valid UTF-8, nested too deep, not a map, without `t`, or a
            key has a wrong type or value.
        UnknownType: it is none of the above, but its `t` is not known.
    """
    return read_message(text, _client, _CLIENT_TYPES, max_bytes=max_bytes, max_depth=max_depth)


def decode_server(data: str | bytes) -> ServerMessage:
    """Return the message that a server wrote, for clients, who trust it with size and depth.

    Bytes are taken as UTF-8. Unknown keys are ignored.

    Raises:
        BadFrame: as in `decode_client`.
        UnknownType: its `t` is not known: a newer server's message, which a client ignores.
    """
    return read_message(data, _server, _SERVER_TYPES)


def read_message(
    text: str | bytes,
    decoder: msgspec.json.Decoder[M],
    known: tuple[str, ...],
    *,
    max_bytes: int | None = None,
    max_depth: int | None = None,
) -> M:
    """What a peer wrote, by this decoder of messages with these tags; without bounds for one that is trusted.

    Raises:
        FrameTooBig, BadFrame, UnknownType: as `decode_client`.
    """
    # A character takes a byte at least, so an oversized text is refused before it is copied.
    if max_bytes is not None and len(text) > max_bytes:
        raise FrameTooBig(f"{len(text)} bytes or more, allowed are {max_bytes}")
    data = _utf8(text)
    if max_bytes is not None and len(data) > max_bytes:
        raise FrameTooBig(f"{len(data)} bytes, allowed are {max_bytes}")
    if max_depth is not None and nested_deeper_than(data, max_depth):
        raise BadFrame(f"nested deeper than {max_depth} levels, or brackets that do not match")
    return _decode(data, decoder, known)


def _utf8(text: str | bytes) -> bytes:
    # Bytes are checked as a whole, because msgspec does not check the values of keys that it skips.
    try:
        if isinstance(text, str):
            return text.encode()
        text.decode()
    except UnicodeError as error:
        raise BadFrame("not valid UTF-8") from error
    return text


def _decode(data: bytes, decoder: msgspec.json.Decoder[M], known: tuple[str, ...]) -> M:
    try:
        try:
            return decoder.decode(data)
        except msgspec.ValidationError:
            # Only now is it worth asking whether the type was the trouble: a good frame is parsed once.
            given = _envelope.decode(data).t
            if given in known:
                raise
    except msgspec.DecodeError as error:
        raise BadFrame(str(error)) from error
    except RecursionError as error:
        # msgspec recurses in C under the interpreter's limit. The depth bound keeps a client's frame far
        # from it, unless our caller stands deep in the stack already; a server's frame has no bound.
        raise BadFrame("nested too deep") from error
    raise UnknownType(given, known)
