"""The mailbox of an actor: two lanes, a bound, and who waits for room (laws A2, A3).

`lane` holds what supervisors, timers and watched actors have to say, `queue` holds messages; the first goes first. Only
the queue is bounded: what comes by the lane is bounded by what the actor itself started. When the queue is full, a
`send` and a `tell` from another thread stand in line for room, and any other `tell` meets the overflow policy.

Everything here runs on the trio thread but for `put_from_thread` and `drain`. This file knows nothing of handlers,
restarts and supervisors.
"""

from __future__ import annotations

import contextvars
import enum
from collections import deque
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any

import pykka
import pykka.messages
import trio

from .calls import at_work
from .deadletters import DeadLetter, DeathReason
from .errors import MailboxFull
from .reply import Reply, loop_of_this_thread
from .waits import Turn, waiting

if TYPE_CHECKING:
    from .ref import Ref
    from .system import ActorSystem

__all__ = ["SEALED", "SPECIAL", "ActorStop", "Envelope", "Mailbox", "Overflow", "OwnStop"]

copy_context = contextvars.copy_context
# Marks of one mailbox: a minute of a mailbox that never gets empty, at one a second.
MOST_MARKS = 64
ActorStop = pykka.messages._ActorStop


class OwnStop:
    """The drain of an actor elsewhere that stops itself: nobody ordered it, so it may be started again."""

    __slots__ = ("incarnation",)

    def __init__(self, incarnation: object) -> None:
        self.incarnation = incarnation


STOPS = frozenset((ActorStop, OwnStop))
# The messages that do not go to `on_receive`.
SPECIAL = frozenset((ActorStop, pykka.messages.ProxyCall, pykka.messages.ProxyGetAttr, pykka.messages.ProxySetAttr))

Envelope = tuple[Any, "Reply[Any] | None", contextvars.Context | None]
"""A message, where to answer it, and a copy of the context in which it was sent; its handler runs in that one.

None stands for an empty context, one without any variable: it is the usual one, and a full mailbox of copies is as much
again for the garbage collector to look at (a third of a tell, measured with 1,000 waiting messages).

A message that nobody waits for, of an empty context, may stand in the queue without an envelope, unless it is `SEALED`:
so a tuple in the queue is always an envelope. Every message of the lane has one.
"""
SEALED = SPECIAL | {tuple}


def envelope_of(item: Any) -> Envelope:
    """What stands in a queue, as an envelope."""
    return item if item.__class__ is tuple else (item, None, None)


class Overflow(enum.Enum):
    """What a full mailbox does with one more message that nobody waits for. An ask is answered with MailboxFull."""

    FAIL = "fail"
    """`tell` raises MailboxFull."""
    DROP_NEWEST = "drop_newest"
    """The message goes to dead letters."""
    DROP_OLDEST = "drop_oldest"
    """The oldest message in the mailbox goes to dead letters, this one is taken."""


class Sender:
    """Someone who waits for room, with the message to be taken."""

    __slots__ = ("admitted", "envelope")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.admitted: Reply[None] = Reply()


class Mailbox:
    """The part of a cell that takes messages."""

    __slots__ = (
        "capacity",
        "closed",
        "idle",
        "kind",
        "lane",
        "marks",
        "overflow",
        "path",
        "queue",
        "ref",
        "senders",
        "system",
        "thread_id",
    )

    def __init__(self, system: ActorSystem, path: str) -> None:
        self.system = system
        self.thread_id = system.thread_id
        self.path = path
        # Gone when the actor is: refs may be kept for long, and a circle would be the garbage collector's to find.
        self.ref: Ref[Any]
        self.kind: type[Any]
        self.queue: deque[Any] = deque()
        self.lane: deque[Any] | None = None
        self.capacity = 0
        self.overflow = Overflow.FAIL
        self.senders: deque[Sender] | None = None
        self.closed = False
        # Nothing to do and not in the run queue: whoever puts something in has to queue the cell.
        self.idle = False
        # Messages that were the newest when somebody looked, and when that was; only while there is a lookout.
        self.marks: deque[tuple[Envelope, float]] | None = None

    def __str__(self) -> str:
        return f"{self.kind.__name__} ({self.path})"

    def turn(self, budget: int, deadline: float) -> int:
        """Handle what waits; the cell knows how."""
        raise NotImplementedError

    def stops_after(self) -> Iterable[Mailbox]:
        """Those whose end its own has to wait for just now; the cell knows them."""
        raise NotImplementedError

    def wake(self) -> None:
        """Queue the cell for a turn if it is idle."""
        if self.idle:
            self.idle = False
            self.system.enqueue(self)

    # -- messages ---------------------------------------------------------------------------------------------------

    def put(self, message: Any, reply: Reply[Any] | None) -> None:
        """Take a message without waiting. Raises ActorDeadError or MailboxFull."""
        # A closed mailbox has no capacity, so one comparison looks after both.
        if len(self.queue) >= self.capacity and not self._make_room(message, reply):
            return
        self.queue.append((message, reply, copy_context() or None))
        if self.idle:
            self.idle = False
            self.system.enqueue(self)

    def put_if_room(self, message: Any, reply: Any) -> bool:
        """Take a message if there is room and nobody stands in line for it; whether it was taken."""
        if len(self.queue) >= self.capacity or self.senders:
            return False
        self.queue.append((message, reply, copy_context() or None))
        if self.idle:
            self.idle = False
            self.system.enqueue(self)
        return True

    def _make_room(self, message: Any, reply: Reply[Any] | None) -> bool:
        """Apply the overflow policy; whether the message is to be taken."""
        if self.closed:
            self._refuse(message, reply)
        full = MailboxFull(f"the mailbox of {self} holds {len(self.queue)} messages; its capacity is {self.capacity}")
        if self.overflow is Overflow.DROP_OLDEST:
            oldest, its_reply, _ = envelope_of(self.queue[0])
            # A drain is never dropped: what stands behind it will hardly be handled, so the newest goes instead.
            if oldest.__class__ not in STOPS:
                self.queue.popleft()
                self.bury(oldest, DeathReason.DROPPED)
                if its_reply is not None:
                    its_reply.offer_exception(full)
                return True
        if self.overflow is Overflow.FAIL or reply is not None:
            raise full
        self.bury(message, DeathReason.DROPPED)
        return False

    def _refuse(self, message: Any, reply: Reply[Any] | None) -> None:
        """Raise the error of a message to an actor that is gone."""
        if reply is None:
            self.bury(message, DeathReason.DEAD)
        raise pykka.ActorDeadError(f"{self} not found")

    async def put_when_room(self, message: Any, reply: Reply[Any] | None) -> None:
        """Take a message, waiting for room. When cancelled, the message was not taken."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.closed or (len(self.queue) < self.capacity and not self.senders):
            self.put(message, reply)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        sender = Sender((message, reply, copy_context() or None))
        edge = self.system.waits.begin(self, f"room for {type(message).__name__}", sender.admitted.refuse)
        try:
            self.stand_in_line(sender)
            if sender.admitted.done:
                # Taken, or refused, at once: to be cancelled now would tell the caller otherwise.
                await trio.lowlevel.cancel_shielded_checkpoint()
                sender.admitted.result()
            else:
                await sender.admitted.park()
        finally:
            self.system.waits.end(edge)

    def stand_in_line(self, sender: Sender) -> None:
        """Put a sender into the line; its `admitted` is set once its message is in the queue."""
        if self.closed:
            message, reply, _ = sender.envelope
            if reply is None:
                self.bury(message, DeathReason.DEAD)
            sender.admitted.set_exception(pykka.ActorDeadError(f"{self} not found"))
            return
        if self.senders is None:
            self.senders = deque()
        senders = self.senders
        senders.append(sender)
        sender.admitted.on_abandon = lambda: self.system.run_soon(self._leave_line, sender)
        self.admit()

    def _leave_line(self, sender: Sender) -> None:
        if self.senders and sender in self.senders:
            self.senders.remove(sender)

    def admit(self) -> None:
        """Take the messages of those in line for whom there is room."""
        senders = self.senders
        while senders and len(self.queue) < self.capacity:
            sender = senders.popleft()
            if sender.admitted.abandoned:
                continue  # by another thread, and word of it is on its way
            self.queue.append(sender.envelope)
            self.wake()
            sender.admitted.set(None)

    def drain(self, reply: Reply[Any] | None, stop: ActorStop | OwnStop) -> None:
        """Queue a stop behind the messages that are there, whatever the capacity. On any thread.

        A drain needs no room: it must work on a full mailbox too, and only the first one counts.
        """
        self.queue.append((stop, reply, copy_context() or None))
        if get_ident() == self.thread_id:
            self._arrived()
        else:
            self._from_thread(self._arrived)

    def put_from_thread(self, message: Any, reply: Reply[Any] | None) -> None:
        """Take a message from another thread, which waits for room (law A3).

        One sender's messages keep their order: it stands in line for one of them at a time, and does nothing else.

        Raises:
            pykka.ActorDeadError: the actor is gone; or the thread is that of an actor that was abandoned (law A8).
            MailboxFull: it would have to wait, but its thread runs a loop of its own, or is the receiver's.
        """
        worker = at_work.worker
        if worker is not None and worker.abandoned:
            worker.refuse()
            raise self._abandoned()
        if Turn.is_abandoned():
            self.system.run_soon(self.system.count_refused)
            raise self._abandoned()
        envelope = (message, reply, copy_context() or None)
        if self._put_there(envelope):
            return
        if (loop := loop_of_this_thread()) and not self.closed:
            raise MailboxFull(f"the mailbox of {self} is full and to wait would block this thread's {loop} loop")
        if worker is not None and worker.cell is self:
            raise MailboxFull(f"the mailbox of {self} is full and its own thread would wait for itself")
        sender = Sender(envelope)
        self._from_thread(self.stand_in_line, sender)
        if self.closed:
            raise pykka.ActorDeadError(f"{self} not found")
        with waiting(self, f"room for {type(message).__name__}", sender.admitted.refuse):
            sender.admitted.get()

    def _abandoned(self) -> pykka.ActorDeadError:
        return pykka.ActorDeadError(f"the actor that tells {self} was abandoned; what it says is refused")

    def _put_there(self, envelope: Envelope) -> bool:
        if len(self.queue) >= self.capacity:
            return False
        # Appending to a deque is atomic; threads that race for the last place exceed the capacity by their number.
        self.queue.append(envelope)
        self._from_thread(self._arrived)
        return True

    async def put_from_loop(self, message: Any, reply: Reply[Any] | None) -> None:
        """Take a message from the loop of another thread, waiting for room.

        When cancelled, the message may have been taken all the same: the two threads do not wait for each other.
        """
        if Turn.is_abandoned():
            self.system.run_soon(self.system.count_refused)
            raise self._abandoned()
        sender = Sender((message, reply, copy_context() or None))
        if not self.senders and self._put_there(sender.envelope):
            return
        self._from_thread(self.stand_in_line, sender)
        with waiting(self, f"room for {type(message).__name__}", sender.admitted.refuse):
            await sender.admitted.park()

    def _from_thread(self, function: Callable[..., Any], *args: Any) -> None:
        try:
            self.system.from_thread(function, *args)
        except pykka.ActorDeadError:
            raise pykka.ActorDeadError(f"{self} not found") from None

    def _arrived(self) -> None:
        if self.closed:
            self.bury_queue()  # the actor went while the message was on its way
        else:
            self.wake()

    # -- the lane ---------------------------------------------------------------------------------------------------

    def notify(self, message: Any) -> None:
        """Put a fact into the lane. Lost when the actor is gone, as such facts are."""
        self._put_in_lane((message, None, copy_context() or None))

    def control(self, order: Callable[[], None]) -> None:
        """Put an order into the lane: it is called in a turn of the cell, between two messages."""
        self._put_in_lane(order)

    def _put_in_lane(self, item: Any) -> None:
        if self.closed:
            return
        if self.lane is None:
            self.lane = deque()
        self.lane.append(item)
        self.wake()

    # -- how long messages wait -------------------------------------------------------------------------------------

    def mark(self, now: float) -> bool:
        """Note that the newest message was here at `now`; whether there is one."""
        if not self.queue:
            self.marks = None
            return False
        marks = self._drop_marks()
        if marks is None:
            self.marks = marks = deque()
        place = len(self.queue) - 1  # not -1: threads may put messages behind it meanwhile
        newest = self.queue[place]
        if newest.__class__ is not tuple:
            # The same message may stand here more than once. An envelope may not, and is told apart by identity.
            self.queue[place] = newest = envelope_of(newest)
        if not marks or marks[-1][0] is not newest:
            marks.append((newest, now))
        if len(marks) > MOST_MARKS:
            # The oldest is exact all the same; those in the middle only say how it is when that one has gone.
            self.marks = deque((*tuple(marks)[:-1:2], marks[-1]))
        return True

    def oldest_seconds(self, now: float) -> float | None:
        """How long the oldest message has been waiting: since the first mark behind it. None if that is not known."""
        marks = self._drop_marks()
        return now - marks[0][1] if marks else None

    def _drop_marks(self) -> deque[tuple[Envelope, float]] | None:
        # What is marked leaves from the front, as all messages do. By identity: messages may compare in any way.
        marks = self.marks
        if marks is not None:
            waiting = set(map(id, self.queue))
            while marks and id(marks[0][0]) not in waiting:
                marks.popleft()
        return marks

    # -- the end ----------------------------------------------------------------------------------------------------

    def close(self, take_over: Callable[[Any, Reply[Any] | None], bool]) -> None:
        """Take nothing any more; what waits is offered to `take_over` and else goes to dead letters."""
        self.closed = True
        self.capacity = 0
        self.idle = False
        self.lane = None
        self.marks = None
        self.bury_queue(take_over)
        senders, self.senders = self.senders, None
        for sender in senders or ():
            message, reply, _ = sender.envelope
            if reply is None:
                self.bury(message, DeathReason.DEAD)
            sender.admitted.offer_exception(pykka.ActorDeadError(f"{self} not found"))

    def bury_queue(self, take_over: Callable[[Any, Reply[Any] | None], bool] = lambda message, reply: False) -> None:
        """Empty the queue: each ask gets its answer, a drain is fulfilled."""
        while self.queue:
            message, reply, _ = envelope_of(self.queue.popleft())
            if reply is not None and reply.abandoned:
                self.bury(message, DeathReason.EXPIRED)
            elif message.__class__ in STOPS:
                if reply is not None:
                    reply.offer(None)
            elif not take_over(message, reply):
                self.bury(message, DeathReason.STOPPED)
                if reply is not None:
                    reply.offer_exception(pykka.ActorDeadError(f"{self} stopped before it handled the message"))

    def bury(self, message: Any, reason: DeathReason, error: BaseException | None = None) -> None:
        """Send a message to dead letters."""
        self.system.dead_letters.add(DeadLetter(self.path, message, reason, error))
