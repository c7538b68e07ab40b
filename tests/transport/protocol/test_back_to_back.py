"""Both ends wired back to back: what one writes the other reads, through cuts, a drain and the heartbeat."""

import math

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Limits as NodeLimits
from callboard.transport.protocol import (
    AckReceived,
    Answer,
    Applied,
    ClientProtocol,
    ClientState,
    CloseCode,
    CommandReceived,
    Goaway,
    GoawayReceived,
    HelloReceived,
    MustReconnect,
    Ping,
    PongReceived,
    Refused,
    ResultReceived,
    Send,
    SendPing,
    ServerProtocol,
    ServerState,
    Welcomed,
    encode,
)

from .samples import DEVICE, TICKET
from .session_model import SessionModel

LIMITS = NodeLimits()


@attrs.define(eq=False)
class Wire:
    """A client, a session, and the connection between them, if there is one, with frames on their way."""

    client: ClientProtocol = attrs.Factory(lambda: ClientProtocol(DEVICE, "test", start="first"))
    session: SessionModel = attrs.Factory(SessionModel)
    server: ServerProtocol | None = None
    cursor: int = 1
    now: float = 0.0
    upwards: list[bytes] = attrs.Factory(list)
    downwards: list[bytes] = attrs.Factory(list)
    applied: list[int] = attrs.Factory(list)
    answered: list[int] = attrs.Factory(list)
    heads: list[int] = attrs.Factory(list)
    goaways: list[Goaway] = attrs.Factory(list)
    refused: list[CloseCode] = attrs.Factory(list)

    def connect(self) -> None:
        self.cut()
        self.server = ServerProtocol(LIMITS, self.now)
        self.upwards.append(self.client.hello(TICKET))

    def cut(self) -> None:
        if self.server is not None:
            self.server.closed()
        self.client.closed()
        self.server = None
        self.upwards.clear()
        self.downwards.clear()

    def say(self, frame: bytes) -> None:
        if self.client.state is ClientState.OPEN:
            self.upwards.append(frame)

    def write(self, frame: bytes) -> None:
        assert self.server is not None
        self.server.sent(self.now)
        self.downwards.append(frame)

    def flush(self) -> None:
        """Send all that the cursor can see."""
        if self.server is not None and self.server.state in (ServerState.OPEN, ServerState.DRAINING):
            while self.cursor <= self.session.head:
                frame, self.cursor = self.session.frame(self.cursor, 3, 1)
                self.write(frame)

    def up(self) -> None:
        """Deliver one frame to the server."""
        if self.server is None or not self.upwards:
            return
        match self.server.receive(self.upwards.pop(0).decode(), self.now):
            case HelloReceived(hello):
                verdict = self.session.welcome(hello)
                self.cursor = verdict.from_seq
                self.server.welcomed(self.now)
                self.write(encode(verdict))
            case CommandReceived(command):
                self.write(encode(self.session.run(command)))
            case PongReceived(seq) | AckReceived(seq):
                self.heads.append(seq)
            case Answer(frame):
                self.write(frame)
            case Refused(code):
                self.refused.append(code)
                self.cut()

    def down(self) -> None:
        """Deliver one frame to the client."""
        if not self.downwards:
            return
        for event in self.client.receive(self.downwards.pop(0), self.now):
            match event:
                case Welcomed(_, resend):
                    self.upwards += resend
                case Applied(record):
                    self.applied.append(record.last)
                case ResultReceived(result):
                    self.answered.append(result.id)
                case Send(frame):
                    self.say(frame)
                case GoawayReceived(goaway):
                    self.goaways.append(goaway)
                case MustReconnect(reason):
                    raise AssertionError(reason)

    def settle(self) -> None:
        """Deliver all that is on its way, and what follows from it."""
        while self.upwards or self.downwards:
            self.up()
            self.flush()
            self.down()
        assert self.refused == []

    def advance(self, until: float) -> None:
        """Let time pass, with both ends looking at the clock when they want to."""
        while True:
            due = min(self.server.next_deadline() if self.server else math.inf, self.client.deadline())
            if due > until:
                break
            self.now = due
            for said in self.server.tick(due) if self.server else []:
                assert isinstance(said, SendPing), said
                self.write(encode(Ping(self.session.head)))
            self.settle()
            assert self.client.tick(due) == []
        self.now = until


STEPS = st.lists(
    st.sampled_from(["connect", "cut", "command", "append", "flush", "up", "down", "down", "up", "wait"]),
    min_size=12,
    max_size=60,
)


@settings(max_examples=200)
@given(STEPS)
def test_every_record_comes_once_and_every_command_runs_once(steps: list[str]) -> None:
    """However the steps of both ends fall, and wherever connections are cut."""  # S4, S5
    wire = Wire()
    commands = []
    for step in steps:
        match step:
            case "connect":
                wire.connect()
            case "cut":
                wire.cut()
            case "command":
                command_id, frame = wire.client.command("user_message", {"text": "hi"})
                commands.append(command_id)
                wire.say(frame)
            case "append":
                wire.session.append()
            case "flush":
                wire.flush()
            case "up":
                wire.up()
            case "down":
                wire.down()
            case "wait":
                wire.now += 1.0
    wire.connect()
    wire.settle()
    assert wire.applied == list(range(1, wire.session.head + 1))
    assert wire.session.runs == commands
    assert wire.answered == commands
    assert wire.client.without_result == ()
    assert wire.client.caught_up


@given(st.lists(st.integers(min_value=0, max_value=60), max_size=30))
def test_a_quiet_or_busy_hour_costs_no_healthy_connection(pauses: list[int]) -> None:
    """Neither end gives the other up, whether the session is silent or talks all the time."""
    wire = Wire()
    wire.connect()
    wire.settle()
    for pause in [*pauses, 3_600]:
        wire.advance(wire.now + pause)
        wire.session.append()
        wire.flush()
        wire.settle()
    assert wire.client.state is ClientState.OPEN
    assert wire.client.attempt == 1
    assert len(wire.heads) >= 3_600 // LIMITS.heartbeat_seconds
    assert wire.applied == list(range(1, wire.session.head + 1))


def test_a_cut_that_nobody_told_of_is_found_by_both_ends() -> None:
    """The server after heartbeat and time-out, the client too, each by what it hears."""
    wire = Wire()
    wire.connect()
    wire.settle()
    assert wire.server is not None
    assert wire.server.tick(25.0) == [SendPing()]
    assert wire.server.tick(35.0) == [Refused(CloseCode.HEARTBEAT_LOST, "heartbeat lost: nothing heard for 35.0 s")]
    assert wire.client.tick(35.0) == [MustReconnect("nothing heard for 35.0 s", CloseCode.HEARTBEAT_LOST)]


def test_a_drain_is_told_and_the_connection_delivers_meanwhile() -> None:
    """The client takes the rest on a new connection, nothing twice."""  # S4
    wire = Wire()
    wire.connect()
    wire.settle()
    assert wire.server is not None
    assert wire.server.draining() is None
    goaway = Goaway(reason="deploy", in_ms=1_000, by_ms=5_000)
    wire.write(encode(goaway))
    wire.session.append()
    wire.flush()
    wire.settle()
    assert wire.goaways == [goaway]
    assert wire.applied == [1]
    wire.say(wire.client.ack(wire.now) or b"")
    wire.settle()
    assert wire.heads == [1]
    wire.session.append()
    wire.connect()
    wire.settle()
    assert wire.applied == [1, 2]


def test_a_whole_burst_of_open_commands_is_repeated_without_a_refusal() -> None:
    """The client opens no more commands than the server takes at once."""  # S5
    wire = Wire()
    commands = [wire.client.command("user_message", {"text": "hi"})[0] for _ in range(LIMITS.burst)]
    wire.connect()
    wire.settle()
    assert wire.answered == wire.session.runs == commands
