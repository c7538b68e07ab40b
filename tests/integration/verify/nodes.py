"""Nodes for the verification: a healthy one, and how a broken one is wired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio

import callboard
from callboard.actors import Journal, Registry, Session, SessionKey, SessionNode
from callboard.transport.verify import Line
from tests.integration.verify.lying import Lie, LyingStream

__all__ = ["HEALTHY", "KEY", "SHORT_TICKET", "Mutant", "Works", "node_in_thread", "open_node"]

KEY = bytes(range(32))

# Seconds; where that tickets expire is looked at. For other nodes they live so long that nobody waits for their end.
SHORT_TICKET = 5.0
LONG_TICKET = 120.0

# A node is opened alone, as one broken class may stand in its module's place just then.
_opening = trio.StrictFIFOLock()


class Works(callboard.Agent):
    """Thinks, uses two tools, one inside of the other, and answers in pieces. It takes its time, as work does."""

    async def run(self, message: callboard.Message) -> str:
        await self.emit("agent_thinking", {"text": "What is asked?"})
        await self.tool("outer", {"words": len(message.text.split())}, partial(self.look_up, message))
        for piece in ("It ", "depends."):
            await (await self.emit("agent_delta", {"text": piece}))
            await trio.sleep(0.02)
        return "It depends."

    async def look_up(self, message: callboard.Message) -> int:
        await trio.sleep(0.02)
        return int(await self.tool("inner", {}, partial(self.count, message)))

    async def count(self, message: callboard.Message) -> int:
        await trio.lowlevel.checkpoint()
        return len(message.history)


@attrs.frozen(kw_only=True)
class Mutant:
    """A node that breaks one law, and the line of the table that has to tell."""

    name: str
    line: Line | None
    session: Callable[[SessionKey, SessionNode], Session] = Session
    journal: Callable[[], Journal] | None = None
    registry: type[Registry] | None = None
    lie: Callable[[dict[str, Any]], Lie] | None = None
    wire: Callable[[callboard.Board], Awaitable[None]] | None = None
    agent: type[callboard.Agent] = Works
    limits: dict[str, Any] = attrs.field(factory=dict)


HEALTHY = Mutant(name="healthy", line=None, limits={"ticket_seconds": SHORT_TICKET})


@asynccontextmanager
async def open_node(mutant: Mutant, key: bytes = KEY) -> AsyncIterator[callboard.Board]:
    """A board with one agent on a free port of loopback, broken as the mutant says."""
    limits = {"ticket_seconds": LONG_TICKET, "drain_seconds": 1.0, "close_seconds": 1.0, **mutant.limits}
    async with AsyncExitStack() as stack:
        async with _opening:
            with pytest.MonkeyPatch.context() as names:
                names.setattr("callboard.actors.node.Registry", mutant.registry or Registry)
                board = await stack.enter_async_context(
                    callboard.open(
                        agents={"works": mutant.agent},
                        session=mutant.session,
                        key=key,
                        limits=callboard.Limits(**limits),
                        journal=mutant.journal() if mutant.journal is not None else None,
                    )
                )
        if mutant.wire is not None:
            await mutant.wire(board)
        if mutant.lie is not None:
            assert board._entrance is not None
            vars(board._entrance)["serve_stream"] = _lying(board._entrance.serve_stream, mutant.lie)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=100)
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        await stack.enter_async_context(_served(board, listeners))
        yield board


def _lying(
    serve: Callable[[trio.abc.Stream], Awaitable[None]], lie: Callable[[dict[str, Any]], Lie]
) -> Callable[..., Awaitable[None]]:
    shared = dict[str, Any]()

    async def serve_stream(stream: trio.abc.Stream, *, tls: None) -> None:
        await serve(LyingStream(stream, lie(shared)))

    return serve_stream


@asynccontextmanager
async def _served(board: callboard.Board, listeners: list[trio.SocketListener]) -> AsyncIterator[None]:
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(board.serve, listeners, "127.0.0.1")
        try:
            yield
        except BaseException as raised:  # noqa: BLE001 - raised again outside of the nursery
            error = raised
        nursery.cancel_scope.cancel()
    if error is not None:
        raise error


@contextmanager
def node_in_thread(mutant: Mutant, key: bytes = KEY) -> Iterator[str]:
    """Run a node beside the test, for the body of a ``with``; gives its url. What it raises is raised here."""
    started = Future[tuple[str, trio.lowlevel.TrioToken, trio.Event]]()

    async def serve() -> None:
        async with open_node(mutant, key) as board:
            done = trio.Event()
            started.set_result((board.url, trio.lowlevel.current_trio_token(), done))
            await done.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run)
        url, token, done = started.result(20)
        try:
            yield url
        finally:
            token.run_sync_soon(done.set)
            running.result(20)
