"""Doing several things at the same time, so that what goes wrong in one of them comes out as it is, in no group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from .evidence import Setback

__all__ = ["Gate", "all_of", "beside"]


class Gate:
    """Where all wait for each other. Who gives up is counted too, so that nobody waits for it."""

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._counted: set[int] = set()
        self._open = trio.Event()

    def count(self, party: int) -> None:
        """This one is here, or will not come any more."""
        self._counted.add(party)
        if len(self._counted) >= self._parties:
            self._open.set()

    async def wait(self, party: int, seconds: float) -> None:
        """Be counted, and wait until all are, but not for ever."""
        self.count(party)
        with trio.move_on_after(seconds):
            await self._open.wait()


async def all_of(tasks: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Run all of them at the same time, to their ends. Raises Setback if one of them had one."""
    setbacks: list[Setback] = []

    async def run(task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Setback as setback:
            setbacks.append(setback)

    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(partial(run, task))
    if setbacks:
        raise setbacks[0]


@asynccontextmanager
async def beside(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run a task beside the body and end it after it. What the body raises is raised as it is, in no group."""
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        try:
            yield
        except BaseException as raised:  # noqa: BLE001 - raised again outside of the nursery
            error = raised
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error
