"""A platform for tests whose agents note each receipt in a file of their own, as soon as they have it.

The file is the witness of what a node has promised: it is written after the promise, by a call that a kill cannot cut
in half, and no node reads it.
"""

from __future__ import annotations

import os
import random
from functools import partial

import trio

from callboard import Agent, App, Message

__all__ = ["NOTES", "Notes", "board"]

# Names the file.
NOTES = "NOTED_RECEIPTS"


class Notes(Agent):
    """Says some things, takes its time, and notes each receipt: user, run, text, epoch and seq."""

    async def run(self, message: Message) -> str:
        chance = random.Random(message.text)
        notes = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            for step in range(chance.randint(1, 6)):
                text = f"{message.text}/{step}"
                receipt = await self.emit("agent_delta", {"text": text})
                if chance.random() < 0.5:
                    await self.tool("work", {"step": step}, partial(trio.sleep, chance.uniform(0, 0.02)))
                position = await receipt
                os.write(notes, f"{message.user} {message.run} {text} {position.epoch} {position.seq}\n".encode())
        finally:
            os.close(notes)
        return message.text


board = App(agents={"notes": Notes})
