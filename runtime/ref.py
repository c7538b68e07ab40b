"""The ref: all that anybody else knows of an actor.

A ref points at the cell, which outlives restarts, so a ref stays good until the actor is gone for good. Every method
may be called on any thread; one that would block the trio thread raises `WouldBlock` there and names what to use
instead (law A11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import cached_property
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pykka
import trio

from .calls import at_work
from .deadletters import DeathReason
from .errors import AskCycle, AskTimeout, Killed, MailboxFull, WouldBlock
from .mailbox import SEALED, ActorStop
from .reply import Reply, ReplyAddress, loop_of_this_thread

if TYPE_CHECKING:
    from .cell import Cell

__all__ = ["Ref"]

A = TypeVar("A", bound=pykka.Actor)


class Flag:
    """What pykka code reads as `actor_stopped`: a `threading.Event` would weigh more than the whole actor."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def is_set(self) -> bool:
        """Whether the actor is gone for good."""
        return self._cell.closed


class Inbox:
    """The mailbox as pykka's own code sees it: a place to put envelopes."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def put(self, envelope: Any, /) -> None:
        """Take pykka's envelope: a message, and where to reply if it is an ask."""
        reply = envelope.reply_to
        if reply is None or isinstance(reply, Reply):
            deliver(self._cell, envelope.message, reply)
            return
        # A future of stock pykka: it cannot be abandoned, so a reply of ours answers it.
        own: Reply[Any] = Reply()

        def answer(own: Reply[Any]) -> None:
            if own.error is None:
                reply.set(own.result())
            else:
                reply.set_exception((type(own.error), own.error, own.error.__traceback__))

        own.on_done = answer
        deliver(self._cell, envelope.message, own)

    def get(self) -> Any:
        """Refused: only the dispatcher takes messages out."""
        raise TypeError("the mailbox of a callboard actor is read by its dispatcher only")

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self._cell.queue


@trio.lowlevel.enable_ki_protection
def deliver(cell: Cell, message: Any, reply: Reply[Any] | None) -> None:
    """Put a message into a cell's mailbox from whatever thread this is."""
    if get_ident() == cell.thread_id:
        cell.put(message, reply)
    else:
        cell.put_from_thread(message, reply)


class Ref(pykka.ActorRef[A]):
    """The address of an actor; the same through all its restarts."""

    def __init__(self, cell: Cell) -> None:
        # pykka's own __init__ would keep a weak reference to one incarnation.
        self._cell = cell

    # Pykka's attributes are made when a ref is asked for them, which hardly any is.

    @property
    def actor_class(self) -> type[A]:  # type: ignore[override]
        """The class of the actor; of its first incarnation, should a factory make several."""
        return self._cell.kind

    @cached_property
    def actor_stopped(self) -> Any:  # type: ignore[override]
        """What pykka's code asks whether the actor is gone."""
        return Flag(self._cell)

    @cached_property
    def actor_urn(self) -> str:  # type: ignore[override]
        """Pykka's unique name of the actor."""
        return f"urn:callboard:{self._cell.path}"

    @cached_property
    def actor_inbox(self) -> Inbox:  # type: ignore[override]
        """The mailbox as pykka's code sees it."""
        return Inbox(self._cell)

    def __str__(self) -> str:
        return str(self._cell)

    @property
    def path(self) -> str:
        """Where the actor stands in the tree of supervisors, such as ``board/sessions/…``."""
        return self._cell.path

    @trio.lowlevel.enable_ki_protection
    def tell(self, message: Any) -> None:
        """Send a message and do not wait for an answer.

        On the trio thread it never waits; on another thread it blocks while the mailbox is full, if that one runs no
        loop of its own.

        Raises:
            pykka.ActorDeadError: the actor is gone.
            MailboxFull: when the mailbox is full and its policy is to fail; on the thread of another loop, when it is
                full.
        """
        # `deliver` and `Mailbox.put`, spelled out: a call less is a tenth of the whole.
        cell = self._cell
        if get_ident() != cell.thread_id:
            cell.put_from_thread(message, None)
            return
        queue = cell.queue
        if len(queue) >= cell.capacity:
            cell.put(message, None)
            return
        context = copy_context()
        if context:
            queue.append((message, None, context))
        elif message.__class__ in SEALED:
            queue.append((message, None, None))
        else:
            queue.append(message)
        if cell.idle:
            cell.idle = False
            cell.system.enqueue(cell)

    def tell_if_alive(self, message: Any) -> bool:
        """`tell`, but an actor that is gone is no error: whether the message was taken.

        For clean-up code, where ActorDeadError would hide the real one. The message counts among dead letters.
        """
        try:
            deliver(self._cell, message, None)
        except pykka.ActorDeadError:
            return False
        return True

    def forward(self, message: Any, reply: Reply[Any] | None) -> None:
        """Pass on a message with the reply address that it came with; never raises, an asker hears of a failure."""
        try:
            deliver(self._cell, message, reply)
        except (pykka.ActorDeadError, MailboxFull) as error:
            if reply is not None:
                reply.set_exception(error)
            elif isinstance(error, MailboxFull):
                self._cell.bury(message, DeathReason.DROPPED, error)

    async def send(self, message: Any) -> None:
        """Send a message, waiting for room in the mailbox. When cancelled, it was not sent.

        On the loop of another thread too; there it may have been sent when it is cancelled while it waits.

        Raises:
            pykka.ActorDeadError: the actor is gone, or went while this waited.
            AskCycle: actors would wait for each other.
        """
        await self._put(message, None)

    async def submit(self, message: Any) -> Reply[Any]:
        """Ask without waiting for the answer: waits for room only, and gives the future answer. On any loop.

        Raises:
            pykka.ActorDeadError: the actor is gone, or went while this waited.
            AskCycle: actors would wait for each other.
        """
        reply: Reply[Any] = Reply(self._cell, message.__class__)
        await self._put(message, reply)
        return reply

    async def _put(self, message: Any, reply: Reply[Any] | None) -> None:
        cell = self._cell
        if get_ident() == cell.thread_id:
            await cell.put_when_room(message, reply)
        else:
            await cell.put_from_loop(message, reply)

    @trio.lowlevel.enable_ki_protection
    def post_nowait(self, message: Any, address: ReplyAddress) -> bool:
        """Ask without waiting for anything, the answer to go to `address`.

        Whether it was asked: not without room, nor on another thread than the actor's; `post` does it then.
        """
        cell = self._cell
        return get_ident() == cell.thread_id and cell.put_if_room(message, address)

    def expect(self, what: str) -> Reply[Any]:
        """A future to be answered on behalf of this actor: who awaits it waits for the actor (law A10), for `what`."""
        return Reply(self._cell, what)

    async def post(self, message: Any, address: ReplyAddress) -> None:
        """Ask, waiting for room only, the answer to go to `address`. When cancelled, it was not asked.

        Raises:
            pykka.ActorDeadError: the actor is gone, or went while this waited.
            AskCycle: actors would wait for each other.
        """
        await self._put(message, cast("Reply[Any]", address))

    @trio.lowlevel.enable_ki_protection
    async def ask_async(self, message: Any, *, timeout_seconds: float | None = None) -> Any:
        """Ask and wait for the answer, inside trio or asyncio, on this thread or another.

        When the caller is cancelled or the time is up, an `async def` handler working on it is cancelled too, a
        question still in the mailbox is never run, and a late answer is dropped (law A5).

        Raises:
            pykka.ActorDeadError: the actor is gone, or went before it answered.
            MailboxFull: there is no room for the question.
            AskCycle: actors would wait for each other; the message names them.
            AskTimeout: there was no answer within `timeout_seconds`.
            Exception: whatever the handler raised.
        """
        cell = self._cell
        if get_ident() != cell.thread_id:
            return await self._ask_from_afar(message, timeout_seconds)
        waits = cell.system.waits
        reply: Reply[Any] = Reply(cell)
        # Before the question is in the mailbox: one that could not be answered is not asked.
        edge = waits.begin(cell, message.__class__, reply.refuse) if waits.handlers else None
        try:
            if timeout_seconds is None:
                cell.system.put_question(cell, message, reply)
                return await reply.park()
            with trio.move_on_after(timeout_seconds):
                cell.system.put_question(cell, message, reply)
                return await reply.park()
        finally:
            if edge is not None:
                waits.end(edge)
        raise self._timeout(timeout_seconds)

    async def _ask_from_afar(self, message: Any, timeout_seconds: float | None) -> Any:
        reply: Reply[Any] = Reply(self._cell, message.__class__)
        self._cell.put_from_thread(message, reply)
        if timeout_seconds is None:
            return await reply.wait_from_afar()
        if trio.lowlevel.in_trio_task():
            with trio.move_on_after(timeout_seconds):
                return await reply.wait_from_afar()
        else:
            try:
                async with asyncio.timeout(timeout_seconds):
                    return await reply.wait_from_afar()
            except TimeoutError:
                if not reply.abandoned:
                    raise  # it is the answer
        raise self._timeout(timeout_seconds)

    def _timeout(self, seconds: float) -> AskTimeout:
        return AskTimeout(f"{self} did not answer within {seconds} seconds")

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Pykka's ask: blocks for the answer, or gives a future with ``block=False``.

        As in pykka, ActorDeadError too is raised when the future is asked for its value.

        Raises:
            WouldBlock: with ``block=True`` on the thread of a loop; use `ask_async`, or await the future.
            MailboxFull: on the thread of a loop, when there is no room for the question.
            pykka.ActorDeadError: the actor is gone.
            AskCycle: with ``block=True`` on the actor's own thread.
            pykka.Timeout: there was no answer within `timeout` seconds; or, on the thread of an actor, whoever asked
                that one has gone.
        """
        if block:
            self._may_block("ask(block=True)", "use `await ref.ask_async(...)` for")
        reply: Reply[Any] = Reply(self._cell, message.__class__)
        try:
            deliver(self._cell, message, reply)
        except pykka.ActorDeadError as error:
            reply.offer_exception(error)
        if at_work.call is not None:
            at_work.call.add(reply)  # law A5
        if not block:
            return reply
        try:
            return reply.get(timeout=timeout)
        except pykka.Timeout:
            reply.abandon()
            raise

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Pykka's stop, a drain: messages sent before are handled first. It is final, whatever the `Restart`.

        With ``block=True``, allowed on threads only, it gives whether the actor was alive. With ``block=False`` it
        gives a future of that.
        """
        if block:
            self._may_block("stop(block=True)", "await stop(block=False) of")
        stopped: Reply[bool] = Reply(self._cell, "its end")
        self._drain(stopped)
        return stopped.get(timeout=timeout) if block else stopped

    @trio.lowlevel.enable_ki_protection
    def _drain(self, stopped: Reply[bool]) -> None:
        if not self.is_alive():
            stopped.set(False)
            return
        drained: Reply[None] = Reply()
        drained.on_done = lambda _: stopped.set(True)
        try:
            self._cell.drain(drained, ActorStop())
        except pykka.ActorDeadError:
            stopped.set(False)

    @trio.lowlevel.enable_ki_protection
    def kill(self) -> None:
        """End the actor abnormally and at once: its handler is cancelled, its supervisor decides what follows."""
        cell = self._cell
        cell.system.run_soon(cell.request_kill, Killed(f"{cell.path} was killed"))

    @trio.lowlevel.enable_ki_protection
    def notify(self, message: Any) -> None:
        """Put a fact into the system lane, where it overtakes messages and needs no room.

        For timers, for answers to what the actor itself asked for, and for what its supervisor has to say: their number
        is bounded by what the actor started. Anybody else uses `send` or `tell`.
        """
        self._cell.system.run_soon(self._cell.notify, message)

    @trio.lowlevel.enable_ki_protection
    def when_gone(self, callback: Callable[[BaseException | None], None]) -> None:
        """Call `callback(reason)` on the trio thread once the actor is gone for good; it must neither raise nor block.

        It runs in no actor's turn; one that concerns an actor had better `notify` it. Asked for from another thread
        when the actor's trio loop has ended, it is never called.
        """
        self._cell.system.run_soon(self._cell.when_gone, callback)

    async def wait_gone(self) -> BaseException | None:
        """Wait until the actor is gone for good; gives the reason, None after a normal end.

        Raises:
            AskCycle: the caller is that actor, or one that it waits for.
        """
        gone: Reply[BaseException | None] = Reply(self._cell, "its end")

        def tell(reason: BaseException | None) -> None:
            gone.set(reason)

        self.when_gone(tell)
        try:
            return await gone.wait()
        finally:
            self._cell.system.run_soon(self._cell.forget_when_gone, tell)

    @property
    def _actor_weakref(self) -> Any:  # type: ignore[override]
        # What `proxy()` looks at to learn the actor's attributes: the incarnation of this moment.
        return lambda: getattr(getattr(self._cell, "actor", None), "_proxied", None)

    def _may_block(self, what: str, instead: str) -> None:
        if loop := loop_of_this_thread():
            raise WouldBlock(f"{what} would block this thread's {loop} loop; {instead} {self}")
        worker = at_work.worker
        if worker is not None and worker.cell is self._cell:
            raise AskCycle(f"{what} on the actor's own thread: {self._cell.path} would wait for itself")
