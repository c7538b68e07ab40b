"""The board: the composition root. Here only, things are constructed and joined; clocks and chance come in here.

::

    async with callboard.open(agents={"echo": Echo}, port=8765, key=key) as board:
        await board.wait_closed()
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import random
import resource
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import attrs
import pykka
import trio

from ..actors import (
    Agent,
    App,
    Durability,
    Grant,
    Ids,
    IssueTicket,
    Journal,
    Limits,
    Locate,
    MemoryJournal,
    Node,
    Position,
    PublishAlone,
    RegistryEntries,
    ReleaseSession,
    Remote,
    RemoteAgent,
    ReportEntries,
    RevokeTickets,
    Session,
    SessionKey,
    SessionNode,
    SqliteJournal,
    TicketsWaiting,
    Workers,
)
from ..runtime import ActorSystem, Ref, SystemStatistics, open_system
from .api import Api, Handler
from .auth import Authenticator
from .config import MEMORY
from .connection import Connection, LastFrame
from .entrance import Entrance
from .errors import ConfigError, ListenError
from .forwarded import TrustedProxies
from .hosts import AGENTS, host_port
from .http import Upgrade
from .keys import KeySource
from .names import Names
from .per_user import PerUser
from .protocol import CloseCode
from .selection import Selection, select
from .tls import TlsSource
from .worker_connection import WorkerConnection

__all__ = ["Board", "DrainReport", "Revocation", "open_board"]

logger = logging.getLogger("callboard")

# The kernel's own queue of connections that wait to be accepted; what a burst of reconnects needs after a restart.
BACKLOG = 1_024

# What Linux calls this boot of the machine (random(4)).
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# The part of a drain's time in which clients are asked to leave. The rest is for those who find the next node slow.
LEAVING_SHARE = 0.5
# How long a client of a user who is shut out may take to agree to the close.
REVOKE_SECONDS = 1.0
# What a person begins to notice when every answer of a node comes so much later; and the lookout wakes a node that has
# nothing to do no more than four times a second for it.
SLOW_SECONDS = 0.25


@attrs.frozen
class DrainReport:
    """What a drain did: connections asked to go, runs that ended by themselves, and runs that were cut short."""

    connections: int
    runs_finished: int
    runs_cut: int


@attrs.frozen
class Revocation:
    """What `Board.close_user` ended: connections, and tickets that waited to be used."""

    connections: int
    tickets: int


class Board:
    """A running node. Made by `open_board`, that is `callboard.open`."""

    def __init__(
        self,
        system: ActorSystem,
        node: Node,
        journal: Journal,
        limits: Limits,
        ids: Ids,
        authenticator: Authenticator | None,
        names: Names,
        wall_clock: Callable[[], float],
        runs: _Runs,
        rng: random.Random,
        workers: Workers,
    ) -> None:
        self.system = system
        self.workers = workers
        """Those who do the runs of remote agents."""
        self._worker_connections: dict[WorkerConnection, None] = {}
        self.node = node
        self.journal = journal
        self.limits = limits
        self.server_name = f"callboard/{_version()}"
        self.last_frame = LastFrame()
        self.host = ""
        self.port = 0
        self.draining = False
        self._authenticator = authenticator
        self._ids = ids
        self._names = names
        self._wall_clock = wall_clock
        self._runs = runs
        self._rng = rng
        self._connections: dict[Connection, str | None] = {}
        self._per_user: Counter[str] = Counter()
        self._services = PerUser(limits.publications_per_s, max(1.0, limits.publications_per_s))
        self._hellos = PerUser(limits.hellos_per_s, 4 * limits.connections_per_user)
        self._requests = PerUser(limits.requests_per_s, max(1.0, 10 * limits.requests_per_s))
        self._closes: Counter[int] = Counter()
        self.publications: Counter[int] = Counter()
        self._opened = 0
        self._opened_at = wall_clock()
        self._idle = trio.Event()
        self._closed = trio.Event()
        self._scheme = "http"
        self._entrance: Entrance | None = None

    # -- for embedding platforms --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the node listens, such as ``http://127.0.0.1:8765``; empty if it does not."""
        return f"{self._scheme}://{host_port(self.host, self.port)}" if self.port else ""

    @property
    def authenticator(self) -> Authenticator:
        """Verifies tokens, and makes them. Raises ConfigError if the board was opened without a key."""
        if self._authenticator is None:
            raise ConfigError("this board was opened without a key, so it can neither make nor verify tokens")
        return self._authenticator

    async def session(self, user: str, name: str = "main") -> Ref[Any]:
        """The ref of a user's session, which is started if need be.

        Raises:
            SessionQuarantined, StoreUnavailable: it cannot be started now.
            ValueError: the user or the name is not allowed.
        """
        route = await self.node.registry.ask_async(Locate(SessionKey(user, name)))
        ref: Ref[Any] = route.ref
        return ref

    async def publish(self, user: str, type: str, data: Mapping[str, Any], *, session: str = "main") -> Position:
        """Say something in a user's session, outside of any run: an event ``x.…``. Returns once it is durable.

        Raises:
            EventRefused: the type is not ``x.…``, or JSON cannot hold the data exactly.
            StoreUnavailable: the journal did not take it.
            SessionQuarantined: the session failed too often and rests.
        """
        ref = await self.session(user, session)
        position: Position = await ref.ask_async(PublishAlone(type, dict(data)))
        return position

    async def ticket(self, user: str, *, session: str = "main", origin: str | None = None) -> str:
        """A single-use ticket for one connection of a user that the platform itself has authenticated."""
        ticket: str = await self.node.tickets.ask_async(IssueTicket(Grant(SessionKey(user, session)), origin))
        return ticket

    async def close_user(self, user: str, *, tokens: bool = True) -> Revocation:
        """Shut a user out: tickets that wait are void, and all connections end with 4006, within a second.

        From the moment of the call nothing more is taken from or sent to these connections. Runs go on; `cancel` is
        the user's. It is this node's alone, and in its memory: a restarted node verifies tokens as ever.

        Args:
            user: the user.
            tokens: refuse the user's tokens that were issued until now, too (by their `iat`; one without is refused).
                The user may come back with a newer one. If False, whoever holds a token may be back at once.
        """
        if tokens and self._authenticator is not None:
            self._authenticator.refuse_tokens(user)
        tickets = 0
        try:
            tickets = await self.node.tickets.ask_async(RevokeTickets(user))
        finally:
            # Also where the tickets cannot be asked for. Whoever took one before them has been answered; with this step
            # of the scheduler its connection is counted for its user, and found here.
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            closing: list[Connection | WorkerConnection] = [*self.connections(user)]
            closing += [connection for connection in self._worker_connections if connection.service == user]
            for connection in closing:
                connection.end(CloseCode.REVOKED)
        with trio.move_on_after(REVOKE_SECONDS):
            await self._wait_gone(closing)
        for connection in closing:
            connection.cut()
        await self._wait_gone(closing)
        logger.info("a user was shut out: %d connections closed, %d tickets void", len(closing), tickets)
        return Revocation(len(closing), tickets)

    async def _wait_gone(self, connections: Collection[Connection | WorkerConnection]) -> None:
        while any(each in self._connections or each in self._worker_connections for each in connections):
            await self._idle.wait()

    async def release(self, user: str, session: str = "main") -> bool:
        """End a session's quarantine; whether there was one."""
        released: bool = await self.node.sessions.ask_async(ReleaseSession(SessionKey(user, session).id))
        return released

    @property
    def tcp(self) -> int:
        """Open TCP connections, with those that ask by HTTP or have not said anything yet."""
        return self._entrance.tcp if self._entrance is not None else 0

    def connections(self, user: str | None = None) -> tuple[Connection, ...]:
        """The open connections, of one user or of all that were welcomed."""
        return tuple(
            connection for connection, owner in self._connections.items() if owner is not None and user in (None, owner)
        )

    def statistics(self) -> SystemStatistics:
        """The node's actors: mailboxes, ages, current handlers, restarts, errors; and what held the loop up."""
        return self.system.statistics()

    async def report(self, selection: Selection | None = None) -> dict[str, Any]:
        """The node's statistics as JSON data: process, sessions, runs, connections, refusals, dead letters, actors."""
        statistics = self.system.statistics()
        entries: RegistryEntries = await self.node.registry.ask_async(ReportEntries())
        return {
            "server": self.server_name,
            "serving": self.serving,
            "process": _process(self._wall_clock() - self._opened_at),
            "sessions": len(entries.sessions),
            "users": len(entries.users),
            "runs": {"open": len(self._runs.open), "started": self._runs.started, **self._runs.ended},
            "connections": {
                "open": len(self.connections()),
                "tcp": self.tcp,
                "addresses": len(self._entrance.addresses) if self._entrance is not None else 0,
                "opened": self._opened,
                "waiting_bytes": sum(connection.waiting_bytes for connection in self._connections),
                "closed": {str(code): count for code, count in sorted(self._closes.items())},
            },
            "publications": {str(status): count for status, count in sorted(self.publications.items())},
            "workers": {
                "connected": len(self._worker_connections),
                "runs": self.workers.assigned,
                "waiting": self.workers.waiting,
            },
            "tickets": await self.node.tickets.ask_async(TicketsWaiting()),
            "dead_letters": dict(statistics.dead_letters),
            "tasks": statistics.tasks,
            "timers": statistics.timers,
            "handled": statistics.handled,
            "abandoned": {"at_work": statistics.abandoned, "refused": statistics.refused},
            "slow": [attrs.asdict(case) for case in statistics.slow],
            "actors_in_all": len(statistics.actors),
            "actors": [attrs.asdict(actor) for actor in select(statistics.actors, selection or Selection())],
        }

    async def drain(self, seconds: float | None = None) -> DrainReport:
        """Stop serving: ask the clients to go, serve those that are here for up to `seconds`, then stop the sessions.

        Each client is given a moment of its own in the first half of the time, so that the next node does not get all
        of them in one instant. It ends sooner once no run is open and every client has left.

        `seconds` is `limits.drain_seconds` if not given. Runs that are open after that are cut short, and say so. The
        clients that keep up see how their runs ended; then their connections are closed, which takes up to
        `limits.close_seconds` and a second more where a client does not answer.
        """
        seconds = self.limits.drain_seconds if seconds is None else seconds
        self.draining = True
        asked = list(self._connections)
        ended = self._runs.ended.total()
        for connection, leave_in in zip(asked, _slots(len(asked), seconds * LEAVING_SHARE, self._rng), strict=True):
            connection.goaway(in_ms=int(leave_in * 1000), by_ms=round(seconds * 1000))
        for worker in self._worker_connections:
            worker.goaway(by_ms=round(seconds * 1000))
        with trio.move_on_after(seconds):
            # A client that was told to leave later is served until then: it is not sent away with those who have left.
            while self._runs.open or self._per_user:
                await (self._runs.wait_none() if self._runs.open else self._idle.wait())
        report = DrainReport(len(asked), self._runs.ended.total() - ended, len(self._runs.open))
        with trio.move_on_after(self.limits.close_seconds + 1):
            await self._stop_sessions()
            for connection in list(self._connections):
                connection.end(CloseCode.DRAINING)
            for worker in list(self._worker_connections):
                worker.end(CloseCode.DRAINING)
            while self._connections or self._worker_connections:
                await self._idle.wait()
        self._closed.set()
        return report

    async def _stop_sessions(self) -> None:
        """Have the sessions end what is open, show it once it is durable, and close their connections."""
        try:
            entries: RegistryEntries = await self.node.registry.ask_async(ReportEntries())
        except pykka.ActorDeadError:
            return  # the node has failed, and its sessions are being stopped already
        for stopped in [ref.stop(block=False) for ref in entries.sessions.values()]:
            await stopped

    async def wait_closed(self) -> None:
        """Wait until `drain` is done."""
        await self._closed.wait()

    # -- for connections and the HTTP side ----------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        """Whether tickets and connections are served."""
        return self._entrance is not None and not self.draining

    def wall_clock(self) -> float:
        """Unix seconds."""
        return self._wall_clock()

    def origin_allowed(self, origin: str | None) -> bool:
        """Whether a page of this origin may ask and connect: the node's own, and those that were configured."""
        return self._names.origin_allowed(origin)

    def own_host(self, host: str) -> bool:
        """Whether a request that named this host meant this node."""
        return self._names.own_host(host)

    def websocket_url(self, host: str, secure: bool) -> str:
        """Where a client that asked this host connects to; `secure` if it asked by TLS."""
        return self._names.websocket_url(host, secure)

    def may_ask(self, user: str) -> bool:
        """Count a request of a user; False when the user sends more than `requests_per_s` in the long run."""
        return self._requests.take(user, trio.current_time())

    def may_publish(self, service: str) -> bool:
        """Count a publication of a service; False when it sends more than `publications_per_s` in the long run."""
        return self._services.take(service, trio.current_time())

    def may_enter(self, user: str) -> bool:
        """Count a hello of a user; False when the user says more than `hellos_per_s` in the long run."""
        return self._hellos.take(user, trio.current_time())

    def admit(self, connection: Connection, user: str) -> bool:
        """Count a connection for its user; False when the user has `connections_per_user` already."""
        if self._per_user[user] >= self.limits.connections_per_user:
            return False
        self._per_user[user] += 1
        self._connections[connection] = user
        self._opened += 1
        return True

    def refused(self, code: CloseCode) -> None:
        """Count a close of the node's own."""
        self._closes[int(code)] += 1

    # -- serving ------------------------------------------------------------------------------------------------------

    def answer_with(
        self,
        extra: Mapping[tuple[str, str], Handler],
        proxies: TrustedProxies,
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        """Begin to take requests and connections.

        Args:
            extra: further HTTP handlers, by method and path.
            proxies: whose word on who asks is believed.
            tls: gives what the port is served with; None for plain TCP.
        """
        self._scheme = "http" if tls is None else "https"
        self._entrance = Entrance(self.limits, proxies, tls, Api(self, extra).handle, self._connect)

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        host: str,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve HTTP and WebSocket on these listeners until cancelled."""
        assert self._entrance is not None
        self.host, self.port = host, listeners[0].socket.getsockname()[1]
        self._names.listens(host, self.port, secure=self._scheme == "https")
        await self._entrance.serve_port(listeners, task_status)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection from its first byte to its end; closes the stream.

        For streams that come another way than by the board's own port; as they come, without TLS.
        """
        assert self._entrance is not None
        await self._entrance.serve_stream(stream)

    def _connect(self, stream: trio.abc.Stream, upgrade: Upgrade, crowded: bool) -> Awaitable[None]:
        id = self._ids.connection()
        if upgrade.request.path == AGENTS:
            return self._serve_worker(WorkerConnection(id, stream, upgrade, self, crowded=crowded))
        return self._serve_connection(Connection(id, stream, upgrade, self, crowded=crowded))

    async def _serve_worker(self, connection: WorkerConnection) -> None:
        self._worker_connections[connection] = None
        try:
            await connection.serve()
        finally:
            del self._worker_connections[connection]
            self._note_end()

    async def _serve_connection(self, connection: Connection) -> None:
        self._connections[connection] = None
        try:
            await connection.serve()
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        user = self._connections.pop(connection, None)
        if user is not None:
            self._per_user[user] -= 1
            if not self._per_user[user]:
                del self._per_user[user]
        self._note_end()

    def _note_end(self) -> None:
        idle, self._idle = self._idle, trio.Event()
        idle.set()


class _Runs:
    """Counts runs, and logs one line at the beginning and the end of each."""

    def __init__(self) -> None:
        self.open: dict[str, None] = {}
        self.started = 0
        self.ended: Counter[str] = Counter()
        self._changed = trio.Event()

    def run_started(self, run: str, session: str, agent: str) -> None:
        self.open[run] = None
        self.started += 1
        logger.info("run %s of session %s started: agent %s", run, session, agent)

    def run_ended(self, run: str, session: str, terminal: str) -> None:
        self.open.pop(run, None)
        self.ended[terminal] += 1
        logger.info("run %s of session %s ended: %s", run, session, terminal)
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wait_none(self) -> None:
        while self.open:
            await self._changed.wait()


@asynccontextmanager
async def open_board(
    app: App | None = None,
    *,
    agents: Mapping[str, Callable[[], Agent | pykka.ThreadingActor]] | None = None,
    session: Callable[[SessionKey, SessionNode], Session] = Session,
    host: str = "127.0.0.1",
    port: int | None = None,
    key: bytes | KeySource | None = None,
    origins: Collection[str] = (),
    limits: Limits | None = None,
    journal: Journal | Path | str | None = None,
    durability: Durability = "process",
    routes: Callable[[Board], Mapping[tuple[str, str], Handler]] | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
    wall_clock: Callable[[], float] = time.time,
    slow_seconds: float | None = SLOW_SECONDS,
    public_url: str | None = None,
    trusted_proxies: Collection[str] = (),
    tls: ssl.SSLContext | TlsSource | None = None,
    slice_clock: Callable[[], float] = time.perf_counter,
) -> AsyncIterator[Board]:
    """Open a board for the body of an ``async with``, inside trio; at its end all of it is stopped in order.

    Args:
        app: the platform's agents and session class; or give `agents`, and `session`, themselves.
        agents: name → what makes an agent.
        session: what makes a session.
        host: the address to listen on.
        port: the TCP port to serve on, 0 for any; None listens nowhere: the board is used from inside, or given its
            connections by `Board.serve_stream`.
        key: what the users' tokens are verified with: an HS256 secret, 32 bytes at least, or where keys come from.
            Needed to serve.
        origins: further origins whose pages may connect, such as ``https://app.example.org``.
        limits: what the node bounds.
        journal: where records become durable: the path of an `SqliteJournal`, which is made if it does not exist; or a
            journal, which the caller closes. Not given, or ``":memory:"``, it is a `MemoryJournal`.
        durability: what durable means of a journal on disk: ``"process"``, records outlive this process, however it
            ends; or ``"power"``, a cut of power too, at the price of a sync of the disk for each commit.
        routes: further HTTP handlers, given the board.
        random_bytes: the source of ids, tickets and epochs.
        wall_clock: Unix seconds, for records and tokens.
        slow_seconds: what holds the loop, and with it every session, for so long is logged with its stack; a thread
            looks out for it. None: nobody does, and it is not known how long messages wait.
        public_url: what the node is called from outside, such as ``https://node.example.org``, where a proxy stands
            in front of it.
        trusted_proxies: addresses and networks of the proxies whose word on who asks is believed.
        tls: what the port is served with, for ``https`` and ``wss``; a source is asked before each connection.
        slice_clock: see `runtime.open_system`; a constant, so that one seed gives one run.

    Raises:
        ConfigError: a setting is not allowed, or two do not go together.
        ListenError: the address cannot be listened on.
        JournalRefused: the journal's file cannot be used.
        RestartsExhausted: an actor at the top failed more often than is tolerated.
    """
    app = _app(app, agents, session)
    limits = limits or Limits()
    if durability not in get_args(Durability):
        raise ConfigError(f"durability is {durability!r:.80}; allowed are process and power")
    if port is not None and key is None:
        raise ConfigError("a board that serves needs a `key` to verify tokens with")
    authenticator = Authenticator(key, wall_clock) if key is not None else None
    names = Names(origins, public_url)
    proxies = TrustedProxies(trusted_proxies)
    context_of = (lambda: tls) if isinstance(tls, ssl.SSLContext) else tls.context if tls is not None else None
    ids = Ids(random_bytes)
    runs, rng = _Runs(), random.Random(random_bytes(16))
    listeners = await _listen(host, port) if port is not None else []
    own_journal = journal
    try:
        if not isinstance(own_journal, Journal):
            own_journal = await _journal(own_journal, durability, limits, ids, wall_clock)
        async with open_system("board", slow_seconds=slow_seconds, slice_clock=slice_clock, rng=rng) as system:
            remote = [name for name, factory in app.agents.items() if isinstance(factory, Remote)]
            workers = Workers(limits, remote, system.timers.call_later)
            made: dict[str, Callable[[], Agent]] = dict.fromkeys(remote, lambda: RemoteAgent(workers))
            app = attrs.evolve(app, agents={**app.agents, **made})
            node = await Node.start(system, app, own_journal, limits, ids, lambda: int(wall_clock() * 1000), runs)
            board = Board(system, node, own_journal, limits, ids, authenticator, names, wall_clock, runs, rng, workers)
            if authenticator is not None:
                board.answer_with(routes(board) if routes is not None else {}, proxies, context_of)
            error: BaseException | None = None
            try:
                async with trio.open_nursery() as nursery:
                    if listeners:
                        await nursery.start(board.serve, listeners, host)
                    try:
                        yield board
                    except BaseException as raised:  # noqa: BLE001 - raised again below
                        # Outside of the nursery, which would wrap it into a group.
                        error = raised
                    if not board.draining:
                        # The platform just leaves: its clients are told, which takes no longer than they do.
                        with trio.CancelScope(shield=True):
                            await board.drain(0)
                    nursery.cancel_scope.cancel()
            finally:
                if error is not None:
                    raise error
    finally:
        for listener in listeners:
            listener.socket.close()
        if isinstance(own_journal, Journal) and own_journal is not journal:
            await own_journal.aclose()


async def _journal(
    path: Path | str | None, durability: Durability, limits: Limits, ids: Ids, wall_clock: Callable[[], float]
) -> Journal:
    if path is None or str(path) == MEMORY:
        return MemoryJournal(ids.epoch, retained_records=limits.retained_records, max_bytes=limits.journal_bytes)
    return await SqliteJournal.start(
        Path(path),
        new_epoch=ids.epoch,
        now_ms=lambda: int(wall_clock() * 1000),
        boot=_boot_id(),
        durability=durability,
        retained_records=limits.retained_records,
        retained_bytes=limits.retained_bytes,
        retained_seconds=limits.retained_seconds,
        queue_bytes=limits.journal_queue_bytes,
    )


def _boot_id() -> str | None:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return None  # no Linux: each unclean end counts as one of the machine


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    if not 0 <= port <= 65_535:
        # Some C libraries take it modulo 65,536.
        raise ConfigError(f"port is {port}; allowed are 0 to 65535")
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except socket.gaierror as error:
        raise ConfigError(f"host is {host!r}, which is no address of this machine: {error.strerror}") from None
    except OSError as error:
        where = host_port(host, port)
        raise ListenError(error.errno, f"cannot listen on {where}: {error.strerror or error}") from None
    if port == 0:
        # A name with several addresses got a port for each; a node has one.
        for other in listeners[1:]:
            other.socket.close()
        del listeners[1:]
    return listeners


def _app(
    app: App | None,
    agents: Mapping[str, Callable[[], Agent | pykka.ThreadingActor]] | None,
    session: Callable[[SessionKey, SessionNode], Session],
) -> App:
    if app is not None:
        if agents is not None:
            raise ConfigError("give either an `app` or `agents`, not both")
        if not isinstance(app, App):
            raise ConfigError(f"`app` is {app!r:.80}; it has to be a callboard.App")
        return app
    if agents is None:
        raise ConfigError("a board needs an `app`, or `agents`")
    return App(agents=agents, session=session)


def _slots(number: int, seconds: float, rng: random.Random) -> list[float]:
    """A moment for each of so many, in `seconds`: equal slots, one client in each, at any time in it.

    Slots keep the load even, where plain chance would send some together. Which slot is whose is chance too, or the
    tabs of one user, who opened them together, would all go together.
    """
    slots = list(range(number))
    rng.shuffle(slots)
    return [seconds * (slot + rng.random()) / number for slot in slots]


def _process(uptime_seconds: float) -> dict[str, Any]:
    """What the process of this node has used so far: CPU seconds, and resident memory now as Linux counts it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        memory = None  # no Linux
    else:
        memory = pages * resource.getpagesize()
    return {
        "pid": os.getpid(),
        "uptime_seconds": round(uptime_seconds, 3),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "memory_bytes": memory,
    }


def _version() -> str:
    return importlib.metadata.version("callboard")
