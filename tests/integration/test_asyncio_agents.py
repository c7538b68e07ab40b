"""Agents on asyncio at a real node: their events, tools and ends are those of any other agent."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest
import trio

import callboard
from callboard import AgentError, AsyncioAgent, Message
from tests.integration.boards import open_board, until, visitors

where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="")


class Steps(AsyncioAgent):
    """Speaks, calls tools of each kind and waits for durability."""

    async def run(self, message: Message) -> Any:
        where.set("run")
        await self.emit("agent_thinking", {"text": threading.current_thread().name})
        name, said = await self.tool("plain", {}, lambda: (threading.current_thread().name, where.get()))
        assert name not in ("board: asyncio", threading.main_thread().name)
        doubled = await self.tool("async", {"n": 2}, lambda: double(2))
        receipts = await asyncio.gather(*[self.emit("agent_delta", {"text": str(n)}) for n in range(3)])
        positions = await asyncio.gather(*receipts)
        with pytest.raises(callboard.actors.GrammarError):
            await self.emit("agent_cancelled", {"by": "agent", "reason": "mine"})
        return {"said": said, "doubled": doubled, "positions": sorted(position.seq for position in positions)}


async def double(n: int) -> int:
    """An asyncio tool."""
    await asyncio.sleep(0)
    return 2 * n


class Waits(AsyncioAgent):
    """Waits in a tool until it is cancelled; says how that was."""

    ends: list[str] = []  # noqa: RUF012 - what all of them write down

    async def run(self, message: Message) -> None:
        try:
            await self.tool("wait", {}, asyncio.Event().wait)
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            try:
                await self.emit("agent_thinking", {"text": "too late"})
            except asyncio.CancelledError:
                self.ends.append("silent")
            raise


class Fails(AsyncioAgent):
    """Fails as it is told."""

    async def run(self, message: Message) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.fail(message.text))

    async def fail(self, text: str) -> None:
        if text == "own":
            raise AgentError("nothing_found", "there is nothing")
        if text == "tool":
            await self.tool("broken", {}, broken)
        raise LookupError(text)


async def broken() -> None:
    """A tool that raises."""
    raise ConnectionError("no route")


AGENTS = {"steps": Steps, "waits": Waits, "fails": Fails}


async def test_an_asyncio_agent_works_like_any_other() -> None:
    """Red if its events are missing, doubled, or out of order, or a receipt is no receipt there."""
    async with open_board(AGENTS) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask("go", "steps")
        end = await peer.end_of(run)
        assert peer.of_run(run) == [
            "agent_started",
            "agent_thinking",
            *["tool_executing", "tool_completed"] * 2,
            *["agent_delta"] * 3,
            "agent_completed",
        ]
        assert end["data"]["result"] == {"said": "run", "doubled": 4, "positions": [7, 8, 9]}
        thinking = await peer.until_record("agent_thinking")
        assert thinking["data"]["text"] == "board: asyncio"


async def test_cancel_reaches_the_coroutine() -> None:
    """S6, A5. One terminal by the user; the coroutine is cancelled once, and heard no more."""
    Waits.ends.clear()
    async with open_board(AGENTS) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask("go", "waits")
        await peer.until_record("tool_executing")
        await peer.command("cancel", run=run)
        await peer.end_of(run)
        await until(lambda: len(Waits.ends) == 2)
        assert peer.of_run(run) == ["agent_started", "tool_executing", "tool_completed", "agent_cancelled"]
        assert Waits.ends == ["cancelled", "silent"]
        assert board.system.abandoned == 0
        # The deadline of a run is carried the same way, and a board that closes ends what runs.
        await peer.ask("go", "waits")
    assert Waits.ends == ["cancelled", "silent"] * 2


@pytest.mark.parametrize(
    "text, code, types",
    [
        ("own", "nothing_found", ["agent_started", "agent_error"]),
        ("other", "agent_failed", ["agent_started", "agent_error"]),
        ("tool", "agent_failed", ["agent_started", "tool_executing", "tool_completed", "agent_error"]),
    ],
)
async def test_its_failures_end_the_run(text: str, code: str, types: list[str]) -> None:
    """Through a task group, as through a nursery."""
    async with open_board(AGENTS) as board, visitors(board) as guests:
        peer = await guests.enter("ann")
        run = await peer.ask(text, "fails")
        end = await peer.end_of(run)
        assert end["data"]["code"] == code
        assert peer.of_run(run) == types


async def test_many_of_them_share_one_loop() -> None:
    """Red if runs wait for each other, or a thread is started for each."""
    async with open_board(AGENTS) as board, visitors(board) as guests:
        ends = []

        async def visit(user: str) -> None:
            peer = await guests.enter(user)
            ends.append(await peer.end_of(await peer.ask("go", "steps")))

        async with trio.open_nursery() as nursery:
            for n in range(8):
                nursery.start_soon(visit, f"user-{n}")
        assert [end["type"] for end in ends] == ["agent_completed"] * 8, ends
        assert sum(thread.name == "board: asyncio" for thread in threading.enumerate()) == 1
