"""Workers of a node on streams in memory: the helper of `callboard.agents`, and one that says what it likes."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from trio.testing import memory_stream_pair

import callboard
from callboard.transport.client import Closed, hold_socket
from callboard.transport.protocol import AGENTS_SUBPROTOCOL
from callboard.transport.simulation.network import Wire, stream_pair

__all__ = ["RawWorker", "Station", "raw_worker", "token"]

ID = "e" * 32


def token(board: callboard.Board, service: str = "lab", **more: Any) -> str:
    """A good service token."""
    return board.authenticator.token(service, **{"scope": "agent", **more})


class Station:
    """Where workers in Python come from, on streams that a test may cut."""

    def __init__(self, board: callboard.Board, nursery: trio.Nursery) -> None:
        self.board = board
        self.nursery = nursery
        self.wires: list[Wire] = []

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        """A stream to the node."""
        ours, theirs, wire = stream_pair(random.Random(len(self.wires)), lambda: 0.001)
        self.wires.append(wire)
        self.nursery.start_soon(self.board.serve_stream, theirs)
        return ours

    def cut(self) -> int:
        """Break all connections, as a network does; gives how many there were."""
        whole = [wire for wire in self.wires if not wire.is_cut]
        for wire in whole:
            wire.cut()
        return len(whole)

    def start(self, agents: dict[str, Callable[[], callboard.agents.Agent]], **options: Any) -> trio.CancelScope:
        """Have a worker; the scope ends it."""
        scope = trio.CancelScope()

        async def work() -> None:
            with scope:
                await callboard.agents.connect(
                    "http://node.example",
                    token=options.pop("token", None) or token(self.board),
                    agents=agents,
                    open_stream=self.dial,
                    **options,
                )

        self.nursery.start_soon(work)
        return scope


class RawWorker:
    """Says and hears JSON."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        """Send a map."""
        await self.socket.send(json.dumps(message).encode())

    async def hello(self, *names: str, worker: str = ID, restartable: bool = False, **more: Any) -> Any:
        """Say hello, and give the welcome."""
        agents = {name: {"restartable": restartable} for name in names or ("lab",)}
        await self.say(**{"t": "hello", "worker": worker, "client": "raw", "agents": agents, "capacity": 4, **more})
        return await self.hear()

    async def hear(self, t: str | None = None) -> Any:
        """The next message, or the next one of a type."""
        with trio.fail_after(60):
            while True:
                message = json.loads(await self.socket.receive())
                if t in (None, message["t"]):
                    return message
                assert message["t"] in ("ping", "ack"), message

    async def closed(self) -> int:
        """Hear what comes until the end, and give its code."""
        with trio.fail_after(60):
            while True:
                try:
                    await self.socket.receive()
                except Closed as closed:
                    return closed.code


@asynccontextmanager
async def raw_worker(
    board: callboard.Board, bearer: str | None = None, *, subprotocol: str = AGENTS_SUBPROTOCOL, **options: Any
) -> AsyncIterator[RawWorker]:
    """A connection that was accepted."""
    async with trio.open_nursery() as nursery:

        async def dial(host: str, port: int) -> trio.abc.Stream:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(board.serve_stream, theirs)
            return ours

        bearer = token(board) if bearer is None else bearer
        holding = partial(
            hold_socket,
            "ws://node.example/v1/agents",
            subprotocol=subprotocol,
            bearer=bearer,
            open_stream=dial,
            **options,
        )
        socket = await nursery.start(holding)
        yield RawWorker(socket)
        socket.abandon()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
