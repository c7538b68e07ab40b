"""The client's end: which records are applied, what is repeated, and when a connection is given up.

One object lives as long as the device does and goes through many connections. Its position (`position.py`: each
record is applied once) and its commands without result (`open_commands.py`: repeated after each welcome under
their ids) outlive them. Which message counts in which state stands in `states.CLIENT_TABLE`.

No I/O, clock or randomness: it does not know URLs, sockets, tickets' origin, or how long to wait before the
next connection (`closecodes.verdict` says what kind of wait).
"""

from __future__ import annotations

import math
from typing import Final, Literal, assert_never

from ...actors import Limits as NodeLimits
from .client_events import (
    Applied,
    ClientEvent,
    GapSeen,
    GoawayReceived,
    MustReconnect,
    ProtocolErrorReceived,
    ResultReceived,
    Send,
    Welcomed,
)
from .closecodes import CloseCode
from .codec import decode_client, decode_server, encode
from .errors import BadFrame, UnknownType, WireError
from .limits import limits_on_wire
from .messages import (
    Ack,
    ClientMessage,
    Events,
    Gap,
    Goaway,
    Hello,
    Ping,
    Pong,
    ProtocolError,
    Result,
    Start,
    Welcome,
)
from .open_commands import OpenCommands
from .position import Place, Position
from .states import CLIENT_TABLE, ClientInput, ClientState

__all__ = ["ACK_INTERVAL_SECONDS", "ClientProtocol"]

# The protocol allows one ack a second.
ACK_INTERVAL_SECONDS = 1.0

_INPUT_OF: Final = {
    Welcome: ClientInput.WELCOME,
    Events: ClientInput.EVENTS,
    Gap: ClientInput.GAP,
    Result: ClientInput.RESULT,
    ProtocolError: ClientInput.ERROR,
    Ping: ClientInput.PING,
    Goaway: ClientInput.GOAWAY,
}


class ClientProtocol:
    """The protocol state of one device.

    For each connection: send what `hello` returns, feed what arrives to `receive`, do what the events say,
    call `tick` at `deadline`, and say `closed` when it ends. From `hello` on nothing of an earlier connection
    may be fed any more; where a late reader could do that, pass the `attempt` that its connection has.

    Args:
        device: 32 lowercase hex digits, random, kept for the device's life.
        client: what this client calls itself, at most 200 characters.
        start: where to begin while there is no position: a kept position, the last n records, `"first"`, or
            None for the server's default.
        merge: whether records may come merged.
        last_id: the highest command id that this device has used before, 0 for a new device. A device that
            does not know must wait for the first welcome before its first command.

    Raises:
        ValueError: one of them is nothing that a server would take.
    """

    def __init__(
        self,
        device: str,
        client: str,
        *,
        start: Start | Literal["first"] | None = None,
        merge: bool = False,
        last_id: int = 0,
    ) -> None:
        self._device = device
        self._client = client
        self._start: Start | Literal["first"] | None = start
        self._merge = merge
        self._limits = limits_on_wire(NodeLimits())
        self._commands = OpenCommands(last_id)
        self._state = ClientState.DISCONNECTED
        self._attempt = 0
        self._welcome: Welcome | None = None
        kept = start.position if isinstance(start, Start) else None
        self._position = Position(None, 0) if kept is None else Position(*kept)
        self._acked = 0
        self._acked_at = -math.inf
        self._heard_at = 0.0
        self._hello("checked when it is known")

    def __repr__(self) -> str:
        return f"<ClientProtocol {self._state.name} at {self._position.seq}>"

    @property
    def state(self) -> ClientState:
        """Where the client stands; commands may be sent while it is `OPEN`."""
        return self._state

    @property
    def attempt(self) -> int:
        """How many times hello was said: the number of the present connection."""
        return self._attempt

    @property
    def position(self) -> tuple[str, int] | None:
        """`(epoch, seq)` up to which records were applied, None before the first welcome."""
        return self._position.known

    @property
    def caught_up(self) -> bool:
        """Whether the open connection has brought all records that there were when it was welcomed."""
        welcome = self._welcome
        return self._state is ClientState.OPEN and welcome is not None and self._position.seq >= welcome.head

    @property
    def without_result(self) -> tuple[int, ...]:
        """The ids of the commands without result, in order."""
        return tuple(command.id for command in self._commands.in_order())

    def hello(self, ticket: str) -> bytes:
        """Return the first frame of a new connection; from now on nothing of an earlier one is applied.

        Raises:
            ValueError: the ticket is nothing that a server would take.
        """
        frame = self._hello(ticket)
        self._step(ClientInput.SAY_HELLO)
        self._attempt += 1
        self._welcome = None
        return frame

    def closed(self) -> None:
        """Note that the connection has ended; position and commands are kept. May be said again."""
        self._step(ClientInput.CLOSE)

    def receive(self, data: str | bytes, now: float, *, attempt: int | None = None) -> list[ClientEvent]:
        """Take one message of the server and return what it means, in the order to be acted on.

        Args:
            data: the message; bytes are taken as UTF-8.
            now: seconds of any one monotonic clock.
            attempt: the number of the connection that brought it; of an earlier one it is dropped.
        """
        if attempt is not None and attempt != self._attempt:
            return []
        self._heard_at = now
        try:
            message = decode_server(data)
        except UnknownType:
            self._step(ClientInput.UNKNOWN_TYPE)
            return []
        except BadFrame as error:
            return self._give_up(ClientInput.BAD_FRAME, str(error))
        after = self._step(_INPUT_OF[type(message)])
        if after is None:
            return []
        if after is ClientState.BROKEN:
            return [MustReconnect(f"unexpected {type(message).__name__.lower()}", CloseCode.BAD_FRAME)]
        match message:
            case Welcome():
                return self._welcomed(message)
            case Events():
                return self._events(message)
            case Gap():
                return self._take(message.from_seq, message.to_seq, GapSeen(message))
            case Result():
                return [ResultReceived(message)] if self._commands.take(message) else []
            case ProtocolError():
                return [ProtocolErrorReceived(message)]
            case Ping():
                return [Send(encode(Pong(self._position.seq)))]
            case Goaway():
                return [GoawayReceived(message)]
            case _:
                assert_never(message)

    def command(self, op: str, data: dict[str, object], run: str | None = None) -> tuple[int, bytes]:
        """Give a command the next id, take note of it, and return the id and the frame.

        Send the frame while the state is `OPEN`. Else keep nothing: the next `Welcomed.resend` holds it.

        Raises:
            ValueError: the frame is one that the server would close the connection for (too big, too deep, a
                name too long), or JSON cannot hold the data exactly. Nothing was noted.
            TypeError: the data is nothing that JSON can hold. Nothing was noted.
            TooManyCommands: results have to come first. Nothing was noted.
        """
        command = self._commands.draft(op, data, run, allowed=self._limits.burst)
        frame = self._checked(command)
        self._commands.add(command)
        return command.id, frame

    def repeat(self, command_id: int) -> bytes:
        """Return the frame of a command without result once more, after an answer that said retry.

        Raises:
            KeyError: that command has its result, or was never made.
        """
        return encode(self._commands.get(command_id))

    def abandon(self, command_id: int) -> None:
        """Repeat a command no more. Whether it ran or will run stays open.

        Raises:
            KeyError: that command has its result, or was never made.
        """
        self._commands.abandon(command_id)

    def ack(self, now: float) -> bytes | None:
        """Return an ack to be sent when there is something new to say and the last one is a second old."""
        seq = self._position.seq
        due = seq != self._acked and now >= self._acked_at + ACK_INTERVAL_SECONDS
        if self._state is not ClientState.OPEN or not due:
            return None
        self._acked, self._acked_at = seq, now
        return encode(Ack(seq))

    def deadline(self) -> float:
        """Return when the server is given up unless something is heard; `math.inf` before welcome."""
        if self._state is not ClientState.OPEN or self._welcome is None:
            return math.inf
        return self._heard_at + (self._welcome.heartbeat_ms + self._welcome.timeout_ms) / 1000

    def tick(self, now: float) -> list[ClientEvent]:
        """Return what is due at `now`: the end of the connection at `deadline`, else nothing."""
        if now < self.deadline():
            return []
        silent = f"nothing heard for {now - self._heard_at:.1f} s"
        return self._give_up(ClientInput.SILENCE, silent, CloseCode.HEARTBEAT_LOST)

    def _hello(self, ticket: str) -> bytes:
        known = self._position.known
        start = self._start if known is None else Start(epoch=known[0], seq=known[1])
        return self._checked(
            Hello(ticket=ticket, device=self._device, client=self._client, start=start, merge=self._merge)
        )

    def _checked(self, message: ClientMessage) -> bytes:
        # The server's own reading decides what it would take.
        try:
            frame = encode(message)
            read = decode_client(frame, max_bytes=self._limits.frame_bytes, max_depth=self._limits.depth)
        except WireError as error:
            raise ValueError(f"{type(message).__name__.lower()}: {error}") from error
        except RecursionError as error:
            raise ValueError(f"{type(message).__name__.lower()}: nested too deep") from error
        if read != message:
            raise ValueError(f"JSON cannot hold this exactly: {message!r:.200}")
        return frame

    def _welcomed(self, welcome: Welcome) -> list[ClientEvent]:
        before = self._position.known
        if not self._position.welcome(welcome):
            misfit = f"{welcome.mode} from {welcome.from_seq} of {welcome.epoch} does not fit position {before}"
            return self._give_up(ClientInput.BREACH, misfit)
        self._welcome = welcome
        self._limits = welcome.limits
        self._acked = self._position.seq
        self._commands.raise_to(welcome.last_id)
        return [Welcomed(welcome, tuple(encode(command) for command in self._commands.in_order()))]

    def _events(self, message: Events) -> list[ClientEvent]:
        events: list[ClientEvent] = []
        for record in message.events:
            events += self._take(record.first, record.last, Applied(record))
            if self._state is not ClientState.OPEN:
                break
        return events

    def _take(self, first: int, last: int, told: ClientEvent) -> list[ClientEvent]:
        applied = self._position.seq
        match self._position.take(first, last):
            case Place.NEXT:
                return [told]
            case Place.APPLIED:
                return []
            case Place.ELSEWHERE:
                return self._give_up(ClientInput.BREACH, f"{first} to {last} came after {applied}")

    def _give_up(self, given: ClientInput, reason: str, code: CloseCode = CloseCode.BAD_FRAME) -> list[ClientEvent]:
        return [] if self._step(given) is None else [MustReconnect(reason, code)]

    def _step(self, given: ClientInput) -> ClientState | None:
        after = CLIENT_TABLE[self._state][given]
        if after is not None:
            self._state = after
        return after
