"""The session supervisor: the factory that starts sessions, has idle ones leave, and rests those that keep failing.

Each session fails for itself: its restarts are counted in a window of its own, and when they are too many it is
*quarantined* for a stated time, or until it is released, while nobody else notices (law A7).
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

import trio

from ..runtime import Actor, ActorExited, ChildSpec, Ref, Restart, RestartsExhausted, Strategy, Supervision, Timer
from .errors import SessionQuarantined, StoreUnavailable
from .ids import SessionKey
from .limits import Limits
from .messages import (
    BecameBusy,
    BecameIdle,
    EnsureSession,
    ReleaseSession,
    ReportChildren,
    SessionRefused,
    SessionStarted,
    SessionUp,
    Sweep,
    WithdrawIdle,
)

__all__ = ["SessionSupervisor"]


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
        self, make_session: Callable[[SessionKey], Actor], registry: Callable[[], Ref[Any]], limits: Limits
    ) -> None:
        super().__init__()
        self._make_session = make_session
        self._registry = registry
        self._limits = limits
        self._keys: dict[str, SessionKey] = {}
        self._ready: dict[str, None] = {}
        self._leaving: set[str] = set()
        self._idle_since: dict[str, float] = {}
        self._quarantined: dict[str, float] = {}
        # Sessions that were asked for again while they were on their way out.
        self._wanted_again: set[str] = set()
        self._timer: Timer | None = None

    def on_start(self) -> None:
        """Set the first tick."""
        self._tick()

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
            case SessionUp():
                self._up(message)
            case ActorExited(ref, _):
                self._gone(ref)
            case BecameIdle(id):
                if id in self._ready:
                    self._idle_since[id] = trio.current_time()
            case BecameBusy(id):
                self._idle_since.pop(id, None)
                if id in self._leaving:
                    # It was to leave, and something came in before it could.
                    self._leaving.discard(id)
                    self._ready[id] = None
                    self._say_started(id)
            case ReleaseSession(id):
                return self._quarantined.pop(id, None) is not None
            case ReportChildren():
                for id in list(self._ready):
                    self._say_started(id)
            case Sweep():
                self._sweep()
                self._tick()
            case _:
                raise TypeError(f"the session supervisor does not know {type(message).__name__}")
        return None

    def _ensure(self, key: SessionKey) -> None:
        id = key.id
        until = self._quarantined.get(id)
        if until is not None:
            if trio.current_time() < until:
                self._refuse(key, SessionQuarantined(f"session {id} failed too often and rests"))
                return
            del self._quarantined[id]
        if id in self._ready:
            self._say_started(id)
        elif id in self._keys:
            self._wanted_again.add(id)  # it starts or it leaves: `_up` or `_gone` sees to it
        else:
            self._start(key)

    def _start(self, key: SessionKey) -> None:
        me = self.actor_ref

        def started(error: BaseException | None) -> None:
            me.notify(SessionUp(key, error))

        spec = ChildSpec(key.id, lambda: self._make_session(key), Restart.TRANSIENT, self._limits.drain_seconds)
        self._keys[key.id] = key
        try:
            ref = self.start_child(spec, started)
        except Exception as error:  # noqa: BLE001 - a session class that cannot start is told to whoever asked for it
            del self._keys[key.id]
            self._refuse(key, _start_error(key, error))
            return
        self.watch(ref)

    def _up(self, message: SessionUp) -> None:
        id = message.key.id
        if message.error is not None:
            self._refuse(message.key, _start_error(message.key, message.error))
        elif id in self._keys:
            self._ready[id] = None
            self._wanted_again.discard(id)
            self._idle_since[id] = trio.current_time()
            self._say_started(id)

    def _gone(self, ref: Ref[Any]) -> None:
        id = ref.path.rpartition("/")[2]
        key = self._keys.pop(id, None)
        self._ready.pop(id, None)
        self._leaving.discard(id)
        self._idle_since.pop(id, None)
        if key is not None and id in self._wanted_again:
            self._wanted_again.discard(id)
            self._ensure(key)

    def on_child_given_up(self, id: str, error: BaseException) -> None:
        """A session failed too often: it rests."""
        assert isinstance(error, RestartsExhausted)
        self._quarantined[id] = trio.current_time() + self._limits.quarantine_seconds

    def _say_started(self, id: str) -> None:
        ref = self.children().get(id)
        if ref is not None:
            self._registry().notify(SessionStarted(self._keys[id], ref, self.actor_ref))

    def _refuse(self, key: SessionKey, error: Exception) -> None:
        self._registry().notify(SessionRefused(key, error))

    def _tick(self) -> None:
        me = self.actor_ref
        self._timer = self.system.timers.call_later(self._limits.idle_seconds / 4, lambda: me.notify(Sweep()))

    def _sweep(self) -> None:
        now = trio.current_time()
        for id in [id for id, until in self._quarantined.items() if until <= now]:
            del self._quarantined[id]
        children = self.children()
        for id, since in list(self._idle_since.items()):
            if now - since >= self._limits.idle_seconds and id in children:
                # Not twice for one session: it says when it is busy again, or it is gone.
                del self._idle_since[id]
                self._leaving.add(id)
                self._ready.pop(id, None)
                self._registry().notify(WithdrawIdle(self._keys[id], children[id]))


def _start_error(key: SessionKey, error: BaseException) -> Exception:
    if isinstance(error, StoreUnavailable):
        return error
    return SessionQuarantined(f"session {key.id} did not start: {type(error).__name__}")
