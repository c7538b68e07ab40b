"""The server's end of one connection: frames in, events out, at exact times."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.actors import Limits as NodeLimits
from callboard.transport.protocol import (
    MAX_REASON_BYTES,
    Ack,
    AckReceived,
    Answer,
    CloseCode,
    Command,
    CommandReceived,
    Hello,
    HelloReceived,
    Ignored,
    LocalStateError,
    Pong,
    PongReceived,
    Refused,
    SendPing,
    ServerProtocol,
    ServerState,
    encode,
)

from .samples import DEVICE, TICKET, as_text, command, hello

LIMITS = NodeLimits()


def opened(limits: NodeLimits = LIMITS, now: float = 0.0) -> ServerProtocol:
    """A connection that was welcomed."""
    protocol = ServerProtocol(limits, now)
    assert isinstance(protocol.receive(hello(), now), HelloReceived)
    protocol.welcomed(now)
    return protocol


def answered(event: object) -> dict[str, object]:
    """The message that an answer carries."""
    assert isinstance(event, Answer)
    message: dict[str, object] = json.loads(event.frame)
    return message


def test_each_message_comes_out_as_it_was_written() -> None:
    """Before and after the verdict."""
    protocol = ServerProtocol(LIMITS, 0.0)
    said = Hello(ticket=TICKET, device=DEVICE, client="test")
    assert protocol.receive(hello(), 1.0) == HelloReceived(said)
    protocol.welcomed(1.0)
    expected = Command(id=3, op="user_message", data={"text": "hi"})
    assert protocol.receive(command(3), 2.0) == CommandReceived(expected)
    assert protocol.receive(encode(Ack(7)).decode(), 3.0) == AckReceived(7)
    assert protocol.receive(encode(Pong(8)).decode(), 4.0) == PongReceived(8)


def test_a_hello_is_late_at_its_deadline() -> None:
    """A moment before, it is taken."""
    assert isinstance(ServerProtocol(LIMITS, 10.0).receive(hello(), 14.999), HelloReceived)
    protocol = ServerProtocol(LIMITS, 10.0)
    assert protocol.deadline() == protocol.next_deadline() == 15.0
    assert protocol.expired(14.999) is None
    assert protocol.tick(14.999) == []
    assert protocol.receive(hello(), 15.0) == Refused(CloseCode.HELLO_LATE, "hello too late")
    assert protocol.deadline() == math.inf


def test_silence_before_the_hello_is_ended_by_the_clock() -> None:
    """A socket that says nothing costs no more than its hello's time."""
    protocol = ServerProtocol(LIMITS, 10.0)
    assert protocol.tick(15.0) == [Refused(CloseCode.HELLO_LATE, "hello too late")]
    assert protocol.tick(16.0) == []
    assert protocol.next_deadline() == math.inf


def test_nothing_is_due_while_the_verdict_is_awaited() -> None:
    """The time that the session takes is not the client's."""
    protocol = ServerProtocol(LIMITS, 0.0)
    protocol.receive(hello(), 0.0)
    assert protocol.next_deadline() == math.inf
    assert protocol.tick(1_000.0) == []
    protocol.welcomed(1_000.0)
    assert protocol.next_deadline() == 1_025.0


def test_binary_on_the_text_subprotocol_is_a_bad_frame() -> None:
    """Also where its bytes would be a fine hello."""
    protocol = ServerProtocol(LIMITS, 0.0)
    refused = Refused(CloseCode.BAD_FRAME, "bad frame: binary message on callboard.v1.json")
    assert protocol.receive(hello().encode(), 0.0) == refused


def test_a_refusal_says_what_was_wrong_and_fits_a_close_frame() -> None:
    """A developer reads it in the browser's console."""
    wrong = as_text({"t": "hello", "ticket": TICKET, "device": DEVICE, "client": "c", "start": "z" * 500})
    refused = ServerProtocol(LIMITS, 0.0).receive(wrong, 0.0)
    assert isinstance(refused, Refused)
    assert refused.reason.startswith("bad frame: Invalid enum value 'zzz")
    assert len(refused.reason.encode()) == MAX_REASON_BYTES
    refused = opened().receive(as_text({"t": "ack", "seq": "1"}), 0.0)
    assert refused == Refused(CloseCode.BAD_FRAME, "bad frame: Expected `int`, got `str` - at `$.seq`")


def test_limits_are_taken_from_the_configuration() -> None:
    """Size and depth are judged by the limits given, not by their defaults."""
    small = NodeLimits(frame_bytes=150, depth=3)
    assert opened(small).receive(" " * 151, 0.0) == Refused(
        CloseCode.TOO_BIG, "frame too big: 151 bytes or more, allowed are 150"
    )
    deep = as_text({"t": "command", "id": 1, "op": "x", "data": {"a": [[]]}})
    refused = opened(small).receive(deep, 0.0)
    assert isinstance(refused, Refused)
    assert refused.code is CloseCode.BAD_FRAME


def test_after_the_end_nothing_is_read() -> None:
    """Frames that were on their way when the close frame left are ignored, whatever they are."""
    protocol = opened()
    assert isinstance(protocol.receive("{", 0.0), Refused)
    for data in (command(1), "{", b"x"):
        assert protocol.receive(data, 0.0) == Ignored()
    assert protocol.next_deadline() == math.inf
    assert protocol.tick(9_999.0) == []
    assert repr(protocol) == "<ServerProtocol CLOSED>"


def test_a_verdict_for_a_closed_connection_is_noticed() -> None:
    """The caller would send welcome to nobody."""
    protocol = ServerProtocol(LIMITS, 0.0)
    protocol.receive(hello(), 0.0)
    protocol.closed()
    with pytest.raises(LocalStateError, match="WELCOME in state CLOSED, allowed are CLOSE, DRAIN"):
        protocol.welcomed(1.0)


def test_a_draining_connection_goes_on() -> None:
    """It takes commands and keeps its heartbeat until it is closed."""
    protocol = opened()
    assert protocol.draining() is None
    assert isinstance(protocol.receive(command(1), 0.0), CommandReceived)
    assert protocol.tick(25.0) == [SendPing()]


def test_draining_before_welcome_ends_the_connection() -> None:
    """A goaway could not be said: nothing is sent before welcome."""
    protocol = ServerProtocol(LIMITS, 0.0)
    assert protocol.draining() == Refused(CloseCode.DRAINING, "node is draining")
    assert protocol.state is ServerState.CLOSED
    assert protocol.draining() is None


def test_an_unknown_type_is_answered() -> None:
    """And the connection goes on."""
    protocol = opened()
    answer = answered(protocol.receive('{"t":"dance"}', 0.0))
    assert answer == {
        "t": "error",
        "code": "unknown_type",
        "message": "unknown t 'dance', known are ack, command, hello, pong",
    }
    assert isinstance(protocol.receive(command(1), 0.0), CommandReceived)


def test_commands_over_the_rate_are_answered_and_then_the_connection_is_ended() -> None:
    """A burst is taken, another burst is refused politely, and who goes on after that does not listen."""
    protocol = opened()
    outcomes = [protocol.receive(command(number), 0.0) for number in range(1, 83)]
    assert all(isinstance(outcome, CommandReceived) for outcome in outcomes[:40])
    for number, outcome in enumerate(outcomes[40:80], start=41):
        assert answered(outcome) == {
            "t": "result",
            "id": number,
            "error": {"code": "rate", "message": "allowed are 20 a second and 40 at once", "retry": True},
        }
    ended = Refused(CloseCode.RATE, "too many frames: allowed are 20 a second and 40 at once")
    assert outcomes[80:] == [ended, Ignored()]


def test_a_refused_command_may_come_again_once_the_rate_allows() -> None:
    """A twentieth of a second brings one."""
    protocol = opened()
    for number in range(1, 41):
        protocol.receive(command(number), 0.0)
    assert answered(protocol.receive(command(41), 0.049))["t"] == "result"
    assert isinstance(protocol.receive(command(41), 0.05), CommandReceived)


def test_a_client_slightly_over_the_rate_is_refused_what_is_over_and_stays() -> None:
    """Twenty-five a second for ten minutes: a fifth is refused, nobody is thrown out."""
    protocol = opened()
    outcomes = [protocol.receive(command(number), (number - 1) / 25) for number in range(1, 15_001)]
    taken = sum(isinstance(outcome, CommandReceived) for outcome in outcomes)
    assert taken == 40 + int(599.96 * 20)
    assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 15_000 - taken


def test_answers_to_unknown_types_are_paid_for() -> None:
    """From the same budget as commands, and with the same end."""
    protocol = opened()
    codes = [answered(protocol.receive('{"t":"dance"}', 0.0))["code"] for _ in range(80)]
    assert codes == ["unknown_type"] * 40 + ["rate"] * 40
    refused = protocol.receive('{"t":"dance"}', 0.0)
    assert isinstance(refused, Refused)
    assert refused.code is CloseCode.RATE


@given(st.lists(st.tuples(st.booleans(), st.integers(min_value=0, max_value=40)), max_size=150))
def test_the_rate_follows_a_model_of_two_purses(frames: list[tuple[bool, int]]) -> None:
    """One pays for what is done, the other for what is refused; both fill with time."""
    limits = NodeLimits(commands_per_s=4.0, burst=8)
    protocol = opened(limits)
    now = 0.0
    purses = {"done": 8.0, "refused": 8.0}
    filled = {"done": 0.0, "refused": 0.0}
    for is_command, sixteenths in frames:
        now += sixteenths / 16
        outcome = protocol.receive(command(1) if is_command else '{"t":"dance"}', now)
        paid_by = "nobody"
        for purse in ("done", "refused"):
            purses[purse] = min(8.0, purses[purse] + (now - filled[purse]) * 4)
            filled[purse] = now
            if purses[purse] >= 1:
                purses[purse] -= 1
                paid_by = purse
                break
        if paid_by == "nobody":
            assert isinstance(outcome, Refused)
            assert outcome.code is CloseCode.RATE
            return
        if paid_by == "done" and is_command:
            assert isinstance(outcome, CommandReceived)
        else:
            answer = answered(outcome)
            assert answer["t"] == ("result" if is_command else "error")
            code = answer["error"]["code"] if is_command else answer["code"]  # type: ignore[index]
            assert code == ("rate" if paid_by == "refused" else "unknown_type")


def test_a_silent_client_is_pinged_and_then_given_up() -> None:
    """By the deadlines that the protocol itself names."""
    protocol = opened()
    assert protocol.next_deadline() == 25.0
    assert protocol.tick(24.9) == []
    assert protocol.tick(25.0) == [SendPing()]
    assert protocol.next_deadline() == 35.0
    assert protocol.tick(35.0) == [Refused(CloseCode.HEARTBEAT_LOST, "heartbeat lost: nothing heard for 35.0 s")]
    assert protocol.state is ServerState.CLOSED


def test_whatever_a_client_says_is_a_sign_of_life() -> None:
    """An ack or a refused command says that it lives, and so does the WebSocket layer's own pong."""
    protocol = opened()
    protocol.receive(encode(Ack(1)).decode(), 10.0)
    assert protocol.next_deadline() == 25.0
    protocol.sent(12.0)
    assert protocol.next_deadline() == 35.0
    protocol.heard(14.0)
    assert protocol.next_deadline() == 37.0


@given(st.lists(st.text(max_size=30) | st.binary(max_size=30) | st.just(hello()) | st.just(command(1)), max_size=20))
def test_nothing_that_a_client_sends_raises(frames: list[str | bytes]) -> None:
    """One bad client never becomes the server's exception, and after a refusal everything is ignored."""
    protocol = ServerProtocol(LIMITS, 0.0)
    refused = False
    for frame in frames:
        event = protocol.receive(frame, 0.0)
        assert isinstance(event, Ignored) is refused
        refused = refused or isinstance(event, Refused)
        if isinstance(event, HelloReceived):
            protocol.welcomed(0.0)


def pinged(protocol: ServerProtocol, now: float) -> bool:
    """Whether a ping is due, which is then taken as sent."""
    return protocol.tick(now) == [SendPing()]


@given(st.lists(st.sampled_from(("ack", "pong", "stall")), max_size=200), st.sampled_from((0.05, 25.0)))
def test_a_client_that_keeps_the_rules_is_never_too_fast(steps: list[str], heartbeat: float) -> None:
    """One ack a second and one pong a ping, however a network bunches them; not a single one is refused."""
    limits = NodeLimits(heartbeat_seconds=heartbeat, timeout_seconds=10.0, commands_per_s=0.1, burst=1)
    protocol, now, held = opened(limits), 0.0, 0
    for step in steps:
        now += 1.0
        pings = [pinged(protocol, now)] if protocol.next_deadline() <= now else []
        held += 1
        if step == "stall" and held < heartbeat + 10.0:
            continue  # what the client says meanwhile comes later, all at once
        frames = [encode(Ack(1)).decode()] * held + [encode(Pong(1)).decode()] * sum(pings)
        held = 0
        assert all(isinstance(protocol.receive(frame, now), AckReceived | PongReceived) for frame in frames)


@pytest.mark.parametrize("frame", [encode(Ack(1)).decode(), encode(Pong(1)).decode()], ids=["acks", "pongs"])
def test_a_flood_of_what_is_not_answered_is_ended(frame: str) -> None:
    """Acks that come too fast, and pongs that nobody asked for: a stated number of them, then 4102."""  # S13
    protocol = opened(NodeLimits(heartbeat_seconds=25.0, timeout_seconds=10.0))
    for _ in range(80):  # two a second for a silence of 35 seconds, and ten to spare
        assert isinstance(protocol.receive(frame, 0.0), AckReceived | PongReceived)
    assert protocol.receive(frame, 0.0) == Refused(CloseCode.RATE, "too many frames: allowed are 2 acks a second")


def test_a_pong_that_was_asked_for_costs_nothing() -> None:
    """A node that pings often is answered as often, and the answers are not held against the client."""
    protocol = opened(NodeLimits(heartbeat_seconds=0.5, timeout_seconds=1.0))
    for tick in range(1, 1_000):
        assert pinged(protocol, tick * 0.5)
        assert isinstance(protocol.receive(encode(Pong(1)).decode(), tick * 0.5), PongReceived)
    assert protocol.receive(encode(Ack(1)).decode(), 500.0) == AckReceived(1)
