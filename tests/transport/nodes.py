"""A whole node on streams in memory and in virtual time, with an agent and a session class for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair

import callboard
from tests.transport.memory_client import open_board
from tests.transport.peer import Message, Peer

__all__ = ["Echo", "Fragile", "Node", "open_node", "say", "seqs"]

DEVICE = "a" * 32


class Echo(callboard.Agent):
    """Says what it is told: numbers as so many deltas, `wait` until it is stopped."""

    async def run(self, message: callboard.Message) -> str:
        if message.text == "wait":
            await trio.sleep_forever()
        for number in range(int(message.text) if message.text.isdigit() else 0):
            await self.emit("agent_delta", {"text": f"{number}"})
        return message.text


class Fragile(callboard.Session):
    """A session that falls over when it is told to."""

    ops = frozenset({"fall"})

    def on_receive(self, message: Any) -> Any:
        if message == "fall":
            raise RuntimeError("fell")
        return super().on_receive(message)

    def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
        raise RuntimeError("fell")


class Node:
    """A board and a place for the tasks that serve its streams."""

    def __init__(self, board: callboard.Board, nursery: trio.Nursery) -> None:
        self.board = board
        self.nursery = nursery

    async def connect(self, *, lockstep: bool = False, **options: Any) -> Peer:
        ours, theirs = lockstep_stream_pair() if lockstep else memory_stream_pair()
        self.nursery.start_soon(self.board.serve_stream, theirs)
        return await Peer.over(ours, **options)

    async def enter(self, user: str = "ada", device: str = DEVICE, **hello: Any) -> tuple[Peer, Message]:
        """A connection that was welcomed."""
        peer = await self.connect()
        return peer, await peer.hello(await self.board.ticket(user), device, **hello)


@asynccontextmanager
async def open_node(**options: Any) -> AsyncIterator[Node]:
    """A node; the options are those of `callboard.open`."""
    options = {"agents": {"echo": Echo}, **options}
    async with open_board(**options) as board, trio.open_nursery() as nursery:
        yield Node(board, nursery)
        nursery.cancel_scope.cancel()


def say(id: int, text: str) -> Message:
    """A user's message."""
    return {"t": "command", "id": id, "op": "user_message", "data": {"text": text}}


def seqs(peer: Peer) -> list[int]:
    """What a peer has got so far."""
    return [record["seq"] for record in peer.records]
