"""The server's end of one connection: what a client may say when, how often, and when it is given up.

Which frame is allowed in which state stands in `states.SERVER_TABLE`, how often in three token buckets, and
when a silent client is pinged or given up in `heartbeat.py`; this file puts them together.

No I/O and no clock: frames come in as data, time as float seconds of any one monotonic clock, and what is to
be done comes out as events (`server_events.py`). It does not know tickets, sessions or what a command means.
"""

from __future__ import annotations

import math
from typing import assert_never

import attrs

from ...actors import Limits
from .bucket import TokenBucket
from .closecodes import CloseCode, clip_reason
from .codec import decode_client, encode
from .errors import BadFrame, FrameTooBig, LocalStateError, UnknownType
from .heartbeat import Beat, Heartbeat
from .messages import SUBPROTOCOL, Ack, Command, CommandError, Hello, Pong, ProtocolError, Result
from .server_events import (
    AckReceived,
    Answer,
    CommandReceived,
    HelloReceived,
    Ignored,
    PongReceived,
    Refused,
    SendPing,
    ServerEvent,
)
from .states import SERVER_TABLE, ServerInput, ServerState

__all__ = ["ServerProtocol"]

# The wire allows one ack a second. Twice that, as no two clocks run alike; and those of a whole silence at once, as a
# network that stood still gives back what it held. Who sends more is no client that follows the rules.
ACKS_PER_SECOND = 2.0
ACKS_SPARE = 10


class ServerProtocol:
    """One connection's protocol state.

    Frames go in through `receive`; `sent` is told of every frame written, `welcomed`, `draining` and `closed`
    of the caller's own steps; `tick` is called at `next_deadline`, earlier calls do no harm.

    Args:
        limits: what the client is held to.
        now: the time at which the connection was accepted, in seconds; the clock of all later calls.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._state = ServerState.AWAIT_HELLO
        self._hello_by = now + limits.hello_seconds
        self._heartbeat = Heartbeat(limits.heartbeat_seconds, limits.timeout_seconds, now)
        self._budget = TokenBucket(limits.commands_per_s, limits.burst, now)
        # Refusals are answered, and so cost something too: a client may be refused a whole burst, gained back
        # at the rate of commands. Who goes beyond does not listen.
        self._refusals = TokenBucket(limits.commands_per_s, limits.burst, now)
        silence = limits.heartbeat_seconds + limits.timeout_seconds
        self._acks = TokenBucket(ACKS_PER_SECOND, ACKS_PER_SECOND * silence + ACKS_SPARE, now)
        self._pongs_owed = 0

    def __repr__(self) -> str:
        return f"<ServerProtocol {self._state.name}>"

    @property
    def state(self) -> ServerState:
        """Where the connection stands."""
        return self._state

    def receive(self, data: str | bytes, now: float) -> ServerEvent:
        """Take one WebSocket message, text as str and binary as bytes, and say what it means.

        Raises nothing for whatever a client may write.
        """
        if self._state is ServerState.CLOSED:
            return Ignored()
        self.heard(now)
        late = self.expired(now)
        if late is not None:
            return late
        if isinstance(data, bytes):
            return self._refuse(ServerInput.BAD_FRAME, f"binary message on {SUBPROTOCOL}")
        try:
            message = decode_client(data, max_bytes=self._limits.frame_bytes, max_depth=self._limits.depth)
        except FrameTooBig as error:
            return self._refuse(ServerInput.TOO_BIG, str(error))
        except BadFrame as error:
            return self._refuse(ServerInput.BAD_FRAME, str(error))
        except UnknownType as error:
            return self._unknown_type(error, now)
        match message:
            case Hello():
                return self._step(ServerInput.HELLO) or HelloReceived(message)
            case Command():
                return self._command(message, now)
            case Ack(seq):
                return self._step(ServerInput.ACK) or self._unasked(now) or AckReceived(seq)
            case Pong(seq):
                return self._step(ServerInput.PONG) or self._pong(now) or PongReceived(seq)
            case _:
                assert_never(message)

    def welcomed(self, now: float) -> None:
        """Note that `welcome` is being sent; the heartbeat begins.

        Raises:
            LocalStateError: no verdict was awaited, which includes that the connection has ended meanwhile.
        """
        self._step(ServerInput.WELCOME)
        self._heartbeat = Heartbeat(self._limits.heartbeat_seconds, self._limits.timeout_seconds, now)

    def draining(self) -> Refused | None:
        """Note that the node goes away: None when `goaway` can be said, else (before welcome) close now.

        After the end it does nothing and returns None.
        """
        return self._step(ServerInput.DRAIN)

    def closed(self) -> None:
        """Note that the connection has ended, from either side; may be said again."""
        self._step(ServerInput.CLOSE)

    def sent(self, now: float) -> None:
        """Note that a frame was sent."""
        self._heartbeat.sent(now)

    def heard(self, now: float) -> None:
        """Note a sign of life. `receive` does; say so too for what the WebSocket layer hears itself."""
        self._heartbeat.heard(now)

    def deadline(self) -> float:
        """Return when the hello is late; `math.inf` once it came or the connection ended."""
        return self._hello_by if self._state is ServerState.AWAIT_HELLO else math.inf

    def expired(self, now: float) -> Refused | None:
        """Return the refusal when the hello is late, at `deadline` exactly or after it, else None."""
        late = self._state is ServerState.AWAIT_HELLO and now >= self._hello_by
        return self._refuse(ServerInput.HELLO_LATE, "") if late else None

    def next_deadline(self) -> float:
        """Return when `tick` has something to say next, `math.inf` when nothing is due by time.

        Before the hello that is its deadline, after `welcomed` the heartbeat. While a verdict is awaited
        nothing is due: the time that it takes is the server's own.
        """
        return self._heartbeat.next_due() if self._beating() else self.deadline()

    def tick(self, now: float) -> list[SendPing | Refused]:
        """Return what is due at `now`: nothing, a ping or the end. A ping is taken as sent at `now`."""
        if not self._beating():
            late = self.expired(now)
            return [] if late is None else [late]
        match self._heartbeat.tick(now):
            case Beat.PING:
                self._pongs_owed += 1
                return [SendPing()]
            case Beat.LOST:
                silent = f"nothing heard for {self._heartbeat.silent_for(now):.1f} s"
                return [self._refuse(ServerInput.SILENCE, silent)]
            case None:
                return []

    def _beating(self) -> bool:
        return self._state in (ServerState.OPEN, ServerState.DRAINING)

    def _command(self, command: Command, now: float) -> ServerEvent:
        refused = self._step(ServerInput.COMMAND)
        if refused is not None:
            return refused
        if self._budget.take(now):
            return CommandReceived(command)
        error = CommandError(code="rate", message=self._rate(), retry=True)
        return self._refusal(encode(Result(id=command.id, error=error)), now)

    def _pong(self, now: float) -> Refused | None:
        """An answer to a ping is free; one that nobody asked for counts as an ack does."""
        if self._pongs_owed:
            self._pongs_owed -= 1
            return None
        return self._unasked(now)

    def _unasked(self, now: float) -> Refused | None:
        if self._acks.take(now):
            return None
        return self._refuse(ServerInput.FLOOD, f"allowed are {ACKS_PER_SECOND:g} acks a second")

    def _unknown_type(self, error: UnknownType, now: float) -> ServerEvent:
        refused = self._step(ServerInput.UNKNOWN_TYPE)
        if refused is not None:
            return refused
        if self._budget.take(now):
            return Answer(encode(ProtocolError(code="unknown_type", message=str(error))))
        return self._refusal(encode(ProtocolError(code="rate", message=self._rate())), now)

    def _refusal(self, frame: bytes, now: float) -> Answer | Refused:
        if self._refusals.take(now):
            return Answer(frame)
        return self._refuse(ServerInput.FLOOD, self._rate())

    def _rate(self) -> str:
        return f"allowed are {self._limits.commands_per_s:g} a second and {self._limits.burst} at once"

    def _step(self, given: ServerInput) -> Refused | None:
        row = SERVER_TABLE[self._state]
        after = row.get(given)
        if after is None:
            allowed = ", ".join(sorted(known.name for known in row))
            raise LocalStateError(f"{given.name} in state {self._state.name}, allowed are {allowed}")
        if isinstance(after, CloseCode):
            self._state = ServerState.CLOSED
            return Refused(after, after.reason)
        self._state = after
        return None

    def _refuse(self, given: ServerInput, detail: str) -> Refused:
        refused = self._step(given)
        assert refused is not None, f"{given.name} must end the connection"
        return attrs.evolve(refused, reason=clip_reason(f"{refused.reason}: {detail}")) if detail else refused
