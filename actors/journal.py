"""The journal: the port behind which records become durable. Every implementation passes the same contract suite.

Promises of an implementation:

- `open` waits behind earlier appends of that session, and fences their tokens: an append with an older token fails with
  `Fenced` and changes nothing.
- `append` never blocks. A batch is taken as a whole or not at all; `done` is called on the trio thread, later or at
  once, exactly once, with `Appended` or the error.
- Positions have no gaps: the first record of a batch is one beyond the head, the others follow; a batch that is not so
  fails and changes nothing. A batch without records names the same place.
- Appends with one token are taken in the order in which they were made.
- `read` gives a contiguous stretch, of what is durable.
- Retention may drop the oldest records at any time, and may come late. `first` says what is kept. Of a session with a
  snapshot it drops nothing that the newest snapshot does not cover.
- What `open` gives of commands makes the `CommandMemory` that remembering every command appended so far would make.
- What `open` gives of publications is what was appended, of each service in its order, but for what a batch said to
  forget: that applies to what came with it and before it. A later one takes the place of an earlier one of the same
  service and key.
- `open` mints a new epoch whenever it cannot be proven that every record ever shown is still there. The session asks
  for one, in a batch, when a client has seen more than the journal has.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

import attrs
import msgspec

from .commands import CommandEntry
from .events import Record
from .ids import SessionKey
from .publications import Publication

__all__ = ["Appended", "Batch", "Done", "Journal", "Opened", "Snapshot", "Token"]


@attrs.frozen
class Token:
    """The right of one incarnation of a session to append; a higher `generation` fences a lower one."""

    session: str
    generation: int


class Snapshot(msgspec.Struct, frozen=True):
    """What a session has made of its records up to `seq`, so that it need not read them again; `data` is its own."""

    seq: int
    data: bytes


class Batch(msgspec.Struct, frozen=True, eq=False):
    """What is made durable together: records, commands with their results, publications, a new epoch or snapshot.

    The snapshot takes the place of the one before. It covers all records, those of this batch too; one that does not
    is wrong like a record in the wrong place. Publications come in the order of their times; those from before
    `forget_before`, Unix milliseconds, are not kept any longer.

    Who has counted the records' bytes already says so in `record_bytes`, and who knows that no run begins or ends in
    them in `plain`: a journal then need not look at each of them.
    """

    records: tuple[Record, ...] = ()
    commands: tuple[CommandEntry, ...] = ()
    epoch: str | None = None
    snapshot: Snapshot | None = None
    record_bytes: int | None = None
    plain: bool = False
    publications: tuple[Publication, ...] = ()
    forget_before: int = 0

    @property
    def bytes(self) -> int:
        """What it weighs, about: records and snapshot."""
        size = self.record_bytes
        if size is None:
            size = sum(len(record.encoded) for record in self.records)
        return size if self.snapshot is None else size + len(self.snapshot.data)

    def follows(self, head: int, first_seq: int) -> bool:
        """Whether it goes on where a session with this head has to."""
        if first_seq != head + 1:
            return False
        for record in self.records:
            head += 1
            if record.seq != head:
                return False
        return self.snapshot is None or self.snapshot.seq == head


@attrs.frozen(eq=False)
class Opened:
    """A session as the journal has it: `first` is its oldest record kept, `head` its newest, 0 for none.

    An empty session has `first` 1 and `head` 0. `commands` come in an order from which a `CommandMemory` can be made.
    """

    token: Token
    epoch: str
    first: int
    head: int
    commands: tuple[CommandEntry, ...]
    snapshot: Snapshot | None = None
    publications: tuple[Publication, ...] = ()


class Appended(msgspec.Struct, frozen=True, gc=False):
    """A batch is durable; `first` is the oldest record that the journal keeps now."""

    first: int


Done = Callable[[Appended | BaseException], None]


class Journal(abc.ABC):
    """The durable log of records of all sessions."""

    @abc.abstractmethod
    async def open(self, key: SessionKey) -> Opened:
        """Open a session for a new incarnation, making it if it does not exist.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    @abc.abstractmethod
    def append(self, token: Token, first_seq: int, batch: Batch, done: Done) -> None:
        """Make a batch durable; never blocks. `done` hears `Appended`, or Fenced, StoreUnavailable or ValueError."""

    @abc.abstractmethod
    async def read(self, session: str, after: int, *, max_records: int, max_bytes: int) -> Sequence[Record]:
        """The records that follow `after`, at most so many and, but for the first one, so many bytes.

        What is no longer kept is skipped: the first record given then has a seq beyond ``after + 1``.
        """

    @abc.abstractmethod
    async def find(self, session: str) -> SessionKey | None:
        """Whose session has this id; None if there is none."""

    @abc.abstractmethod
    async def sessions(self, user: str) -> Sequence[SessionKey]:
        """The sessions of a user, in order of their making."""

    @abc.abstractmethod
    async def unfinished(self) -> Sequence[SessionKey]:
        """The sessions with a run that has begun and not ended, by what was appended of it, in order of making."""

    async def aclose(self) -> None:  # noqa: B027 - many have nothing to close
        """Make durable what was appended, and let go of files and connections."""
