"""Pykka's `start()`: where an actor lives that nobody spawned, and pykka's own rules for it.

It lives in the innermost system that is open on the calling thread, else on the *host thread*: one daemon thread of the
process, which runs a system of its own, starts with the first actor and ends with its last one. Like a stock actor it
is in pykka's `ActorRegistry`, logs to pykka's logger, and is gone for others as soon as it begins to stop; an exception
raised in an ask is the answer and no more, and nobody restarts it.

The actor is made on the calling thread, as in pykka; then its cell goes to its loop, where `on_start` runs.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pykka
import trio

from .cell import Cell, State
from .errors import NotRunning, WouldBlock
from .ref import Ref
from .reply import loop_of_this_thread
from .supervision import ChildSpec, Restart

if TYPE_CHECKING:
    from .actor import Actor
    from .system import ActorSystem

__all__ = ["HOST", "HostThread", "here", "start"]

logger = logging.getLogger("pykka")

# How long the host thread may take to be ready, and at the interpreter's exit to stop: then it is left behind.
HOST_SECONDS = 30.0


class _Here(threading.local):
    """The systems that are open on this thread, the innermost last."""

    def __init__(self) -> None:
        self.systems: list[ActorSystem] = []


here = _Here()


class StoppedEvent(threading.Event):
    """What pykka code waits for as `actor_stopped`."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the actor stops, on a thread without a loop."""
        if not self.is_set() and (loop := loop_of_this_thread()):
            raise WouldBlock(
                f"actor_stopped.wait() would block this thread's {loop} loop; use `await ref.wait_gone()` there"
            )
        return super().wait(timeout)


class StartedRef(Ref[Any]):
    """The address of a started actor: with a URN as in pykka, and an event that it stops."""

    def __init__(self, cell: StartedCell) -> None:
        super().__init__(cell)
        self.actor_urn = cell.id
        self.actor_stopped = StoppedEvent()


class StartedCell(Cell):
    """The cell of an actor that was started and not spawned."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self.kind.__name__} ({self.id})"

    def _make_ref(self) -> Ref[Any]:
        return StartedRef(self)

    def adopt(self) -> None:
        """Begin its life below the root; it ends at once if the system is about to. On the trio thread."""
        assert self.parent is not None
        family = self.parent.family
        if family is None or self.parent.state is not State.RUNNING:
            self.system.cells[self] = None
            self.terminate(NotRunning(f"{self.parent.path} is {self.parent.state.value} and starts no {self}"))
            return
        family.adopt(ChildSpec(self.id, self.factory, Restart.TEMPORARY), self)
        self.start()

    def report(self, error: BaseException) -> None:
        """Log a failure as pykka does; with it the actor is gone for others."""
        logger.error("Unhandled exception in %s:", self.ref, exc_info=error)
        self._off()

    def _off(self) -> None:
        if not self.ref.actor_stopped.is_set():
            pykka.ActorRegistry.unregister(self.ref)
            self.ref.actor_stopped.set()

    def _raised(self, error: BaseException) -> bool:
        if isinstance(error, Exception):
            if self.reply is not None:
                logger.info("Exception returned from %s to caller:", self.ref, exc_info=error)
            return super()._raised(error)
        # Pykka's rule too, but nothing here waits for the others to stop.
        logger.debug("%r in %s. Stopping all actors.", error, self.ref)
        self._answered_with(error)
        self.begin_stop()
        pykka.ActorRegistry.stop_all(block=False)
        self.system.abort(error)
        return False

    def _begin_stop(self) -> None:
        self._off()
        logger.debug("Stopped %s", self.ref)
        super()._begin_stop()

    def terminate(self, reason: BaseException | None) -> None:
        """The end for good."""
        if self.state is not State.DEAD:
            self._off()
            super().terminate(reason)


class HostThread:
    """The home of started actors that have no other; `opens` opens a system."""

    def __init__(self) -> None:
        self.opens: Callable[[str], AbstractAsyncContextManager[ActorSystem]]
        # Taken for a moment only, and never while something is waited for that takes it.
        self._lock = threading.Lock()
        self._system: ActorSystem | None = None
        self._thread: threading.Thread | None = None
        self._actors = 0

    def enter(self) -> ActorSystem:
        """One actor more; starts the thread for the first one."""
        with self._lock:
            if self._system is None:
                self._system = self._open()
                self._actors = 0
            self._actors += 1
            return self._system

    def leave(self, system: ActorSystem) -> None:
        """One actor less; with the last one the thread ends."""
        with self._lock:
            if system is not self._system:
                return
            self._actors -= 1
            if self._actors:
                return
            self._system = None
        system.run_soon(system.close)

    def is_home(self, system: ActorSystem) -> bool:
        """Whether this is the system of the host thread."""
        return system is self._system

    def close(self) -> None:
        """Stop all its actors in order and wait for that, at the end of the interpreter."""
        with self._lock:
            system, self._system = self._system, None
            thread = self._thread
        if system is not None:
            system.run_soon(system.close)
        if thread is not None:
            thread.join(HOST_SECONDS)

    def forget(self) -> None:
        """A forked process has no such thread."""
        self.__dict__.update({**HostThread().__dict__, "opens": self.opens})

    def _open(self) -> ActorSystem:
        ready = threading.Event()
        opened: list[ActorSystem] = []

        async def main() -> None:
            async with self.opens("pykka") as system:
                opened.append(system)
                ready.set()
                await trio.sleep_forever()

        def run() -> None:
            try:
                trio.run(main)
            except Exception:
                raise
            except BaseException:  # noqa: BLE001 - by pykka's rule all actors stop for it, and its actor has told of it
                return
            finally:
                if opened:
                    with self._lock:
                        if self._system is opened[0]:
                            self._system = None

        # A daemon, as nothing but `close` ends it while actors live; that is called at the interpreter's exit.
        self._thread = threading.Thread(target=run, name="callboard: started actors", daemon=True)
        self._thread.start()
        if not ready.wait(HOST_SECONDS):
            raise NotRunning(f"the thread of started actors was not ready within {HOST_SECONDS:g} s")
        return opened[0]


HOST = HostThread()
atexit.register(HOST.close)
os.register_at_fork(after_in_child=HOST.forget)


def start(actor_class: type[Actor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ref[Any]:
    """Start an actor as pykka does; see `Actor.start`."""
    system = here.systems[-1] if here.systems else None
    at_home = system is None or HOST.is_home(system)
    if system is None or at_home:
        system = HOST.enter()
    elif system.root.state is not State.RUNNING:
        raise NotRunning(f"{system.name} is {system.root.state.value} and starts no {actor_class.__name__}")
    try:
        urn = uuid.uuid4().urn  # noqa: TID251 - pykka's way to name an actor; nothing is decided by it
        cell = StartedCell(system, system.root, urn, lambda: actor_class(*args, **kwargs), supervised=False)
    except BaseException:
        if at_home:
            HOST.leave(system)
        raise
    ref = cell.ref
    pykka.ActorRegistry.register(ref)
    logger.debug("Starting %s", ref)
    if at_home:
        cell.gone = {lambda _: HOST.leave(system): None}
    if threading.get_ident() == system.thread_id:
        system.do_soon(cell.adopt)
    else:
        try:
            system.from_thread(cell.adopt)
        except pykka.ActorDeadError:
            cell._off()
            raise NotRunning(f"the thread of started actors has just ended, and {ref} with it") from None
    return ref
