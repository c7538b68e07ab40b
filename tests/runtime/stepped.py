"""A trio run that stands still between two calls, for Hypothesis' state machines, whose rules are plain functions.

Trio's guest mode lends its loop to a host; here the host turns it only while a call is waited for.
"""

import contextvars
import queue
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing

Call = tuple[Callable[[], Awaitable[Any]], list[Any]]


class Stepped:
    """Runs `main`, which is given a function that waits for the next call; on virtual time."""

    def __init__(self, main: Callable[[Callable[[], Awaitable[Call | None]]], Awaitable[None]]) -> None:
        self._turns: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._calls: list[Call | None] = []
        self._news: trio.Event | None = None
        self._ended: list[Any] = []
        # In an empty context, as programs have; `trio.testing` sets a variable in that of the tests.
        contextvars.Context().run(
            trio.lowlevel.start_guest_run,
            main,
            self._next,
            run_sync_soon_threadsafe=self._turns.put,
            done_callback=self._ended.append,
            clock=trio.testing.MockClock(autojump_threshold=0),
        )

    async def _next(self) -> Call | None:
        self._news = trio.Event()
        if not self._calls:
            await self._news.wait()
        return self._calls.pop(0)

    def _turn_until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            assert not self._ended, self._ended[0]
            self._turns.get(timeout=60)()

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Have the run await `function()`; gives what it returns."""
        result: list[Any] = []
        self._submit((function, result))
        self._turn_until(lambda: bool(result))
        return result[0]

    def _submit(self, call: Call | None) -> None:
        self._turn_until(lambda: self._news is not None)
        assert self._news is not None
        self._calls.append(call)
        self._news.set()

    def end(self) -> None:
        """Have `main` return, and wait for it; what it raises is raised here."""
        self._submit(None)
        while not self._ended:
            self._turns.get(timeout=60)()
        self._ended[0].unwrap()
