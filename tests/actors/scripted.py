"""Real agents for tests, which do what the words of their message say, one after the other."""

from collections.abc import Callable
from typing import Any

import trio

from callboard.actors import Agent, AgentError, EventRefused, GrammarError, Message, RunEnded


class Scripted(Agent):
    """Does the words that `do` names; any other is said as a thought."""

    async def run(self, message: Message) -> Any:
        """Do the words."""
        for word in message.text.split():
            await self.do(word)
        return {"said": message.text}

    async def do(self, word: str) -> None:
        """Do one word."""
        match word:
            case "delta":
                await self.emit("agent_delta", {"text": "…"})
            case "x":
                await self.emit("x.note", {"n": [1, 2.5, None, "ä"]})
            case "wait":
                await (await self.emit("agent_delta", {"text": "is it durable?"}))
            case "yield":
                await trio.lowlevel.checkpoint()
            case "tool":
                await self.tool("add", {"a": 1, "b": 2}, self.add)
            case "badtool":
                try:
                    await self.tool("fail", {}, self.fail)
                except ZeroDivisionError:
                    await self.emit("agent_thinking", {"text": "it failed"})
            case "cuttool":
                with trio.move_on_after(0.5):
                    await self.tool("sleep", {"seconds": 60}, self.sleep_long)
            case "opencall":
                await self.emit("tool_executing", {"call": "mine", "tool": "own", "arguments": {}})
            case "hang":
                await trio.sleep_forever()
            case "boom":
                raise ValueError("secret words")
            case "sorry":
                raise AgentError("no_luck", "I could not find it.")
            case "done":
                await self.emit("agent_completed", {"result": "early", "duration_ms": 0})
                try:
                    await self.emit("agent_completed", {"result": "late", "duration_ms": 0})
                except GrammarError:
                    return
            case "swallow":
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    await self.talk_on()
                    raise
            case "linger":
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                await self.talk_on()
            case "crowd":
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(self.chatter)
            case _ if word.startswith("sleep"):
                await trio.sleep(float(word.removeprefix("sleep")))
            case _:
                await self.emit("agent_thinking", {"text": word})

    async def talk_on(self) -> None:
        """Speak when perhaps nobody listens any more; with a deadline, as whoever shields needs one."""
        with trio.move_on_after(1, shield=True):
            try:
                for _ in range(3):
                    await (await self.emit("agent_delta", {"text": "still here"}))
            except (RunEnded, EventRefused):
                return

    async def chatter(self) -> None:
        """One of several tasks that speak at once."""
        for index in range(4):
            await self.emit("agent_thinking", {"text": str(index)})
            await trio.lowlevel.checkpoint()
            await self.tool("add", {}, self.add)

    async def add(self) -> int:
        """A tool that works."""
        await trio.lowlevel.checkpoint()
        return 3

    async def fail(self) -> int:
        """A tool that does not."""
        await trio.lowlevel.checkpoint()
        return 1 // 0

    async def sleep_long(self) -> None:
        """A tool that takes its time."""
        await trio.sleep(60)


def unmakeable() -> Agent:
    """An agent factory with a bug."""
    raise LookupError("there is no such model")


AGENTS: dict[str, Callable[[], Agent]] = {"scripted": Scripted, "unmakeable": unmakeable}
