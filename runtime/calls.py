"""What an actor that lives outside of the trio loop works for: one call at a time, and whether it is still wanted.

A *call* is one message on its way through a bridge (`bridge.py`) and back. The one who works on it, a stock pykka actor
on its thread above all, sees only this: whether its answer is still wanted, and the asks that it makes for it, which
are given up together with it (law A5).

Knows nothing of cells, mailboxes and supervisors.
"""

from __future__ import annotations

import contextvars
import threading
from typing import Any, Protocol

import trio

from .reply import Reply

__all__ = ["Call", "at_work", "cancelled"]


class Call:
    """One message handed to an actor elsewhere. Made, answered and given up on the trio thread.

    `cancelled` and `add` may be used on any thread.
    """

    def __init__(self, message: Any) -> None:
        self.message = message
        # The context in which the message was sent; a copy, because the bridge's own handler runs in it.
        self.context = contextvars.copy_context()
        self.cancelled = False
        """Whether nobody waits for the answer any more."""
        self.done = trio.Event()
        """Set when whoever works on it has ended, also after it was given up."""
        self.value: Any = None
        self.error: BaseException | None = None
        self._lock = threading.Lock()
        self._asks: set[Reply[Any]] = set()

    def end(self, value: Any, error: BaseException | None) -> None:
        """The work is done: with a value, or an exception."""
        self.value, self.error = value, error
        self.done.set()

    def cancel(self) -> None:
        """Nobody waits for the answer any more: raise the flag, and give up the asks that were made for it."""
        with self._lock:
            self.cancelled = True
            asks, self._asks = self._asks, set()
        for ask in asks:
            ask.abandon()

    def add(self, ask: Reply[Any]) -> None:
        """Give up `ask` when this call is; at once if it is already."""
        with self._lock:
            if not self.cancelled:
                # Those that were answered meanwhile go: a handler may make any number of asks.
                self._asks = {other for other in self._asks if not other.done}
                self._asks.add(ask)
                return
        ask.abandon()


class Worker(Protocol):
    """Whoever works on calls; `bridge.Bridge` is one."""

    cell: Any
    """Its place among the actors."""
    abandoned: bool
    """Whether it is dead to all others."""

    def refuse(self) -> None:
        """Count something that it said after it was abandoned."""


class _AtWork(threading.local):
    """What this thread works on, and for whom; both None but on threads of stock pykka actors."""

    worker: Worker | None = None
    call: Call | None = None


at_work = _AtWork()


def cancelled() -> bool:
    """Whether the answer that this thread works on is not wanted any more (law A5).

    For handlers of stock `pykka.ThreadingActor`s that take long: whoever asked has gone, or its deadline has passed, so
    the handler may return whatever it likes. Elsewhere it is always False: coroutines are cancelled instead.
    """
    call = at_work.call
    return call is not None and call.cancelled
