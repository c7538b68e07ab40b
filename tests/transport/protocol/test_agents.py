"""The node's end of a worker's connection, pair by pair, and the messages of both sides."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.transport.protocol import (
    AgentsProtocol,
    BadFrame,
    CloseCode,
    FrameTooBig,
    RunCancel,
    RunEnd,
    RunEvent,
    RunExchange,
    RunOrder,
    RunRefused,
    RunSettled,
    UnknownType,
    WorkerGoaway,
    WorkerHello,
    WorkerPing,
    WorkerPong,
    WorkerWelcome,
    decode_node,
    encode_agents,
)

ID = "e" * 32
HELLO = {"t": "hello", "worker": ID, "client": "c", "agents": {"lab": {}}, "capacity": 1}
EVENT = {"t": "event", "run": "r", "attempt": 1, "n": 1, "type": "x.a", "data": {}}
END = {"t": "end", "run": "r", "attempt": 1, "n": 1}
NOW = 1_000.0


def fresh() -> AgentsProtocol:
    """A connection that was just accepted."""
    return AgentsProtocol(
        hello_seconds=5, heartbeat_seconds=25, timeout_seconds=10, max_bytes=1_000, max_depth=5, now=NOW
    )


def opened() -> AgentsProtocol:
    """One that has said hello."""
    protocol = fresh()
    assert isinstance(protocol.receive(json.dumps(HELLO), NOW), WorkerHello)
    return protocol


def ended() -> AgentsProtocol:
    """One that has ended."""
    protocol = fresh()
    protocol.closed()
    return protocol


# What is said; and what follows before the hello, and after it: a type that is taken, a code, or nothing.
SAID: list[tuple[str | bytes, object, object]] = [
    (json.dumps(HELLO), WorkerHello, 4002),
    (json.dumps(EVENT), 4002, RunEvent),
    (json.dumps(END), 4002, RunEnd),
    ('{"t":"pong"}', 4002, WorkerPong),
    ('{"t":"future","x":1}', 4002, None),
    ("{", 4001, 4001),
    ("[]", 4001, 4001),
    (b'{"t":"pong"}', 4001, 4001),
    ('{"t":"pong","x":"\ud800"}', 4001, 4001),
    (json.dumps({**EVENT, "data": {"a": {"b": {"c": {"d": {}}}}}}), 4001, 4001),
    (json.dumps({**EVENT, "data": {"a": "x" * 1_000}}), 4007, 4007),
    (json.dumps({**HELLO, "worker": "e" * 31}), 4001, 4001),
    (json.dumps({**HELLO, "agents": {}}), 4001, 4001),
    (json.dumps({**HELLO, "capacity": 0}), 4001, 4001),
    (json.dumps({**HELLO, "capacity": 1_025}), 4001, 4001),
    (json.dumps({**EVENT, "n": 0}), 4001, 4001),
    (json.dumps({**EVENT, "n": 2**53}), 4001, 4001),
    (json.dumps({**EVENT, "attempt": True}), 4001, 4001),
    (json.dumps({**END, "error": {"code": "", "message": ""}}), 4001, 4001),
]


@pytest.mark.parametrize("data, before, after", SAID)
@pytest.mark.parametrize("state", ["before", "after", "ended"])
def test_what_follows_from_what_is_said(data: str | bytes, before: object, after: object, state: str) -> None:
    """Red if a frame is taken where it may not come, or ends the connection with another code; behind the end: deaf."""
    protocols: dict[str, Callable[[], AgentsProtocol]] = {"before": fresh, "after": opened, "ended": ended}
    protocol = protocols[state]()
    outcome = protocol.receive(data, NOW + 1)
    expected = {"before": before, "after": after, "ended": None}[state]
    if isinstance(expected, int):
        assert isinstance(outcome, tuple)
        assert outcome[0] == expected
        assert protocol.receive(json.dumps(HELLO), NOW + 1) is None, "it refuses once"
    elif expected is None:
        assert outcome is None
    else:
        assert type(outcome) is expected


def test_a_late_hello_and_a_lost_heartbeat() -> None:
    """To the second, and a ping in between; what is heard counts."""
    protocol = fresh()
    assert protocol.next_deadline() == NOW + 5
    assert protocol.tick(NOW + 4.9) is None
    assert protocol.tick(NOW + 5) == (CloseCode.HELLO_LATE, "")
    assert protocol.next_deadline() == float("inf")
    protocol = opened()
    assert protocol.tick(NOW + 24.9) is None
    assert protocol.tick(NOW + 25) == WorkerPing()
    assert isinstance(protocol.receive('{"t":"pong"}', NOW + 30), WorkerPong)
    protocol.sent(NOW + 30)
    assert protocol.tick(NOW + 55) == WorkerPing()
    assert protocol.next_deadline() == NOW + 65
    assert protocol.tick(NOW + 65) == (CloseCode.HEARTBEAT_LOST, "")
    assert protocol.tick(NOW + 99) is None


NODE: list[Any] = [
    WorkerWelcome(heartbeat_ms=1, timeout_ms=2, window=3, window_bytes=4, event_bytes=5, depth=6, server="callboard/0"),
    RunOrder(
        run="r",
        attempt=1,
        agent="lab",
        session="s",
        user="é",
        text="hi",
        history=[RunExchange(text="a", answer={"b": [1, None]})],
    ),
    RunSettled(run="r", attempt=1, n=2),
    RunRefused(run="r", attempt=1, n=2, message="no"),
    RunCancel(run="r", attempt=1, reason="fenced"),
    WorkerPing(),
    WorkerGoaway(by_ms=10_000),
]


@pytest.mark.parametrize("message", NODE)
def test_what_a_node_says_is_read_as_it_was_written(message: Any) -> None:
    """With keys of a newer node passed over."""
    assert decode_node(encode_agents(message)) == message
    newer = {**msgspec.json.decode(encode_agents(message)), "future": [1]}
    assert decode_node(json.dumps(newer)) == message


# S13
@given(st.one_of(st.binary(), st.text(), st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)).map(str)))
def test_nothing_that_a_peer_writes_raises_at_the_node(data: str | bytes) -> None:
    """It is taken, passed over, or the end."""
    for protocol in (fresh(), opened()):
        outcome = protocol.receive(data, NOW)
        assert outcome is None or isinstance(outcome, tuple | WorkerHello | RunEvent | RunEnd | WorkerPong)
    with contextlib.suppress(BadFrame, UnknownType, FrameTooBig):
        decode_node(data)
