"""Keeps a connection: gets a ticket, opens a WebSocket, attends it until it ends, does what the close code says.

What has to outlive connections is held here: the protocol's state, which has the position; the commands without
result; the backlog of what the consumer has not taken. Knows nothing of what a program does with records.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

import trio

from ..protocol import ClientProtocol, ClientState, Start, Verdict, Welcome, verdict
from .backlog import Backlog
from .backoff import Backoff
from .commands import Commands
from .connection import Connection
from .course import Counts, Ending, Opened
from .errors import SessionClosed, TicketDenied, Unreachable
from .sockets import ABNORMAL, Closed
from .tickets import NoTicketNow
from .way import TokenSourceFailed, Way

__all__ = ["Keeper"]

# What may wait for the consumer, in bytes of the wire: some large records.
BACKLOG_BYTES = 4 * 1024 * 1024


class Keeper:
    """The state of one device in one session.

    Args:
        way: leads to the session.
        device: 32 hex digits.
        new_device: makes another, for when the session has forgotten this one.
        client: what this program calls itself.
        start: where to begin while there is no position.
        merge: whether deltas may come merged.
        give_up_seconds: how long the node may be out of reach.
        backlog_items: how many records may wait to be taken before no more are read.
        rng: the source of jitter.

    Raises:
        ValueError: one of them is nothing that a node would take.
    """

    def __init__(
        self,
        way: Way,
        *,
        device: str,
        new_device: Callable[[], str],
        client: str,
        start: Start | Literal["first"] | None,
        merge: bool,
        give_up_seconds: float,
        backlog_items: int,
        rng: random.Random,
    ) -> None:
        if not give_up_seconds > 0:
            raise ValueError(f"give_up_seconds is {give_up_seconds!r}; it has to be above 0")
        self._way = way
        self._new_device = new_device
        self._client = client
        self._merge = merge
        self._give_up_seconds = give_up_seconds
        self.device = device
        self.protocol = ClientProtocol(device, client, start=start, merge=merge)
        self.backlog = Backlog(backlog_items, BACKLOG_BYTES, self._poke)
        self.backlog.given = self.protocol.position
        self.commands = Commands(self.protocol, rng, self._poke)
        self.counts = Counts()
        self.caught_up = False
        self.session = ""
        self.trouble = "not connected yet"
        self.ended: Exception | None = None
        self._backoff = Backoff(rng)
        self._connection: Connection | None = None
        self._nursery: trio.Nursery | None = None
        self._welcomed = False
        self._reached_at = trio.current_time()
        self._changed = trio.Event()

    # -- for whoever waits --------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether a connection is open and welcomed just now."""
        return self.protocol.state is ClientState.OPEN

    async def wait(self, true: Callable[[], bool]) -> None:
        """Wait until something of this is so. Raises what ended it, if that comes first."""
        await trio.lowlevel.checkpoint()
        while not true():
            if self.ended is not None:
                raise self.ended
            await self._changed.wait()

    def cut(self) -> None:
        """Drop the connection, if there is one, without a word."""
        if self._connection is not None:
            self._connection.cut()
            self.protocol.closed()  # at once: nobody is to take it for open any more
            self._tell()

    # -- the connections ----------------------------------------------------------------------------------------------

    async def run(self, nursery: trio.Nursery) -> None:
        """Keep a connection until it is over for good, or this is cancelled. The WebSockets live in the nursery."""
        self._nursery = nursery
        try:
            await self._keep()
        except (SessionClosed, TicketDenied, Unreachable) as failure:
            self._end(failure)
        except TokenSourceFailed as failure:
            self._end(failure.error)
        finally:
            self._end(trio.ClosedResourceError("this client was left"))

    async def _keep(self) -> None:
        opened = await self._reach(0.0)
        while True:
            self._welcomed = False
            self._connection = Connection(opened, self.protocol, self.commands, self.backlog, self.counts, self)
            try:
                ending = await self._connection.attend()
            finally:
                self._connection = None
            pause_seconds = self._judge(ending)
            self._tell()
            if self.commands.renewal_due:
                self._renew_device()
            opened = ending.successor or await self._reach(pause_seconds)

    def _judge(self, ending: Ending) -> float:
        """Return the seconds to wait before the next connection, or raise SessionClosed if there is to be none."""
        now = trio.current_time()
        if self._welcomed:
            self._reached_at = now
        self.trouble = f"closed with {ending.code}: {ending.reason}"
        if ending.planned:
            return 0.0
        what = verdict(ending.code)
        if ending.code == ABNORMAL and not self._welcomed:
            what = Verdict.BACK_OFF  # it never came so far that one could speak of resuming
        elif what is Verdict.DO_NOT_RETRY:
            if not ending.by_us:
                if ending.successor is not None:
                    ending.successor.link.close(1000)  # it was opened in the very moment of the end
                raise SessionClosed(ending.code, ending.reason)
            # A record that does not follow, or a frame that cannot be read: the next connection may do better.
            what = Verdict.RESUME_WITH_JITTER
        return self._backoff.ended(what, now)

    async def _reach(self, pause_seconds: float) -> Opened:
        """Open the next connection; try again for as long as is allowed."""
        while True:
            await self._pause(pause_seconds)
            try:
                ticket = await self._way.ticket()
                # Nothing may wait behind this: a link that is open has to get to whoever attends it.
                assert self._nursery is not None, "this is running"
                return Opened(await self._way.open(self._nursery, ticket.url), ticket.ticket)
            except NoTicketNow as later:
                self.trouble = str(later)
                pause_seconds = self._backoff.failed(later.retry_after_seconds)
            except Closed as closed:
                self.trouble = closed.reason
                pause_seconds = self._backoff.failed()

    async def _pause(self, seconds: float) -> None:
        now = trio.current_time()
        if self.connected:
            self._reached_at = now
        remaining = self._reached_at + self._give_up_seconds - now
        if remaining <= 0:
            raise Unreachable(f"not reached for {self._give_up_seconds:g} seconds; last: {self.trouble}")
        # The last try is at the end of what is allowed.
        await trio.sleep(min(seconds, remaining))

    def _renew_device(self) -> None:
        """Go on under another name, from the same position."""
        position = self.protocol.position
        assert position is not None, "only who was welcomed can be forgotten"
        self.device = self._new_device()
        start = Start(epoch=position[0], seq=position[1])
        self.protocol = ClientProtocol(self.device, self._client, start=start, merge=self._merge)
        self.commands.renewed(self.protocol)

    def _poke(self) -> None:
        if self._connection is not None:
            self._connection.poke()

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _end(self, why: Exception) -> None:
        if self.ended is None:
            self.ended = why
            self.backlog.close()
            self.commands.close(why)
            self._tell()

    # -- what a connection tells (`Owner`) ----------------------------------------------------------------------------

    def welcomed(self, welcome: Welcome) -> None:
        """The connection is open."""
        self._welcomed = True
        self._backoff.opened(trio.current_time())
        self.session = welcome.session
        self.trouble = ""
        if self.backlog.given is None:
            self.backlog.given = (welcome.epoch, welcome.from_seq - 1)
        self._tell()

    def heard(self) -> None:
        """A message was taken."""
        if not self.caught_up and self.protocol.caught_up:
            self.caught_up = True
            self._tell()

    async def successor(self) -> Opened | None:
        """Open the next connection while the present one goes on; None if no ticket is to be had for it.

        Then the present one goes on to its end, and the next attempt hears the same.
        """
        try:
            return await self._reach(self._backoff.ended(Verdict.RESUME_NOW, trio.current_time()))
        except (TicketDenied, TokenSourceFailed, Unreachable):
            return None
