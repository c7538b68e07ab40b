"""Events and records: immutable, checked and encoded once, at `emit`.

An event's JSON is made here, and nowhere again: a record adds its position and time in front, a connection puts records
side by side into a frame. What JSON or JavaScript could not hold exactly is refused while the agent can still hear of
it.

What is made for each event is a msgspec Struct that the collector does not look at (`gc=False`: it holds text, bytes
and numbers only): it is made in a tenth of the time, and thousands of records in memory cost no collection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import InvalidEvent

__all__ = ["TERMINALS", "TURNING", "Event", "EventKind", "Position", "Record", "check_json", "encode_json", "fields_of"]

# The largest integer that every JSON reader keeps exactly (RFC 8259 section 6; JavaScript's Number).
MAX_INT = 2**53 - 1
# The id of a tool call and the name of a tool: long enough for any made id, short enough to be said again.
MAX_NAME = 200

# A type is a word that pages and metrics switch on, and no place for data.
MAX_TYPE = 64

TERMINALS = frozenset(("agent_completed", "agent_error", "agent_cancelled"))
# What changes how far a run has come; of all other events nothing has to be remembered.
TURNING = TERMINALS | {"agent_started", "tool_executing", "tool_completed"}

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


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """A place in a session's history: `seq` counts from 1 without gaps inside an epoch."""

    epoch: str
    seq: int


class Event(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What is said in a session, encoded. `call` and `tool` are set on the two tool events.

    `body` is the inside of a JSON map: ``"id":…,"type":…,"run":…,"data":…``.
    """

    type: str
    run: str | None
    call: str | None
    body: bytes
    tool: str = ""

    @property
    def id(self) -> str:
        """Its id, read anew: nobody asks for it on an event's way, and text of its own would be kept with each."""
        return _read_id(b"{%b}" % self.body).id

    @classmethod
    def make(
        cls, id: str, type: str, run: str | None, data: Mapping[str, Any], *, max_bytes: int, max_depth: int
    ) -> Event:
        """Check and encode an event.

        Raises:
            InvalidEvent: the type is unknown, a field is missing or of the wrong kind, or JSON cannot hold the data.
        """
        return EventKind(type, run, max_bytes=max_bytes, max_depth=max_depth).make(id, data)


class EventKind:
    """Makes events of one type in one run; what they have in common is encoded once.

    Args:
        type: the type of event.
        run: the run; None outside of runs.
        max_bytes: what the data of one event may take.
        max_depth: how deep it may be nested.

    Raises:
        InvalidEvent: there is no such type.
    """

    __slots__ = (
        "_behind_number",
        "_fields",
        "_flat",
        "_head",
        "_max_bytes",
        "_max_depth",
        "_middle",
        "_names",
        "_texts",
        "run",
        "turning",
        "type",
    )

    def __init__(self, type: str, run: str | None, *, max_bytes: int, max_depth: int) -> None:
        self._fields = tuple(fields_of(type).items())
        self.type = type
        self.run = run
        self.turning = type in TURNING
        """Whether these events change how far their run has come."""
        # A supervisor names an open call and its tool once more when it closes them, and that has to fit too.
        self._names = tuple(name for name, _ in self._fields if name in ("call", "tool"))
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        # One level of text and small numbers, as nearly all events have, is looked at and encoded in one stretch.
        self._texts = tuple(name for name, kind in self._fields if kind is str)
        self._flat = max_depth > 0 and not self._names and len(self._texts) == len(self._fields)
        self._head = b'"id":' + encode_json(f"{run}/", 0)[:-1]
        middle = b',"type":' + encode_json(type, 0)
        if run is not None:
            middle += b',"run":' + encode_json(run, 0)
        self._middle = middle + b',"data":'
        self._behind_number = b'"' + self._middle

    def make(self, id: str, data: Mapping[str, Any]) -> Event:
        """Check and encode an event.

        Raises:
            InvalidEvent: a field is missing or of the wrong kind, or JSON cannot hold the data.
        """
        return self._made(b'"id":' + encode_json(id, 0), data)

    def make_numbered(self, n: int, data: Mapping[str, Any]) -> Event:
        """`make` with the id ``run/n``, whose encoding is known but for the number."""
        if data.__class__ is dict and self._flat:
            # What `_made` does, for data that is flat; whatever is odd about it is for `_made` to put into words.
            for key, value in data.items():
                kind = value.__class__
                if key.__class__ is not str or (
                    kind is not str
                    and kind is not bool
                    and value is not None
                    and (kind is not int or not -MAX_INT <= value <= MAX_INT)
                ):
                    break
            else:
                for name in self._texts:
                    if data.get(name).__class__ is not str:
                        break
                else:
                    try:
                        encoded = _encode(data)
                    except UnicodeEncodeError:
                        encoded = None
                    if encoded is not None and len(encoded) <= self._max_bytes:
                        body = b"%b%d%b%b" % (self._head, n, self._behind_number, encoded)
                        return Event(self.type, self.run, None, body)
        return self._made(b'%b%d"' % (self._head, n), data)

    def _made(self, head: bytes, data: Mapping[str, Any]) -> Event:
        if data.__class__ is not dict:
            data = _as_dict(self.type, data)
        for name, kind in self._fields:
            value = data.get(name, _MISSING)
            if value.__class__ is not kind:
                self._look_at(name, kind, value)
        encoded = encode_json(data, self._max_depth)
        if len(encoded) > self._max_bytes:
            raise InvalidEvent(f"the data of {self.type} takes {len(encoded)} bytes; {self._max_bytes} are allowed")
        for name in self._names:
            if not 1 <= len(data[name]) <= MAX_NAME:
                characters = len(data[name])
                raise InvalidEvent(f"{name!r} of {self.type} has {characters} characters; 1 to {MAX_NAME} are allowed")
        body = b"%b%b%b" % (head, self._middle, encoded)
        if self._names:
            return Event(self.type, self.run, data["call"], body, data["tool"])
        return Event(self.type, self.run, None, body)

    def _look_at(self, name: str, kind: Any, value: Any) -> None:
        """Raise InvalidEvent unless a field has a value of its kind."""
        if value is _MISSING:
            raise InvalidEvent(f"{self.type} lacks {name!r}; it needs {', '.join(dict(self._fields))}")
        # A bool is an int to Python, but no duration.
        if not isinstance(value, kind) or (kind is _number and isinstance(value, bool)):
            raise InvalidEvent(f"{name!r} of {self.type} is {_show(value)}, of the wrong kind")


class Record(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An event that was accepted. `at` is Unix milliseconds; `encoded` is its JSON map, as connections send it."""

    seq: int
    at: int
    type: str
    run: str | None
    encoded: bytes

    @property
    def id(self) -> str:
        """The event's id, read anew."""
        return _read_id(self.encoded).id

    @classmethod
    def of(cls, event: Event, seq: int, at: int) -> Record:
        """Give an event its position and time."""
        return cls(seq, at, event.type, event.run, b'{"seq":%d,"at":%d,%b}' % (seq, at, event.body))

    @classmethod
    def read(cls, encoded: bytes) -> Record:
        """The record that was encoded so."""
        head = _read_head(encoded)
        return cls(head.seq, head.at, head.type, head.run, encoded)

    def data(self) -> dict[str, Any]:
        """The event's data, decoded anew; whoever gets it may change it."""
        decoded: dict[str, Any] = msgspec.json.decode(self.encoded)["data"]
        return decoded


class _Head(msgspec.Struct):
    """What a record says of itself, without its data."""

    seq: int
    at: int
    type: str
    run: str | None = None


class _Id(msgspec.Struct):
    """What an event is called."""

    id: str


_read_head = msgspec.json.Decoder(_Head).decode
_read_id = msgspec.json.Decoder(_Id).decode


class _Missing:
    """Stands for a value that is not there; of a class of its own, as `object` means any value in `FIELDS`."""


_MISSING = _Missing()


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
    if value.__class__ is not str and not _is_exact(value, max_depth):
        check_json(value, max_depth, path)
    try:
        return _encode_in_order(value) if in_order else _encode(value)
    except UnicodeEncodeError as error:
        raise InvalidEvent(f"{path} holds text that is no Unicode: {error.reason}") from None


# Other numbers have values that have to be looked at.
_PLAIN = frozenset((str, bool, type(None)))


def _is_exact(value: Any, max_depth: int) -> bool:
    """`check_json` without words: for each event, where nearly always all is well."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is dict:
        if max_depth <= 0:
            return False
        for key, item in value.items():
            if type(key) is not str or (type(item) not in _PLAIN and not _is_exact(item, max_depth - 1)):
                return False
        return True
    if kind is list or kind is tuple:
        return max_depth > 0 and all(_is_exact(item, max_depth - 1) for item in value)
    if kind is int:
        return bool(-MAX_INT <= value <= MAX_INT)
    return kind is float and math.isfinite(value)


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
