"""`AsyncioAgent`: an agent whose `run` is an asyncio coroutine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from ..runtime import AsyncioHost, in_trio
from .agent import Agent, Receipt
from .messages import Message

__all__ = ["AsyncioAgent"]


class AsyncioAgent(Agent):
    """An agent for asyncio: subclass it and write `run`, with any asyncio library.

    `emit`, receipts and `tool` are awaited as in any agent. When the user cancels the run, or its deadline passes,
    `run` gets an `asyncio.CancelledError` and a few seconds to clean up in; nothing can be emitted then. All runs of
    asyncio agents of a node share one loop thread: what blocks belongs into a plain function that `tool` calls.

    ::

        class Search(AsyncioAgent):
            async def run(self, message):
                async with aiohttp.ClientSession() as http:
                    page = await self.tool("fetch", {"query": message.text}, lambda: fetch(http, message.text))
                await self.emit("agent_thinking", {"text": f"{len(page)} bytes"})
                return summary(page)
    """

    async def emit(self, type: str, data: Mapping[str, Any]) -> Receipt:
        """`Agent.emit`. When it is cancelled while it waits, the event may have been said all the same."""
        if trio.lowlevel.in_trio_task():
            return await super().emit(type, data)
        return await in_trio(super().emit, type, data)

    async def _work_on(self, message: Message) -> Any:
        return await self.system.service(AsyncioHost).run(self, self.run, message)

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        # Trio's threads, not asyncio's: those are no daemons, so one that is stuck would keep the process from ending.
        return await in_trio(super()._in_thread, function)
