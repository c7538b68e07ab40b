"""A client of a session as tests need it: a cursor that follows the client's rules and writes down what it saw.

`Client` is what outlives connections: a page with its device id, what it has applied and what it has asked for.
`Wire` is one connection, the other side of the `Connection` protocol. There are no sockets here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import pykka
import trio

from callboard.actors import (
    Attach,
    Attached,
    Behind,
    CloseReason,
    Detach,
    Log,
    LogGap,
    Mode,
    Record,
    Result,
    RunCommand,
    SessionKey,
    SessionQuarantined,
    StartFrom,
    StoreUnavailable,
    ask_session,
)
from callboard.runtime import Killed, Ref

if TYPE_CHECKING:
    from tests.actors.world import World


@attrs.frozen
class Asked:
    """A command as it was sent."""

    id: int
    op: str
    data: dict[str, Any]
    run: str | None


class Client:
    """One device of one user.

    With `stays` it behaves like a page: it comes back whenever it is cut for any reason but a successor of its own.
    """

    def __init__(
        self, world: World, key: SessionKey, device: str, *, stays: bool = True, batch_bytes: int = 4_096
    ) -> None:
        self.world = world
        self.key = key
        self.device = device
        self.stays = stays
        self.batch_bytes = batch_bytes
        self.epoch: str | None = None
        self.applied = 0
        self.records: list[dict[str, Any]] = []
        self.gaps: list[tuple[int, int]] = []
        self.modes: list[Mode] = []
        self.closes: list[CloseReason] = []
        self.refusals: list[str] = []
        self.asked: dict[int, Asked] = {}
        self.results: dict[int, list[Result]] = {}
        self.broken_rules: list[str] = []
        self.paused = False
        self.dreamt = 0
        """How far beyond what it has applied the next connection resumes; a client that lost its mind, or its store."""
        self.on_apply: Callable[[dict[str, Any]], None] | None = None
        self.wire: Wire | None = None
        self.connecting = False

    # -- connections --------------------------------------------------------------------------------------------------

    async def connect(self, start: StartFrom | None = None) -> None:
        """Connect and resume, or begin at the first record; tries again while the session cannot be had."""
        self.connecting = True
        try:
            # A client's back-off: there is nothing to be told by.
            while not await self._try_to_connect(start):  # noqa: ASYNC110
                await trio.sleep(1)
        finally:
            self.connecting = False

    async def _try_to_connect(self, start: StartFrom | None) -> bool:
        self.leave()
        if start is None:
            start = StartFrom(first=True)
            if self.epoch is not None:
                start = StartFrom(epoch=self.epoch, seq=self.applied + self.dreamt)
            self.dreamt = 0
        wire = Wire(self)
        try:
            with trio.fail_after(20):
                attached = await wire.attach(start)
        except (SessionQuarantined, StoreUnavailable, trio.TooSlowError, Killed) as error:
            self.refusals.append(type(error).__name__)
            wire.leave()
            return False
        if wire.closed:
            wire.leave()
            return False
        self.wire = wire
        self._welcome(attached)
        wire.follow(attached)
        for asked in list(self.asked.values()):
            if not self.final(asked.id):
                await self._send(asked)
        return self.wire is wire  # it may be cut again by now

    def _welcome(self, attached: Attached) -> None:
        self.modes.append(attached.mode)
        if attached.mode is Mode.REPLAY:
            assert attached.log.epoch == self.epoch
            assert attached.cursor == self.applied
        else:
            self.records.clear()
            self.gaps.clear()
        self.epoch = attached.log.epoch
        self.applied = attached.cursor

    def leave(self) -> None:
        """Close the connection, as a closed tab does."""
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.leave()

    def cut(self, wire: Wire, reason: CloseReason | None) -> None:
        """A connection was closed from the other side."""
        if reason is not None:
            self.closes.append(reason)
        if wire is self.wire:
            self.wire = None
            wire.leave()
            if self.stays and reason is not CloseReason.SUPERSEDED:
                self.come()

    def come(self) -> None:
        """Connect soon, unless it is connected, or about to be."""
        if self.wire is None and not self.connecting and not self.world.ended:
            self.connecting = True
            self.world.nursery.start_soon(self.connect)

    # -- records ------------------------------------------------------------------------------------------------------

    def apply(self, record: Record) -> None:
        """Take a record by the client's rules."""
        told = json.loads(record.encoded)
        if told["seq"] != self.applied + 1:
            self.broken_rules.append(f"{told['seq']} after {self.applied}")
            return
        self.applied += 1
        self.records.append(told)
        if self.on_apply is not None:
            self.on_apply(told)

    def gap(self, first: int, last: int) -> None:
        """Take a declared gap."""
        if first != self.applied + 1 or last < first:
            self.broken_rules.append(f"gap {first} to {last} after {self.applied}")
        self.gaps.append((first, last))
        self.applied = last

    def pause(self) -> None:
        """Stop reading, as a phone in a tunnel does."""
        self.paused = True

    def resume(self) -> None:
        """Read on."""
        self.paused = False
        if self.wire is not None:
            self.wire.wake()

    # -- commands -----------------------------------------------------------------------------------------------------

    async def command(self, op: str, data: dict[str, Any], run: str | None = None, *, id: int | None = None) -> int:
        """Send a command, under the next id of this device; gives the id."""
        asked = Asked(len(self.asked) + 1 if id is None else id, op, data, run)
        self.asked.setdefault(asked.id, asked)
        await self._send(asked)
        return asked.id

    async def say(self, text: str, **more: Any) -> int:
        """Send a `user_message`."""
        return await self.command("user_message", {"text": text, **more})

    async def ask(self, op: str, data: dict[str, Any], run: str | None = None, *, id: int | None = None) -> Result:
        """Send a command and give its answer, which has to come without time passing."""
        id = await self.command(op, data, run, id=id)
        before = len(self.results.get(id, ()))
        await self.world.settle()
        assert len(self.results.get(id, ())) > before or before, f"command {id} has no answer"
        return self.results[id][-1]

    async def repeat(self, id: int) -> None:
        """Send a command again, unless it was told that this device id is worth nothing."""
        if not any(result.error_code == "expired_id" for result in self.results.get(id, ())):
            await self._send(self.asked[id])

    async def _send(self, asked: Asked) -> None:
        if self.wire is not None and self.wire.session is not None:
            message = RunCommand(self.wire, self.device, asked.id, asked.op, dict(asked.data), asked.run)
            try:
                await self.wire.session.send(message)
            except pykka.ActorDeadError:
                if self.wire is not None:
                    self.cut(self.wire, None)

    def final(self, id: int) -> Result | None:
        """The answer to a command that is kept, if there is one yet."""
        return next((result for result in self.results.get(id, ()) if not result.retry), None)

    def run_of(self, id: int) -> str:
        """The run that a `user_message` began."""
        result = self.final(id)
        assert result is not None, f"command {id} has no answer"
        assert result.ok is not None, result
        run: str = result.ok["run"]
        return run


class Wire:
    """One connection. Its plain methods are what a session calls."""

    count = 0

    def __init__(self, client: Client) -> None:
        Wire.count += 1
        self.id = f"wire-{Wire.count}"
        self.client = client
        self.session: Ref[Any] | None = None
        self.closed = False
        self._attached: Attached | None = None
        self._log: Log | None = None
        self._failures = 0
        self._cursor = 0
        self._reading = False
        self._attaching = trio.CancelScope()

    async def attach(self, start: StartFrom) -> Attached:
        """Attach; again if the session failed while the answer was on its way."""
        registry = self.client.world.node.registry
        while True:
            failures = self._failures
            attached: Attached = await ask_session(registry, self.client.key, Attach(self, self.client.device, start))
            self.session = attached.ref
            if failures == self._failures:
                return attached

    def follow(self, attached: Attached) -> None:
        """Begin to read."""
        self._attached, self._log, self._cursor = attached, attached.log, attached.cursor
        self._pull()

    def leave(self) -> None:
        """End it."""
        self.closed = True
        self._log = None
        # A question that is still on its way must not attach what is closed.
        self._attaching.cancel()
        if self.session is not None:
            self.session.notify(Detach(self))

    # -- what a session calls -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The log has grown."""
        self._pull()

    def deliver(self, result: Result) -> None:
        """An answer."""
        if not self.closed:
            self.client.results.setdefault(result.id, []).append(result)

    def close(self, reason: CloseReason) -> None:
        """The session closes it."""
        self.closed = True
        self._log = None
        self.client.cut(self, reason)

    def session_failed(self) -> None:
        """The session's actor failed."""
        self._failures += 1
        self._log = None
        if self._attached is not None and not self.closed and not self.client.world.ended:
            self.client.world.nursery.start_soon(self._attach_again, self._failures)

    async def _attach_again(self, failure: int) -> None:
        assert self._attached is not None
        before = self._attached.log.epoch
        attaching = self._attaching = trio.CancelScope()
        try:
            with attaching, trio.fail_after(20):
                attached = await self.attach(StartFrom(epoch=before, seq=self.client.applied))
        except (SessionQuarantined, StoreUnavailable, trio.TooSlowError, Killed):
            self.client.cut(self, None)
            return
        if self.closed:
            if not attaching.cancelled_caught:
                self.leave()  # the answer was here already
            return
        if failure != self._failures:
            return
        if attached.mode is not Mode.REPLAY:
            self.client.cut(self, None)
            return
        self.follow(attached)
        for asked in list(self.client.asked.values()):
            if self.client.final(asked.id) is None:
                await self.client._send(asked)

    # -- the cursor ---------------------------------------------------------------------------------------------------

    def _pull(self) -> None:
        while self._log is not None and not self._reading and not self.client.paused:
            found = self._log.after(self._cursor, self.client.batch_bytes)
            if isinstance(found, Behind):
                self._reading = True
                self.client.world.nursery.start_soon(self._catch_up, self._log)
            elif isinstance(found, LogGap):
                self._skip(found.first, found.last)
            elif found:
                self._take(found)
            else:
                return

    def _skip(self, first: int, last: int) -> None:
        self.client.gap(first, last)
        self._cursor = last

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            self.client.apply(record)
        self._cursor = records[-1].seq

    async def _catch_up(self, log: Log) -> None:
        assert self._attached is not None
        try:
            with trio.fail_after(10):
                records = await self._attached.read(self._cursor, self.client.batch_bytes)
        except (StoreUnavailable, trio.TooSlowError):
            self._reading = False
            if not self.closed:
                self.client.cut(self, None)
            return
        self._reading = False
        if self._log is log:
            records = [record for record in records if record.seq <= log.head]
            if records and records[0].seq > self._cursor + 1:
                self._skip(self._cursor + 1, records[0].seq - 1)
            if records:
                self._take(records)
        self._pull()
