"""The client's end: one device through its connections."""

import json
import math

import pytest

from callboard.actors import Limits as NodeLimits
from callboard.transport.protocol import (
    KEPT_RESULTS,
    Ack,
    Applied,
    ClientEvent,
    ClientProtocol,
    ClientState,
    CloseCode,
    CommandError,
    Gap,
    GapSeen,
    Goaway,
    GoawayReceived,
    MustReconnect,
    Ping,
    Pong,
    ProtocolError,
    ProtocolErrorReceived,
    Result,
    ResultReceived,
    Send,
    Start,
    TooManyCommands,
    Welcome,
    Welcomed,
    decode_client,
    encode,
)

from .samples import DEVICE, EPOCH, OTHER_EPOCH, TICKET, events, record, welcome


def opened(verdict: Welcome | None = None, client: ClientProtocol | None = None) -> ClientProtocol:
    """A client that was welcomed."""
    client = client or ClientProtocol(DEVICE, "test")
    client.hello(TICKET)
    said = client.receive(encode(verdict or welcome()), 0.0)
    assert [type(event) for event in said] == [Welcomed]
    return client


def applied(said: list[ClientEvent]) -> list[object]:
    """The seqs of the records that were told to be applied."""
    return [event.record.seq for event in said if isinstance(event, Applied)]


def broken(said: list[ClientEvent]) -> MustReconnect:
    """The end of the connection, which must be the last that was told."""
    assert isinstance(said[-1], MustReconnect)
    return said[-1]


@pytest.mark.parametrize(
    "start, expected",
    [
        (None, {}),
        ("first", {"start": "first"}),
        (Start(last=0), {"start": {"last": 0}}),
        (Start(epoch=EPOCH, seq=4), {"start": {"epoch": EPOCH, "seq": 4}}),
    ],
)
def test_the_first_hello_says_where_to_begin(start: Start | None, expected: dict[str, object]) -> None:
    """As the caller wishes, for who has no position yet."""
    client = ClientProtocol(DEVICE, "test", start=start)
    keys = {"t": "hello", "ticket": TICKET, "device": DEVICE, "client": "test"}
    assert json.loads(client.hello(TICKET)) == keys | expected


def test_later_hellos_say_the_position() -> None:
    """What was applied so far, and the epoch that it counts in."""
    client = opened(welcome(from_seq=5, head=6), ClientProtocol(DEVICE, "test", start="first", merge=True))
    client.receive(events(5, 6, 7), 0.0)
    client.closed()
    said = json.loads(client.hello("another"))
    assert (said["start"], said["ticket"], said["merge"]) == ({"epoch": EPOCH, "seq": 7}, "another", True)
    assert client.attempt == 2


@pytest.mark.parametrize(
    "device, name, start, message",
    [
        ("0" * 31, "test", None, r"hello: .*device"),
        (DEVICE, "c" * 201, None, r"hello: .*client"),
        (DEVICE, "test", Start(last=-1), r"hello: .*last"),
    ],
)
def test_a_client_that_no_server_would_take_is_not_made(
    device: str, name: str, start: Start | None, message: str
) -> None:
    """The mistake shows where it was made."""
    with pytest.raises(ValueError, match=message):
        ClientProtocol(device, name, start=start)


def test_a_ticket_that_no_server_would_take_is_not_sent() -> None:
    """And the connection before goes on."""
    client = opened()
    with pytest.raises(ValueError, match=r"hello: .*ticket"):
        client.hello("")
    assert client.state is ClientState.OPEN


def test_records_are_applied_in_order_and_once() -> None:
    """The next one is applied, one applied before is dropped."""  # S4
    client = opened()
    assert client.receive(events(1, 2), 0.0) == [Applied(record(1)), Applied(record(2))]
    assert applied(client.receive(events(1, 2, 3), 0.0)) == [3]
    assert client.position == (EPOCH, 3)


def test_a_record_too_far_ahead_ends_the_connection() -> None:
    """What came before it in the same frame counts, what comes after does not."""  # S4
    client = opened()
    said = client.receive(events(1, 3, 2), 0.0)
    assert applied(said) == [1]
    assert said[1:] == [MustReconnect("3 to 3 came after 1", CloseCode.BAD_FRAME)]
    assert client.receive(events(2), 0.0) == []
    assert client.position == (EPOCH, 1)


@pytest.mark.parametrize(
    "stretch, outcome",
    [
        ((4, 9), "applied"),
        ((4, 4), "applied"),
        ((1, 3), "dropped"),
        ((2, 4), "broken"),
        ((3, 9), "broken"),
        ((5, 6), "broken"),
    ],
)
def test_a_merged_record_is_applied_whole_or_not_at_all(stretch: tuple[int, int], outcome: str) -> None:
    """The position is 3; a stretch that straddles it is of another making."""  # S4
    client = opened(welcome(from_seq=4, head=9))
    said = client.receive(events(stretch), 0.0)
    if outcome == "applied":
        assert said == [Applied(record(stretch))]
        assert client.position == (EPOCH, stretch[1])
    else:
        assert [type(event) for event in said] == ([MustReconnect] if outcome == "broken" else [])
        assert client.position == (EPOCH, 3)


@pytest.mark.parametrize(
    "first, last, outcome", [(4, 9, "seen"), (1, 3, "dropped"), (2, 4, "broken"), (5, 6, "broken")]
)
def test_a_gap_moves_the_position_by_the_same_rules(first: int, last: int, outcome: str) -> None:
    """The position is 3; only what begins right behind it can be missing."""  # S4, S10
    client = opened(welcome(from_seq=4, head=9))
    gap = Gap(from_seq=first, to_seq=last, reason="retention")
    said = client.receive(encode(gap), 0.0)
    if outcome == "seen":
        assert said == [GapSeen(gap)]
        assert applied(client.receive(events(last, last + 1), 0.0)) == [last + 1]
    else:
        assert [type(event) for event in said] == ([MustReconnect] if outcome == "broken" else [])
        assert client.position == (EPOCH, 3)


def test_replay_goes_on_from_the_position() -> None:
    """Also where nothing was missed."""
    client = opened()
    client.receive(events(1, 2), 0.0)
    opened(welcome("replay", from_seq=3, head=2), client)
    assert client.caught_up
    assert applied(client.receive(events(3), 0.0)) == [3]


@pytest.mark.parametrize(
    "verdict",
    [
        welcome("replay", from_seq=2, head=9),
        welcome("replay", from_seq=4, head=9),
        welcome("replay", from_seq=3, head=9, epoch=OTHER_EPOCH),
        welcome("fresh", from_seq=3, head=9),
    ],
)
def test_a_verdict_that_does_not_fit_the_position_ends_the_connection(verdict: Welcome) -> None:
    """Taking it would repeat or skip records unseen."""  # S4
    client = opened()
    client.receive(events(1, 2), 0.0)
    client.hello(TICKET)
    reason = broken(client.receive(encode(verdict), 0.0)).reason
    assert reason == f"{verdict.mode} from {verdict.from_seq} of {verdict.epoch} does not fit position {(EPOCH, 2)}"
    assert client.position == (EPOCH, 2)


def test_replay_for_who_gave_no_position_ends_the_connection() -> None:
    """There is nothing that it could go on from."""
    client = ClientProtocol(DEVICE, "test")
    client.hello(TICKET)
    assert "does not fit position None" in broken(client.receive(encode(welcome("replay")), 0.0)).reason


def test_reset_begins_another_history() -> None:
    """The caller sees the mode and drops what it has; positions count anew."""
    client = opened()
    client.receive(events(1, 2, 3), 0.0)
    verdict = welcome("reset", from_seq=2, head=2, epoch=OTHER_EPOCH)
    opened(verdict, client)
    assert client.position == (OTHER_EPOCH, 1)
    assert applied(client.receive(events(1, 2), 0.0)) == [2]


def test_caught_up_is_when_all_that_was_there_has_come() -> None:
    """It tells history from news, per connection."""
    client = ClientProtocol(DEVICE, "test")
    assert not client.caught_up
    opened(welcome(head=2), client)
    client.receive(events(1), 0.0)
    assert not client.caught_up
    client.receive(events(2), 0.0)
    assert client.caught_up
    client.receive(encode(Ping(5)), 0.0)
    assert client.caught_up
    client.hello(TICKET)
    assert not client.caught_up


def test_an_empty_session_is_caught_up_at_once() -> None:
    """A new user sees an empty page, not a spinner."""
    assert opened(welcome(head=0)).caught_up


def test_nothing_of_an_old_connection_is_applied_after_a_new_hello() -> None:
    """Before the new welcome by state, after it by the number of the attempt."""  # S4
    client = opened()
    old = client.attempt
    client.hello(TICKET)
    assert client.receive(events(1), 0.0) == []
    assert client.receive(encode(welcome()), 0.0, attempt=old) == []
    client.receive(encode(welcome("replay", from_seq=1, head=1)), 0.0, attempt=client.attempt)
    assert client.receive(events(1), 0.0, attempt=old) == []
    assert applied(client.receive(events(1), 0.0, attempt=client.attempt)) == [1]


def test_a_ping_is_answered_with_the_position() -> None:
    """By itself: the caller only sends it."""
    client = opened()
    client.receive(events(1, 2), 0.0)
    assert client.receive(encode(Ping(9)), 0.0) == [Send(encode(Pong(2)))]


def test_what_the_server_says_besides_comes_out_as_it_was() -> None:
    """A goaway and a protocol error."""
    client = opened()
    goaway = Goaway(reason="deploy", in_ms=100, by_ms=5_000)
    assert client.receive(encode(goaway), 0.0) == [GoawayReceived(goaway)]
    error = ProtocolError(code="unknown_type", message="m")
    assert client.receive(encode(error), 0.0) == [ProtocolErrorReceived(error)]


def test_a_second_welcome_ends_the_connection() -> None:
    """It is the verdict, and there is one."""
    assert broken(opened().receive(encode(welcome()), 0.0)).reason == "unexpected welcome"


def test_a_server_heard_no_more_is_given_up() -> None:
    """After heartbeat and time-out as the welcome told them."""
    client = opened(welcome(limits=NodeLimits(heartbeat_seconds=3, timeout_seconds=0.5)))
    assert client.deadline() == 3.5
    client.receive(b'{"t":"dance"}', 1.0)
    assert client.deadline() == 4.5
    assert client.tick(4.4) == []
    assert client.tick(4.5) == [MustReconnect("nothing heard for 3.5 s", CloseCode.HEARTBEAT_LOST)]
    assert client.deadline() == math.inf
    assert client.tick(99.0) == []


def test_ids_count_upwards_and_frames_are_commands() -> None:
    """From one on, whatever the connection does."""
    client = ClientProtocol(DEVICE, "test")
    first, frame = client.command("user_message", {"text": "hi"})
    assert (first, json.loads(frame)) == (1, {"t": "command", "id": 1, "op": "user_message", "data": {"text": "hi"}})
    opened(client=client)
    second, frame = client.command("cancel", {}, "run-1")
    assert (second, json.loads(frame)) == (2, {"t": "command", "id": 2, "op": "cancel", "run": "run-1", "data": {}})


def test_commands_without_result_are_repeated_after_each_welcome_in_order() -> None:
    """The very same frames under the same ids."""  # S5
    client = ClientProtocol(DEVICE, "test")
    frames = [client.command("user_message", {"text": text})[1] for text in "abc"]
    client.hello(TICKET)
    assert client.receive(encode(welcome()), 0.0) == [Welcomed(welcome(), tuple(frames))]
    result = Result(id=2, ok={"run": "r"}, seq=4)
    assert client.receive(encode(result), 0.0) == [ResultReceived(result)]
    assert client.without_result == (1, 3)
    client.hello(TICKET)
    again = welcome("replay", last_id=3)
    assert client.receive(encode(again), 0.0) == [Welcomed(again, (frames[0], frames[2]))]


def test_a_result_is_told_once() -> None:
    """A repeat may be answered twice."""
    client = opened()
    client.command("user_message", {"text": "hi"})
    result = encode(Result(id=1, ok={}))
    assert len(client.receive(result, 0.0)) == 1
    assert client.receive(result, 0.0) == []
    assert client.receive(encode(Result(id=9, ok={})), 0.0) == []


def test_an_answer_that_says_retry_leaves_the_command_open() -> None:
    """The server did not keep it, so the same id may run; the caller chooses when, or gives it up."""  # S5
    client = opened()
    frames = [client.command("user_message", {"text": text})[1] for text in "ab"]
    for command_id in (1, 2):
        error = CommandError(code="rate", message="m", retry=True)
        refused = Result(id=command_id, error=error)
        assert client.receive(encode(refused), 0.0) == [ResultReceived(refused)]
    assert client.repeat(1) == frames[0]
    client.abandon(2)
    assert client.without_result == (1,)
    for call in (client.repeat, client.abandon):
        with pytest.raises(KeyError):
            call(2)


def test_an_answer_that_does_not_say_retry_settles_the_command() -> None:
    """An error is a result too."""
    client = opened()
    client.command("cancel", {}, "r")
    error = CommandError(code="unknown_run", message="m", retry=False)
    client.receive(encode(Result(id=1, error=error)), 0.0)
    assert client.without_result == ()


def test_ids_go_on_from_what_the_session_knows() -> None:
    """A device that was here before must not use an id again."""  # S5
    client = opened(welcome(last_id=7))
    assert client.command("x", {})[0] == 8
    opened(welcome("replay", last_id=3), client)
    assert client.command("x", {})[0] == 9
    assert ClientProtocol(DEVICE, "test", last_id=20).command("x", {})[0] == 21


@pytest.mark.parametrize(
    "op, data, run, message",
    [
        ("", {}, None, r"command: .*op"),
        ("o" * 65, {}, None, r"command: .*op"),
        ("x", {}, "", r"command: .*run"),
        ("x", {"text": "t" * 65_536}, None, r"command: .* bytes.* allowed are 65536"),
        ("x", {"a": float("nan")}, None, "JSON cannot hold this exactly: Command"),
        ("x", {"a": (1, 2)}, None, "JSON cannot hold this exactly: Command"),
        ("x", {"a": b"bytes"}, None, "JSON cannot hold this exactly: Command"),
        ("x", {"a": "\ud800"}, None, "surrogates not allowed"),
    ],
)
def test_a_command_that_would_end_the_connection_is_refused_here(
    op: str, data: dict[str, object], run: str | None, message: str
) -> None:
    """One bad call must not cost the session its connection, nor an id."""
    client = opened()
    with pytest.raises(ValueError, match=message):
        client.command(op, data, run)
    assert client.without_result == ()
    assert client.command("x", {})[0] == 1


def test_data_nested_too_deep_is_refused_here() -> None:
    """At the bound that the server named, and where no stack could hold it."""
    client = opened(welcome(limits=NodeLimits(depth=3)))
    client.command("x", {"a": {}})
    with pytest.raises(ValueError, match=r"command: nested deeper than 3"):
        client.command("x", {"a": {"a": {}}})
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match=r"command: nested too deep"):
        client.command("x", deep)


def test_data_of_no_json_type_is_refused_here() -> None:
    """With the type named."""
    client = opened()
    with pytest.raises(TypeError, match="object"):
        client.command("x", {"a": object()})
    assert client.without_result == ()


def test_no_more_commands_are_open_than_a_burst_repeats() -> None:
    """All of them come at once after a welcome, and must not be refused for their rate."""
    client = opened(welcome(limits=NodeLimits(burst=3)))
    for _ in range(3):
        client.command("x", {})
    with pytest.raises(TooManyCommands, match="3 commands are without result, allowed are 3"):
        client.command("x", {})
    client.receive(encode(Result(id=2, ok={})), 0.0)
    assert client.command("x", {})[0] == 4


def test_no_command_is_open_longer_than_the_session_remembers() -> None:
    """One that has fallen out of its memory could not be repeated safely."""  # S5
    client = opened()
    for number in range(1, KEPT_RESULTS + 1):
        assert client.command("x", {})[0] == number
        if number > 1:
            client.receive(encode(Result(id=number, ok={})), 0.0)
    message = "command 1 is without result and 129 would be the next id; the session remembers 128 ids"
    with pytest.raises(TooManyCommands, match=message):
        client.command("x", {})
    client.abandon(1)
    assert client.command("x", {})[0] == KEPT_RESULTS + 1


def test_an_ack_says_what_is_new_once_a_second() -> None:
    """And nothing when there is nothing to say, or nobody to say it to."""
    client = opened()
    assert client.ack(10.0) is None
    client.receive(events(1, 2), 10.0)
    assert client.ack(10.0) == encode(Ack(2))
    assert client.ack(20.0) is None
    client.receive(events(3), 20.0)
    assert client.ack(20.0) == encode(Ack(3))
    client.receive(events(4), 20.5)
    assert client.ack(20.999) is None
    assert client.ack(21.0) == encode(Ack(4))
    client.receive(events(5), 22.0)
    client.closed()
    assert client.ack(30.0) is None


def test_every_frame_of_a_client_is_one_that_a_server_reads() -> None:
    """The two ends share one reading."""
    client = opened()
    client.receive(events(1), 0.0)
    frames = [client.hello(TICKET), client.command("x", {"a": [1]})[1]]
    assert [type(decode_client(frame, max_bytes=500, max_depth=4)).__name__ for frame in frames] == ["Hello", "Command"]
    assert repr(client) == "<ClientProtocol AWAIT_WELCOME at 1>"
