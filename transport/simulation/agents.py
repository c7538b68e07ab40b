"""Agents and sessions of a simulated platform: they do what the text tells them, and note what they say elsewhere.

What an agent says carries a token of its own making, which is written down before it is said: so whoever judges the run
later knows which events are an agent's own work, in which session, and which of them it was told to be durable.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import trio

from ...actors import Agent, AgentError, Message, Position, Record, Session, SessionKey, SessionNode
from .disk import Disk

__all__ = ["WORDS", "Witness", "agent_type", "session_type"]

WORDS = (
    *("delta", "delta", "deltas", "think", "sleep", "tool", "badtool", "opencall", "receipt", "crowd", "wide"),
    *("boom", "sorry", "hang", "done", "late", "swallow"),
)


@attrs.define(eq=False)
class Witness:
    """What agents and publishers know of their own work, kept outside of the node."""

    disk: Disk
    said: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """Token → session and run in which it was to be said; noted before it is said."""
    accepted: list[tuple[str, str, int, str]] = attrs.field(factory=list)
    """Session, epoch, seq and token of what was acknowledged as durable."""
    wrong: list[str] = attrs.field(factory=list)
    """Laws that were seen broken at once."""
    counted: Counter[str] = attrs.field(factory=Counter)
    ended: dict[str, None] = attrs.field(factory=dict)
    """Runs whose `run` has come to its end."""
    number: int = 0

    def token(self, session: str, run: str) -> str:
        """A token for one event that is about to be said."""
        self.number += 1
        token = f"t{self.number}"
        self.said[token] = (session, run)
        return token

    def acknowledged(self, session: str, position: Position, token: str) -> None:
        """A publisher was told that this is durable: it has to be on the disk by now (S3)."""
        stream = self.disk.streams.get(session)
        record = stream.records[position.seq - 1] if stream is not None and position.seq <= stream.head else None
        if record is None or token not in str(record.data()):
            self.wrong.append(f"S3: {token} of session {session} was acknowledged at {position}, and is not durable")
        else:
            self.accepted.append((session, position.epoch, position.seq, token))


def agent_type(witness: Witness, rng: random.Random) -> Callable[[], Agent]:
    """Agents that follow the words of their message; the first word names the session that it was said in."""

    class Scripted(Agent):
        async def run(self, message: Message) -> Any:
            session, *words = message.text.split()
            try:
                for word in words:
                    await self._do(session, message.run, word)
                return witness.token(session, message.run)
            finally:
                witness.ended[message.run] = None

        async def _speak(self, session: str, run: str, type: str = "agent_delta", **data: Any) -> None:
            token = witness.token(session, run)
            receipt = await self.emit(type, {"text": token, **data})
            if data.get("wait"):
                witness.acknowledged(session, await receipt, token)

        async def _do(self, session: str, run: str, word: str) -> None:
            witness.counted[word] += 1
            match word:
                case "delta":
                    await self._speak(session, run)
                case "deltas":
                    for _ in range(rng.randint(2, 30)):
                        await self._speak(session, run)
                        await trio.sleep(rng.choice((0.0, 0.0, 0.01, 0.2)))
                case "think":
                    await self._speak(session, run, "agent_thinking")
                case "wide":
                    await self._speak(session, run, "x.wide", pad="w" * rng.choice((100, 3_000)))
                case "receipt":
                    await self._speak(session, run, "x.noted", wait=True)
                case "sleep":
                    await trio.sleep(rng.choice((0.0, 0.05, 1.0, 6.0)))
                case "tool":
                    token = witness.token(session, run)
                    await self.tool("look", {"text": token}, self._look)
                case "badtool":
                    try:
                        await self.tool("break", {"text": witness.token(session, run)}, self._break)
                    except KeyError:
                        await self._speak(session, run)
                case "opencall":
                    token = witness.token(session, run)
                    await self.emit("tool_executing", {"call": token, "tool": "open", "arguments": {"text": token}})
                case "crowd":
                    async with trio.open_nursery() as nursery:
                        for _ in range(3):
                            nursery.start_soon(self._speak, session, run)
                case "boom":
                    raise RuntimeError("boom")
                case "sorry":
                    raise AgentError("sorry", witness.token(session, run))
                case "hang":
                    await trio.sleep_forever()
                case "done":
                    await self.emit("agent_completed", {"result": witness.token(session, run), "duration_ms": 1})
                case "late":
                    trio.lowlevel.spawn_system_task(self._later, session, run)
                case "swallow":
                    try:
                        await trio.sleep(1.0)
                    except trio.Cancelled:
                        with trio.CancelScope(shield=True):
                            await self._try(session, run)
                        raise

        async def _later(self, session: str, run: str) -> None:
            """Speak when the run has ended long ago: it has to be refused (S6)."""
            await trio.sleep(rng.choice((0.3, 3.0, 40.0)))
            await self._try(session, run)

        async def _try(self, session: str, run: str) -> None:
            try:
                await self.emit("agent_delta", {"text": witness.token(session, run)})
            except Exception as error:  # noqa: BLE001 - whichever refusal it is, it is one
                witness.counted[f"refused {type(error).__name__}"] += 1

        async def _look(self) -> str:
            await trio.sleep(rng.choice((0.0, 0.1, 2.0)))
            return "seen"

        async def _break(self) -> str:
            await trio.sleep(0.01)
            raise KeyError("broken")

    return Scripted


def session_type(crash: Callable[[str], bool]) -> Callable[[SessionKey, SessionNode], Session]:
    """Sessions with a count of their own, which fail at messages that `crash` names."""

    class Counting(Session):
        ops: ClassVar[frozenset[str]] = frozenset({"count"})
        count = 0

        def on_record(self, record: Record) -> None:
            if record.type == "x.counted":
                self.count = record.data()["count"]

        def dump(self) -> int:
            return self.count

        def restore(self, state: int) -> None:
            self.count = state

        def on_command(self, op: str, data: dict[str, Any], run: str | None) -> dict[str, Any]:
            self.publish("x.counted", {"count": self.count + 1, "session": data["session"]})
            if crash(f"op of {self.key.id}"):
                raise RuntimeError("the op crashed")
            return {"count": self.count}

        def on_receive(self, message: Any) -> Any:
            if crash(f"{type(message).__name__} of {self.key.id}"):
                raise RuntimeError("the session crashed")
            return super().on_receive(message)

    return Counting
