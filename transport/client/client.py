"""A session as a Python program sees it, through cuts, restarts and deploys: records come out, commands go in.

This is the face of `keeper.py`, which does the work; how to get in is said by `way.py`.
"""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

import attrs
import trio

from ..protocol import Start, WireRecord
from .backlog import Item, Position
from .keeper import Keeper
from .tickets import TokenSource
from .urls import check_node_url
from .way import NetworkWay, Way

__all__ = ["Client", "ClientStatistics", "connect", "open_client"]


@attrs.frozen
class ClientStatistics:
    """What a client has been through, and what it holds.

    Attributes:
        connects: connections that were welcomed.
        records: records taken off the wire, each once.
        gaps: how often the node said that some records cannot be had.
        resets: how often it had another history than the one known.
        backlog: what has come and waits to be taken by this program.
        commands: commands that wait for their results.
        state: ``disconnected``, ``await_welcome``, ``open`` or ``broken``; ``closed`` once it is over.
    """

    connects: int
    records: int
    gaps: int
    resets: int
    backlog: int
    commands: int
    state: str


class Client:
    """One device in one session. Made by `connect`.

    Iterating gives each record once and in order, for ever: `WireRecord` with `seq`, `id`, `type`, `run`, `at`, `data`.
    It ends when the ``async with`` is left, and raises what ended the client, if something did. A consumer may be slow:
    what it has not taken yet is held by the node, but for a bounded part. Tasks that iterate at the same time share the
    records between them.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WireRecord:
        while True:
            item = await self._take()
            if isinstance(item, WireRecord):
                return item

    def everything(self) -> AsyncIterator[Item]:
        """Iterate over the records, and in their places over `Gap` and `Reset`: what cannot be had, a new beginning."""
        return _Everything(self._take)

    @property
    def position(self) -> Position | None:
        """`(epoch, seq)` behind the last record that was taken from here; None before the first welcome.

        A program that keeps it, and gives it as `start` the next time, sees each record once.
        """
        return self._keeper.backlog.given

    @property
    def device(self) -> str:
        """The device id in use: another than the one given, if the session had forgotten that."""
        return self._keeper.device

    @property
    def session(self) -> str:
        """The session's id; empty before the first welcome."""
        return self._keeper.session

    @property
    def connected(self) -> bool:
        """Whether a connection is open and welcomed just now."""
        return self._keeper.connected

    @property
    def trouble(self) -> str:
        """Why there is no connection just now; empty if there is one."""
        return self._keeper.trouble

    def statistics(self) -> ClientStatistics:
        """Counters since `connect`."""
        keeper = self._keeper
        return ClientStatistics(
            connects=keeper.counts.connects,
            records=keeper.counts.records,
            gaps=keeper.counts.gaps,
            resets=keeper.counts.resets,
            backlog=len(keeper.backlog),
            commands=len(keeper.commands),
            state=keeper.protocol.state.name.lower() if keeper.ended is None else "closed",
        )

    async def wait_connected(self) -> None:
        """Wait until there is a connection. Raises what ended the client."""
        await self._keeper.wait(lambda: self._keeper.connected)

    async def wait_disconnected(self) -> None:
        """Wait until there is none. Raises what ended the client."""
        await self._keeper.wait(lambda: not self._keeper.connected)

    async def wait_caught_up(self) -> None:
        """Wait until all records that there were at the first welcome have come. Raises what ended the client.

        They wait here to be taken. Where there are more than the default of a `start`, somebody has to iterate
        meanwhile.
        """
        await self._keeper.wait(lambda: self._keeper.caught_up)

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
            ValueError, TypeError: the node would not take such a command.
            TooManyCommands: too many commands wait for their results.
            trio.ClosedResourceError: the ``async with`` was left.
        """
        return await self._keeper.commands.do(op, data, run)

    def cut(self) -> None:
        """Drop the connection without a word, as a network would; the client resumes."""
        self._keeper.cut()

    async def _take(self) -> Item:
        try:
            return await self._keeper.backlog.take()
        except trio.EndOfChannel:
            ended = self._keeper.ended
            assert ended is not None, "only the end closes the backlog"
            if isinstance(ended, trio.ClosedResourceError):
                raise StopAsyncIteration from None
            raise ended from None


@attrs.frozen
class _Everything:
    # Not a generator: one that is left in the middle has to be closed by hand.
    _take: Callable[[], Any]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        item: Item = await self._take()
        return item


@asynccontextmanager
async def open_client(
    way: Way,
    *,
    device: str | None = None,
    start: Position | int | Literal["first"] | None = None,
    client: str = "callboard-python",
    give_up_seconds: float = 300.0,
    rng: random.Random | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,  # noqa: TID251 - a composition root, as `open` is
) -> AsyncIterator[Client]:
    """Attach to the session that `way` leads to. See `connect`, which is this over the network."""

    def new_device() -> str:
        return random_bytes(16).hex()

    keeper = Keeper(
        way,
        device=new_device() if device is None else device,
        new_device=new_device,
        client=client,
        start=_start(start),
        give_up_seconds=give_up_seconds,
        rng=rng or random.Random(random_bytes(16)),
    )
    # What is raised inside is raised again outside of the nursery, which would wrap it into a group.
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:

        async def keep() -> None:
            nonlocal raised
            try:
                await keeper.run(nursery)
            except Exception as bug:  # noqa: BLE001 - see above
                raised = bug
                nursery.cancel_scope.cancel()

        nursery.start_soon(keep)
        try:
            yield Client(keeper)
        except BaseException as error:  # noqa: BLE001 - see above
            raised = raised or error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: TokenSource,
    session: str = "main",
    device: str | None = None,
    start: Position | int | Literal["first"] | None = None,
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

    It does not wait for the node: what is wrong is told by iterating, by commands, and by `Client.wait_connected`.

    Args:
        url: the node, ``http://…`` or ``https://…``. It is gone to straight, not by a proxy of the environment.
        token: the user's bearer token, or a function, plain or async, that gives a fresh one; asked before each
            connection. What it raises ends the client.
        session: the session's name.
        device: 32 hex digits that this program keeps for its installation; random if not given. A device has one
            connection: a newer one ends the older with `SessionClosed`, code 4008.
        start: where to begin: behind a position ``(epoch, seq)``, with the last n records, or ``"first"``. By default
            with as many of the last ones as the node gives.
        client: what this program calls itself, 200 characters at most.
        origin: an origin to name, as a page would.
        tls: how to verify a node's certificate; the system's authorities if not given.
        give_up_seconds: how long the node may be out of reach before `Unreachable` is raised.
        rng: the source of jitter.

    Raises:
        ValueError: the url is no ``http(s)`` address, or an argument is nothing that a node would take.
    """
    if origin is not None and not (origin.isascii() and origin.isprintable()):
        raise ValueError(f"origin is {origin!r:.200}; it may have printable ASCII characters only")
    way = NetworkWay(check_node_url(url), token, session, origin, tls)
    async with open_client(
        way, device=device, start=start, client=client, give_up_seconds=give_up_seconds, rng=rng
    ) as attached:
        yield attached


def _start(start: Position | int | Literal["first"] | None) -> Start | Literal["first"] | None:
    if isinstance(start, tuple):
        return Start(epoch=start[0], seq=start[1])
    return Start(last=start) if isinstance(start, int) else start
