"""The session supervisor: the factory that starts sessions, has idle ones leave, and rests those that keep failing.

Each session fails for itself: its restarts are counted in a window of its own, and when they are too many it is
*quarantined* for a stated time, or until it is released, while nobody else notices (law A7). Then it is started once
more, so that the runs which its failure left open get their terminal events (law S6).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

import attrs
import trio

from ..runtime import Actor, ActorExited, ChildSpec, Ref, Restart, RestartsExhausted, Strategy, Supervision, Timer
from .errors import SessionQuarantined, StoreUnavailable
from .ids import SessionKey
from .limits import Limits
from .messages import (
    BecameBusy,
    BecameIdle,
    ChildrenReported,
    EnsureSession,
    ReleaseSession,
    ReportChildren,
    SessionRefused,
    SessionStarted,
    SupervisorRestarted,
    Sweep,
    WithdrawIdle,
)
from .session import Session

__all__ = ["SessionSupervisor"]


class _State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    """The registry knows it."""
    LEAVING = "leaving"
    """The registry was asked to send it away; it goes, or says that it is busy."""


@attrs.define(eq=False)
class _Child:
    """One session. Notes about it name it, or its ref: one of an earlier life of the same session means another."""

    key: SessionKey
    revived: bool
    """It was in quarantine: what its earlier life left undone is still undone, and of this same process."""
    ref: Ref[Any] | None = None
    session: Session | None = None
    """Its incarnation of the moment."""
    state: _State = _State.STARTING
    wanted: bool = False
    """It was asked for while it was neither there nor gone."""


@attrs.frozen(eq=False)
class _SessionUp:
    """The supervisor's own note: `on_start` of a session has ended, with this error or well."""

    child: _Child
    error: BaseException | None


@attrs.frozen
class _Rest:
    key: SessionKey
    until: float


class SessionSupervisor(Actor):
    """Starts sessions on first use and looks after them.

    Args:
        make_session: the platform's session factory.
        registry: gives the registry's ref.
        limits: `idle_seconds`, `quarantine_seconds` and `drain_seconds` are used.
    """

    supervision: ClassVar[Supervision] = Supervision(Strategy.DYNAMIC)
    mailbox_capacity: ClassVar[int] = 16_384

    def __init__(
        self, make_session: Callable[[SessionKey], Session], registry: Callable[[], Ref[Any]], limits: Limits
    ) -> None:
        super().__init__()
        self._make_session = make_session
        self._registry = registry
        self._limits = limits
        self._sessions: dict[str, _Child] = {}
        # Since when each idle session is so; the longest idle one stands first.
        self._idle: dict[str, float] = {}
        self._resting: dict[str, _Rest] = {}
        self._timer: Timer | None = None

    def on_start(self) -> None:
        """Set the first tick; after a crash, have the registry ask again for what was under way."""
        self._tick()
        if self.restarts:
            self._registry().notify(SupervisorRestarted())

    def on_stop(self) -> None:
        """Take the tick back."""
        if self._timer is not None:
            self._timer.cancel()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the tick back: the next incarnation sets its own."""
        self.on_stop()

    def on_receive(self, message: Any) -> Any:
        """Handle one message; see `messages`."""
        match message:
            case EnsureSession(key):
                self._ensure(key)
            case _SessionUp():
                self._up(message.child, message.error)
            case ActorExited(ref, reason):
                self._gone(ref, reason)
            case BecameIdle(ref):
                self._became_idle(ref)
            case BecameBusy(ref):
                self._became_busy(ref)
            case ReleaseSession(id):
                return self._release(id)
            case ReportChildren():
                self._report()
            case Sweep():
                self._sweep()
                self._tick()
            case _:
                raise TypeError(f"the session supervisor does not know {type(message).__name__}")
        return None

    # -- one session --------------------------------------------------------------------------------------------------

    def _child(self, ref: Ref[Any]) -> _Child | None:
        child = self._sessions.get(ref.path.rpartition("/")[2])
        return child if child is not None and child.ref is ref else None

    def _ensure(self, key: SessionKey) -> None:
        child = self._sessions.get(key.id)
        rest = self._resting.get(key.id)
        if rest is not None and child is None:
            if trio.current_time() < rest.until:
                self._refuse(key, SessionQuarantined(f"session {key.id} failed too often and rests"))
                return
            del self._resting[key.id]
        if child is None:
            self._start(key, revived=rest is not None)
        elif child.state is _State.READY:
            self._say_started(child)
        else:
            child.wanted = True  # it starts or it leaves: `_up`, `_became_busy` or `_gone` sees to it

    def _start(self, key: SessionKey, *, revived: bool = False) -> None:
        me, child = self.actor_ref, _Child(key, revived)
        self._sessions[key.id] = child

        def started(error: BaseException | None) -> None:
            me.notify(_SessionUp(child, error))

        def make() -> Session:
            child.session = self._make_session(key)
            child.session.revived = revived
            return child.session

        spec = ChildSpec(key.id, make, Restart.TRANSIENT, self._limits.drain_seconds)
        try:
            child.ref = self.start_child(spec, started)
        except Exception as error:  # noqa: BLE001 - a session class that cannot start is told to whoever asked for it
            del self._sessions[key.id]
            self._not_started(child, error)
            return
        self.watch(child.ref)
        # By a callback: this actor may be about to end too, and would not take the notice.
        child.ref.when_gone(lambda _: child.session.gone() if child.session is not None else None)

    def _up(self, child: _Child, error: BaseException | None) -> None:
        if self._sessions.get(child.key.id) is not child:
            return  # it is gone already
        child.wanted = False
        if error is not None:
            self._not_started(child, error)
            return
        child.state = _State.READY
        self._say_started(child)

    def _not_started(self, child: _Child, error: BaseException) -> None:
        if child.revived:
            # What it left undone is still undone: it rests again.
            self._rest(child.key)
        if not isinstance(error, StoreUnavailable):
            error = SessionQuarantined(f"session {child.key.id} did not start: {type(error).__name__}")
        self._refuse(child.key, error)

    def _gone(self, ref: Ref[Any], reason: BaseException | None) -> None:
        child = self._child(ref)
        if child is None:
            return
        id = child.key.id
        del self._sessions[id]
        self._idle.pop(id, None)
        if isinstance(reason, RestartsExhausted):
            self._rest(child.key)
        if child.wanted:
            self._ensure(child.key)

    def _became_idle(self, ref: Ref[Any]) -> None:
        child = self._child(ref)
        if child is None:
            return
        if child.state is _State.LEAVING:
            # It has started anew. If the word that failed it was the one to go, nobody would say that again.
            self._registry().notify(WithdrawIdle(child.key, ref))
        else:
            self._note_idle(child.key.id)

    def _became_busy(self, ref: Ref[Any]) -> None:
        child = self._child(ref)
        if child is None:
            return
        self._idle.pop(child.key.id, None)
        if child.state is _State.LEAVING:
            # It was to leave, and something came in before it could.
            child.state = _State.READY
            child.wanted = False
            self._say_started(child)

    def _say_started(self, child: _Child) -> None:
        assert child.ref is not None
        self._registry().notify(SessionStarted(child.key, child.ref, self.actor_ref))

    def _refuse(self, key: SessionKey, error: Exception) -> None:
        self._registry().notify(SessionRefused(key, error))

    def _note_idle(self, id: str) -> None:
        self._idle.pop(id, None)
        self._idle[id] = trio.current_time()

    # -- quarantine ---------------------------------------------------------------------------------------------------

    def _rest(self, key: SessionKey) -> None:
        self._resting[key.id] = _Rest(key, trio.current_time() + self._limits.quarantine_seconds)

    def _release(self, id: str) -> bool:
        rest = self._resting.pop(id, None)
        if rest is not None and id not in self._sessions:
            self._start(rest.key, revived=True)
        return rest is not None

    # -- all sessions -------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        for child in self._sessions.values():
            if child.state is _State.LEAVING:
                # The registry may have lost the request to send it away; if not, it goes in spite of this.
                child.state = _State.READY
                child.wanted = False
                self._note_idle(child.key.id)
            if child.state is _State.READY:
                self._say_started(child)
        self._registry().notify(ChildrenReported())

    def _tick(self) -> None:
        # The tick that is handled may be of an earlier incarnation, which must not set a second clock going.
        self.on_stop()
        me = self.actor_ref
        seconds = min(self._limits.idle_seconds, self._limits.quarantine_seconds) / 4
        self._timer = self.system.timers.call_later(seconds, lambda: me.notify(Sweep()))

    def _sweep(self) -> None:
        now = trio.current_time()
        for rest in [rest for rest in self._resting.values() if rest.until <= now]:
            self._release(rest.key.id)
        while self._idle:
            id, since = next(iter(self._idle.items()))
            if now - since < self._limits.idle_seconds:
                break
            del self._idle[id]
            child = self._sessions[id]
            assert child.ref is not None
            child.state = _State.LEAVING
            self._registry().notify(WithdrawIdle(child.key, child.ref))
