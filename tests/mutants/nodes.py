"""Broken nodes for the simulation: each breaks one law of sessions as somebody might, and seeds have to find it.

A mutant patches the product, or gives the simulation a disk with a bug in it. Its docstring says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from callboard.actors import CommandMemory, Position, SessionKey, Verdict
from callboard.actors.attachments import Attachments
from callboard.actors.command_desk import CommandDesk
from callboard.actors.ledger import Ledger
from callboard.actors.log import Log
from callboard.actors.registry import Registry
from callboard.actors.run_keeper import RunKeeper
from callboard.actors.session import Session
from callboard.actors.tickets import TicketBook
from callboard.transport.board import Board
from callboard.transport.connection import Connection
from callboard.transport.protocol import Ping, encode, text_frame
from callboard.transport.simulation import Disk
from callboard.transport.simulation.disk import Stream
from callboard.transport.simulation.schedule import MOST_STEPS

__all__ = ["MUTANTS", "QUICK", "Mutant"]

# What is said of a run in which somebody tries on and on.
NO_END = f"{MOST_STEPS:,} steps"

Patch = Callable[[pytest.MonkeyPatch], None]


@attrs.frozen
class Mutant:
    """One broken node: the law that has to be named, how it is made, and the disk that goes with it."""

    law: str
    apply: Patch
    disk: type[Disk]


MUTANTS: dict[str, Mutant] = {}
# Found within a few seeds; run each time, so that the machinery itself does not rust.
QUICK = ("acknowledges_early", "two_ends", "runs_again")


def mutant(law: str, disk: type[Disk] = Disk) -> Callable[[Patch], Patch]:
    """Note a mutant, and the law that whoever judges the run has to name."""

    def note(apply: Patch) -> Patch:
        MUTANTS[apply.__name__] = Mutant(law, apply, disk)
        return apply

    return note


def _around(patch: pytest.MonkeyPatch, owner: type, name: str, new: Callable[..., Any]) -> None:
    """Replace a method by `new(old, self, …)`."""
    old = getattr(owner, name)
    patch.setattr(owner, name, lambda self, *args, **kwargs: new(old, self, *args, **kwargs))


@mutant("S3")
def acknowledges_early(patch: pytest.MonkeyPatch) -> None:
    """Agents are told "durable" when the journal was only asked."""

    def acknowledge(old: Any, ledger: Ledger, address: Any, seq: int) -> None:
        address.offer(Position(ledger.log.epoch, seq))

    _around(patch, Ledger, "acknowledge", acknowledge)


@mutant("S3")
def shows_early(patch: pytest.MonkeyPatch) -> None:
    """Connections see records when the journal was only asked."""

    def extend(old: Any, log: Log, records: Any, first: int) -> None:
        old(log, [record for record in records if record.seq > log.head], first)

    def on_turn_end(old: Any, session: Session) -> None:
        old(session)
        batch = session._ledger._in_flight
        if batch is not None and batch.records:
            session._log.extend(batch.records, session._log.first)
            session._attachments.wake_all()

    _around(patch, Log, "extend", extend)
    _around(patch, Session, "on_turn_end", on_turn_end)


@mutant("S10")
def seam_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """Who reads from the journal, because memory does not hold it any more, misses the first record."""

    def put_together(old: Any, session: Session, *args: Any) -> None:
        read = session._read
        old(session, *args)

        async def off(after: int, max_bytes: int) -> Any:
            return await read(after + 1, max_bytes)

        session._attachments._read = off

    _around(patch, Session, "_put_together", put_together)


@mutant("S5")
def forgets_ids_at_restart(patch: pytest.MonkeyPatch) -> None:
    """A session that starts knows nothing of the commands that it has done."""

    def put_together(old: Any, session: Session, opened: Any, runs: Any, memory: Any, *rest: Any) -> None:
        old(session, opened, runs, CommandMemory(), *rest)

    _around(patch, Session, "_put_together", put_together)


@mutant("S6")
def two_ends(patch: pytest.MonkeyPatch) -> None:
    """A run that is ended from outside gets a second terminal event."""

    def end(old: Any, keeper: RunKeeper, run: Any, type: str, data: Any) -> int:
        seq: int = old(keeper, run, type, data)
        keeper._record(keeper._event(f"{run.id}/end2", type, run.id, {"by": "supervisor", **data}))
        return seq

    _around(patch, RunKeeper, "_end", end)


@mutant("S6")
def dies_in_silence(patch: pytest.MonkeyPatch) -> None:
    """An agent that dies leaves its run open."""
    _around(patch, RunKeeper, "_failed", lambda old, keeper, run, reason: None)


@mutant("S6")
def speaks_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """What an agent says after its run was ended from outside is recorded."""

    def take(old: Any, keeper: RunKeeper, run_id: str, n: int, event: Any) -> Any:
        if run_id not in keeper._runs.open and keeper._runs.ended(run_id):
            return keeper._record(event)
        return old(keeper, run_id, n, event)

    _around(patch, RunKeeper, "_take", take)


@mutant("S6")
def leaves_runs_open(patch: pytest.MonkeyPatch) -> None:
    """A session that starts leaves the runs open that a crash cut short."""

    def end_all(old: Any, keeper: RunKeeper, code: str, text: str) -> None:
        if code == "node_stopped":
            old(keeper, code, text)

    _around(patch, RunKeeper, "end_all", end_all)


class OneEpoch(Disk):
    """Keeps its epoch whatever it lost."""

    def open(self, key: SessionKey) -> Stream:
        stream = super().open(key)
        stream.epoch = self.epochs.setdefault(key.id, stream.epoch)
        return stream

    @property
    def epochs(self) -> dict[str, str]:
        """The first epoch of each session."""
        found: dict[str, str] = self.__dict__.setdefault("_epochs", {})
        return found


@mutant("S", OneEpoch)
def keeps_the_epoch(patch: pytest.MonkeyPatch) -> None:
    """The journal has lost records, and goes on under the same epoch."""


@mutant("S12")
def ticket_taken_twice(patch: pytest.MonkeyPatch) -> None:
    """A ticket is looked at, and not taken."""

    def take(old: Any, book: TicketBook, ticket: str, origin: str | None, now: float) -> Any:
        waiting, per_user, spent = (
            dict(book._waiting),
            {u: dict(k) for u, k in book._per_user.items()},
            dict(book._spent),
        )
        grant = old(book, ticket, origin, now)
        book._waiting.clear()
        book._waiting.update(waiting)
        book._per_user.clear()
        book._per_user.update(per_user)
        book._spent.clear()
        book._spent.update(spent)
        return grant

    _around(patch, TicketBook, "take", take)


@mutant("S1")
def into_the_other_session(patch: pytest.MonkeyPatch) -> None:
    """An event goes to the same user's other session."""
    publish = Board.publish

    async def astray(board: Board, user: str, type: str, data: Any, *, session: str = "main") -> Any:
        return await publish(board, user, type, data, session="zoo" if session == "main" else "main")

    patch.setattr(Board, "publish", astray)


@mutant("S5")
def runs_again(patch: pytest.MonkeyPatch) -> None:
    """A command that is sent again is done again."""

    def judge(old: Any, memory: CommandMemory, *args: Any) -> Any:
        verdict, result = old(memory, *args)
        return (Verdict.NEW, None) if verdict is Verdict.KNOWN else (verdict, result)

    _around(patch, CommandMemory, "judge", judge)


@mutant("S5")
def answers_early(patch: pytest.MonkeyPatch) -> None:
    """A device gets its answer before the command is durable."""

    def when_durable(old: Any, desk: CommandDesk, note: Any, result: Any, then: Any = None) -> None:
        desk._attachments.deliver(note.device, result)
        old(desk, note, result, then)

    _around(patch, CommandDesk, "_answer_when_durable", when_durable)


@mutant("S9")
def closing_cancels(patch: pytest.MonkeyPatch) -> None:
    """Runs are cancelled when the last connection of their session is gone."""

    def detach(old: Any, session: Session, message: Any) -> Any:
        result = old(session, message)
        if type(message).__name__ == "Detach" and not len(session._attachments):
            for run in list(session._keeper._runs.open):
                session._keeper.cancel(run)
        return result

    _around(patch, Session, "on_receive", detach)


@mutant("S8")
def wakes_only_one(patch: pytest.MonkeyPatch) -> None:
    """Only the first connection of a session hears of news."""

    def wake_all(old: Any, attachments: Attachments) -> None:
        for connection in list(attachments._connections)[:1]:
            connection.wake()

    _around(patch, Attachments, "wake_all", wake_all)


@mutant(NO_END)
def keeps_the_dead(patch: pytest.MonkeyPatch) -> None:
    """The registry's entries outlive their sessions (S11): who asks for a route is sent to the dead, on and on."""
    _around(patch, Registry, "_forget_session", lambda old, registry, id: None)


@mutant("S2")
def swallows_a_gap(patch: pytest.MonkeyPatch) -> None:
    """Records that cannot be had any more are passed over without a word."""

    def gap_frame(old: Any, connection: Connection, gap: Any) -> bytes:
        connection._cursor = gap.last
        return text_frame(encode(Ping(seq=gap.last)))

    _around(patch, Connection, "_gap_frame", gap_frame)


@mutant("S2")
def skips_a_record(patch: pytest.MonkeyPatch) -> None:
    """A connection that lags far behind is given the newest records only, and not told."""

    def pull(old: Any, connection: Connection) -> Any:
        log = connection._log
        if log is not None and log.head - connection._cursor > 20:
            connection._cursor = log.head - 1
        return old(connection)

    _around(patch, Connection, "_pull", pull)
