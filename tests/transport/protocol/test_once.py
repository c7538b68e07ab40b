"""Once, down: a client that follows the rules sees each record exactly once, whatever happens to its connections.

A state machine plays a naive session, cuts connections, loses, repeats and delays frames, merges records, forgets
old ones, changes the epoch and gives verdicts that do not fit. What the client was told to apply is compared with
the session's history.
"""

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callboard.transport.protocol import (
    Applied,
    ClientEvent,
    ClientProtocol,
    ClientState,
    GapSeen,
    Hello,
    MustReconnect,
    Start,
    Welcomed,
    decode_client,
    encode,
)

from .samples import DEVICE, TICKET, Mode, welcome
from .session_model import SessionModel

COUNTS = st.integers(min_value=1, max_value=5)
BACK = st.sampled_from([0, 0, 0, 1, 4])


@attrs.define(eq=False)
class Connection:
    """One attempt as the server sees it: where its cursor is, and what is on its way."""

    attempt: int
    cursor: int
    frames: list[bytes]


class OnceDown(RuleBasedStateMachine):
    """S4 under every order of mishaps that the rules below can make."""

    def __init__(self) -> None:
        super().__init__()
        self.session = SessionModel()
        self.connection: Connection | None = None
        self.late: list[tuple[int, bytes]] = []
        # What the client has, in order: stretches of records applied, and of those told missing.
        self.base = 0
        self.covered: list[tuple[int, int]] = []
        self.epoch = ""

    @initialize(start=st.sampled_from([None, "first", Start(last=0), Start(last=2)]))
    def begin(self, start: Start | None) -> None:
        self.client = ClientProtocol(DEVICE, "test", start=start, merge=True)

    def note(self, told: list[ClientEvent]) -> None:
        """Take down what the client was told to apply, and check each record against the history."""
        for event in told:
            match event:
                case Welcomed(welcome):
                    if welcome.mode != "replay":
                        assert welcome.mode == "reset" or self.epoch == ""
                        self.covered.clear()
                        self.base, self.epoch = welcome.from_seq - 1, welcome.epoch
                case Applied(record):
                    assert record.data == {"epoch": self.epoch, "seqs": [record.first, record.last]}
                    self.covered.append((record.first, record.last))
                case GapSeen(gap):
                    self.covered.append((gap.from_seq, gap.to_seq))
                case MustReconnect():
                    self.drop()

    def drop(self) -> None:
        if self.connection is not None:
            self.late += [(self.connection.attempt, frame) for frame in self.connection.frames]
            self.connection = None

    @rule(count=COUNTS)
    def the_session_says_something(self, count: int) -> None:
        for _ in range(count):
            self.session.append()

    @precondition(lambda self: self.client.position is not None)
    @rule(mode=st.sampled_from(["replay", "fresh"]), shift=st.sampled_from([-1, 1]))
    def a_server_gives_a_verdict_that_does_not_fit(self, mode: Mode, shift: int) -> None:
        assert self.client.position is not None
        epoch, seq = self.client.position
        self.drop()
        self.client.hello(TICKET)
        verdict = welcome(mode, from_seq=max(1, seq + 1 + shift), head=seq, epoch=epoch)
        fits = mode == "replay" and verdict.from_seq == seq + 1
        told = self.client.receive(encode(verdict), 0.0)
        assert [type(event) for event in told] == [Welcomed if fits else MustReconnect]
        self.note(told)

    @rule(at_once=st.booleans())
    def the_client_connects(self, at_once: bool) -> None:
        self.drop()
        hello = decode_client(self.client.hello(TICKET), max_bytes=65_536, max_depth=32)
        assert isinstance(hello, Hello)
        verdict = self.session.welcome(hello)
        self.connection = Connection(self.client.attempt, verdict.from_seq, [encode(verdict)])
        if at_once:
            self.frames_arrive(1)

    @precondition(lambda self: self.connection is not None)
    @rule(new=COUNTS, sizes=st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=4), back=BACK)
    def the_server_writes(self, new: int, sizes: list[tuple[int, int]], back: int) -> None:
        connection = self.connection
        assert connection is not None
        self.the_session_says_something(new)
        for count, merged in sizes:
            # A repeat starts some records back, and then may cut them up in another way than the first time.
            start = max(1, connection.cursor - back)
            frame, after = self.session.frame(start, count, merged)
            connection.frames.append(frame)
            connection.cursor = max(connection.cursor, after)

    @precondition(lambda self: self.connection is not None and self.connection.frames)
    @rule(count=COUNTS)
    def frames_arrive(self, count: int) -> None:
        for _ in range(count):
            if self.connection is None or not self.connection.frames:
                return
            self.note(self.client.receive(self.connection.frames.pop(0), 0.0, attempt=self.connection.attempt))

    @precondition(lambda self: self.connection is not None and len(self.connection.frames) > 1)
    @rule(which=st.integers(min_value=0))
    def a_frame_after_the_welcome_is_lost(self, which: int) -> None:
        assert self.connection is not None
        frames = self.connection.frames
        frames.pop(1 + which % (len(frames) - 1))

    @rule()
    def the_connection_is_cut(self) -> None:
        self.drop()
        self.client.closed()

    @precondition(lambda self: self.late)
    @rule(which=st.integers(min_value=0), tagged=st.booleans())
    def a_frame_of_an_old_connection_arrives_late(self, which: int, tagged: bool) -> None:
        # Drawn from the newest: those are the ones that would fit the position.
        attempt, frame = self.late.pop(-1 - which % min(len(self.late), 4))
        # While the new verdict is awaited, even a reader that does not say whose frames it brings does no harm.
        if self.client.state is ClientState.OPEN or frame.startswith(b'{"t":"welcome"'):
            tagged = True
        assert self.client.receive(frame, 0.0, attempt=attempt if tagged else None) == []

    @rule(kept=st.integers(min_value=0, max_value=4))
    def the_session_forgets_its_oldest(self, kept: int) -> None:
        self.session.trim(self.session.head - kept + 1)

    @rule(kept=st.integers(min_value=0, max_value=20))
    def the_session_loses_its_end(self, kept: int) -> None:
        self.drop()
        self.client.closed()
        self.session.begin_anew(kept)

    @invariant()
    def what_was_covered_is_one_stretch_without_repeats(self) -> None:
        if self.epoch == "":
            return
        expected = self.base + 1
        for first, last in self.covered:
            assert first == expected
            expected = last + 1
        assert self.client.position == (self.epoch, expected - 1)

    def teardown(self) -> None:
        """Without further mishaps the client gets all there is."""
        self.the_client_connects(at_once=True)
        connection = self.connection
        assert connection is not None
        while connection.cursor <= self.session.head:
            frame, connection.cursor = self.session.frame(connection.cursor, 5, 1)
            connection.frames.append(frame)
        while connection.frames:
            self.note(self.client.receive(connection.frames.pop(0), 0.0))
        assert self.client.state is ClientState.OPEN
        assert self.client.caught_up
        assert self.client.position == (self.session.epoch, self.session.head)
        self.what_was_covered_is_one_stretch_without_repeats()


# S4, S10
TestOnceDown = OnceDown.TestCase
TestOnceDown.settings = settings(max_examples=200)
