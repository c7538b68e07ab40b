"""A board on a port of loopback, what is counted of it before and after a test, and raw requests to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pykka
import trio
from trio.testing import wait_all_tasks_blocked

import callboard
from tests.transport.peer import Peer

__all__ = ["KEY", "Visitors", "ask_http", "counts", "of_clients", "open_board", "quiet", "settled", "until", "visitors"]

KEY = bytes(range(32))


async def ask_http(port: int, raw: bytes) -> bytes:
    """Send raw bytes and give all that comes back until the server ends the connection."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(raw)
        answer = b""
        try:
            async for data in stream:
                answer += data
        except trio.BrokenResourceError:
            answer += b"<reset>"
        return answer


@asynccontextmanager
async def open_board(
    agents: Mapping[str, Callable[[], callboard.Agent | pykka.ThreadingActor]], **limits: Any
) -> AsyncIterator[callboard.Board]:
    """A board on a free port of loopback, with limits of its own, that is closed within a second."""
    small = {"drain_seconds": 1.0, "close_seconds": 1.0, **limits}
    async with callboard.open(agents=agents, port=0, key=KEY, limits=callboard.Limits(**small)) as board:
        with trio.fail_after(10):
            # It looks for runs that an earlier life left open, and is gone then.
            while any(path.endswith("/recovery") for path in (await counts(board))["actors"]):
                await trio.lowlevel.checkpoint()
        yield board


async def counts(board: callboard.Board) -> dict[str, Any]:
    """What must be as it was once a test's clients are gone: the node's own counters, and what trio and the kernel see.

    Not the sessions: they stay in memory for a while, by design.
    """
    report = await board.report()
    return {
        "connections": report["connections"]["open"],
        "tcp": report["connections"]["tcp"],
        "waiting_bytes": report["connections"]["waiting_bytes"],
        "runs": report["runs"]["open"],
        "actors": sorted(actor["path"] for actor in report["actors"]),
        "actor_tasks": report["tasks"],
        "timers": report["timers"],
        "tickets": report["tickets"],
        # But those that the kernel keeps for the next coroutine: how many is a matter of how many were at work at once.
        "tasks": trio.lowlevel.current_statistics().tasks_living - board.system.coroutines.spare,
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


async def quiet(board: callboard.Board) -> dict[str, Any]:
    """The node's counts, once the timers of what was written so far have run out.

    What stays is one for each connection's heartbeat, one for each run's deadline, and the session supervisor's own.
    """
    with trio.fail_after(10):
        while True:
            # What ends just now is counted out before its task is.
            await wait_all_tasks_blocked()
            now = await counts(board)
            if now["timers"] == now["connections"] + now["runs"] + 1:
                return now


async def settled(board: callboard.Board, expected: dict[str, Any]) -> None:
    """Wait until the node's counts are these. Raises AssertionError with what differs after ten seconds."""
    differ: dict[str, Any] = {}
    with trio.move_on_after(10):
        while True:
            seen = await counts(board)
            differ = {name: (value, seen[name]) for name, value in expected.items() if seen[name] != value}
            if not differ:
                return
            await trio.lowlevel.checkpoint()
    raise AssertionError(differ)


def of_clients(counted: dict[str, Any]) -> dict[str, Any]:
    """Of a node's counts those that its clients make, and not the sessions that stay behind them."""
    names = ("connections", "tcp", "waiting_bytes", "runs", "tickets", "descriptors")
    return {name: counted[name] for name in names}


async def until(true: Callable[[], bool]) -> None:
    """Wait until something of the node's is so."""
    with trio.fail_after(10):
        while not true():
            await trio.lowlevel.checkpoint()


class Visitors:
    """The clients of one test, whose sockets are closed at its end."""

    def __init__(self, board: callboard.Board) -> None:
        self.board = board
        self.peers: list[Peer] = []

    async def connect(self, **options: Any) -> Peer:
        """Open a WebSocket."""
        peer = await Peer.connect(self.board.port, **options)
        self.peers.append(peer)
        return peer

    async def enter(
        self, user: str, device: int = 1, *, options: Mapping[str, Any] | None = None, **hello: Any
    ) -> Peer:
        """A connection that was welcomed; its welcome is `peer.welcome`."""
        peer = await self.connect(**(options or {}))
        peer.commands = (await peer.hello(await self.board.ticket(user), f"{device:032x}", **hello))["last_id"]
        return peer


@asynccontextmanager
async def visitors(board: callboard.Board) -> AsyncIterator[Visitors]:
    """Clients for a board."""
    guests = Visitors(board)
    try:
        yield guests
    finally:
        for peer in guests.peers:
            await trio.aclose_forcefully(peer.stream)
