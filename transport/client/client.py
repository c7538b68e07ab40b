"""`callboard.connect`: a session as a Python program sees it, through cuts, restarts and deploys.

Theory of operation. One task keeps a connection: it gets a ticket, connects, says hello at the position reached,
applies records, and when the connection ends it does what the close code's range says. Records go to the consumer
through a channel of bounded size; a consumer that is slow makes this client slow, and the node, for which a connection
is a cursor, bears it. Commands are repeated under their ids after each reconnect until they have a result, so each
runs once.
"""

from __future__ import annotations

import math
import os
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, Self

import attrs
import httpx
import trio

from ..protocol import (
    Applied,
    ClientEvent,
    ClientProtocol,
    ClientState,
    Gap,
    GapSeen,
    GoawayReceived,
    MustReconnect,
    ProtocolErrorReceived,
    Result,
    ResultReceived,
    Send,
    Start,
    Verdict,
    Welcomed,
    WireRecord,
    verdict,
)
from .errors import CommandFailed, SessionClosed, TicketDenied, Unreachable
from .socket import Closed, Socket, open_socket
from .tickets import TokenSource, get_ticket

__all__ = ["Client", "ClientStatistics", "connect"]

# Records between the connection and the consumer; enough for one full message of small ones.
BUFFERED_RECORDS = 1_000
MIN_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 20.0
# A node that closes with "at once" over and over is given time all the same.
FAST_TRIES = 3
HANDSHAKE_SECONDS = 10.0


@attrs.frozen
class ClientStatistics:
    """What a client has been through. `resets` counts how often the node had another history than the one known."""

    connects: int
    records: int
    gaps: int
    resets: int
    state: str


class Client:
    """One device in one session. Made by `connect`.

    Iterating gives each record once and in order, for ever: `WireRecord` with `seq`, `id`, `type`, `run`, `at`, `data`.
    """

    def __init__(self, protocol: ClientProtocol, rng: random.Random) -> None:
        self._protocol = protocol
        self._rng = rng
        self._put, self._take = trio.open_memory_channel[WireRecord](BUFFERED_RECORDS)
        self._socket: Socket | None = None
        self._results: dict[int, tuple[trio.Event, list[Result]]] = {}
        self._failure: Exception | None = None
        self._welcomed = trio.Event()
        self._caught_up = trio.Event()
        self._leave_at = math.inf
        self._waiting = trio.CancelScope()
        self._connects = self._records = self._gaps = self._resets = 0
        self._progress = False
        self.session = ""

    # -- for programs -------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WireRecord:
        try:
            return await self._take.receive()
        except trio.EndOfChannel:
            if self._failure is not None:
                raise self._failure from None
            raise StopAsyncIteration from None

    @property
    def position(self) -> tuple[str, int] | None:
        """`(epoch, seq)` up to which records were taken off the wire; None before the first welcome."""
        return self._protocol.position

    @property
    def connected(self) -> bool:
        """Whether a connection is open and welcomed just now."""
        return self._protocol.state is ClientState.OPEN

    def statistics(self) -> ClientStatistics:
        """Counters since `connect`."""
        state = self._protocol.state.name.lower()
        return ClientStatistics(self._connects, self._records, self._gaps, self._resets, state)

    async def wait_caught_up(self) -> None:
        """Wait until all records that there were at the first welcome have come."""
        await self._caught_up.wait()
        if self._failure is not None:
            raise self._failure

    async def send(self, text: str, *, agent: str | None = None) -> str:
        """Say something in the session; gives the id of the run that it starts. Raises as `command` does."""
        data: dict[str, object] = {"text": text}
        if agent is not None:
            data["agent"] = agent
        ok = await self.command("user_message", data)
        return str(ok["run"])

    async def cancel(self, run: str) -> str:
        """Cancel a run; gives ``cancelling`` or ``ended``. Raises as `command` does."""
        ok = await self.command("cancel", {}, run=run)
        return str(ok["state"])

    async def command(self, op: str, data: dict[str, object], *, run: str | None = None) -> Any:
        """Do a command once, whatever happens to the connection meanwhile; gives what the session answered.

        When this is cancelled before the answer came, the command may or may not be done.

        Raises:
            CommandFailed: the session refused it.
            SessionClosed, TicketDenied, Unreachable: the client has ended.
            ValueError: the node would not take such a command.
            TooManyCommands: too many commands wait for their results.
        """
        if not self._welcomed.is_set():
            await self._welcomed.wait()  # only a welcome says which ids of this device are used already
        if self._failure is not None:
            raise self._failure
        id, frame = self._protocol.command(op, data, run)
        answered: tuple[trio.Event, list[Result]] = (trio.Event(), [])
        self._results[id] = answered
        try:
            if self.connected and self._socket is not None:
                with suppress(Closed):  # then it is repeated after the next welcome
                    await self._socket.send(frame)
            await answered[0].wait()
        except trio.Cancelled:
            if id in self._protocol.without_result:
                self._protocol.abandon(id)
            raise
        finally:
            del self._results[id]
        if not answered[1]:
            assert self._failure is not None
            raise self._failure
        result = answered[1][0]
        if result.error is not None:
            raise CommandFailed(result.error.code, result.error.message, retry=result.error.retry)
        return result.ok

    def cut(self) -> None:
        """Drop the connection without a word, as a network would; the client resumes."""
        self._leave_at = -math.inf
        if self._socket is not None:
            self._socket.abandon()
        self._waiting.cancel()

    # -- the connection -----------------------------------------------------------------------------------------------

    async def run(
        self,
        http: httpx.AsyncClient,
        url: str,
        token: TokenSource,
        session: str,
        origin: str | None,
        tls: ssl.SSLContext | None,
        give_up_seconds: float,
    ) -> None:
        """Keep a connection until it is ended for good; `connect` runs this."""
        failures = fast = 0
        reached_at = trio.current_time()
        try:
            while True:
                self._progress = False
                code, reason = await self._one_connection(http, url, token, session, origin, tls)
                if self._progress:
                    failures = fast = 0
                    reached_at = trio.current_time()
                what = verdict(code)
                if what is Verdict.DO_NOT_RETRY:
                    raise SessionClosed(code, reason)
                if trio.current_time() - reached_at > give_up_seconds:
                    raise Unreachable(f"{url} was not reached for {give_up_seconds:g} seconds; last: {code} {reason}")
                if what in (Verdict.RESUME_NOW, Verdict.NEW_TICKET) and fast < FAST_TRIES:
                    fast += 1
                    continue
                if what is Verdict.RESUME_WITH_JITTER and self._progress:
                    await trio.sleep(self._rng.uniform(0, MIN_BACKOFF_SECONDS))
                    continue
                failures += 1
                most = min(MAX_BACKOFF_SECONDS, MIN_BACKOFF_SECONDS * 2.0**failures)
                await trio.sleep(self._rng.uniform(MIN_BACKOFF_SECONDS, most))
        except (SessionClosed, TicketDenied, Unreachable) as failure:
            self._failure = failure
        finally:
            self._put.close()
            self._welcomed.set()
            self._caught_up.set()
            for event, _ in self._results.values():
                event.set()

    async def _one_connection(
        self,
        http: httpx.AsyncClient,
        url: str,
        token: TokenSource,
        session: str,
        origin: str | None,
        tls: ssl.SSLContext | None,
    ) -> tuple[int, str]:
        """Connect once and stay until it ends; gives the close code, 1006 for none."""
        ticket = await get_ticket(http, url, token, session, origin)
        if ticket is None:
            return 1006, "no ticket just now"
        self.session = ticket.session
        self._leave_at = math.inf
        ended = (1006, "left")
        try:
            async with open_socket(ticket.url, origin=origin, tls=tls) as socket:
                self._socket = socket
                with trio.fail_after(HANDSHAKE_SECONDS):
                    await socket.send(self._protocol.hello(ticket.ticket))
                    data = await socket.receive()
                await self._received(socket, data)
                await self._read(socket)
        except Closed as closed:
            ended = (closed.code, closed.reason)
        except (OSError, trio.TooSlowError) as error:
            ended = (1006, type(error).__name__)
        except _Leave as leave:
            ended = (leave.code, leave.reason)
        finally:
            self._socket = None
            self._protocol.closed()
        return ended

    async def _read(self, socket: Socket) -> None:
        """Read until it is time to leave; returns then, and raises `Closed` when the node closes."""
        while trio.current_time() < self._leave_at:
            # Only the waiting is cut short, never the handing over of what came: that is applied already.
            # And the deadline is for what the node should have said; the time that our consumer takes is not in it.
            with trio.CancelScope(deadline=min(self._protocol.deadline(), self._leave_at)) as self._waiting:
                data = await socket.receive()
            if self._waiting.cancelled_caught:
                await self._act(socket, self._protocol.tick(trio.current_time()))
                continue
            await self._received(socket, data)
            ack = self._protocol.ack(trio.current_time())
            if ack is not None:
                await socket.send(ack)

    async def _received(self, socket: Socket, data: str | bytes) -> None:
        await self._act(socket, self._protocol.receive(data, trio.current_time()))

    async def _act(self, socket: Socket, events: list[ClientEvent]) -> None:
        for event in events:
            match event:
                case Applied(record):
                    self._records += 1
                    await self._put.send(record)
                case Welcomed(welcome, resend):
                    self._connects += 1
                    self._resets += welcome.mode == "reset"
                    self._progress = True
                    self._welcomed.set()
                    for frame in resend:
                        await socket.send(frame)
                case GapSeen(Gap()):
                    self._gaps += 1
                case ResultReceived(result):
                    self._answered(result)
                case Send(frame):
                    await socket.send(frame)
                case GoawayReceived(goaway):
                    self._leave_at = min(self._leave_at, trio.current_time() + goaway.in_ms / 1000)
                case ProtocolErrorReceived():
                    pass  # this client says nothing that a node of its version does not know
                case MustReconnect(reason, code):
                    raise _Leave(int(code), reason)
        if self._protocol.caught_up:
            self._caught_up.set()

    def _answered(self, result: Result) -> None:
        if result.error is not None and result.error.retry and result.id in self._protocol.without_result:
            self._protocol.abandon(result.id)  # the caller is told, and decides whether to ask again
        waiting = self._results.get(result.id)
        if waiting is not None:
            waiting[1].append(result)
            waiting[0].set()


class _Leave(Exception):
    """This end has to leave the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: TokenSource,
    session: str = "main",
    device: str | None = None,
    start: tuple[str, int] | int | Literal["first"] | None = None,
    last_id: int = 0,
    client: str = "callboard-python",
    origin: str | None = None,
    tls: ssl.SSLContext | None = None,
    give_up_seconds: float = 300.0,
    rng: random.Random | None = None,
) -> AsyncIterator[Client]:
    """Attach to a session of a node, inside trio, for the body of an ``async with``.

    ::

        async with callboard.connect("http://127.0.0.1:8765", token=token) as session:
            run = await session.send("What does json.dumps do?")
            async for record in session:
                print(record.type, record.data)
                if record.run == run and record.type == "agent_completed":
                    break

    Args:
        url: the node, ``http://…`` or ``https://…``.
        token: the user's bearer token, or a function, plain or async, that gives a fresh one; asked before each
            connection.
        session: the session's name.
        device: 32 hex digits that this program keeps for its installation; random if not given.
        start: where to begin: after a position ``(epoch, seq)``, with the last n records, or ``"first"``. By default
            with as many of the last ones as the node gives.
        last_id: the highest command id that this device has used; with a new `device`, 0.
        client: what this program calls itself, 200 characters at most.
        origin: an origin to name, as a page would.
        tls: how to verify a node's certificate; the system's authorities if not given.
        give_up_seconds: how long the node may be out of reach before `Unreachable` is raised.
        rng: the source of jitter.

    Raises:
        ValueError: the url is no ``http(s)`` address, or an argument is nothing that a node would take.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url is {url!r:.200}; it has to begin with http:// or https://")
    begin = Start(last=start) if isinstance(start, int) else start
    if isinstance(begin, tuple):
        begin = Start(epoch=begin[0], seq=begin[1])
    chosen = device if device is not None else os.urandom(16).hex()  # noqa: TID251 - a composition root, as `open` is
    protocol = ClientProtocol(chosen, client, start=begin, last_id=last_id)
    self = Client(protocol, rng or random.Random())
    error: BaseException | None = None
    async with httpx.AsyncClient(timeout=HANDSHAKE_SECONDS, verify=tls if tls is not None else True) as http:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run, http, url.rstrip("/"), token, session, origin, tls, give_up_seconds)
            try:
                yield self
            except BaseException as raised:  # noqa: BLE001 - raised again outside of the nursery
                error = raised
            nursery.cancel_scope.cancel()
        if error is not None:
            raise error
