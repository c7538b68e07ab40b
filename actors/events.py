"""Events and records: immutable, checked and encoded once, at `emit`.

An event's JSON is made here, and nowhere again: a record adds its position and time in front, a connection puts records
side by side into a frame. What JSON or JavaScript could not hold exactly is refused while the agent can still hear of
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from .errors import InvalidEvent

__all__ = ["TERMINALS", "Event", "Position", "Record", "check_json", "encode_json", "fields_of"]

# The largest integer that every JSON reader keeps exactly (RFC 8259 section 6; JavaScript's Number).
MAX_INT = 2**53 - 1
# The id of a tool call and the name of a tool: long enough for any made id, short enough to be said again.
MAX_NAME = 200

# A type is a word that pages and metrics switch on, and no place for data.
MAX_TYPE = 64

TERMINALS = frozenset(("agent_completed", "agent_error", "agent_cancelled"))

_number = (int, float)
# What each of the agent's events has to carry; `object` is any JSON value. More keys are the author's own.
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "agent_started": {"agent": str, "input": str, "by": str},
    "agent_thinking": {"text": str},
    "tool_executing": {"call": str, "tool": str, "arguments": object},
    "tool_completed": {"call": str, "tool": str, "ok": bool, "result": object, "duration_ms": _number},
    "agent_delta": {"text": str},
    "agent_completed": {"result": object, "duration_ms": _number},
    "agent_error": {"code": str, "message": str, "by": str},
    "agent_cancelled": {"by": str, "reason": str},
}

_encode = msgspec.json.Encoder().encode
_encode_in_order = msgspec.json.Encoder(order="sorted").encode


@attrs.frozen(order=True)
class Position:
    """A place in a session's history: `seq` counts from 1 without gaps inside an epoch."""

    epoch: str
    seq: int


@attrs.frozen(eq=False)
class Event:
    """What is said in a session, encoded. `call` is set on the two tool events.

    `body` is the inside of a JSON map: ``"id":…,"type":…,"run":…,"data":…``.
    """

    id: str
    type: str
    run: str | None
    call: str | None
    body: bytes

    @classmethod
    def make(
        cls, id: str, type: str, run: str | None, data: Mapping[str, Any], *, max_bytes: int, max_depth: int
    ) -> Event:
        """Check and encode an event.

        Raises:
            InvalidEvent: the type is unknown, a field is missing or of the wrong kind, or JSON cannot hold the data.
        """
        fields = fields_of(type)
        data = _as_dict(type, data)
        for name, kind in fields.items():
            value = data.get(name, _MISSING)
            if value is _MISSING:
                raise InvalidEvent(f"{type} lacks {name!r}; it needs {', '.join(fields)}")
            # A bool is an int to Python, but no duration.
            if not isinstance(value, kind) or (kind is _number and isinstance(value, bool)):
                raise InvalidEvent(f"{name!r} of {type} is {_show(value)}, of the wrong kind")
        encoded = encode_json(data, max_depth)
        if len(encoded) > max_bytes:
            raise InvalidEvent(f"the data of {type} takes {len(encoded)} bytes; {max_bytes} are allowed")
        body = b'"id":' + encode_json(id, 0) + b',"type":' + encode_json(type, 0)
        if run is not None:
            body += b',"run":' + encode_json(run, 0)
        for name in ("call", "tool"):
            # A supervisor names an open call and its tool once more when it closes them, and that has to fit too.
            if name in fields and not 1 <= len(data[name]) <= MAX_NAME:
                raise InvalidEvent(f"{name!r} of {type} has {len(data[name])} characters; 1 to {MAX_NAME} are allowed")
        call = data["call"] if "call" in fields else None
        return cls(id, type, run, call, body + b',"data":' + encoded)


@attrs.frozen(eq=False)
class Record:
    """An event that was accepted. `at` is Unix milliseconds; `encoded` is its JSON map, as connections send it."""

    seq: int
    at: int
    id: str
    type: str
    run: str | None
    encoded: bytes

    @classmethod
    def of(cls, event: Event, seq: int, at: int) -> Record:
        """Give an event its position and time."""
        return cls(seq, at, event.id, event.type, event.run, b'{"seq":%d,"at":%d,%b}' % (seq, at, event.body))

    def data(self) -> dict[str, Any]:
        """The event's data, decoded anew; whoever gets it may change it."""
        decoded: dict[str, Any] = msgspec.json.decode(self.encoded)["data"]
        return decoded


_MISSING = object()


def fields_of(type: object) -> Mapping[str, Any]:
    """The fields that an event of this type has to carry. Raises InvalidEvent if there is no such type."""
    if isinstance(type, str):
        fields = FIELDS.get(type)
        if fields is not None:
            return fields
        if type.startswith("x.") and 2 < len(type) <= MAX_TYPE:
            return {}
    raise InvalidEvent(f"event type {_show(type)} is unknown; allowed are {', '.join(FIELDS)} and x.*")


def _as_dict(type: str, data: object) -> dict[str, Any]:
    if isinstance(data, Mapping):
        return dict(data)
    raise InvalidEvent(f"the data of {type} is {_show(data)}; it has to be a dict")


def encode_json(value: Any, max_depth: int, path: str = "data", *, in_order: bool = False) -> bytes:
    """Encode what JSON holds exactly; with `in_order` equal maps give equal bytes. Raises InvalidEvent."""
    check_json(value, max_depth, path)
    try:
        return _encode_in_order(value) if in_order else _encode(value)
    except UnicodeEncodeError as error:
        raise InvalidEvent(f"{path} holds text that is no Unicode: {error.reason}") from None


def check_json(value: Any, max_depth: int, path: str = "data") -> None:
    """Raise InvalidEvent for what JSON, or a reader of it in JavaScript, would not hold exactly.

    Floats that are no numbers, integers beyond 2^53-1, bytes, keys that are no text, and nesting beyond `max_depth`.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return
    if kind is int:
        if not -MAX_INT <= value <= MAX_INT:
            raise InvalidEvent(f"{path} is {_show(value)}; integers up to {MAX_INT} are exact in JSON")
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidEvent(f"{path} is {value}; JSON has no such number")
    elif kind is dict:
        if max_depth <= 0:
            raise InvalidEvent(f"{path} is nested too deep")
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidEvent(f"{path} has the key {_show(key)}; JSON keys are text")
            check_json(item, max_depth - 1, f"{path}.{key:.40}")
    elif kind is list or kind is tuple:
        if max_depth <= 0:
            raise InvalidEvent(f"{path} is nested too deep")
        for index, item in enumerate(value):
            check_json(item, max_depth - 1, f"{path}[{index}]")
    else:
        raise InvalidEvent(f"{path} is of type {kind.__name__}; allowed are dict, list, str, int, float, bool and None")


def _show(value: Any) -> str:
    """A value for an error message. Never the whole of a large one: its repr may be endless, or no repr at all."""
    if isinstance(value, str):
        return repr(value[:80])
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 128 else f"an integer of {value.bit_length()} bits"
    return f"of type {type(value).__name__}"
