"""A worker of remote agents in a process of its own: ``python -m tests.integration.lab_worker URL CAPACITY AGENT…``.

Its token comes in the environment variable ``LAB_TOKEN``. It says what it does, line by line.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import Any

import trio

import callboard
from callboard import agents

__all__ = ["AGENTS"]


def told(what: str, message: callboard.Message, agent: agents.Agent) -> None:
    """Say what becomes of a run."""
    sys.stdout.write(f"{what} {message.run} {agent.attempt}\n")
    sys.stdout.flush()


class Plain(agents.Agent):
    """Says numbers, with a tool in a thread; `wait` never ends."""

    async def run(self, message: callboard.Message) -> Any:
        told("begins", message, self)
        try:
            await self.emit("agent_thinking", {"text": "in a process of my own"})
            for word in message.text.split():
                if word == "wait":
                    await trio.sleep_forever()
                for number in range(int(word)):
                    await self.emit("agent_delta", {"text": str(number)})
            await self.tool("nap", {}, partial(time.sleep, 0.01))
        except trio.Cancelled:
            told("cancelled", message, self)
            raise
        told("ends", message, self)
        return [os.getpid(), self.attempt]


class Again(Plain):
    """The same; what waits is done when it is begun again."""

    restartable = True

    async def run(self, message: callboard.Message) -> Any:
        if self.attempt > 1:
            message = callboard.Message("3", message.run, message.session, message.user, message.agent)
        return await super().run(message)


AGENTS = {"plain": Plain, "again": Again}


def main() -> None:
    """Work until killed."""
    url, capacity, *names = sys.argv[1:]
    trio.run(
        partial(
            agents.connect,
            url,
            token=os.environ["LAB_TOKEN"],
            agents={name: AGENTS[name] for name in names},
            capacity=int(capacity),
        )
    )


if __name__ == "__main__":
    main()
