"""Both ends' state tables, pair by pair: what the protocol objects do against what is written down here.

The expectations are written by hand, not read from the tables, and what drives the objects are frames and times,
not the tables' inputs.
"""

from collections.abc import Callable, Mapping

import pytest

from callboard.actors import Limits as NodeLimits
from callboard.transport.protocol import (
    CLIENT_TABLE,
    SERVER_TABLE,
    Ack,
    ClientInput,
    ClientProtocol,
    ClientState,
    CloseCode,
    CommandError,
    Gap,
    Goaway,
    LocalStateError,
    MustReconnect,
    Ping,
    Pong,
    ProtocolError,
    Refused,
    Result,
    ServerInput,
    ServerProtocol,
    ServerState,
    encode,
)

from .samples import DEVICE, TICKET, command, events, hello, welcome

LIMITS = NodeLimits()
NOW = 1_000.0

# --- the server's end ---------------------------------------------------------------------------------------

# Columns: AWAIT_HELLO, AWAIT_VERDICT, OPEN, DRAINING, CLOSED. A state: the connection goes on there. A number: it
# is refused with that code. "same": nothing follows. "bug": the caller is told that it made a mistake.
SERVER_EXPECTED: Mapping[ServerInput, tuple[str | int, ...]] = {
    ServerInput.HELLO: ("AWAIT_VERDICT", 4002, 4002, 4002, "same"),
    ServerInput.ACK: (4002, 4002, "OPEN", "DRAINING", "same"),
    ServerInput.COMMAND: (4002, 4002, "OPEN", "DRAINING", "same"),
    ServerInput.PONG: (4002, 4002, "OPEN", "DRAINING", "same"),
    ServerInput.UNKNOWN_TYPE: (4002, 4002, "OPEN", "DRAINING", "same"),
    ServerInput.BAD_FRAME: (4001, 4001, 4001, 4001, "same"),
    ServerInput.TOO_BIG: (4007, 4007, 4007, 4007, "same"),
    ServerInput.HELLO_LATE: (4105, "same", "same", "same", "same"),
    ServerInput.FLOOD: (4002, 4002, 4102, 4102, "same"),
    ServerInput.SILENCE: (4105, "same", 4201, 4201, "same"),
    ServerInput.WELCOME: ("bug", "OPEN", "bug", "bug", "bug"),
    ServerInput.DRAIN: (4200, 4200, "DRAINING", "DRAINING", "same"),
    ServerInput.CLOSE: ("CLOSED", "CLOSED", "CLOSED", "CLOSED", "same"),
}


def server_in(state: ServerState) -> ServerProtocol:
    """A server brought to that state by frames and words of its caller."""
    protocol = ServerProtocol(LIMITS, NOW)
    if state is not ServerState.AWAIT_HELLO:
        protocol.receive(hello(), NOW)
    if state not in (ServerState.AWAIT_HELLO, ServerState.AWAIT_VERDICT):
        protocol.welcomed(NOW)
    if state is ServerState.DRAINING:
        protocol.draining()
    if state is ServerState.CLOSED:
        protocol.closed()
    assert protocol.state is state
    return protocol


def flood(protocol: ServerProtocol) -> object:
    """Send commands until the connection is refused."""
    answers = [protocol.receive(command(number), NOW) for number in range(1, 2 * LIMITS.burst + 2)]
    return next((answer for answer in answers if isinstance(answer, Refused)), None)


def stay_silent(protocol: ServerProtocol) -> object:
    """Let time pass from deadline to deadline until the connection is refused."""
    for _ in range(9):
        due = protocol.next_deadline()
        for said in protocol.tick(due):
            if isinstance(said, Refused):
                return said
    return None


def late(protocol: ServerProtocol) -> object:
    """Look at the clock when the hello is late."""
    return protocol.expired(NOW + LIMITS.hello_seconds)


SERVER_DRIVERS: Mapping[ServerInput, Callable[[ServerProtocol], object]] = {
    ServerInput.HELLO: lambda protocol: protocol.receive(hello(), NOW),
    ServerInput.ACK: lambda protocol: protocol.receive(encode(Ack(1)).decode(), NOW),
    ServerInput.COMMAND: lambda protocol: protocol.receive(command(1), NOW),
    ServerInput.PONG: lambda protocol: protocol.receive(encode(Pong(1)).decode(), NOW),
    ServerInput.UNKNOWN_TYPE: lambda protocol: protocol.receive('{"t":"dance"}', NOW),
    ServerInput.BAD_FRAME: lambda protocol: protocol.receive("{", NOW),
    ServerInput.TOO_BIG: lambda protocol: protocol.receive(" " * (LIMITS.frame_bytes + 1), NOW),
    ServerInput.HELLO_LATE: late,
    ServerInput.FLOOD: flood,
    ServerInput.SILENCE: stay_silent,
    ServerInput.WELCOME: lambda protocol: protocol.welcomed(NOW),
    ServerInput.DRAIN: lambda protocol: protocol.draining(),
    ServerInput.CLOSE: lambda protocol: protocol.closed(),
}


@pytest.mark.parametrize("given", ServerInput, ids=lambda given: given.name)
@pytest.mark.parametrize("column, state", list(enumerate(ServerState)), ids=lambda value: getattr(value, "name", ""))
def test_what_the_server_does_in_each_state_with_each_input(
    column: int, state: ServerState, given: ServerInput
) -> None:
    """A refusal leaves the connection closed, whatever it was."""
    expected = SERVER_EXPECTED[given][column]
    protocol = server_in(state)
    if expected == "bug":
        with pytest.raises(LocalStateError, match=f"{given.name} in state {state.name}, allowed are"):
            SERVER_DRIVERS[given](protocol)
        assert protocol.state is state
        return
    answer = SERVER_DRIVERS[given](protocol)
    if isinstance(expected, int):
        assert isinstance(answer, Refused)
        assert answer.code is CloseCode(expected)
        assert answer.reason.startswith(answer.code.reason)
        assert protocol.state is ServerState.CLOSED
    else:
        assert not isinstance(answer, Refused)
        assert protocol.state.name == (state.name if expected == "same" else expected)


def test_the_server_table_holds_what_was_expected_and_no_more() -> None:
    """No entry stands in the table that the test above has not seen at work."""
    names = {
        (state, given): SERVER_EXPECTED[given][column]
        for column, state in enumerate(ServerState)
        for given in ServerInput
    }
    for state, row in SERVER_TABLE.items():
        for given, after in row.items():
            expected = names[state, given]
            if expected == "same":
                assert after is state
            else:
                assert expected == (int(after) if isinstance(after, CloseCode) else after.name)


# --- the client's end ---------------------------------------------------------------------------------------

# Columns: DISCONNECTED, AWAIT_WELCOME, OPEN, BROKEN. A state: the input counts, and the client is there
# afterwards; "drop": nothing follows, as if it had not come.
CLIENT_EXPECTED: Mapping[ClientInput, tuple[str, ...]] = {
    ClientInput.SAY_HELLO: ("AWAIT_WELCOME", "AWAIT_WELCOME", "AWAIT_WELCOME", "AWAIT_WELCOME"),
    ClientInput.CLOSE: ("DISCONNECTED", "DISCONNECTED", "DISCONNECTED", "DISCONNECTED"),
    ClientInput.WELCOME: ("drop", "OPEN", "BROKEN", "drop"),
    ClientInput.EVENTS: ("drop", "drop", "OPEN", "drop"),
    ClientInput.GAP: ("drop", "drop", "OPEN", "drop"),
    ClientInput.RESULT: ("drop", "drop", "OPEN", "drop"),
    ClientInput.ERROR: ("drop", "drop", "OPEN", "drop"),
    ClientInput.PING: ("drop", "drop", "OPEN", "drop"),
    ClientInput.GOAWAY: ("drop", "drop", "OPEN", "drop"),
    ClientInput.UNKNOWN_TYPE: ("drop", "drop", "drop", "drop"),
    ClientInput.BAD_FRAME: ("drop", "BROKEN", "BROKEN", "drop"),
    ClientInput.BREACH: ("drop", "drop", "BROKEN", "drop"),
    ClientInput.SILENCE: ("drop", "drop", "BROKEN", "drop"),
}


def client_in(state: ClientState) -> ClientProtocol:
    """A client brought to that state by frames and words of its caller."""
    protocol = ClientProtocol(DEVICE, "test")
    if state is ClientState.DISCONNECTED:
        return protocol
    protocol.hello(TICKET)
    if state is not ClientState.AWAIT_WELCOME:
        protocol.command("user_message", {"text": "hi"})
        protocol.receive(encode(welcome()), NOW)
    if state is ClientState.BROKEN:
        protocol.receive(b"{", NOW)
    assert protocol.state is state
    return protocol


def said_by(frame: bytes) -> Callable[[ClientProtocol], list[object]]:
    """Let the server send that frame."""
    return lambda protocol: [*protocol.receive(frame, NOW)]


def say_hello(protocol: ClientProtocol) -> list[object]:
    """Begin another connection."""
    return [protocol.hello(TICKET)]


def close(protocol: ClientProtocol) -> list[object]:
    """Say that the connection has ended."""
    protocol.closed()
    return ["closed"]


BUSY = CommandError(code="busy", message="", retry=False)
CLIENT_DRIVERS: Mapping[ClientInput, Callable[[ClientProtocol], list[object]]] = {
    ClientInput.SAY_HELLO: say_hello,
    ClientInput.CLOSE: close,
    ClientInput.WELCOME: said_by(encode(welcome())),
    ClientInput.EVENTS: said_by(events(1)),
    ClientInput.GAP: said_by(encode(Gap(from_seq=1, to_seq=2, reason="retention"))),
    ClientInput.RESULT: said_by(encode(Result(id=1, error=BUSY))),
    ClientInput.ERROR: said_by(encode(ProtocolError(code="unknown_type", message=""))),
    ClientInput.PING: said_by(encode(Ping(0))),
    ClientInput.GOAWAY: said_by(encode(Goaway(reason="deploy", in_ms=0, by_ms=0))),
    ClientInput.UNKNOWN_TYPE: said_by(b'{"t":"dance"}'),
    ClientInput.BAD_FRAME: said_by(b"{"),
    ClientInput.BREACH: said_by(events(2)),
    ClientInput.SILENCE: lambda protocol: [*protocol.tick(NOW + 35)],
}


@pytest.mark.parametrize("given", ClientInput, ids=lambda given: given.name)
@pytest.mark.parametrize("column, state", list(enumerate(ClientState)), ids=lambda value: getattr(value, "name", ""))
def test_what_the_client_does_in_each_state_with_each_input(
    column: int, state: ClientState, given: ClientInput
) -> None:
    """What is dropped changes nothing, and only what breaks a connection tells to reconnect."""
    expected = CLIENT_EXPECTED[given][column]
    protocol = client_in(state)
    before = protocol.position
    said = CLIENT_DRIVERS[given](protocol)
    if expected == "drop":
        assert said == []
        assert protocol.state is state
        assert protocol.position == before
    else:
        assert len(said) == 1
        assert protocol.state.name == expected
        assert isinstance(said[0], MustReconnect) is (expected == "BROKEN")


def test_the_client_table_is_whole_and_as_expected() -> None:
    """Whatever a server says in whatever state has its entry."""
    for column, state in enumerate(ClientState):
        for given in ClientInput:
            after = CLIENT_TABLE[state][given]
            assert ("drop" if after is None else after.name) == CLIENT_EXPECTED[given][column], (state, given)
