"""One WebSocket connection: the shell between a socket, the wire protocol and a session.

One task: `serve` reads, and takes messages one after the other. Whatever is to be sent goes through the outbox, called
by whoever has news. A connection holds the route to its own session and to nothing
else (law S1). It is fenced: a bug in it is logged, ends it with 4100, and touches no other.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import attrs
import pykka
import trio

from ..actors import (
    Attach,
    Attached,
    Behind,
    CloseReason,
    Detach,
    Grant,
    Limits,
    Locate,
    Log,
    LogGap,
    Mode,
    Node,
    Record,
    Route,
    RunCommand,
    SessionQuarantined,
    StartFrom,
    StoreUnavailable,
    TakeTicket,
    TicketRefused,
    merge_deltas,
)
from ..actors import Result as CommandResult
from ..runtime import MailboxFull, Refusal, Timer, log_traceback
from .http import Upgrade
from .outbox import LAGGING, Lagging, Outbox
from .protocol import (
    SUBPROTOCOL,
    AckReceived,
    Answer,
    CloseCode,
    Command,
    CommandError,
    CommandReceived,
    Gap,
    Goaway,
    Hello,
    HelloReceived,
    Ignored,
    Ping,
    PongReceived,
    Refused,
    Result,
    ServerProtocol,
    Start,
    TokenBucket,
    Welcome,
    clip_reason,
    encode,
    events_parts,
    limits_on_wire,
    milliseconds,
    text_frame,
)
from .streams import WebSocket, linger

__all__ = ["Connection", "Connections", "LastFrame"]

logger = logging.getLogger("callboard")

TICKET_CODES = {
    "expired": CloseCode.EXPIRED,
    "used": CloseCode.USED,
    "invalid": CloseCode.INVALID,
    "foreign": CloseCode.FOREIGN,
    "revoked": CloseCode.REVOKED,
}
SESSION_CODES = {CloseReason.SUPERSEDED: CloseCode.SUPERSEDED, CloseReason.DRAINING: CloseCode.DRAINING}
OUTBOX_CODES = {"stalled": CloseCode.WRITE_STALLED, "full": CloseCode.WRITE_STALLED, "gone": None}

# Commands whose answer is still to come are kept, to be repeated should the session restart. More than the session
# remembers of a device could not be told apart anyway.
OPEN_COMMANDS = 128

# Positions that a lagging client was told of and has not reached: the head at its welcome and at pings. A client that
# is pinged so often on its way is not slow, it trickles: its records go out one by one from then on.
MAX_TOLD = 64


class LastFrame:
    """The frame that was made last: all connections of a session are given the same records one after the other.

    A frame of the server's is not masked, so it can go to any number of them.
    """

    __slots__ = ("_frame", "_records")

    def __init__(self) -> None:
        self._records: Sequence[Record] = ()
        self._frame = b""

    def of(self, records: Sequence[Record]) -> bytes:
        """The frame of these records, which may not change."""
        if records is not self._records:
            self._frame = text_frame(*events_parts([record.encoded for record in records]))
            self._records = records
        return self._frame


class Connections(Protocol):
    """What a connection needs of its node."""

    node: Node
    limits: Limits
    server_name: str
    last_frame: LastFrame

    @property
    def serving(self) -> bool:
        """Whether new connections are taken, and commands of those that there are."""

    def origin_allowed(self, origin: str | None) -> bool:
        """Whether a page of this origin may connect; None is no browser."""

    def may_enter(self, user: str) -> bool:
        """Count a hello of a user; False when the user says too many."""

    def admit(self, connection: Connection, user: str) -> bool:
        """Count a connection for its user; False when the user has too many."""

    def wall_clock(self) -> float:
        """Unix seconds."""

    def refused(self, code: CloseCode) -> None:
        """Count a refusal."""


class Connection:
    """One WebSocket. `serve` runs it from the upgrade to its end."""

    # Most of what ten thousand idle connections hold; a dictionary of so many would take a kilobyte more.
    __slots__ = (
        "_applied",
        "_attached",
        "_attaching",
        "_backlog",
        "_beat",
        "_board",
        "_crowded",
        "_cursor",
        "_device",
        "_end_of_login",
        "_failures",
        "_gap",
        "_grant",
        "_handling",
        "_limits",
        "_log",
        "_merge",
        "_now",
        "_nursery",
        "_offered",
        "_open_commands",
        "_origin",
        "_outbox",
        "_protocol",
        "_route",
        "_stream",
        "_told",
        "_unanswered",
        "_verdict",
        "_welcomed",
        "_ws",
        "id",
        "peer",
    )

    def __init__(
        self, id: str, stream: trio.abc.Stream, upgrade: Upgrade, board: Connections, *, crowded: bool = False
    ) -> None:
        self.id = id
        self.peer = upgrade.request.client
        self._board = board
        self._limits = board.limits
        self._stream = stream
        self._crowded = crowded
        self._offered = SUBPROTOCOL in upgrade.subprotocols
        self._origin = upgrade.request.headers.get("origin")
        self._outbox = Outbox(
            stream,
            pull=self._pull,
            catch_up=self._catch_up,
            failed=self._outbox_failed,
            write_seconds=self._limits.write_seconds,
            max_bytes=self._limits.outbox_bytes,
        )
        self._ws = WebSocket(
            stream,
            self._outbox,
            rest=upgrade.rest,
            take=self._take,
            # The protocol counts the bytes. With room, as our 4007 says more than trio-websocket's 1009.
            max_message_chars=4 * self._limits.frame_bytes,
            max_fragments=self._limits.fragments,
            controls=TokenBucket(self._limits.commands_per_s, self._limits.burst, trio.current_time()),
            refuse=self._close,
            close_seconds=self._limits.close_seconds,
        )
        self._protocol = ServerProtocol(board.limits, trio.current_time())
        self._handling: trio.CancelScope | None = None
        self._verdict: tuple[CloseCode, str] | None = None
        self._device = ""
        self._grant: Grant | None = None
        self._route: Route | None = None
        self._welcomed = False
        self._attaching = False
        self._failures = 0
        self._log: Log | None = None
        self._attached: Attached | None = None
        self._backlog: Sequence[Record] = ()
        self._gap: LogGap | None = None
        self._cursor = 0
        self._applied = 0
        # Whether the node drains, and a command has come that is left for the next one.
        self._unanswered = False
        self._merge = False
        self._told: list[int] = []
        self._open_commands: dict[int, RunCommand] = {}
        self._beat: Timer | None = None
        self._end_of_login: Timer | None = None
        self._nursery: trio.Nursery | None = None
        # `trio.current_time`, without looking up the clock for each frame.
        self._now = trio.lowlevel.current_clock().current_time
        self._ws.accept(upgrade.key, SUBPROTOCOL if self._offered else None)

    @property
    def waiting_bytes(self) -> int:
        """Bytes in memory that wait for the socket."""
        return self._outbox.waiting_bytes

    # -- life ---------------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Run the connection until it ends; closes the stream."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    self._outbox.start(self._spawn)
                    await self._fenced(self._read)
                    self._protocol.closed()
                    self._end_soon()
                    await self._outbox.wait_written()
                    await linger(self._stream, self._limits.close_seconds)
                finally:
                    # From here on nobody's news may start a task or write: what closes next is the socket, and its
                    # number may be another connection's right after.
                    self._nursery = None
                    self._outbox.close()
                nursery.cancel_scope.cancel()
        finally:
            # What is left of this connection may wait for the garbage collector; the session's records do not.
            self._log = self._attached = None
            self._backlog = ()
            for timer in (self._beat, self._end_of_login):
                if timer is not None:
                    timer.cancel()
            if self._route is not None:
                # A fact, which needs no room: a session with a full mailbox has to hear of it too.
                self._route.ref.notify(Detach(self))
            await trio.aclose_forcefully(self._stream)
            self._log_end()

    async def _fenced(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a part of this connection: a bug in it ends this connection only."""
        try:
            await task()
        except Exception as error:  # noqa: BLE001 - the fence
            self._crashed(error)

    def _spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._fenced, task)

    def _read(self) -> Awaitable[None]:
        self._enter()
        return self._ws.read()

    def _enter(self) -> None:
        """Look at who comes; a page could not see why it was refused before."""
        self._arm_beat()
        if not self._offered:
            self._close(CloseCode.VERSION, f"offer the subprotocol {SUBPROTOCOL}")
        elif not self._board.origin_allowed(self._origin):
            self._close(CloseCode.ORIGIN)
        elif self._crowded:
            self._close(CloseCode.TOO_MANY_CONNECTIONS, "too many connections from this address")
        elif not self._board.serving:
            self._close(CloseCode.DRAINING)

    async def _take(self, data: str | bytes) -> None:
        """Take one message of the client. What comes behind the end is passed over."""
        if self._verdict is not None:
            return
        try:
            match self._protocol.receive(data, trio.current_time()):
                case HelloReceived(hello):
                    await self._unless_it_ends(self._hello(hello), self._limits.store_seconds)
                    return
                case CommandReceived(command):
                    await self._unless_it_ends(self._command(command))
                case AckReceived(seq) | PongReceived(seq):
                    self._applied = max(self._applied, min(seq, self._cursor))
                case Answer(frame):
                    self._send(frame)
                case Refused(code, reason):
                    await trio.lowlevel.checkpoint()  # what is on its way out already goes before the close
                    self._close(code, reason)
                case Ignored():
                    pass
        except Exception as error:  # noqa: BLE001 - the fence: behind it, what the peer says to our close is still read
            self._crashed(error)
        # Thousands of messages may come in one read: all others get their turn in between.
        await trio.lowlevel.checkpoint()

    async def _unless_it_ends(self, work: Awaitable[None], seconds: float = math.inf) -> None:
        """Do what may have to wait, and drop it when the connection ends meanwhile, or the store takes too long."""
        with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
            self._handling = scope
            await work
        self._handling = None
        if scope.cancelled_caught:
            self._close(CloseCode.STORE_UNAVAILABLE)

    def _end_soon(self) -> None:
        """Give the peer a moment to agree to the end, whatever else ends meanwhile."""
        if self._nursery is not None:
            scope = self._nursery.cancel_scope
            scope.shield = True
            scope.deadline = min(scope.deadline, trio.current_time() + self._limits.close_seconds)

    def _crashed(self, error: Exception) -> None:
        logger.error("connection %s failed: %s", self.id, type(error).__name__)
        log_traceback(error, "connection %s failed", self.id)
        self._close(CloseCode.INTERNAL)

    def _close(self, code: CloseCode, reason: str = "") -> None:
        """End the connection with a code; only the first one counts."""
        if self._verdict is None:
            self._verdict = (code, clip_reason(reason or code.reason))
            self._board.refused(code)
            if self._handling is not None:
                self._handling.cancel()
            self._ws.close(*self._verdict)
            self._end_soon()

    def _log_end(self) -> None:
        closed = self._ws.closed
        code = self._verdict[0] if self._verdict is not None else (closed.code if closed is not None else 1006)
        session = self._grant.key.id if self._grant is not None else "-"
        logger.info("connection %s from %s to session %s ended: %d", self.id, self.peer, session, code)

    # -- hello --------------------------------------------------------------------------------------------------------

    async def _hello(self, hello: Hello) -> None:
        board = self._board
        try:
            grant: Grant = await board.node.tickets.ask_async(TakeTicket(hello.ticket, self._origin))
        except TicketRefused as refused:
            self._close(TICKET_CODES[refused.reason])
            return
        except MailboxFull:
            self._close(CloseCode.OVERLOADED)
            return
        remaining = None if grant.expires_at is None else grant.expires_at - board.wall_clock()
        if remaining is not None and remaining <= 0:
            self._close(CloseCode.EXPIRED)
            return
        if not board.serving:
            self._close(CloseCode.DRAINING)
            return
        if not board.may_enter(grant.key.user):
            self._close(CloseCode.RATE, "too many connections opened one after the other")
            return
        if not board.admit(self, grant.key.user):
            self._close(CloseCode.TOO_MANY_CONNECTIONS)
            return
        self._grant, self._device, self._merge = grant, hello.device, hello.merge
        attached = await self._attach(_start_from(hello.start))
        if attached is None or self._verdict is not None:
            return
        if remaining is not None:
            self._end_of_login = board.node.system.timers.call_later(remaining, lambda: self._close(CloseCode.EXPIRED))
        self._welcome(attached)
        logger.info("connection %s from %s to session %s opened", self.id, self.peer, grant.key.id)

    async def _attach(self, start: StartFrom) -> Attached | None:
        """Attach to the session, starting it if need be; None if that ended the connection."""
        assert self._grant is not None
        try:
            while True:
                failures = self._failures
                self._route = await self._board.node.registry.ask_async(Locate(self._grant.key))
                assert self._route is not None
                try:
                    attached: Attached = await self._route.ref.ask_async(Attach(self, self._device, start))
                except pykka.ActorDeadError:
                    continue  # it went meanwhile, which the registry has heard by the next question
                if failures == self._failures:
                    return attached
                # The session failed between its answer and now: the answer is of an incarnation that is gone.
        except SessionQuarantined:
            self._close(CloseCode.OVERLOADED, "the session is quarantined")
        except MailboxFull:
            self._close(CloseCode.OVERLOADED)
        except StoreUnavailable:
            self._close(CloseCode.STORE_UNAVAILABLE)
        except (pykka.ActorDeadError, Refusal):
            self._close(CloseCode.INTERNAL)
        return None

    def _welcome(self, attached: Attached) -> None:
        assert self._grant is not None
        limits, log = self._board.limits, attached.log
        self._protocol.welcomed(trio.current_time())
        self._send(
            encode(
                Welcome(
                    session=self._grant.key.id,
                    connection=self.id,
                    epoch=log.epoch,
                    first=log.first if log.head else 0,
                    head=self._tell_position(log.head),
                    from_seq=attached.cursor + 1,
                    mode=attached.mode.value,
                    last_id=attached.last_id,
                    heartbeat_ms=milliseconds(limits.heartbeat_seconds),
                    timeout_ms=milliseconds(limits.timeout_seconds),
                    limits=limits_on_wire(limits),
                    server=self._board.server_name,
                )
            )
        )
        self._welcomed = True
        self._arm_beat()
        self._follow(attached)

    def _follow(self, attached: Attached) -> None:
        self._attached, self._cursor = attached, attached.cursor
        self._log = attached.log
        self._outbox.flush()

    # -- what the session says; called in its turn, so nothing of this may raise ---------------------------------------

    def wake(self) -> None:
        """The log has grown: send what there is."""
        try:
            self._outbox.flush()
        except Exception as error:  # noqa: BLE001 - the fence: a session must not fall for a connection's bug
            self._crashed(error)

    def deliver(self, result: CommandResult) -> None:
        """Send the answer to a command."""
        if not self._welcomed:
            # To a command of this device's connection before, which this one took over. Nothing goes out before
            # welcome; the client repeats the command after it, and is answered then.
            return
        try:
            self._open_commands.pop(result.id, None)
            self._send(encode(_wire_result(result)))
        except Exception as error:  # noqa: BLE001 - the fence
            self._crashed(error)

    def close(self, reason: CloseReason) -> None:
        """Close the connection for a reason of the session's."""
        self._close(SESSION_CODES[reason])

    def session_failed(self) -> None:
        """The session starts anew: attach again where this connection is, which its client need not notice."""
        self._failures += 1
        self._log = None
        self._backlog, self._gap = (), None
        if self._welcomed and not self._attaching and self._verdict is None:
            self._attaching = True
            self._spawn(self._attach_again)

    async def _attach_again(self) -> None:
        """Attach, and ask again what has no answer: in order, and anew whenever the session fails meanwhile."""
        assert self._attached is not None
        epoch = self._attached.log.epoch
        while self._attaching:
            failures = self._failures
            with trio.move_on_after(self._limits.store_seconds) as scope:
                attached = await self._attach(StartFrom(epoch=epoch, seq=self._cursor))
            if scope.cancelled_caught:
                self._close(CloseCode.STORE_UNAVAILABLE)
                return
            if attached is None or self._verdict is not None:
                return
            if attached.mode is not Mode.REPLAY or attached.log.epoch != epoch:
                self._close(CloseCode.DRAINING, "the session's history has changed; resume")
                return
            self._follow(attached)
            self._attaching = not await self._ask_again(failures)

    async def _ask_again(self, failures: int) -> bool:
        """Give the session each command without an answer, also those that come meanwhile; False if it failed again."""
        asked: set[int] = set()
        while failures == self._failures:
            command = next((each for each in self._open_commands.values() if each.id not in asked), None)
            if command is None:
                return True
            asked.add(command.id)
            await self._tell_session(command)
        return False

    # -- what goes out ------------------------------------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        self._protocol.sent(trio.current_time())
        self._outbox.put(text_frame(message))

    def _pull(self) -> bytes | Lagging | None:
        """The next frame of what the cursor can see: one message with all that is there, up to `batch_bytes`."""
        log = self._log
        if log is None or log.head <= self._cursor:
            return None
        if (self._verdict is not None or self._ws.closed is not None) and not self._may_say_more():
            return None
        if self._gap is not None:
            gap, self._gap = self._gap, None
            return self._gap_frame(gap)
        lags = self._merge and self._lags()
        if self._backlog:
            records, self._backlog = self._backlog, ()
        else:
            found = log.after(self._cursor, self._limits.batch_bytes)
            if isinstance(found, Behind):
                return LAGGING
            if isinstance(found, LogGap):
                return self._gap_frame(found)
            if not found:
                return None
            records = found
        self._cursor = records[-1].seq
        self._protocol.sent(self._now())
        if lags:
            return text_frame(*events_parts(merge_deltas(records, self._told)))
        return self._board.last_frame.of(records)

    def _lags(self) -> bool:
        """Whether more waits here than one turn brings. Then what waits is merged; nothing is held back for it."""
        while self._told and self._told[0] <= self._cursor:
            del self._told[0]
        return bool(self._told or self._backlog) or self._outbox.behind

    def _tell_position(self, seq: int) -> int:
        """Note that the client is told of a position, which no merged record goes across; gives it."""
        if self._merge and seq > (self._told[-1] if self._told else self._cursor):
            self._told.append(seq)
            self._merge = len(self._told) < MAX_TOLD
        return seq

    def _may_say_more(self) -> bool:
        """Whether records still go out: not once the end is agreed on, but a node that drains says all that it can."""
        if self._verdict is None:
            return self._ws.closed is None
        return self._verdict[0] is CloseCode.DRAINING

    def _gap_frame(self, gap: LogGap) -> bytes:
        self._cursor = gap.last
        return text_frame(encode(Gap(from_seq=gap.first, to_seq=gap.last, reason="retention")))

    async def _catch_up(self) -> None:
        """Read the next records from the journal. Costs this connection only (law S8)."""
        attached, cursor = self._attached, self._cursor
        if self._log is None or attached is None:
            return
        try:
            with trio.fail_after(self._limits.store_seconds):
                records = await attached.read(cursor, self._limits.batch_bytes)
        except (StoreUnavailable, trio.TooSlowError):
            self._close(CloseCode.STORE_UNAVAILABLE)
            return
        if self._log is not attached.log or cursor != self._cursor:
            return  # attached anew meanwhile
        records = [record for record in records if record.seq <= attached.log.head]
        if records and records[0].seq > cursor + 1:
            self._gap = LogGap(cursor + 1, records[0].seq - 1)
        self._backlog = records

    def _outbox_failed(self, why: str) -> None:
        # The stream may hold half a frame, or is gone: nothing can be said any more, so it is cut.
        code = OUTBOX_CODES[why]
        if code is not None:
            self._close(code)
        self.cut()

    # -- commands -----------------------------------------------------------------------------------------------------

    async def _command(self, command: Command) -> None:
        if not self._board.serving and (self._unanswered or command.op != "cancel"):
            # A run that begins now might be cut with the node. Without an answer the client repeats the command to the
            # next node, where it is done; those behind it too, so that they keep their order.
            self._unanswered = True
            return
        if len(self._open_commands) >= OPEN_COMMANDS:
            error = CommandError(code="rate", message=f"{OPEN_COMMANDS} commands wait for their results", retry=True)
            self._send(encode(Result(id=command.id, error=error)))
            return
        message = RunCommand(self, self._device, command.id, command.op, dict(command.data), command.run)
        self._open_commands[command.id] = message
        if not self._attaching:
            await self._tell_session(message)

    async def _tell_session(self, message: RunCommand) -> None:
        assert self._route is not None
        assert self._attached is not None
        try:
            await self._route.ref.send(attrs.evolve(message, log=self._attached.log))
        except pykka.ActorDeadError:
            self._close(CloseCode.OVERLOADED, "the session has ended")

    # -- time ---------------------------------------------------------------------------------------------------------

    def _arm_beat(self) -> None:
        """Set the one timer for what the protocol has to say next: a late hello, a ping, a lost heartbeat."""
        if self._beat is not None:
            self._beat.cancel()
        now, due = trio.current_time(), self._protocol.next_deadline()
        if due < float("inf"):
            # A timer that were due at once would find the protocol of the same opinion for ever.
            self._beat = self._board.node.system.timers.call_later(max(0.001, due - now), self._tick)

    def _tick(self) -> None:
        if self._verdict is not None:
            return
        try:
            for due in self._protocol.tick(trio.current_time()):
                if isinstance(due, Refused):
                    self._close(due.code, due.reason)
                    return
                head = self._log.head if self._log is not None else self._cursor
                self._send(encode(Ping(seq=self._tell_position(head))))
            self._arm_beat()
        except Exception as error:  # noqa: BLE001 - the fence: what a timer raises would end the node
            self._crashed(error)

    def goaway(self, in_ms: int, by_ms: int) -> None:
        """Ask the client to connect anew; before its welcome it is closed at once."""
        try:
            refused = self._protocol.draining()
            if refused is not None:
                self._close(refused.code, refused.reason)
            elif self._verdict is None:
                self._send(encode(Goaway(reason="draining", in_ms=in_ms, by_ms=by_ms)))
        except Exception as error:  # noqa: BLE001 - the fence: all others are to be told too
            self._crashed(error)

    def end(self, code: CloseCode) -> None:
        """Close the connection for a reason of the node's."""
        self._close(code)

    def cut(self) -> None:
        """End the connection without waiting for the client's answer to a close."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()


def _start_from(start: object) -> StartFrom:
    if isinstance(start, Start):
        return StartFrom(epoch=start.epoch, seq=start.seq, last=start.last)
    return StartFrom(first=start == "first")


def _wire_result(result: CommandResult) -> Result:
    if result.error_code is None:
        return Result(id=result.id, ok=result.ok, seq=result.seq)
    error = CommandError(code=result.error_code, message=result.error_message, retry=result.retry)
    return Result(id=result.id, error=error, seq=result.seq)
