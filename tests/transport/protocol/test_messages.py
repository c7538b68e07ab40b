"""Names, types and bounds of every key, and what stands on the wire."""

import gc
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.protocol import (
    MAX_INTEGER,
    Ack,
    BadFrame,
    ClientMessage,
    Command,
    CommandError,
    Events,
    Gap,
    Goaway,
    Hello,
    Ping,
    Pong,
    ProtocolError,
    Result,
    ServerMessage,
    Start,
    WireRecord,
    decode_client,
    decode_server,
    encode,
)

from .samples import DEVICE, EPOCH, as_text, events, record, welcome

HELLO: dict[str, object] = {"t": "hello", "ticket": "k", "device": DEVICE, "client": "test"}
COMMAND: dict[str, object] = {"t": "command", "id": 1, "op": "cancel", "run": "r", "data": {}}
WELCOME: dict[str, Any] = json.loads(encode(welcome()))
RECORD: dict[str, object] = {"seq": 1, "id": "r/1", "type": "x.y", "at": 5, "data": None}


def read(message: dict[str, object]) -> ClientMessage:
    """Decode a frame as any other client would write it."""
    return decode_client(as_text(message), max_bytes=65_536, max_depth=32)


@pytest.mark.parametrize(
    "keys, start",
    [
        ({}, None),
        ({"start": None}, None),
        ({"start": "first"}, "first"),
        ({"start": {"last": 0}}, Start(last=0)),
        ({"start": {"last": MAX_INTEGER}}, Start(last=MAX_INTEGER)),
        ({"start": {"epoch": EPOCH, "seq": 0}}, Start(epoch=EPOCH, seq=0)),
        ({"start": {"epoch": EPOCH, "seq": 7, "new": 1}}, Start(epoch=EPOCH, seq=7)),
    ],
)
def test_the_forms_of_start(keys: dict[str, object], start: object) -> None:
    """A position, the last n, everything, or the server's default."""
    message = read(HELLO | keys)
    assert message == Hello(ticket="k", device=DEVICE, client="test", start=start)  # type: ignore[arg-type]


def test_a_start_with_a_position_names_it() -> None:
    """The other form has none."""
    assert Start(epoch=EPOCH, seq=7).position == (EPOCH, 7)
    assert Start(last=7).position is None


BAD_STARTS: list[object] = [
    *("last", 5, [], {}, {"last": -1}, {"last": 1.5}, {"last": MAX_INTEGER + 1}),
    *({"epoch": EPOCH}, {"seq": 1}, {"epoch": EPOCH, "seq": 1, "last": 1}, {"epoch": EPOCH, "seq": -1}),
    *({"epoch": "e1", "seq": 1}, {"epoch": EPOCH.upper(), "seq": 1}),
]
BAD_IN_HELLO: dict[str, list[object]] = {
    "start": BAD_STARTS,
    "ticket": ["", "k" * 513, None],
    "device": [DEVICE[1:], DEVICE + "0", DEVICE + "\n", DEVICE.upper(), 5],
    "client": ["c" * 201, None],
    "merge": [1, None],
}
BAD_IN_COMMAND: dict[str, list[object]] = {
    "id": [0, -1, MAX_INTEGER + 1, 10**30, 1.0, "1", True, None],
    "op": ["", "o" * 65, 1, None],
    "run": ["", "r" * 129, 1],
    "data": ["text", [], 1, None],
}


@pytest.mark.parametrize("key, value", [(key, value) for key, values in BAD_IN_HELLO.items() for value in values])
def test_a_hello_out_of_bounds_is_a_bad_frame(key: str, value: object) -> None:
    """Each key has its own bound."""
    with pytest.raises(BadFrame, match=rf"at `\$\.{key}"):
        read(HELLO | {key: value})


@pytest.mark.parametrize("missing", ["ticket", "device", "client", "t"])
def test_a_hello_has_all_its_keys(missing: str) -> None:
    """Only `start` and `merge` may be left out."""
    with pytest.raises(BadFrame, match=f"missing required field `{missing}`"):
        read({key: value for key, value in HELLO.items() if key != missing})


@pytest.mark.parametrize("key, value", [(key, value) for key, values in BAD_IN_COMMAND.items() for value in values])
def test_a_command_out_of_bounds_is_a_bad_frame(key: str, value: object) -> None:
    """Each key has its own bound."""
    with pytest.raises(BadFrame, match=rf"at `\$\.{key}"):
        read(COMMAND | {key: value})


def test_a_command_at_its_bounds_is_taken() -> None:
    """The bounds belong to what is allowed; `run` and `data` may be left out."""
    keys: dict[str, object] = {"t": "command", "id": MAX_INTEGER, "op": "o" * 64}
    assert read(keys | {"run": "r" * 128}) == Command(id=MAX_INTEGER, op="o" * 64, run="r" * 128, data={})
    assert read(keys) == Command(id=MAX_INTEGER, op="o" * 64)


@pytest.mark.parametrize("kind, message", [("ack", Ack), ("pong", Pong)])
def test_positions_are_counted_from_nothing_to_the_largest_integer(kind: str, message: type[Ack] | type[Pong]) -> None:
    """0 is the position of who has applied nothing."""
    assert read({"t": kind, "seq": 0}) == message(0)
    assert read({"t": kind, "seq": MAX_INTEGER}) == message(MAX_INTEGER)
    for seq in (-1, MAX_INTEGER + 1, 0.5, "0", None):
        with pytest.raises(BadFrame):
            read({"t": kind, "seq": seq})


@pytest.mark.parametrize(
    "message, keys",
    [
        (Hello(ticket="k", device=DEVICE, client="c"), {"ticket": "k", "device": DEVICE, "client": "c"}),
        (Command(id=1, op="cancel"), {"id": 1, "op": "cancel", "data": {}}),
        (Command(id=1, op="x", run="r", data={"a": None}), {"id": 1, "op": "x", "run": "r", "data": {"a": None}}),
        (Result(id=1, ok={}), {"id": 1, "ok": {}}),
        (Result(id=1, ok=None, seq=4), {"id": 1, "ok": None, "seq": 4}),
        (
            Result(id=1, error=CommandError(code="busy", message="m", retry=False)),
            {"id": 1, "error": {"code": "busy", "message": "m", "retry": False}},
        ),
        (Gap(from_seq=3, to_seq=9, reason="retention"), {"from": 3, "to": 9, "reason": "retention"}),
        (ProtocolError(code="unknown_type", message="m"), {"t": "error", "code": "unknown_type", "message": "m"}),
        (Goaway(reason="deploy", in_ms=0, by_ms=5), {"reason": "deploy", "in_ms": 0, "by_ms": 5}),
        (Ping(5), {"seq": 5}),
    ],
)
def test_what_stands_on_the_wire(message: ClientMessage | ServerMessage, keys: dict[str, object]) -> None:
    """Keys without a value are absent, and `data` never is."""
    tag = {"t": type(message).__name__.lower()}
    assert json.loads(encode(message)) == tag | keys


def test_the_keys_of_welcome() -> None:
    """All that the protocol's table names, and nothing else."""
    limits = {"frame_bytes", "depth", "commands_per_s", "burst", "runs", "history"}
    assert WELCOME["t"] == "welcome"
    assert set(WELCOME) == {
        *("t", "session", "connection", "epoch", "first", "head", "from", "mode"),
        *("last_id", "heartbeat_ms", "timeout_ms", "limits", "server"),
    }
    assert set(WELCOME["limits"]) == limits


@pytest.mark.parametrize(
    "frame",
    [
        WELCOME | {"mode": "resume"},
        WELCOME | {"from": 0},
        WELCOME | {"epoch": "e"},
        {"t": "gap", "from": 5, "to": 4, "reason": "retention"},
        {"t": "result", "id": 1},
        {"t": "result", "id": 1, "ok": {}, "error": {"code": "busy", "message": "", "retry": False}},
        *({"t": "events", "events": [RECORD | {"seq": seq}]} for seq in (0, [2, 1], [0, 1], [1], [1, 2, 3], "1")),
        {"t": "events", "events": [RECORD | {"seq": MAX_INTEGER + 1}]},
        {"t": "events", "events": {}},
    ],
)
def test_a_server_that_breaks_its_bounds_is_not_believed(frame: dict[str, object]) -> None:
    """A client must not move its position by such a frame."""
    with pytest.raises(BadFrame):
        decode_server(as_text(frame))


def test_a_newer_server_may_add_keys() -> None:
    """They are ignored, in records and limits too."""
    newer = WELCOME | {"motd": "hi", "limits": WELCOME["limits"] | {"new": 1}}
    assert decode_server(as_text(newer)) == welcome()
    assert decode_server(as_text({"t": "events", "events": [RECORD | {"by": {"x": 1}}]})) == Events(
        (WireRecord(seq=1, id="r/1", type="x.y", at=5, data=None),)
    )


def test_a_merged_record_names_its_stretch() -> None:
    """A plain one is a stretch of one; decoders stay sound when the garbage collector looks at them."""
    message = decode_server(events(4, (5, 9)))
    gc.collect()
    assert isinstance(message, Events)
    assert [(item.first, item.last) for item in message.events] == [(4, 4), (5, 9)]
    assert message.events == (record(4), record((5, 9)))


def test_messages_cannot_be_changed() -> None:
    """They are handed on by reference."""
    with pytest.raises(AttributeError):
        Ack(1).seq = 2  # type: ignore[misc]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNTS = st.integers(min_value=0, max_value=MAX_INTEGER)
NUMBERS = st.integers(min_value=1, max_value=MAX_INTEGER)
EPOCHS = st.text(st.sampled_from("0123456789abcdef"), min_size=16, max_size=16)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    # A float that is whole is read back as one: JSON keeps its point.
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
STARTS = st.none() | st.just("first") | st.builds(Start, last=COUNTS) | st.builds(Start, epoch=EPOCHS, seq=COUNTS)
STRETCHES = st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair)))
RECORDS = st.builds(
    WireRecord, seq=NUMBERS | STRETCHES, id=TEXTS, type=TEXTS, run=st.none() | TEXTS, at=COUNTS, data=JSON
)
CLIENT_MESSAGES = st.one_of(
    st.builds(
        Hello, ticket=TEXTS.filter(bool), device=st.just(DEVICE), client=TEXTS, start=STARTS, merge=st.booleans()
    ),
    st.builds(Ack, COUNTS),
    st.builds(Pong, COUNTS),
    st.builds(
        Command,
        id=NUMBERS,
        op=TEXTS.filter(bool),
        run=st.none() | TEXTS.filter(bool),
        data=st.dictionaries(TEXTS, JSON, max_size=3),
    ),
)
SERVER_MESSAGES = st.one_of(
    st.builds(welcome, st.sampled_from(["replay", "fresh", "reset"]), from_seq=NUMBERS, head=COUNTS, epoch=EPOCHS),
    st.builds(Events, st.lists(RECORDS, max_size=3).map(tuple)),
    STRETCHES.flatmap(lambda pair: st.builds(Gap, from_seq=st.just(pair[0]), to_seq=st.just(pair[1]), reason=TEXTS)),
    st.builds(Result, id=NUMBERS, ok=JSON, seq=st.none() | NUMBERS),
    st.builds(Result, id=NUMBERS, error=st.builds(CommandError, code=TEXTS, message=TEXTS, retry=st.booleans())),
    st.builds(ProtocolError, code=TEXTS, message=TEXTS),
    st.builds(Ping, COUNTS),
    st.builds(Goaway, reason=TEXTS, in_ms=COUNTS, by_ms=COUNTS),
)


@given(CLIENT_MESSAGES)
def test_every_client_message_is_read_as_it_was_written(message: ClientMessage) -> None:
    """Nothing is lost or changed between the two ends."""
    assert decode_client(encode(message), max_bytes=65_536, max_depth=32) == message


@given(SERVER_MESSAGES)
def test_every_server_message_is_read_as_it_was_written(message: ServerMessage) -> None:
    """Nothing is lost or changed between the two ends."""
    assert decode_server(encode(message)) == message


def test_each_message_names_its_type_as_the_table_does() -> None:
    """The class names are ours, the tags are the protocol's."""
    assert {kind.__struct_config__.tag for kind in (Hello, Ack, Command, Pong)} == {"hello", "ack", "command", "pong"}
    assert msgspec.json.decode(encode(ProtocolError(code="c", message="m")))["t"] == "error"
