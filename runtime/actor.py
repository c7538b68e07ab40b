"""`Actor`: what authors subclass. A `pykka.Actor` that runs natively on trio.

Handlers may be plain functions, which cost no task, or `async def`. Everything an actor may do to its own cell is a
method here; everything others may do to it is on its `Ref`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import pykka
import trio

from .cell import Cell, binding
from .errors import NotRunning
from .family import Family
from .mailbox import Overflow
from .ref import Ref
from .reply import Reply, ReplyAddress
from .started import start
from .supervision import ChildSpec, Supervision

if TYPE_CHECKING:
    from .system import ActorSystem

__all__ = ["Actor", "Supervisor"]


class _NotStarted:
    """The cell of an actor that was made by calling its class."""

    def __get__(self, actor: Actor | None, owner: type[Actor]) -> Any:
        raise NotRunning(
            f"this {owner.__name__} was made by calling its class, so it has no place to live: "
            f"use `await system.spawn({owner.__name__}, id=...)`, or pykka's `{owner.__name__}.start(...)`"
        )


class Actor(pykka.Actor):
    """A unit of state that handles one message at a time.

    Override `on_receive` (plain or ``async def``), and `on_start`, `on_stop`, `on_failure` as in pykka; `on_start` and
    `on_stop` may be ``async def`` too. A supervised actor fails with any exception but a `Refusal`.
    """

    mailbox_capacity: ClassVar[int] = 1_000
    """How many messages may wait; Akka's default for bounded mailboxes."""
    mailbox_overflow: ClassVar[Overflow] = Overflow.FAIL
    """What a full mailbox does with a `tell`."""
    supervision: ClassVar[Supervision] = Supervision()
    """How this actor supervises its children."""

    _cell: Cell = cast("Cell", _NotStarted())
    _actor_ref: Ref[Self] = cast("Any", _NotStarted())

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> Ref[Self]:
        """Pykka's way: start an actor that nobody supervises, with pykka's rules for exceptions. On any thread.

        It lives in the innermost system that is open on this thread, else on a thread of the process that is there
        for such actors; it is in pykka's `ActorRegistry`. Returns before `on_start` has run.

        Raises:
            Exception: whatever the class raised.
        """
        return start(cls, args, kwargs)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        cell = binding.cell
        if cell is None:
            # Somebody calls the class, which is no error in pykka; whatever needs a place in a system raises.
            self.actor_urn = uuid.uuid4().urn  # noqa: TID251 - pykka's way to name an actor; it is only told
            return
        self._cell = cell
        cell.bind(self, self._proxied)
        self._actor_ref = cell.ref

    @cached_property
    def actor_urn(self) -> str:  # type: ignore[override]
        """Pykka's unique name of the actor."""
        return self._actor_ref.actor_urn

    @cached_property
    def actor_inbox(self) -> Any:  # type: ignore[override]
        """The mailbox as pykka's code sees it."""
        return self._actor_ref.actor_inbox

    @cached_property
    def actor_stopped(self) -> Any:  # type: ignore[override]
        """What pykka's code asks whether the actor is gone."""
        return self._actor_ref.actor_stopped

    # Pykka's points for implementors of actor types: the cell does what they would.
    @staticmethod
    def _create_actor_inbox() -> Any:
        raise NotImplementedError("the cell is the mailbox")

    @staticmethod
    def _create_future() -> Reply[Any]:
        return Reply()

    def _start_actor_loop(self) -> None:
        raise NotRunning(f"{type(self).__name__} has no loop of its own; spawn it in an open system")

    # -- for authors ------------------------------------------------------------------------------------------------

    @property
    def actor_ref(self) -> Ref[Self]:
        """This actor's address."""
        return self._actor_ref

    @property
    def system(self) -> ActorSystem:
        """The system that this actor lives in."""
        return self._cell.system

    @property
    def restarts(self) -> int:
        """How many times this actor was restarted."""
        return self._cell.restarts

    @property
    def waiting_messages(self) -> int:
        """How many messages wait in the mailbox."""
        return len(self._cell.queue)

    def stop(self) -> None:
        """Stop this actor after the messages that wait already (a drain)."""
        self.actor_ref.stop(block=False)

    def stop_now(self) -> None:
        """Stop this actor after the message in hand; those that wait are offered to `on_undelivered`."""
        self._cell.control(self._cell.begin_stop)

    def watch(self, ref: Ref[Any]) -> None:
        """Receive one `ActorExited` when `ref`, of the same trio loop, is gone for good; at once if it is (law A9)."""
        ref._cell.watch(self._cell, ref)

    def unwatch(self, ref: Ref[Any]) -> None:
        """Take `watch` back."""
        ref._cell.unwatch(self._cell)

    def start_child(self, spec: ChildSpec, started: Callable[[BaseException | None], None] | None = None) -> Ref[Any]:
        """Start a child under this actor's `supervision`.

        An exception of its factory or its plain `on_start` is raised here. With an ``async def on_start`` the ref can
        be told to at once, and `started` is called with None or the exception.

        Raises:
            ValueError: there is a child of this id.
        """
        return self._family().start(spec, started)

    async def spawn(self, spec: ChildSpec) -> Ref[Any]:
        """Start a child and wait until its `on_start` has run; its exception is raised here."""
        return await start_and_wait(self._family(), spec)

    def stop_child(self, id: str, done: Callable[[], None] | None = None) -> None:
        """Stop a child in order, by force after its `stop_seconds`; does not wait, `done` is called at the end."""
        self._family().stop_child(id, done)

    def children(self) -> dict[str, Ref[Any]]:
        """The refs of the children that are not gone, by id, in order of start."""
        if self._cell.family is None:
            return {}
        return {id: child.cell.ref for id, child in self._cell.family.children.items()}

    def defer_reply(self) -> Reply[Any]:
        """Take over answering the ask in hand: the handler's own return value is not the answer then.

        If the actor ends before the reply is set, the asker gets the reason. For a tell, the reply goes nowhere.
        """
        cell = self._cell
        reply, cell.reply = cell.reply, None
        if reply is None:
            return Reply()
        if cell.deferred is None:
            cell.deferred = {}
        deferred = cell.deferred
        deferred[reply] = None  # out again when it ends, also when its asker gives it up
        before = reply.on_done

        def done(reply: Reply[Any]) -> None:
            deferred.pop(reply, None)
            if before is not None:
                before(reply)

        reply.on_done = done
        return reply

    def take_over_reply(self) -> ReplyAddress | None:
        """Take over answering the ask in hand; None for a tell.

        Unlike with `defer_reply` nobody answers it if the actor ends before: whoever takes it over has to see to that.
        """
        cell = self._cell
        reply, cell.reply = cell.reply, None
        return reply

    def want_turn_end(self) -> None:
        """Have `on_turn_end` called when this turn has handled what waits: to do one thing for many messages."""
        self._cell.turn_end_wanted = True

    # -- hooks ------------------------------------------------------------------------------------------------------

    def on_start(self) -> Any:
        """Run before the first message; plain or ``async def``. An exception is raised to whoever spawned."""

    def on_stop(self) -> Any:
        """Run after the last message of an ordered stop; plain or ``async def``."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Run when the actor ends abnormally, before the supervisor decides; plain only."""

    def on_turn_end(self) -> None:
        """Run once at the end of a turn in which `want_turn_end` was called; plain only."""

    def on_child_given_up(self, id: str, error: BaseException) -> None:
        """A child under `Strategy.DYNAMIC` failed too often and is gone for good."""

    def on_undelivered(self, message: Any, reply: Reply[Any] | None) -> bool:
        """After a normal stop: a message that was not handled. Whether this took it over (else: dead letters)."""
        return False

    @property
    def _proxied(self) -> pykka.Actor:
        """Whom others see in this actor's place; a bridge has somebody behind it."""
        return self

    def _let_go(self) -> None:
        """This incarnation is over and its cell forgets it; called once or more."""

    def _family(self) -> Family:
        cell = self._cell
        if cell.family is None:
            cell.family = Family(cell, self.supervision)
        return cell.family


class Supervisor(Actor):
    """An actor that starts its children in order and only looks after them.

    One-for-one by default; subclass it to say otherwise. When a child fails too often, the supervisor fails itself, and
    its own supervisor decides.
    """

    def __init__(self, specs: tuple[ChildSpec, ...] = ()) -> None:
        super().__init__()
        self._specs = specs

    def on_start(self) -> Any:
        """Start the children, one after the other."""
        return self._start_children()

    async def _start_children(self) -> None:
        for spec in self._specs:
            await self.spawn(spec)


@trio.lowlevel.enable_ki_protection
async def start_and_wait(family: Family, spec: ChildSpec) -> Ref[Any]:
    """Start a child and wait for its `on_start`; when cancelled meanwhile, the child is stopped."""
    started: Reply[None] = Reply(what="its start")

    def report(error: BaseException | None) -> None:
        if error is None:
            started.offer(None)
        else:
            started.offer_exception(error)

    ref = family.start(spec, report)
    started.target = ref._cell
    try:
        await started.wait()
    except BaseException:
        child = family.children.get(spec.id)
        if child is not None and child.cell is ref._cell:
            family.stop_child(spec.id)
        raise
    return ref
