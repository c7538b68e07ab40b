"""What becomes of a device's commands: done once, answered when durable, and known again (law S5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import msgspec

from ..runtime import Refusal
from .attachments import Attachments
from .commands import CommandEntry, CommandMemory, Result, Verdict
from .errors import CommandRefused, InvalidEvent
from .events import encode_json
from .ledger import Ledger
from .messages import RunCommand
from .run_keeper import RunKeeper
from .session_node import SessionNode

if TYPE_CHECKING:
    from .session import Session

__all__ = ["CommandDesk"]


class CommandDesk:
    """Takes the commands of one incarnation of a session."""

    def __init__(
        self,
        session: Session,
        node: SessionNode,
        memory: CommandMemory,
        ledger: Ledger,
        keeper: RunKeeper,
        attachments: Attachments,
    ) -> None:
        self._session = session
        self._node = node
        self._limits = node.limits
        self._memory = memory
        self._ledger = ledger
        self._keeper = keeper
        self._attachments = attachments

    def answer_interrupted(self) -> None:
        """Answer the author's commands that a crash cut short, if the memory was just read from the journal."""
        for entry in self._memory.under_way():
            result = Result(entry.id, error_code="interrupted", error_message="a crash cut this command short")
            entry = attrs.evolve(entry, result=result)
            self._memory.remember(entry)
            self._ledger.remember(entry)

    def take(self, message: RunCommand) -> None:
        """Do a command, or say again what became of it."""
        if message.log is not None and message.log is not self._ledger.log:
            return  # meant for the incarnation before; it is asked again
        try:
            asked = [message.op, message.run, message.data]
            body = encode_json(asked, self._limits.depth + 1, "command", in_order=True)
        except InvalidEvent as error:
            self._memory.meet(message.device, message.id)
            self._refuse(message, "bad_command", str(error))
            return
        fingerprint = hashlib.sha256(body).digest()
        verdict, known = self._memory.judge(message.device, message.id, fingerprint)
        match verdict:
            case Verdict.KNOWN:
                assert known is not None
                message.connection.deliver(known)
            case Verdict.UNDER_WAY:
                pass  # its answer goes to the device's connection as soon as it is durable
            case Verdict.EXPIRED:
                self._refuse(message, "expired_id", "this id is too old to be known; take a new device id")
            case Verdict.CONFLICT:
                self._refuse(message, "id_conflict", "this id was used for another command")
            case Verdict.NEW:
                self._new(message, CommandEntry(message.device, message.id, fingerprint, None))

    def _new(self, message: RunCommand, under_way: CommandEntry) -> None:
        then: Callable[[], None] | None = None
        try:
            if self._ledger.undurable_bytes > self._limits.undurable_bytes:
                raise CommandRefused("store_unavailable", "too much is not durable yet", retry=True)
            if message.op == "user_message":
                result, then = self._user_message(message)
            elif message.op == "cancel":
                result = self._cancel(message)
            elif message.op in self._session.ops:
                self._begin_op(message, under_way)
                return
            else:
                allowed = ", ".join(("user_message", "cancel", *sorted(self._session.ops)))
                raise CommandRefused("unknown_op", f"{message.op[:80]!r} is unknown; there are {allowed}")
        except CommandRefused as refused:
            result = _refusal(message.id, refused)
            if refused.retry:
                self._memory.meet(message.device, message.id)
                message.connection.deliver(result)
                return
        self._accept(under_way, result, then)

    def _user_message(self, message: RunCommand) -> tuple[Result, Callable[[], None]]:
        text, agent = message.data.get("text"), message.data.get("agent", self._node.default_agent)
        if not isinstance(text, str) or not text.strip():
            raise CommandRefused("bad_command", "user_message needs `text`, a text that is not empty")
        if not isinstance(agent, str) or agent not in self._node.agents:
            raise CommandRefused(
                "bad_command", f"agent {agent!r:.80} is unknown; there are {', '.join(sorted(self._node.agents))}"
            )
        run, record = self._keeper.begin(text, agent)
        return Result(message.id, ok={"run": run}, seq=record.seq), lambda: self._keeper.start(run, text, agent)

    def _cancel(self, message: RunCommand) -> Result:
        if not isinstance(message.run, str):
            raise CommandRefused("bad_command", "cancel needs `run`, the id of a run")
        seq = self._keeper.cancel(message.run)
        return Result(message.id, ok={"state": "ended" if seq is None else "cancelling"}, seq=seq)

    def _begin_op(self, message: RunCommand, under_way: CommandEntry) -> None:
        # That the op begins is durable before it runs: if it crashes, it is known and does not run again.
        self._memory.remember(under_way)
        self._ledger.remember(under_way)

        def begin(error: BaseException | None) -> None:
            if error is not None:
                self._attachments.deliver(message.device, _unavailable(message.id, error))
                return
            result = self._do_op(message)
            if self._memory.awaits(under_way):
                self._accept(under_way, result)
            else:
                # Others drove the device out; kept, this would bring it back as one whose highest id this is.
                self._answer_when_durable(under_way, result)

        self._ledger.when_durable(begin)

    def _do_op(self, message: RunCommand) -> Result:
        try:
            ok = self._session.on_command(message.op, message.data, message.run)
        except CommandRefused as refused:
            return _refusal(message.id, refused)
        except Refusal as error:
            # For the kernel an answer, after which the actor lives on; but who waits here would wait for ever.
            raise RuntimeError(f"`on_command` was refused something in {message.op!r}: {error}") from error
        if not isinstance(ok, dict):
            raise TypeError(f"`on_command` gave {type(ok).__name__} for {message.op!r}; it has to give a dict")
        # A copy: what the author does with his dict later must not change the answer.
        return Result(message.id, ok=msgspec.json.decode(encode_json(ok, self._limits.depth)))

    def _accept(self, note: CommandEntry, result: Result, then: Callable[[], None] | None = None) -> None:
        """Keep a command with its result; when both are durable, answer and go on with `then`."""
        # Until it is durable the id is known, but not its answer: a repetition waits like the first one.
        self._memory.remember(note)
        self._ledger.remember(attrs.evolve(note, result=result))
        self._answer_when_durable(note, result, then)

    def _answer_when_durable(self, note: CommandEntry, result: Result, then: Callable[[], None] | None = None) -> None:
        def settled(error: BaseException | None) -> None:
            if error is not None:
                self._attachments.deliver(note.device, _unavailable(note.id, error))
                return
            self._memory.settle(note, result)
            self._attachments.deliver(note.device, result)
            if then is not None:
                then()

        self._ledger.when_durable(settled)

    def _refuse(self, message: RunCommand, code: str, text: str) -> None:
        message.connection.deliver(Result(message.id, error_code=code, error_message=text))


def _refusal(id: int, refused: CommandRefused) -> Result:
    return Result(id, error_code=refused.code, error_message=refused.message, retry=refused.retry)


def _unavailable(id: int, error: BaseException) -> Result:
    return Result(id, error_code="store_unavailable", error_message=str(error), retry=True)
