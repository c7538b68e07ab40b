"""Events: what JSON and JavaScript hold exactly goes through unchanged, and nothing else does."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callboard.actors import Event, InvalidEvent, Record
from callboard.actors.events import FIELDS, MAX_INT, EventKind, check_json, encode_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INT, MAX_INT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
json_maps = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), json_values, max_size=4)

RIGHT: dict[str, dict[str, Any]] = {
    "agent_started": {"agent": "a", "input": "i", "by": "session"},
    "agent_thinking": {"text": "t"},
    "tool_executing": {"call": "c", "tool": "t", "arguments": {}},
    "tool_completed": {"call": "c", "tool": "t", "ok": True, "result": None, "duration_ms": 1.5},
    "agent_delta": {"text": "t"},
    "agent_completed": {"result": [1], "duration_ms": 0},
    "agent_error": {"code": "c", "message": "m", "by": "agent"},
    "agent_cancelled": {"by": "user", "reason": "r"},
}


def make(type: Any, data: Any, *, run: str | None = "r", id: str = "r/1", max_bytes: int = 10**6) -> Event:
    """An event with room."""
    return Event.make(id, type, run, data, max_bytes=max_bytes, max_depth=8)


class Odd:
    """What no JSON holds."""


class Loud:
    """Breaks whoever shows it."""

    def __repr__(self) -> str:
        raise RuntimeError("do not look at me")


def type_name(value: object) -> str:
    """A test's name for a value that may have none."""
    return type(value).__name__


def deep(levels: int) -> Any:
    """Lists in lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# S7
@settings(max_examples=200)
@given(json_maps, st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(1, MAX_INT))
def test_what_is_decoded_equals_what_was_said(data: dict[str, Any], word: str, seq: int) -> None:
    """S7. Red if any value is rounded, dropped or re-ordered on its way through event and record."""
    event = make("x.note", data, run=f"run {word}", id=f"{word}/7")
    record = Record.of(event, seq, 1_700_000_000_000)
    assert json.loads(record.encoded) == {
        "seq": seq,
        "at": 1_700_000_000_000,
        "id": f"{word}/7",
        "type": "x.note",
        "run": f"run {word}",
        "data": data,
    }
    assert list(json.loads(record.encoded)["data"]) == list(data)
    assert record.data() == data
    assert record.data() is not record.data()


def test_an_event_outside_of_runs_has_no_run() -> None:
    """Red if `run: null` is sent, which clients would take for a run."""
    assert "run" not in json.loads(Record.of(make("x.note", {}, run=None), 1, 2).encoded)


@pytest.mark.parametrize(
    "wrong",
    [
        math.nan, math.inf, -math.inf, 2**53, -(2**53), 10**5_000, b"bytes", bytearray(b"b"), {1, 2}, Odd(), Loud(), 1j,
        Odd, "\ud800", {"\udfff": 1}, {1: 2}, {None: 1}, {b"k": 1}, {("t",): 1}, {10**5_000: 1}, deep(9), deep(100_000),
        {"a": {"b": [1, {"c": math.nan}]}},
    ],
    ids=type_name,
)  # fmt: skip
def test_what_json_cannot_hold_is_refused(wrong: Any) -> None:
    """Red if it is rounded, escaped or stringified in silence, or breaks with anything but InvalidEvent."""
    with pytest.raises(InvalidEvent):
        make("x.note", {"value": wrong})
    with pytest.raises(InvalidEvent):
        make("agent_completed", {"result": wrong, "duration_ms": 0})


@pytest.mark.parametrize(
    "edge", [MAX_INT, -MAX_INT, 0, -0.0, 1e308, 5e-324, True, None, "", "\x00\u2028\U0010ffff", (1, (2,)), deep(7)]
)
def test_the_edges_of_what_json_holds_are_taken(edge: Any) -> None:
    """Red if a bound is off by one."""
    data = make("x.note", {"value": edge})
    expected = json.loads(json.dumps(edge))
    assert repr(Record.of(data, 1, 1).data()["value"]) == repr(expected)


@pytest.mark.parametrize("data", [None, 5, "text", [], [("a", 1)], Loud(), b"", deep(1_000)], ids=type_name)
def test_data_that_is_no_map_is_refused(data: Any) -> None:
    """Red if it breaks with another error, or is turned into a map."""
    with pytest.raises(InvalidEvent, match="has to be a dict"):
        make("x.note", data)


NO_TYPES: tuple[Any, ...] = (
    *("", "note", "agent_done", "x.", "x." + "a" * 63, "X.note", "x.\ud800", None, 5),
    *(["x.note"], {}, Loud(), b"x.note"),
)


@pytest.mark.parametrize("type", NO_TYPES, ids=type_name)
def test_types_that_are_not_are_refused(type: Any) -> None:
    """Red if a type that no page knows gets through."""
    with pytest.raises(InvalidEvent):
        make(type, {})


def test_the_longest_type_is_taken() -> None:
    """Red if the bound is off by one."""
    assert make("x." + "a" * 62, {}).type == "x." + "a" * 62


@pytest.mark.parametrize("type", sorted(RIGHT))
def test_each_type_needs_its_fields_of_their_kind(type: str) -> None:
    """S7. Red if an event can go out that a page cannot show."""
    assert set(RIGHT) == set(FIELDS)
    right = RIGHT[type]
    assert Record.of(make(type, {**right, "step": 3}), 1, 1).data() == {**right, "step": 3}
    for name, value in right.items():
        with pytest.raises(InvalidEvent, match=f"lacks '{name}'"):
            make(type, {key: other for key, other in right.items() if key != name})
        if isinstance(value, str):
            with pytest.raises(InvalidEvent, match="wrong kind"):
                make(type, {**right, name: Loud()})
    if "duration_ms" in right:
        for wrong in (True, "1", None, deep(5_000)):
            with pytest.raises(InvalidEvent, match="wrong kind"):
                make(type, {**right, "duration_ms": wrong})


def test_size_is_counted_in_bytes_of_json() -> None:
    """S13. Red if characters are counted, or the bound itself is refused."""
    text = "é" * 50
    encoded = len(json.dumps({"text": text}, ensure_ascii=False, separators=(",", ":")).encode())
    assert make("agent_delta", {"text": text}, max_bytes=encoded).type == "agent_delta"
    with pytest.raises(InvalidEvent, match=f"takes {encoded} bytes; {encoded - 1} are allowed"):
        make("agent_delta", {"text": text}, max_bytes=encoded - 1)


def test_a_refusal_names_the_place_and_shows_no_more_than_a_line() -> None:
    """Red if an author cannot find the value, or a megabyte of it goes into an error."""
    with pytest.raises(InvalidEvent, match=r"data\.a\.b\[1\]\.c is nan"):
        check_json({"a": {"b": [1, {"c": math.nan}]}}, 8)
    with pytest.raises(InvalidEvent) as refused:
        make("agent_thinking", {"text": ["x" * 10**6]})
    assert len(str(refused.value)) < 200
    with pytest.raises(InvalidEvent) as refused:
        make("y" * 10**6, {})
    assert len(str(refused.value)) < 400


def test_what_is_said_may_be_changed_afterwards() -> None:
    """Red if an event keeps the author's own dict."""
    data: dict[str, Any] = {"list": [1]}
    event = make("x.note", data)
    data["list"].append(2)
    data.clear()
    assert Record.of(event, 1, 1).data() == {"list": [1]}


def test_equal_maps_have_equal_bytes_in_order() -> None:
    """S5. Red if a command that is sent again with its keys in another order looks like another command."""
    left = encode_json({"b": {"y": 1, "x": 2}, "a": 1}, 8, in_order=True)
    right = encode_json({"a": 1, "b": {"x": 2, "y": 1}}, 8, in_order=True)
    assert left == right


class Text(str):
    """Text of a class of its own, which msgspec would encode."""


# What an agent's author may put into an event, the wrong things among them.
odd_values = st.one_of(
    json_values,
    st.text(max_size=30),
    st.text(st.characters(categories=["Cs", "Lu"]), max_size=2),
    st.sampled_from((MAX_INT, MAX_INT + 1, -MAX_INT - 1, float("nan"), b"", Odd(), Text("t"), {"a": {1: 2}}, True)),
)
odd_maps = st.dictionaries(st.sampled_from(("text", "a", "b", Text("text"), Text("a"), 7)), odd_values, max_size=3)


@settings(max_examples=400)
@example("x.n", {"a": MAX_INT}, 10**6, 8)
@example("x.n", {"a": MAX_INT + 1}, 10**6, 8)
@example("x.n", {"a": -MAX_INT - 1}, 10**6, 8)
@example("x.n", {Text("a"): 1}, 10**6, 8)
@example("x.n", {"a": Text("t")}, 10**6, 8)
@example("agent_delta", {"text": 1}, 10**6, 8)
@example("agent_delta", {"text": "\ud800"}, 10**6, 8)
@given(
    st.sampled_from((*RIGHT, "x.n")),
    st.one_of(odd_maps, odd_maps.map(lambda data: {"text": "t", **data}), st.sampled_from((None, [], "text"))),
    st.sampled_from((0, 30, 10**6)),
    st.sampled_from((0, 1, 2, 8)),
)
def test_the_short_way_of_a_flat_event_is_the_long_one(type: str, data: Any, max_bytes: int, max_depth: int) -> None:
    """Red if what is encoded in one stretch differs from what is looked at field by field, or is refused otherwise."""

    def outcome(make: Any, number: Any) -> Any:
        try:
            event = make(number, data)
        except InvalidEvent as error:
            return str(error)
        return event.id, event.type, event.run, event.call, event.tool, event.body

    kind = EventKind(type, "r/ü", max_bytes=max_bytes, max_depth=max_depth)
    assert outcome(kind.make_numbered, 12) == outcome(kind.make, "r/ü/12")
