"""A platform for tests: agents that work, wait, talk much, and fail."""

from __future__ import annotations

import hashlib
from functools import partial

import trio

from callboard import Agent, App, Message, Remote

__all__ = ["Fails", "Steps", "Talks", "Waits", "board", "remote"]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Steps(Agent):
    """Works in a few steps, with a tool in a thread, and answers with what it was asked."""

    async def run(self, message: Message) -> str:
        await self.emit("agent_thinking", {"text": f"{len(message.history)} messages came before"})
        for step in range(3):
            text = f"{message.text}/{step}"
            digest = await self.tool("digest", {"text": text}, partial(_digest, text))
            receipt = await self.emit("agent_delta", {"text": digest})
            await receipt
        return f"{message.user} asked: {message.text}"


class Waits(Agent):
    """Begins a tool, and ends only when it is made to."""

    async def run(self, message: Message) -> None:
        await self.tool("wait", {}, trio.sleep_forever)


class Talks(Agent):
    """Says as many kilobytes as it is asked for."""

    async def run(self, message: Message) -> int:
        kilobytes = int(message.text)
        for _ in range(kilobytes):
            await self.emit("agent_delta", {"text": "x" * 1_000})
        return kilobytes


class Fails(Agent):
    """Falls over in the middle."""

    async def run(self, message: Message) -> None:
        await self.emit("agent_thinking", {"text": "this will not end well"})
        raise RuntimeError(message.text)


board = App(agents={"steps": Steps, "waits": Waits, "talks": Talks, "fails": Fails}, default_agent="steps")

remote = App(agents={"plain": Remote()})
