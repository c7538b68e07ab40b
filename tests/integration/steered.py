"""A node in a thread of its own, with an agent that says what the test tells it to, when the test tells it to.

So a test decides what is on its way at the moment of a reload, a cut or a stop, and sleeps for nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

import callboard
from callboard.transport.cli.demo import demo_routes


class SteeredNode:
    """What a test sees of the node. Methods may be called on the test's thread."""

    def __init__(self) -> None:
        self.url = ""
        self.cancelled = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._board: callboard.Board
        self._stop: trio.CancelScope
        self._says: dict[str, trio.MemorySendChannel[str]] = {}
        self._runs = threading.Semaphore(0)

    def wait_run(self) -> None:
        """Wait until the next run has begun."""
        assert self._runs.acquire(timeout=20), "no run has begun"

    def say(self, user: str, text: str) -> None:
        """Have the user's agent say this; returns once it is on its way."""
        trio.from_thread.run(self._says[user].send, text, trio_token=self._token)

    def finish(self, user: str) -> None:
        """Have the user's agent end its run with all that it said."""
        trio.from_thread.run(self._says[user].aclose, trio_token=self._token)

    def report(self) -> dict[str, Any]:
        """The node's statistics."""
        report: dict[str, Any] = trio.from_thread.run(self._board.report, trio_token=self._token)
        return report

    async def _serve(self, ready: threading.Event) -> None:
        node = self

        class Steered(callboard.Agent):
            """Says what comes through its channel."""

            async def run(self, message: callboard.Message) -> str:
                says, hears = trio.open_memory_channel[str](0)
                node._says[message.user] = says
                await self.emit("agent_thinking", {"text": "I wait for the test."})
                node._runs.release()
                said = []
                try:
                    async for text in hears:
                        said.append(text)
                        await self.emit("agent_delta", {"text": text})
                except trio.Cancelled:
                    node.cancelled.set()
                    raise
                return "".join(said)

        async with callboard.open(
            agents={"steered": Steered}, port=0, key=os.urandom(32), routes=demo_routes
        ) as self._board:
            self._token = trio.lowlevel.current_trio_token()
            self.url = self._board.url
            with trio.CancelScope() as self._stop:
                ready.set()
                await trio.sleep_forever()


@contextmanager
def steered_node() -> Iterator[SteeredNode]:
    """Run a node for the body of a ``with``; what it raises is raised here."""
    node = SteeredNode()
    ready = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            trio.run(node._serve, ready)
        except BaseException as error:  # noqa: BLE001 - raised again on the test's thread
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="steered node")
    thread.start()
    try:
        assert ready.wait(20), "the node did not start"
        if failed:
            raise failed[0]
        yield node
    finally:
        if not failed:
            node._token.run_sync_soon(node._stop.cancel)
        thread.join(20)
    if failed:
        raise failed[0]
