"""A board in a thread of its own, for programs that do not run on trio: asyncio ones and plain ones.

::

    async with callboard.open_in_thread(agents={"echo": Echo}, port=8765, key=key) as board:  # on asyncio
        await board.publish("ann", "x.note", {"text": "hello"})

    with callboard.open_in_thread(agents={"echo": Echo}, port=8765, key=key) as board:  # on a thread without a loop
        board.publish("ann", "x.note", {"text": "hello"})

The thread runs trio and the board; every call is a task there. A call that is given up, by a cancelled asyncio task for
one, is cancelled there too, and no more than `limits.thread_calls` are at work: whoever comes then waits. The board is
closed in order at the end of the block, also by an exception or Ctrl-C; a second Ctrl-C, or cancelling the task that
waits for the end, kills what still stops. A program that ends without leaving the block closes it as it exits.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import pykka
import trio

from ..actors import Limits, Position, PublishAlone, SessionKey, ask_session
from ..runtime import Gate, Portal, Ref, Reply, SystemStatistics, WouldBlock, loop_of_this_thread
from .auth import Authenticator
from .board import Board, DrainReport, Revocation, open_board

__all__ = ["AsyncioBoard", "BoardInThread", "EventStream", "ThreadedBoard", "open_in_thread"]

P = ParamSpec("P")
T = TypeVar("T")

# Events of one stream that are not durable yet; at the bound `send` waits. A few batches of the journal.
STREAM_WINDOW = 64


class BoardInThread:
    """A board that is to run in a thread of its own; enter it with ``with``, or on asyncio with ``async with``."""

    def __init__(self, open: Callable[[], AbstractAsyncContextManager[Board]], limits: Limits) -> None:
        self._open = open
        self._gate = Gate(limits.thread_calls)
        self._started: Reply[None] = Reply()
        self._ended: Reply[None] = Reply()
        self._error: BaseException | None = None
        self._stop_asked = threading.Event()
        self._portal: Portal | None = None
        self._stop: trio.Event | None = None
        self._board: Board | None = None
        self._thread = threading.Thread(target=self._run, name="callboard", daemon=True)

    # -- the block ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> ThreadedBoard:
        if loop := loop_of_this_thread():
            instead = "`async with` it" if loop == "asyncio" else "use `async with callboard.open(...)`"
            raise WouldBlock(f"`with callboard.open_in_thread(...)` would block this thread's {loop} loop; {instead}")
        self._begin()
        try:
            self._started.get()
        except BaseException:
            self._end()
            raise
        return ThreadedBoard(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
        self._raise_its_error()

    async def __aenter__(self) -> AsyncioBoard:
        if loop_of_this_thread() != "asyncio":
            raise WouldBlock(
                "`async with callboard.open_in_thread(...)` is for asyncio; in trio use callboard.open(...)"
            )
        self._begin()
        try:
            await self._started.wait()
        except BaseException:
            await self._end_on_asyncio()
            raise
        return AsyncioBoard(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._end_on_asyncio()
        self._raise_its_error()

    def _raise_its_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _begin(self) -> None:
        atexit.register(self._end)
        self._thread.start()

    def _end(self) -> None:
        self._ask_to_stop()
        interrupt: KeyboardInterrupt | None = None
        while True:
            try:
                self._thread.join()
                break
            except KeyboardInterrupt as again:
                interrupt = again
                self._hurry()
        atexit.unregister(self._end)
        if interrupt is not None:
            raise interrupt

    async def _end_on_asyncio(self) -> None:
        self._ask_to_stop()
        ended = asyncio.ensure_future(self._ended.wait())
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError as again:
                cancelled = again
                self._hurry()
        self._thread.join()  # it has said its last word; or the loop cancels everything, and there is no other way
        atexit.unregister(self._end)
        if cancelled is not None:
            raise cancelled

    def _ask_to_stop(self) -> None:
        self._stop_asked.set()
        portal, stop = self._portal, self._stop
        if portal is not None and stop is not None:
            portal.run_soon(stop.set)

    def _hurry(self) -> None:
        portal, board = self._portal, self._board
        if portal is not None and board is not None:
            portal.run_soon(lambda: board.system.kill_all("whoever waited for its end waits no longer"))

    # -- calls --------------------------------------------------------------------------------------------------------

    @property
    def board(self) -> Board:
        """The board, for its plain attributes; its methods belong to its own thread."""
        assert self._board is not None
        return self._board

    def call(self, method: Callable[Concatenate[Board, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an async method of the board and wait for what it gives."""
        if loop := loop_of_this_thread():
            raise WouldBlock(
                f"this would block the thread's {loop} loop; on asyncio, enter the board with `async with`"
            )
        self._gate.enter()
        reply = self._submit(method, *args, **kwargs)
        try:
            return reply.get()
        except BaseException:
            reply.abandon()  # by Ctrl-C: nobody waits for it
            raise

    async def call_async(
        self, method: Callable[Concatenate[Board, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call an async method of the board and await what it gives, on any loop."""
        await self._gate.enter_async()
        return await self._submit(method, *args, **kwargs).wait()

    def _submit(
        self, method: Callable[Concatenate[Board, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> Reply[T]:
        reply: Reply[T] = Reply()
        reply.on_done = lambda _: self._gate.leave()
        assert self._portal is not None
        self._portal.submit(reply, functools.partial(method, self.board, *args, **kwargs))
        return reply

    # -- on the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 - raised by whoever leaves the block, or enters it
            self._error = error
            self._started.offer_exception(error)
        self._ended.offer(None)

    async def _main(self) -> None:
        async with self._open() as self._board:
            self._stop = trio.Event()
            # Calls are cancelled only when the board has stopped: until then they get its own answers.
            async with Portal() as self._portal:
                self._started.offer(None)
                if self._stop_asked.is_set():
                    self._stop.set()
                await self._stop.wait()
                if not self._board.draining:
                    await self._board.drain(0)


class _View:
    """What both kinds of callers see alike."""

    def __init__(self, thread: BoardInThread) -> None:
        self._thread = thread

    @property
    def url(self) -> str:
        """`Board.url`."""
        return self._thread.board.url

    @property
    def port(self) -> int:
        """The port it serves on; 0 if it serves on none."""
        return self._thread.board.port

    @property
    def authenticator(self) -> Authenticator:
        """`Board.authenticator`, which may be used on any thread."""
        return self._thread.board.authenticator


class ThreadedBoard(_View):
    """A board, for threads without a loop: each method waits. May be used on any number of threads at once."""

    def session(self, user: str, name: str = "main") -> Ref[Any]:
        """`Board.session`. The ref may be used on any thread: `ask`, `tell`, and `ask_async` on loops."""
        return self._thread.call(Board.session, user, name)

    def publish(self, user: str, type: str, data: Mapping[str, Any], *, session: str = "main") -> Position:
        """`Board.publish`: returns once it is durable."""
        return self._thread.call(Board.publish, user, type, data, session=session)

    def stream(self, user: str, *, session: str = "main") -> EventStream:
        """Many events for one session, in order and without waiting for each; see `EventStream`."""
        return EventStream(self._thread, SessionKey(user, session))

    def ask(self, user: str, message: Any, *, session: str = "main") -> Any:
        """Ask a user's session, as `Session` subclasses of yours understand it; started if need be."""
        return self._thread.call(_ask, user, message, session)

    def tell(self, user: str, message: Any, *, session: str = "main") -> None:
        """Tell a user's session; returns once it is in the mailbox."""
        self._thread.call(_tell, user, message, session)

    def ticket(self, user: str, *, session: str = "main", origin: str | None = None) -> str:
        """`Board.ticket`."""
        return self._thread.call(Board.ticket, user, session=session, origin=origin)

    def release(self, user: str, session: str = "main") -> bool:
        """`Board.release`."""
        return self._thread.call(Board.release, user, session)

    def close_user(self, user: str, *, tokens: bool = True) -> Revocation:
        """`Board.close_user`."""
        return self._thread.call(Board.close_user, user, tokens=tokens)

    def report(self) -> dict[str, Any]:
        """`Board.report`."""
        return self._thread.call(Board.report)

    def statistics(self) -> SystemStatistics:
        """`Board.statistics`."""
        return self._thread.call(_statistics)

    def drain(self, seconds: float | None = None) -> DrainReport:
        """`Board.drain`."""
        return self._thread.call(Board.drain, seconds)

    def wait_closed(self) -> None:
        """`Board.wait_closed`."""
        self._thread.call(Board.wait_closed)


class AsyncioBoard(_View):
    """A board, for asyncio tasks. A method whose task is cancelled is cancelled in the board's thread, too."""

    @property
    def threads(self) -> ThreadedBoard:
        """The same board for the program's threads, such as plain handlers of a web framework."""
        return ThreadedBoard(self._thread)

    async def session(self, user: str, name: str = "main") -> Ref[Any]:
        """`Board.session`. The ref may be used here: `await ref.ask_async(…)`, `await ref.send(…)`, `ref.tell(…)`."""
        return await self._thread.call_async(Board.session, user, name)

    async def publish(self, user: str, type: str, data: Mapping[str, Any], *, session: str = "main") -> Position:
        """`Board.publish`: returns once it is durable."""
        return await self._thread.call_async(Board.publish, user, type, data, session=session)

    def stream(self, user: str, *, session: str = "main") -> EventStream:
        """Many events for one session, in order and without waiting for each; see `EventStream`."""
        return EventStream(self._thread, SessionKey(user, session))

    async def ask(self, user: str, message: Any, *, session: str = "main") -> Any:
        """Ask a user's session, as `Session` subclasses of yours understand it; started if need be."""
        return await self._thread.call_async(_ask, user, message, session)

    async def tell(self, user: str, message: Any, *, session: str = "main") -> None:
        """Tell a user's session; returns once it is in the mailbox."""
        await self._thread.call_async(_tell, user, message, session)

    async def ticket(self, user: str, *, session: str = "main", origin: str | None = None) -> str:
        """`Board.ticket`."""
        return await self._thread.call_async(Board.ticket, user, session=session, origin=origin)

    async def release(self, user: str, session: str = "main") -> bool:
        """`Board.release`."""
        return await self._thread.call_async(Board.release, user, session)

    async def close_user(self, user: str, *, tokens: bool = True) -> Revocation:
        """`Board.close_user`."""
        return await self._thread.call_async(Board.close_user, user, tokens=tokens)

    async def report(self) -> dict[str, Any]:
        """`Board.report`."""
        return await self._thread.call_async(Board.report)

    async def statistics(self) -> SystemStatistics:
        """`Board.statistics`."""
        return await self._thread.call_async(_statistics)

    async def drain(self, seconds: float | None = None) -> DrainReport:
        """`Board.drain`."""
        return await self._thread.call_async(Board.drain, seconds)

    async def wait_closed(self) -> None:
        """`Board.wait_closed`."""
        await self._thread.call_async(Board.wait_closed)


class EventStream:
    """Events ``x.…`` for one session, in order, of which up to 64 may wait to become durable; then sending waits.

    Use it in one thread or task: ``with`` and `send` on threads without a loop, ``async with`` and `send_async` on
    asyncio. Leaving the block waits until all is durable. An event that was not taken raises at the next `send`, or at
    the end; nothing that was sent after it is sure to be there.
    """

    def __init__(self, thread: BoardInThread, key: SessionKey) -> None:
        self._thread = thread
        self._key = key
        self._gate = Gate(STREAM_WINDOW)
        self._ref: Ref[Any] | None = None
        self._last: Reply[Position] | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for _ in range(STREAM_WINDOW):
            self._gate.enter()
        self._check()

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for _ in range(STREAM_WINDOW):
            await self._gate.enter_async()
        self._check()

    def send(self, type: str, data: Mapping[str, Any]) -> None:
        """Send one event; waits for room."""
        message = PublishAlone(type, dict(data))
        self._gate.enter()
        try:
            self._check()
            while True:
                if self._ref is None:
                    self._ref = self._thread.call(Board.session, self._key.user, self._key.name)
                reply: Reply[Position] = self._ref.ask(message, block=False)
                if not self._gone(reply):
                    break
        except BaseException:
            self._gate.leave()
            raise
        self._sent(reply)

    async def send_async(self, type: str, data: Mapping[str, Any]) -> None:
        """Send one event; waits for room. When cancelled, it may have been sent all the same."""
        message = PublishAlone(type, dict(data))
        await self._gate.enter_async()
        try:
            self._check()
            reply = await self._submit(message)
        except BaseException:
            self._gate.leave()
            raise
        self._sent(reply)

    async def _submit(self, message: PublishAlone) -> Reply[Position]:
        while True:
            if self._ref is None:
                self._ref = await self._thread.call_async(Board.session, self._key.user, self._key.name)
            try:
                return await self._ref.submit(message)
            except pykka.ActorDeadError:
                self._ref = None

    def _gone(self, reply: Reply[Position]) -> bool:
        """Whether the session had gone before it took the event; it may be another one by now."""
        if reply.done and isinstance(reply.error, pykka.ActorDeadError):
            self._ref = None
            return True
        return False

    def _sent(self, reply: Reply[Position]) -> None:
        once = threading.Lock()

        def done(reply: Reply[Any]) -> None:
            if once.acquire(blocking=False):
                if self._error is None:
                    self._error = reply.error
                self._gate.leave()

        reply.on_done = done
        if reply.done:
            done(reply)  # it was answered before it could be told whom to tell

    def _check(self) -> None:
        if self._error is not None:
            raise self._error


async def _ask(board: Board, user: str, message: Any, session: str) -> Any:
    return await ask_session(board.node.registry, SessionKey(user, session), message)


async def _tell(board: Board, user: str, message: Any, session: str) -> None:
    await (await board.session(user, session)).send(message)


async def _statistics(board: Board) -> SystemStatistics:
    return board.statistics()


def _in_thread(open: Callable[P, AbstractAsyncContextManager[Board]]) -> Callable[P, BoardInThread]:
    @functools.wraps(open, assigned=())  # for its signature
    def open_in_thread(*args: P.args, **kwargs: P.kwargs) -> BoardInThread:
        limits = kwargs.get("limits")
        return BoardInThread(lambda: open(*args, **kwargs), limits if isinstance(limits, Limits) else Limits())

    open_in_thread.__doc__ = f"""A board in a thread of its own, for asyncio and plain programs; see this module.

    The arguments, and what is raised when the block is entered, are those of `{open.__name__}`.
    """
    return open_in_thread


open_in_thread = _in_thread(open_board)
