"""A session as a Python program sees it, through cuts, restarts and deploys: records come out, commands go in.

This is the face of `keeper.py`, which does the work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import attrs
import trio

from ..protocol import WireRecord
from .backlog import Item, Position
from .keeper import Keeper

__all__ = ["Client", "ClientStatistics"]


@attrs.frozen
class ClientStatistics:
    """What a client has been through, and what it holds.

    Attributes:
        connects: connections that were welcomed.
        records: records of the session taken off the wire, each once; a merged one counts as all that it stands for.
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
    Unless `merge` is off, deltas that waited may be one record: its `seq` is ``(a, b)``, its text that of records a to
    b together, the rest that of b. `first` and `last` are a and b there, and both `seq` otherwise.
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
        return "" if self._keeper.connected else self._keeper.trouble

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
