"""Text to message: whatever a peer writes ends in a message or in one of three errors."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callboard.transport.protocol import (
    Ack,
    BadFrame,
    CloseCode,
    Command,
    Events,
    FrameTooBig,
    Hello,
    UnknownType,
    decode_client,
    decode_server,
    encode,
    events_parts,
)

from .samples import DEVICE, command, hello, record
from .session_model import record_bytes

MAX_BYTES, MAX_DEPTH = 400, 6

# Pieces that a hostile frame might be made of, besides plain noise.
PIECES = st.sampled_from(
    [
        *('{"t":"ack","seq":', '{"t":"command","id":1,"op":"x","data":', '{"t":"', '{"t":5', '"t":"hello"', "}", "]"),
        *("{", "[", '"', "\\", ",", ":", "1", "-", "1e999", "NaN", "Infinity", "null", "true", "9" * 30, '"a":'),
        *('"\\ud800"', '"\\udc00"', '"\\u0000"', '"\\ud83d\\ude00"', "\ufeff", "\u20ac", "\ud800", "\x00", " ", "\n"),
        *("[" * 50, "]" * 50, '{"a":' * 50, "}" * 50, command(1), hello()),
    ]
)
ANY_TEXT = st.text(st.characters(), max_size=80)
HOSTILE = st.lists(PIECES | st.text(st.characters(), max_size=3), max_size=12).map("".join)


def read(text: str | bytes) -> object:
    """Decode with the bounds of this file."""
    return decode_client(text, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)


def not_json(constant: str) -> object:
    """Refuse what the standard library takes beyond JSON."""
    raise ValueError(constant)


@given(st.one_of(ANY_TEXT, HOSTILE, st.binary(max_size=80), HOSTILE.map(lambda text: text.encode("utf-8", "replace"))))
@example(b'{"t":"ack","seq":1,"x":"\xff"}')
@example(b'{"t":"ack","seq":1,"x":"\xed\xa0\x80"}')
@example('{"t":"ack","seq":1,"x":"\ud800"}')
@example('{"t":"ack","seq":1}' + " " * 400)
def test_a_frame_is_a_message_or_one_of_three_errors(frame: str | bytes) -> None:
    """Nothing else is ever raised, and nothing is taken that a strict reader of JSON would refuse."""
    try:
        message = read(frame)
    except (FrameTooBig, BadFrame, UnknownType):
        return
    text = frame if isinstance(frame, str) else frame.decode("utf-8")
    plain = json.loads(text, parse_constant=not_json)
    assert json.loads(encode(message)).items() <= ({"data": {}} | plain).items()  # type: ignore[arg-type]


@given(st.one_of(ANY_TEXT, HOSTILE, st.binary(max_size=80)))
def test_a_server_frame_is_a_message_or_one_of_two_errors(frame: str | bytes) -> None:
    """A client outlives a server that talks nonsense."""
    try:
        message = decode_server(frame)
    except (BadFrame, UnknownType):
        return
    assert json.loads(encode(message))["t"] == json.loads(frame)["t"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "truncated"),
        ("{", "truncated"),
        ("[]", "Expected `object`, got `array`"),
        ("5", "Expected `object`, got `int`"),
        ("{}", "missing required field `t`"),
        ('{"t":5}', "Expected `str`"),
        ('{"t":null}', "Expected `str`"),
        ('{"t":"ack","seq":1}{}', "trailing characters"),
        ('{"t":"ack","seq":NaN}', "invalid character"),
        ('{"t":"ack","seq":1,"x":Infinity}', "invalid character"),
        ('{"t":"command","id":1,"op":"x","data":{"a":1e999}}', "Number out of range"),
        ('{"t":"ack","seq":1,"x":"\\ud800\\u0041"}', "surrogate"),
        ('{"t":"ack","seq":1,"x":"\\udc00"}', "surrogate"),
        ('{"t":"ack","seq":1,"x":"\ud800"}', "not valid UTF-8"),
        (b'{"t":"ack","seq":1,"x":"\xff"}', "not valid UTF-8"),
        (b'{"t":"ack","seq":1,"x":"\xed\xa0\x80"}', "not valid UTF-8"),
        (b'\xef\xbb\xbf{"t":"ack","seq":1}', "malformed"),
        ('{"t":"ack","seq":"1"}', "Expected `int`, got `str` - at `\\$.seq`"),
        ('{"t":"ack","x":' + "[" * 6 + "]" * 6 + ',"seq":1}', "deeper than 6"),
    ],
)
def test_what_is_no_message_is_a_bad_frame(text: str | bytes, message: str) -> None:
    """And the error says what is wrong with it."""
    with pytest.raises(BadFrame, match=message) as caught:
        read(text)
    assert caught.value.close_code is CloseCode.BAD_FRAME


def test_an_unknown_type_is_told_from_a_bad_frame() -> None:
    """A newer client may ask for what we do not know; it is answered, not closed."""
    with pytest.raises(UnknownType, match="unknown t 'dance', known are ack, command, hello, pong") as caught:
        read('{"steps":[1,2],"t":"dance"}')
    assert caught.value.type == "dance"


def test_a_broken_frame_of_unknown_type_is_a_bad_frame() -> None:
    """Only what can be read can be answered."""
    with pytest.raises(BadFrame):
        read('{"t":"dance","steps":[1,')


def test_an_unknown_type_is_repeated_in_part_only() -> None:
    """A peer does not decide how long our answers and log lines are."""
    with pytest.raises(UnknownType) as caught:
        read('{"t":"' + "d" * 300 + '"}')
    assert caught.value.type == "d" * 40
    assert len(str(caught.value)) < 120


def test_a_server_type_is_unknown_to_a_server() -> None:
    """The two directions have different messages."""
    with pytest.raises(UnknownType):
        read('{"t":"ping","seq":1}')
    with pytest.raises(UnknownType, match="known are error, events, gap, goaway, ping, result, welcome"):
        decode_server('{"t":"ack","seq":1}')


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u20ac", "\U0001f600"])
def test_size_is_counted_in_bytes_exactly(letter: str) -> None:
    """A character may take four; the bound belongs to what is allowed."""
    frame = json.dumps({"t": "ack", "seq": 1, "x": letter * 20}, ensure_ascii=False)
    size = len(frame.encode())
    for form in (frame, frame.encode()):
        assert decode_client(form, max_bytes=size, max_depth=1) == Ack(1)
        with pytest.raises(FrameTooBig, match=f"allowed are {size - 1}") as caught:
            decode_client(form, max_bytes=size - 1, max_depth=1)
        assert caught.value.close_code is CloseCode.TOO_BIG


def test_a_frame_too_big_is_not_looked_at() -> None:
    """Its size is the first thing that is judged, even where it holds no valid text."""
    with pytest.raises(FrameTooBig):
        decode_client("\ud800" * 10_000_000, max_bytes=65_536, max_depth=32)


@pytest.mark.parametrize("frame", ["[" * 65_000, '{"t":"ack","x":' + "[" * 60_000, '{"a":' * 13_000])
def test_depth_beyond_any_stack_is_a_bad_frame(frame: str) -> None:
    """No recursion error escapes, with a bound that the stack could not hold either."""
    with pytest.raises(BadFrame):
        decode_client(frame, max_bytes=65_536, max_depth=32)
    with pytest.raises(BadFrame):
        decode_client(frame, max_bytes=65_536, max_depth=100_000)
    with pytest.raises(BadFrame):
        decode_server(frame)


def test_an_unknown_type_in_front_of_a_deep_frame_is_a_bad_frame() -> None:
    """The second look, at the type alone, is as careful as the first."""
    frame = '{"t":"dance","x":' + "[" * 60_000 + "]" * 60_000 + "}"
    with pytest.raises(BadFrame):
        decode_server(frame)


@given(st.integers(min_value=1, max_value=60), st.booleans())
def test_the_depth_bound_counts_the_frame_itself(depth: int, is_map: bool) -> None:
    """A command whose data is nested to the bound is taken, one level more is not."""
    inner: object = {"leaf": "[[{{"}
    for _ in range(depth - 1):
        inner = {"a": inner} if is_map else {"a": [inner]}
    text = json.dumps({"t": "command", "id": 1, "op": "x", "data": inner})
    levels = 2 + (depth - 1) * (1 if is_map else 2)
    message = decode_client(text, max_bytes=65_536, max_depth=levels)
    assert message == Command(id=1, op="x", data=inner)  # type: ignore[arg-type]
    with pytest.raises(BadFrame, match=f"deeper than {levels - 1} levels"):
        decode_client(text, max_bytes=65_536, max_depth=levels - 1)


def test_keys_come_in_any_order_and_unknown_ones_are_ignored() -> None:
    """A map has no order, and a newer client may say more."""
    text = f'{{"client":"c","x":{{"t":"ack"}},"device":"{DEVICE}","ticket":"k","t":"hello","merge":true}}'
    assert read(text) == Hello(ticket="k", device=DEVICE, client="c", merge=True)


@given(st.lists(st.integers(min_value=1, max_value=1_000), max_size=20))
def test_spliced_records_are_what_was_encoded_one_by_one(seqs: list[int]) -> None:
    """An event is encoded once and never parsed again on its way."""
    records = [record(seq) for seq in seqs]
    spliced = b"".join(events_parts([record_bytes(item) for item in records]))
    assert spliced == encode(Events(tuple(records)))
    assert decode_server(spliced) == Events(tuple(records))
