"""`AsyncioActor`: an actor whose handlers are asyncio coroutines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from threading import get_ident
from typing import Any, ClassVar

from .actor import Actor
from .asyncio_host import CANCEL_SECONDS, AsyncioHost, in_trio
from .errors import WouldBlock
from .ref import Ref
from .supervision import ChildSpec

__all__ = ["AsyncioActor"]

# What runs over there. The other hooks are plain, and run on the trio thread while no handler is at work.
ON_ASYNCIO = ("on_start", "on_receive", "on_stop", "_handle_receive")


class AsyncioActor(Actor):
    """An actor that runs its `on_start`, `on_receive` and `on_stop` on the asyncio loop of its system.

    Plain or ``async def``, they may use any asyncio library, and await `ref.ask_async`, `ref.send` and futures as on
    trio. It is asked, told, watched, supervised and stopped as any other. When its asker goes or it is killed, its
    coroutine gets a `CancelledError`; one that does not end within `cancel_seconds` is left behind: the actor fails.

    What blocks in a handler holds up all asyncio actors of the system: blocking code is for `pykka.ThreadingActor`.
    """

    cancel_seconds: ClassVar[float] = CANCEL_SECONDS
    """What a cancelled coroutine gets to clean up in."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()
        for name in ON_ASYNCIO:
            setattr(self, name, self._on_asyncio(getattr(self, name)))

    def _on_asyncio(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any) -> Any:
            result = hook(*args)
            return await result if inspect.isawaitable(result) else result

        async def hand_over(*args: Any) -> Any:
            host = self.system.service(AsyncioHost)
            return await host.run(self, call, *args, cancel_seconds=self.cancel_seconds)

        return hand_over

    # Everything of the actor's own that touches its cell has to do so on the trio thread.

    def watch(self, ref: Ref[Any]) -> None:
        """`Actor.watch`."""
        self.system.run_soon(super().watch, ref)

    def unwatch(self, ref: Ref[Any]) -> None:
        """`Actor.unwatch`."""
        self.system.run_soon(super().unwatch, ref)

    def stop_now(self) -> None:
        """`Actor.stop_now`."""
        self.system.run_soon(super().stop_now)

    def stop_child(self, id: str, done: Callable[[], None] | None = None) -> None:
        """`Actor.stop_child`; `done` is called on the trio thread."""
        self.system.run_soon(super().stop_child, id, done)

    async def spawn(self, spec: ChildSpec) -> Ref[Any]:
        """`Actor.spawn`."""
        if get_ident() == self._cell.thread_id:
            return await super().spawn(spec)
        return await in_trio(super().spawn, spec)

    def start_child(self, spec: ChildSpec, started: Callable[[BaseException | None], None] | None = None) -> Ref[Any]:
        """`Actor.start_child`, in the hooks that run on the trio thread; elsewhere use `spawn`."""
        if get_ident() != self._cell.thread_id:
            raise WouldBlock("start_child() works on the trio thread; on asyncio use `await self.spawn(spec)`")
        return super().start_child(spec, started)
