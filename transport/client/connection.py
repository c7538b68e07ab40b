"""One connection of a client, from its hello to its end: what comes is applied, what is to be said is sent.

Theory of operation. One task reads, one writes. Taking a message is a plain function: the protocol applies it and the
records are in the backlog, or neither, whatever is cancelled or cut meanwhile. Everything that is sent goes through the
writer, in one order: a command that is made while others are repeated goes out behind them.

A consumer that is slow makes the reader wait: then the node, for which a connection is a cursor, bears the load. But
results come the same way as records. So while a command waits, a reader whose backlog is full reads on and leaves out
records and gaps, which it does not show to the protocol; once there is room it ends, and the next connection begins
where the backlog ended.

Knows no tickets, urls or back-off: it is given an open link, and says how it ended.
"""

from __future__ import annotations

import math

import attrs
import trio

from ..protocol import (
    Applied,
    ClientProtocol,
    ClientState,
    Events,
    Gap,
    GapSeen,
    GoawayReceived,
    MustReconnect,
    ProtocolErrorReceived,
    ResultReceived,
    Send,
    Welcome,
    Welcomed,
    WireError,
    decode_server,
)
from .backlog import Backlog, Item, Reset
from .commands import Commands
from .course import Counts, Ending, Opened, Owner
from .sockets import ABNORMAL, Closed

__all__ = ["Connection"]

WELCOME_SECONDS = 10.0
WRITE_SECONDS = 10.0
NORMAL = 1000


class Connection:
    """Attends one link.

    Args:
        opened: the link, and the ticket for it.
        protocol: of this device.
        commands: what is to be sent.
        backlog: where records go.
        counts: what is counted.
        owner: hears how it goes.
    """

    def __init__(
        self,
        opened: Opened,
        protocol: ClientProtocol,
        commands: Commands,
        backlog: Backlog,
        counts: Counts,
        owner: Owner,
    ) -> None:
        self._link = opened.link
        self._protocol = protocol
        self._commands = commands
        self._backlog = backlog
        self._counts = counts
        self._owner = owner
        self._hello: bytes | None = protocol.hello(opened.ticket)
        self._pong: bytes | None = None
        self._ack: bytes | None = None
        self._welcome_by = trio.current_time() + WELCOME_SECONDS
        self._silence_seconds = math.inf
        self._listening_since = 0.0
        self._left_out = False
        self._asked_to_go = False
        self._successor: Opened | None = None
        self._ending: Ending | None = None
        self._nursery: trio.Nursery | None = None
        self._reader_waits = trio.CancelScope()
        self._writer_waits = trio.CancelScope()

    def poke(self) -> None:
        """Look again what there is to do: there is room, or a command, or none any more."""
        self._reader_waits.cancel()
        self._writer_waits.cancel()

    def cut(self) -> None:
        """Drop the link without a word, as a network would."""
        self._link.abandon()
        self._end(Ending(ABNORMAL, "cut"))

    async def attend(self) -> Ending:
        """Stay until the end, and leave the link closed."""
        code = NORMAL
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._write)
                ending = await self._read()
                self._nursery.cancel_scope.cancel()
            if ending.by_us:
                code = ending.code
            return attrs.evolve(ending, successor=self._successor)
        finally:
            self._commands.paused()
            self._protocol.closed()
            self._link.close(code)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _read(self) -> Ending:
        listened = True
        while (ending := self._due()) is None:
            listens = self._listens
            if listens and not listened:
                # What the node could not say while nobody listened is not held against it.
                self._listening_since = trio.current_time()
            listened = listens
            data: str | bytes | None = None
            with trio.CancelScope(deadline=self._deadline() if listens else math.inf) as self._reader_waits:
                if listens:
                    try:
                        data = await self._link.receive()
                    except Closed as closed:
                        return Ending(closed.code, closed.reason)
                else:
                    await trio.sleep_forever()
            if data is not None:
                self._received(data)
            elif listens and trio.current_time() >= self._deadline():
                self._late()
        return ending

    @property
    def _listens(self) -> bool:
        return self._protocol.state is not ClientState.OPEN or not self._backlog.full or self._commands.waiting

    def _due(self) -> Ending | None:
        """How it ends, if it is time to end it from here."""
        if self._ending is not None:
            return self._ending
        if self._successor is not None:
            return Ending(NORMAL, "the next connection is open", planned=True)
        if self._left_out and not self._backlog.full:
            return Ending(NORMAL, "there is room for what was left out", planned=True)
        if self._commands.renewal_due:
            return Ending(NORMAL, "the session has forgotten this device", planned=True)
        return None

    def _deadline(self) -> float:
        if self._protocol.state is not ClientState.OPEN:
            return self._welcome_by
        return max(self._protocol.deadline(), self._listening_since + self._silence_seconds)

    def _late(self) -> None:
        if self._protocol.state is not ClientState.OPEN:
            self._end(Ending(ABNORMAL, f"no welcome within {WELCOME_SECONDS:g} seconds"))
            return
        for event in self._protocol.tick(trio.current_time()):
            if isinstance(event, MustReconnect):
                self._end(Ending(event.code, event.reason, by_us=True))

    def _end(self, ending: Ending) -> None:
        if self._ending is None:
            self._ending = ending
            self.poke()

    def _received(self, data: str | bytes) -> None:
        """Take one message, with all that it brings."""
        now = trio.current_time()
        full = self._backlog.full and self._protocol.state is ClientState.OPEN
        if (self._left_out or full) and _is_news(data):
            self._left_out = True
            self._counts.left_out += 1
            self._listening_since = now
            return
        events = self._protocol.receive(data, now)
        size = len(data) // max(1, len(events))
        for event in events:
            match event:
                case Applied(record):
                    self._counts.records += record.last - record.first + 1
                    self._put(record, record.last, size)
                case GapSeen(gap):
                    self._counts.gaps += 1
                    self._put(gap, gap.to_seq, size)
                case Welcomed(welcome):
                    self._welcomed(welcome)
                case ResultReceived(result):
                    self._commands.answered(result)
                case Send(frame):
                    self._pong = frame  # of several that wait the newest says it all
                    self._writer_waits.cancel()
                case GoawayReceived(goaway):
                    self._go_after(goaway.in_ms / 1000)
                case ProtocolErrorReceived():
                    pass  # this client says nothing that a node of its version does not know
                case MustReconnect(reason, code):
                    self._end(Ending(code, reason, by_us=True))
        ack = self._protocol.ack(now)
        if ack is not None:
            self._ack = ack
            self._writer_waits.cancel()
        self._owner.heard()

    def _put(self, item: Item, seq: int, size: int) -> None:
        position = self._protocol.position
        assert position is not None, "a record was applied"
        self._backlog.put(item, (position[0], seq), size)

    def _welcomed(self, welcome: Welcome) -> None:
        self._counts.connects += 1
        self._silence_seconds = (welcome.heartbeat_ms + welcome.timeout_ms) / 1000
        self._listening_since = trio.current_time()
        if welcome.mode == "reset":
            self._counts.resets += 1
            self._backlog.clear()
            self._put(Reset(welcome.epoch, welcome.from_seq), welcome.from_seq - 1, 0)
        self._commands.welcomed(welcome)
        self._writer_waits.cancel()
        self._owner.welcomed(welcome)

    # -- going away ---------------------------------------------------------------------------------------------------

    def _go_after(self, seconds: float) -> None:
        if not self._asked_to_go and self._nursery is not None:
            self._asked_to_go = True
            self._nursery.start_soon(self._find_successor, seconds)

    async def _find_successor(self, after_seconds: float) -> None:
        """Open the next connection while this one delivers."""
        await trio.sleep(after_seconds)
        self._successor = await self._owner.successor()
        self.poke()

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while True:
                frame = self._next_frame()
                if frame is None:
                    with trio.CancelScope(deadline=self._commands.next_repeat()) as self._writer_waits:
                        await trio.sleep_forever()
                    continue
                with trio.move_on_after(WRITE_SECONDS) as sending:
                    await self._link.send(frame)
                if sending.cancelled_caught:
                    self._end(Ending(ABNORMAL, f"the node took nothing for {WRITE_SECONDS:g} seconds"))
        except Closed:
            pass  # the reader is told the same, behind what it can still read

    def _next_frame(self) -> bytes | None:
        if self._hello is not None:
            frame, self._hello = self._hello, None
            return frame
        if self._pong is not None:
            frame, self._pong = self._pong, None
            return frame
        command = self._commands.next_frame(trio.current_time())
        if command is not None:
            return command
        ack, self._ack = self._ack, None
        return ack


def _is_news(data: str | bytes) -> bool:
    """Whether a message brings records, or says which cannot be had."""
    try:
        return isinstance(decode_server(data), Events | Gap)
    except WireError:
        return False  # the protocol says what follows from that
