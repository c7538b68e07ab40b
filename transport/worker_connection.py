"""One worker's WebSocket at ``/v1/agents``: the shell between a socket, its protocol and the node's workers.

One task reads, and hands on what comes; nothing here waits for a session, as each run has a window. What goes out is
put into the outbox by whoever has news. It is fenced as a client's connection is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from ..actors import WINDOW, Assignment, BrokenRule, Ended, Limits, Node, Said, Worker, Workers
from ..runtime import Timer, log_traceback
from .auth import Authenticator, Identity
from .errors import TokenRefused
from .http import Upgrade
from .outbox import Outbox
from .protocol import (
    AGENTS_SUBPROTOCOL,
    AgentsProtocol,
    CloseCode,
    FromNode,
    RunCancel,
    RunEnd,
    RunEvent,
    RunExchange,
    RunOrder,
    RunRefused,
    RunSettled,
    TokenBucket,
    WorkerGoaway,
    WorkerHello,
    WorkerPing,
    WorkerPong,
    WorkerWelcome,
    clip_reason,
    encode_agents,
    milliseconds,
    text_frame,
)
from .streams import WebSocket, linger

__all__ = ["WorkerBoard", "WorkerConnection"]

logger = logging.getLogger("callboard")

# Around an event's data: the run, the type, the keys.
FRAME_BYTES = 4_096
# Orders that wait for the socket. One holds the session's earlier exchanges, so it may be large.
OUTBOX_BYTES = 16_777_216
# The reason of a worker that stops in order: it does not come back.
GOODBYE = 1000


class WorkerBoard(Protocol):
    """What a worker's connection needs of its node."""

    node: Node
    limits: Limits
    server_name: str
    workers: Workers

    @property
    def authenticator(self) -> Authenticator:
        """Verifies tokens."""

    @property
    def serving(self) -> bool:
        """Whether new connections are taken."""

    def wall_clock(self) -> float:
        """Unix seconds."""

    def refused(self, code: CloseCode) -> None:
        """Count a refusal."""


class WorkerConnection:
    """One WebSocket of a worker. `serve` runs it from the upgrade to its end."""

    def __init__(
        self, id: str, stream: trio.abc.Stream, upgrade: Upgrade, board: WorkerBoard, *, crowded: bool = False
    ) -> None:
        limits = board.limits
        self.id = id
        self.peer = upgrade.request.client
        self.service = ""
        """Whose worker it is, once that is known."""
        self._board = board
        self._limits = limits
        self._stream = stream
        self._crowded = crowded
        self._offered = AGENTS_SUBPROTOCOL in upgrade.subprotocols
        self._from_a_page = "origin" in upgrade.request.headers
        self._authorization = upgrade.request.headers.get("authorization", "")
        self._outbox = Outbox(
            stream,
            pull=lambda: None,
            catch_up=_nothing,
            failed=self._outbox_failed,
            write_seconds=limits.write_seconds,
            max_bytes=OUTBOX_BYTES,
        )
        self._max_bytes = limits.event_bytes + FRAME_BYTES
        self._ws = WebSocket(
            stream,
            self._outbox,
            rest=upgrade.rest,
            take=self._take,
            max_message_chars=2 * self._max_bytes,
            max_fragments=limits.fragments,
            controls=TokenBucket(limits.commands_per_s, limits.burst, trio.current_time()),
            refuse=self._close,
            close_seconds=limits.close_seconds,
        )
        self._protocol = AgentsProtocol(
            hello_seconds=limits.hello_seconds,
            heartbeat_seconds=limits.heartbeat_seconds,
            timeout_seconds=limits.timeout_seconds,
            max_bytes=self._max_bytes,
            # An event's data lies in the message's own map.
            max_depth=limits.depth + 1,
            now=trio.current_time(),
        )
        self._identity: Identity | None = None
        self._worker: Worker | None = None
        self._verdict: tuple[CloseCode, str] | None = None
        self._beat: Timer | None = None
        self._end_of_login: Timer | None = None
        self._nursery: trio.Nursery | None = None
        self._ws.accept(upgrade.key, AGENTS_SUBPROTOCOL if self._offered else None)

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
                    self._leave()
                    self._end_soon()
                    await self._outbox.wait_written()
                    await linger(self._stream, self._limits.close_seconds)
                finally:
                    self._nursery = None
                    self._outbox.close()
                nursery.cancel_scope.cancel()
        finally:
            self._leave()
            for timer in (self._beat, self._end_of_login):
                if timer is not None:
                    timer.cancel()
            await trio.aclose_forcefully(self._stream)
            logger.info("worker connection %s from %s ended: %d", self.id, self.peer, self._code())

    def _code(self) -> int:
        if self._verdict is not None:
            return self._verdict[0]
        return self._ws.closed.code if self._ws.closed is not None else 1006

    def _leave(self) -> None:
        """The worker is away from here on, or gone if it said goodbye."""
        worker, self._worker = self._worker, None
        if worker is not None:
            said_goodbye = self._verdict is None and self._ws.closed is not None and self._ws.closed.code == GOODBYE
            self._board.workers.left(worker, self, for_good=said_goodbye)

    async def _fenced(self, task: Callable[[], Awaitable[None]]) -> None:
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
        """Look at who comes."""
        self._arm_beat()
        if not self._offered:
            self._close(CloseCode.VERSION, f"offer the subprotocol {AGENTS_SUBPROTOCOL}")
        elif self._from_a_page:
            self._close(CloseCode.ORIGIN, "a page is no worker")
        elif self._crowded:
            self._close(CloseCode.TOO_MANY_CONNECTIONS, "too many connections from this address")
        elif not self._board.serving:
            self._close(CloseCode.DRAINING)
        else:
            self._identify()

    def _identify(self) -> None:
        scheme, _, token = self._authorization.partition(" ")
        self._authorization = ""
        try:
            if scheme.lower() != "bearer":
                raise TokenRefused("send `Authorization: Bearer <token>`")
            identity = self._board.authenticator.verify(token.strip())
        except TokenRefused as refused:
            self._close(CloseCode.INVALID, str(refused))
            return
        if "agent" not in identity.scopes or identity.sessions is not None:
            # A token for some sessions only may not do the runs of all.
            self._close(CloseCode.FORBIDDEN, "this needs a token with the scope `agent`, for all sessions")
            return
        self._identity, self.service = identity, identity.user
        left = identity.expires_at - self._board.wall_clock()
        self._end_of_login = self._board.node.system.timers.call_later(left, lambda: self._close(CloseCode.EXPIRED))

    async def _take(self, data: str | bytes) -> None:
        """Take one message; what comes behind the end is passed over."""
        if self._verdict is None:
            try:
                match self._protocol.receive(data, trio.current_time()):
                    case WorkerHello() as hello:
                        self._hello(hello)
                    case RunEvent(run=run, attempt=attempt, n=n, type=type, data=event_data):
                        self._said(run, attempt, Said(n, type, event_data, len(data)))
                    case RunEnd(run=run, attempt=attempt, n=n, result=result, error=error):
                        told = None if error is None else (error.code, error.message)
                        self._said(run, attempt, Ended(n, result, told, len(data)))
                    case (code, reason):
                        self._close(code, reason)
                    case WorkerPong() | None:
                        pass
            except BrokenRule as broken:
                self._close(CloseCode.RATE, str(broken))
            except Exception as error:  # noqa: BLE001 - the fence
                self._crashed(error)
        await trio.lowlevel.checkpoint()

    def _hello(self, hello: WorkerHello) -> None:
        workers, limits = self._board.workers, self._limits
        unknown = sorted(set(hello.agents) - workers.names)
        if unknown:
            known = ", ".join(sorted(workers.names)) or "none"
            self._close(CloseCode.FORBIDDEN, f"this node has no remote agent {unknown[0]!r:.40}; there are {known}")
            return
        if workers.owner(hello.worker) not in (None, self.service):
            self._close(CloseCode.FORBIDDEN, "this worker is another service's")
            return
        if workers.full_for(hello.worker):
            self._close(CloseCode.TOO_MANY_CONNECTIONS, f"{limits.workers} workers are here, which is the limit")
            return
        offered = {name: offer.restartable for name, offer in hello.agents.items()}
        self._worker = workers.join(Worker(hello.worker, self.service, offered, hello.capacity), self)
        self._send(
            WorkerWelcome(
                heartbeat_ms=milliseconds(limits.heartbeat_seconds),
                timeout_ms=milliseconds(limits.timeout_seconds),
                window=WINDOW,
                window_bytes=limits.window_bytes,
                event_bytes=limits.event_bytes,
                depth=limits.depth,
                server=self._board.server_name,
            )
        )
        self._arm_beat()
        workers.resume(self._worker, [(held.run, held.attempt) for held in hello.runs])
        logger.info("worker connection %s from %s opened: %s", self.id, self.peer, ", ".join(sorted(offered)))

    def _said(self, run: str, attempt: int, said: Said | Ended) -> None:
        assert self._worker is not None
        assignment = self._board.workers.find(self._worker, run, attempt)
        if assignment is None:
            self.cancel(run, attempt, "fenced")
        else:
            assignment.take(said)

    # -- what the node says; plain, and nothing of this may raise -----------------------------------------------------

    def order(self, assignment: Assignment) -> None:
        """Have this run done."""
        message = assignment.message
        self._send(
            RunOrder(
                run=message.run,
                attempt=assignment.attempt,
                agent=message.agent,
                session=message.session,
                user=message.user,
                text=message.text,
                history=[RunExchange(text=each.text, answer=each.answer) for each in message.history],
            )
        )

    def acknowledge(self, assignment: Assignment, n: int) -> None:
        """All up to the n-th is settled."""
        self._send(RunSettled(run=assignment.message.run, attempt=assignment.attempt, n=n))

    def refuse(self, assignment: Assignment, n: int, message: str) -> None:
        """The n-th did not become a record."""
        self._send(RunRefused(run=assignment.message.run, attempt=assignment.attempt, n=n, message=message[:1_000]))

    def cancel(self, run: str, attempt: int, reason: str) -> None:
        """Nothing more of this run is wanted."""
        self._send(RunCancel(run=run, attempt=attempt, reason=reason))

    def supersede(self) -> None:
        """The same worker has another connection."""
        self._worker = None
        self._close(CloseCode.SUPERSEDED)

    def goaway(self, by_ms: int) -> None:
        """The node goes away."""
        if self._worker is not None:
            self._send(WorkerGoaway(by_ms=by_ms))

    def end(self, code: CloseCode) -> None:
        """Close it for a reason of the node's."""
        self._close(code)

    def cut(self) -> None:
        """End it without waiting for the worker's answer to a close."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def _send(self, message: FromNode) -> None:
        try:
            self._protocol.sent(trio.current_time())
            self._outbox.put(text_frame(encode_agents(message)))
        except Exception as error:  # noqa: BLE001 - the fence: whoever has news must not fall for this
            self._crashed(error)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _close(self, code: CloseCode, reason: str = "") -> None:
        """End the connection with a code; only the first one counts."""
        if self._verdict is None:
            self._verdict = (code, clip_reason(reason or code.reason))
            self._board.refused(code)
            self._leave()  # nothing more can be ordered here, also while the peer is given a moment to agree
            self._ws.close(*self._verdict)
            self._end_soon()

    def _end_soon(self) -> None:
        if self._nursery is not None:
            scope = self._nursery.cancel_scope
            scope.shield = True
            scope.deadline = min(scope.deadline, trio.current_time() + self._limits.close_seconds)

    def _crashed(self, error: Exception) -> None:
        logger.error("worker connection %s failed: %s", self.id, type(error).__name__)
        log_traceback(error, "worker connection %s failed", self.id)
        self._close(CloseCode.INTERNAL)

    def _outbox_failed(self, why: str) -> None:
        if why != "gone":
            self._close(CloseCode.WRITE_STALLED)
        self.cut()

    # -- time ---------------------------------------------------------------------------------------------------------

    def _arm_beat(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        now, due = trio.current_time(), self._protocol.next_deadline()
        if due < math.inf:
            self._beat = self._board.node.system.timers.call_later(max(0.001, due - now), self._tick)

    def _tick(self) -> None:
        if self._verdict is not None:
            return
        match self._protocol.tick(trio.current_time()):
            case (code, reason):
                self._close(code, reason)
                return
            case WorkerPing() as ping:
                self._send(ping)
        self._arm_beat()


async def _nothing() -> None:
    """Nothing is read from a journal for a worker."""
    await trio.lowlevel.checkpoint()
