"""Agents that run elsewhere: what speaks for them in the session, and how a platform names them.

`RemoteAgent` is the agent that a session has for a run whose work is done by a worker. What the worker says goes
through its `emit`, so a run has the same grammar, back-pressure and one terminal event as any other (laws S6, S7).
"""

from __future__ import annotations

from typing import Any

import attrs
import trio

from .agent import Agent, Receipt
from .errors import AgentError, GrammarError, InvalidEvent
from .events import TERMINALS
from .messages import Message
from .workers import Assignment, Ended, WorkerLost, Workers

__all__ = ["Remote", "RemoteAgent"]

# A run that loses three workers kills them, most likely.
ATTEMPTS = 3


@attrs.frozen
class Remote:
    """Stands in an `App` for an agent that workers bring: ``App(agents={"researcher": Remote()})``."""

    def __call__(self) -> Agent:
        """Not for use: a board puts agents of its own in this place."""
        raise RuntimeError("a remote agent needs a board that serves workers")


class RemoteAgent(Agent):
    """Speaks for one run that a worker does.

    Args:
        workers: those of the node.
    """

    def __init__(self, workers: Workers) -> None:
        super().__init__()
        self._workers = workers
        # The newest number to be acknowledged, and what has to be durable before that.
        self._due: tuple[int, Receipt | None] | None = None
        self._changed = trio.Event()

    async def run(self, message: Message) -> Any:
        """Have workers do the work: another one begins again where one is lost and its agent allows that."""
        began = trio.current_time()
        attempt = 1
        while True:
            assignment = await self._workers.assign(message, attempt)
            try:
                ended = await self._follow(assignment)
                await self._end(assignment, ended, round((trio.current_time() - began) * 1000))
                return None
            except WorkerLost:
                if not assignment.restartable or attempt == ATTEMPTS:
                    raise
            finally:
                self._workers.release(assignment)
            attempt += 1
            assert self._grammar is not None
            self._cut_open_calls(self._grammar)
            await self.emit("x.restarted", {"attempt": attempt})

    async def _follow(self, assignment: Assignment) -> Ended:
        """Say what the worker says, up to its last word."""
        # Raised outside of the nursery, which would wrap it into a group.
        outcome: Ended | Exception
        self._due = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._acknowledge, assignment)
            try:
                outcome = await self._listen(assignment)
            except Exception as error:  # noqa: BLE001 - see above
                outcome = error
            nursery.cancel_scope.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _listen(self, assignment: Assignment) -> Ended:
        receipt: Receipt | None = None
        while True:
            said = await assignment.next()
            if isinstance(said, Ended):
                return said
            try:
                if said.type in TERMINALS:
                    raise GrammarError(f"{said.type} is said by `end`")
                receipt = await self.emit(said.type, said.data)
            except (InvalidEvent, GrammarError) as error:
                assignment.refuse(said.n, str(error))
            self._due = (said.n, receipt)
            changed, self._changed = self._changed, trio.Event()
            changed.set()

    async def _acknowledge(self, assignment: Assignment) -> None:
        """Tell the worker how far its events are durable, many at once."""
        while True:
            while self._due is None:
                await self._changed.wait()
            n, receipt = self._due
            self._due = None
            if receipt is not None:
                try:
                    await receipt
                except Exception:  # noqa: BLE001 - the next `emit`, or the end, raises why
                    return
            assignment.settle(n)

    async def _end(self, assignment: Assignment, ended: Ended, duration_ms: int) -> None:
        try:
            if ended.error is None:
                receipt = await self.emit("agent_completed", {"result": ended.result, "duration_ms": duration_ms})
            else:
                assert self._grammar is not None
                self._cut_open_calls(self._grammar)
                code, text = ended.error
                receipt = await self.emit("agent_error", {"code": code, "message": text})
        except (InvalidEvent, GrammarError) as error:
            assignment.refuse(ended.n, str(error))
            raise AgentError("bad_end", "the agent's last word could not be recorded") from error
        await receipt
        assignment.settle(ended.n)
        self._workers.finish(assignment)
