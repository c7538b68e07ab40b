"""The connections that are attached to one session: who they are, where each begins, and who is told what.

A connection is a cursor into the session's log and keeps its place itself (law S8); here only its device is known. A
device has one connection: a newer one takes the place of an older.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..runtime import Ref, Reply
from .commands import CommandMemory, Result
from .ledger import Ledger
from .log import Log
from .messages import Attach, Attached, CloseReason, Connection, Mode

__all__ = ["Attachments"]


class Attachments:
    """The attached connections of one incarnation of a session.

    Args:
        ref: the session.
        log: what connections see.
        ledger: where a new epoch is asked for.
        memory: says a device's highest command id.
        history: how many records a connection gets that names no position.
        new_epoch: makes an epoch.
        read: reads older records from the journal.
        changed: called when connections came or went.
    """

    def __init__(
        self,
        ref: Ref[Any],
        log: Log,
        ledger: Ledger,
        memory: CommandMemory,
        *,
        history: int,
        new_epoch: Callable[[], str],
        read: Callable[[int, int], Any],
        changed: Callable[[], None],
    ) -> None:
        self._ref = ref
        self._log = log
        self._ledger = ledger
        self._memory = memory
        self._history = history
        self._new_epoch = new_epoch
        self._read = read
        self._changed = changed
        # Bounded by the connections that the node takes: each is one that is open, and leaves when it closes.
        self._connections: dict[Connection, str] = {}
        self._devices: dict[str, Connection] = {}
        # Connections ahead of this history, which wait for its new epoch.
        self._ahead: list[tuple[Attach, Reply[Attached]]] = []

    def __len__(self) -> int:
        return len(self._connections)

    def attach(self, message: Attach, reply: Reply[Attached]) -> None:
        """Attach a connection, and answer where it begins."""
        start = message.start
        previous = self._devices.get(message.device)
        if previous is not None and previous is not message.connection:
            self.detach(previous)
            previous.close(CloseReason.SUPERSEDED)
        self._connections[message.connection] = message.device
        self._devices[message.device] = message.connection
        self._changed()
        if start.epoch != self._log.epoch or start.seq is None or start.seq <= self._log.head:
            self._answer(message, reply)
            return
        # It has seen records that the journal does not have: this history is not the one that it saw.
        self._ahead.append((message, reply))
        if len(self._ahead) == 1:
            self._ledger.renew(self._new_epoch())
            self._ledger.when_durable(self._renewed)

    def _renewed(self, error: BaseException | None) -> None:
        ahead, self._ahead = self._ahead, []
        if error is not None:
            for _, reply in ahead:
                reply.offer_exception(error)
            return
        back = {message.connection for message, _ in ahead}
        for connection in [connection for connection in self._connections if connection not in back]:
            # What the others hold is of the old epoch; they come back and hear so.
            self.detach(connection)
            connection.close(CloseReason.DRAINING)
        for message, reply in ahead:
            self._answer(message, reply)

    def _answer(self, message: Attach, reply: Reply[Attached]) -> None:
        if not reply.offer(self._verdict(message)):
            self.detach(message.connection)  # it does not wait any more, and may not know from where to detach

    def _verdict(self, message: Attach) -> Attached:
        start, log = message.start, self._log
        if start.epoch is not None and start.epoch == log.epoch and start.seq is not None and start.seq <= log.head:
            mode, cursor = Mode.REPLAY, start.seq
        else:
            mode = Mode.FRESH if start.epoch is None else Mode.RESET
            last = log.head if start.first else self._history if start.last is None else start.last
            cursor = max(log.first - 1, log.head - last)
        return Attached(self._ref, log, mode, cursor, self._memory.highest(message.device), self._read)

    def detach(self, connection: Connection) -> None:
        """A connection is gone; nothing if it was not attached."""
        device = self._connections.pop(connection, None)
        if device is not None and self._devices.get(device) is connection:
            del self._devices[device]
        self._changed()

    def wake_all(self) -> None:
        """Say that the log has grown."""
        for connection in list(self._connections):
            connection.wake()

    def deliver(self, device: str, result: Result) -> None:
        """Give a device the answer to its command; nothing if it has no connection now: it will ask again."""
        connection = self._devices.get(device)
        if connection is not None:
            connection.deliver(result)

    def close_all(self, reason: CloseReason) -> None:
        """Close all connections."""
        for connection in list(self._connections):
            connection.close(reason)

    def session_failed(self) -> None:
        """Have all connections attach anew."""
        for connection in list(self._connections):
            connection.session_failed()
