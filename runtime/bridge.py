"""The bridge: an ordinary actor on the loop that stands for one that lives elsewhere, on a thread for example.

The ref, the mailbox with its bound, watchers, deadlines and supervision are those of the bridge's cell, so an actor
elsewhere has them all. The bridge hands over one message at a time and waits for its end in an ``async def`` handler.

What a kind of host has to bring is a subclass with four plain methods that never wait (`open`, `give`, `close`,
`forsake`), and to report back by `report_started`, `report_done` and `report_ended`, which may be called on any thread.

Theory of operation. All state is touched on the trio thread only; reports arrive there in the order in which one
thread makes them. When the asker of a call goes, the handler here is cancelled and its cell is free, but the other
side may work on: the next message waits here, where it can still be given up, until the last one is done. So at most
one message is ever on the other side, and an ask that expires in between is never run. When the cell drops this
incarnation and the other side has not ended, it is *forsaken*: whatever it still reports is refused and counted (law
A8).
"""

from __future__ import annotations

from typing import Any

import pykka
import trio

from .actor import Actor
from .calls import Call
from .mailbox import OwnStop

__all__ = ["Bridge"]


class Bridge(Actor):
    """An actor whose work is done elsewhere.

    Args:
        subject: the actor elsewhere: what others see of it (class, attributes for proxies, bound of the mailbox).
    """

    def __init__(self, subject: pykka.Actor) -> None:
        self.subject = subject
        self.abandoned = False
        """The cell has dropped this incarnation: nobody hears what is still said on the other side."""
        self._started = trio.Event()
        self._ended = trio.Event()
        self._error: BaseException | None = None
        self._call: Call | None = None
        super().__init__()
        self.cell: Any = self._cell

    @property
    def _proxied(self) -> pykka.Actor:
        return self.subject

    # -- what a kind of host brings ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the other side, which reports `report_started`. What it raises is a failure to start."""
        raise NotImplementedError

    def give(self, call: Call) -> None:
        """Hand over a message. The other side reports `report_done`."""
        raise NotImplementedError

    def close(self) -> None:
        """Tell the other side to end in order after the call in hand; it reports `report_ended`."""
        raise NotImplementedError

    def forsake(self) -> None:
        """The other side has not ended and nobody waits for it: end it by force, or leave it behind."""
        raise NotImplementedError

    # -- what the other side reports, on any thread -----------------------------------------------------------------

    def report_started(self) -> None:
        """It takes messages now."""
        self.system.run_soon(self._on_started)

    def report_done(self, call: Call, value: Any, error: BaseException | None) -> None:
        """The work of a call has ended, whether anybody still waits for it or not."""
        self.system.run_soon(self._on_done, call, value, error)

    def report_ended(self, error: BaseException | None) -> None:
        """It has ended: in good order (None), or by an exception."""
        self.system.run_soon(self._on_ended, error)

    def refuse(self) -> None:
        """Count something that was said after the other side had been forsaken. On any thread."""
        self.system.run_soon(self.system.count_refused)

    # -- mechanism --------------------------------------------------------------------------------------------------

    async def on_start(self) -> None:  # type: ignore[override]
        """Start the other side; what its own `on_start` raises is raised here."""
        try:
            self.open()
        except BaseException:
            self._ended.set()  # there is no other side that could end
            raise
        await self._started.wait()
        if self._ended.is_set() and self._error is not None:
            raise self._error

    async def on_receive(self, message: Any) -> Any:
        """Hand a message over and wait until it is done."""
        if self._call is not None:
            await self._call.done.wait()  # its asker has gone; the other side works on
        if self._ended.is_set():
            raise self._gone()
        if message.__class__ is OwnStop:
            if message.incarnation is not self:
                return None  # it has ended by other means
            self.close()
            await self._ended.wait()  # `_on_ended` sees to the rest
            return None
        self._call = call = Call(message)
        self.give(call)
        try:
            await call.done.wait()
        except trio.Cancelled:
            call.cancel()
            raise
        if call.error is not None:
            raise call.error
        return call.value

    # What pykka's proxies send is a message like others.
    _handle_receive = on_receive

    async def on_stop(self) -> None:  # type: ignore[override]
        """End the other side in order; the call in hand is done before."""
        if not self._ended.is_set():
            self.close()
            await self._ended.wait()
        if self._error is not None:
            raise self._error

    def stop_own(self) -> None:
        """The other side stops itself: after the messages that wait already, and not by anybody's order. Any thread."""
        self._cell.drain(None, OwnStop(self))

    def _let_go(self) -> None:
        if not self._ended.is_set() and not self.abandoned:
            self.abandoned = True
            if self._call is not None:
                self._call.cancel()
            self.system.abandoned += 1
            self.forsake()

    def _on_started(self) -> None:
        self._started.set()

    def _on_done(self, call: Call, value: Any, error: BaseException | None) -> None:
        if self.abandoned:
            self.system.count_refused()
        if self._call is call:
            self._call = None
        call.end(value, error)

    def _on_ended(self, error: BaseException | None) -> None:
        self._error = error
        self._ended.set()
        self._started.set()
        if self.abandoned:
            self.system.abandoned -= 1
            return
        call, self._call = self._call, None
        if call is not None:
            call.end(None, self._gone())
        self._cell.control(self._follow)

    def _follow(self) -> None:
        """The other side is no more, so this incarnation is over."""
        if self._cell.actor is not self:
            return  # what it died of came as the answer of a call, and the supervisor has acted on that
        if self._error is not None:
            raise self._error
        self._cell.leave()

    def _gone(self) -> BaseException:
        return self._error or pykka.ActorDeadError(f"{self.actor_ref} stopped before it handled the message")
