"""`Agent`: the code that does the work of a run, as authors write it.

One agent is made for each run. It lives under the session's supervision: when it raises, hangs past its deadline or is
cancelled, the session writes the run's one terminal event (law S6). Its events go to the session by the registry's
route.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, ClassVar, TypeVar, overload

import attrs
import trio

from ..runtime import Actor, Ref, Refusal, Reply, in_trio
from .errors import AgentError, GrammarError, InvalidEvent
from .events import TERMINALS, Event, Position, fields_of
from .grammar import RunGrammar
from .limits import Limits
from .messages import Message, Perform, Publish, Route, RouteOfRun

__all__ = ["Agent", "Receipt"]

T = TypeVar("T")

# What only a session or a supervisor may say; an agent that could would make events that are not its own (law S7).
RESERVED = frozenset(("agent_started", "agent_cancelled"))


class Receipt:
    """The acknowledgement of one `emit`. Awaiting it waits until the record is durable, and gives its `Position`.

    It may be awaited any number of times, or not at all. Cancelling that takes nothing back: what was said is said.

    Raises:
        StoreUnavailable: the journal did not take it.
        RunEnded: the run had been ended from outside before.
    """

    __slots__ = ("_reply", "_waiting")

    def __init__(self, reply: Reply[Position]) -> None:
        self._reply = reply
        self._waiting: list[Reply[Position]] = []

    def __await__(self) -> Generator[Any, Any, Position]:
        return self._wait().__await__()

    async def _wait(self) -> Position:
        if not trio.lowlevel.in_trio_task():
            return await in_trio(self._wait)  # an agent on asyncio
        # Not on the session's own answer: to be cancelled there would take the question back, and with it the event.
        # But on one from the same actor, so that an agent does not wait for ever for a session that waits for its end.
        twin: Reply[Position] = Reply(self._reply.target)
        if self._reply.done:
            self._hand_on(twin)
        else:
            self._waiting.append(twin)
        return await twin.wait()

    def _ended(self) -> None:
        for twin in self._waiting:
            self._hand_on(twin)
        self._waiting.clear()

    def _hand_on(self, twin: Reply[Position]) -> None:
        if self._reply.error is not None:
            twin.offer_exception(self._reply.error)
        else:
            twin.offer(self._reply.result())


@attrs.frozen
class _Work:
    """What an agent needs of its node; handed over by the session before the run starts."""

    registry: Ref[Any]
    limits: Limits


class Agent(Actor):
    """Subclass it and write `run`.

    ::

        class Echo(Agent):
            async def run(self, message):
                await self.emit("agent_thinking", {"text": "How does one say that?"})
                return message.text
    """

    mailbox_capacity: ClassVar[int] = 4
    """An agent gets one message, its run."""

    _work: _Work
    _message: Message
    _route: Route
    _grammar: RunGrammar | None
    _n: int
    _calls: int
    _undurable: int
    # What was said and is not durable yet, oldest first; bounded by `window_bytes`.
    _pending: dict[int, Receipt]
    # The loop's clock, which may be read from other threads too.
    _clock: trio.abc.Clock
    # When each open call began, in the loop's seconds; and calls that were cut, with what is to be said of them.
    _began: dict[str, float]
    _cut: dict[str, dict[str, Any]]
    # Why something that was said did not become a record: after that nothing else is said.
    _lost: BaseException | None

    async def run(self, message: Message) -> Any:
        """Do the work. What is returned, any JSON value, becomes the `result` of `agent_completed`.

        It is cancelled when the user cancels the run or its deadline passes. Raise `AgentError` to end the run with an
        error that the user is to read; any other exception ends it with code ``agent_failed`` and its type only.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define `async def run(self, message)`")

    async def emit(self, type: str, data: Mapping[str, Any]) -> Receipt:
        """Say something in the session: `agent_thinking`, `agent_delta`, `x.…`, and the tool events.

        Waits for room only, while too much of this run is not durable yet; awaiting the receipt waits for durability.
        `data` is encoded before this returns, so it may be changed afterwards. When cancelled while it waits, nothing
        was said.

        Raises:
            InvalidEvent: the type is unknown, a field is missing, or JSON cannot hold the data exactly.
            GrammarError: the event is out of place in this run, or not an agent's to say.
            RunEnded: the run was ended from outside.
            StoreUnavailable: something said before was not taken by the journal.
            AskCycle: the session waits for this agent's end, so it cannot take more; only where the end is shielded.
        """
        for call in list(self._cut):
            closing = self._cut.pop(call, None)
            if closing is None:
                continue  # another task of this agent was faster
            try:
                await self._say("tool_completed", closing)
            except BaseException:
                self._cut[call] = closing
                raise
        return await self._say(type, data)

    async def _say(self, type: str, data: Mapping[str, Any]) -> Receipt:
        fields_of(type)  # raises if there is no such type
        grammar = self._grammar
        if grammar is None:
            raise GrammarError(f"{type} before the run: an agent speaks while its `run` works")
        if type in RESERVED:
            raise GrammarError(f"{type} is said by the session, not by an agent")
        while True:
            if self._lost is not None:
                raise self._lost
            if self._undurable > self._work.limits.window_bytes and self._pending:
                await next(iter(self._pending.values()))
            elif self._route.withdrawn:
                self._route = await self._find_route()
            else:
                break
        # From here to the mailbox there is no task switch, so two tasks of one agent cannot mix up their events.
        run = self._message.run
        n = self._n + 1
        event = Event.make(
            f"{run}/end" if type in TERMINALS else f"{run}/{n}",
            type,
            run,
            _in_own_name(type, data),
            max_bytes=self._work.limits.event_bytes,
            max_depth=self._work.limits.depth,
        )
        tool = data["tool"] if event.call is not None else ""
        grammar.apply(type, event.call, tool)
        self._n = n
        size = len(event.body)
        self._undurable += size
        try:
            reply = await self._route.ref.submit(Publish(run, n, event, tool))
        except BaseException:
            grammar.take_back(type, event.call, tool)
            self._undurable -= size
            raise
        if event.call is not None:
            if type == "tool_executing":
                self._began[event.call] = trio.current_time()
            else:
                self._began.pop(event.call, None)
        self._pending[n] = receipt = Receipt(reply)
        if reply.done:
            self._answered(n, reply, size)
        else:
            reply.on_done = lambda reply: self._answered(n, reply, size)
        return receipt

    def _answered(self, n: int, reply: Reply[Position], size: int) -> None:
        if self._lost is None:
            self._lost = reply.error
        self._undurable -= size
        self._pending.pop(n)._ended()

    @overload
    async def tool(self, name: str, arguments: Mapping[str, Any], function: Callable[[], Awaitable[T]]) -> T: ...

    @overload
    async def tool(self, name: str, arguments: Mapping[str, Any], function: Callable[[], T]) -> T: ...

    async def tool(self, name: str, arguments: Mapping[str, Any], function: Callable[[], Any]) -> Any:
        """Call a tool, between its `tool_executing` and its `tool_completed`.

        A plain `function` runs in a worker thread, an async one here. Its result has to be JSON data. If it raises, the
        call completes with ``ok: false`` and the exception's type, and the exception is raised here again. If it is
        cut by a scope of yours, that is said before whatever the agent says next.

        Raises:
            InvalidEvent: the arguments, or the result, are no JSON data.
        """
        self._calls += 1
        call = f"call-{self._calls}"
        await self.emit("tool_executing", {"call": call, "tool": name, "arguments": _as_json(arguments)})
        try:
            try:
                if inspect.iscoroutinefunction(function):
                    result = await function()
                else:
                    result = await self._in_thread(function)
                    if inspect.isawaitable(result):
                        result = await result
            except Exception as error:
                await self.emit("tool_completed", self._completed(call, name, ok=False, result=_named(error)))
                raise
            try:
                await self.emit("tool_completed", self._completed(call, name, ok=True, result=result))
            except InvalidEvent as error:
                await self.emit("tool_completed", self._completed(call, name, ok=False, result=_named(error)))
                raise
        except Exception:
            raise
        except BaseException as cut:
            # Nothing can be waited for here.
            assert self._grammar is not None
            if call in self._grammar.open_calls:
                self._cut[call] = self._completed(call, name, ok=False, result=_named(cut))
            raise
        return result

    async def _work_on(self, message: Message) -> Any:
        return await self.run(message)

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        # Abandoned when the run is cancelled: a thread cannot be stopped, and nobody waits for it. In a tuple, because
        # trio lets no thread give a coroutine, as `lambda: fetch(url)` may.
        (result,) = await trio.to_thread.run_sync(lambda: (function(),), abandon_on_cancel=True)
        return result

    def _completed(self, call: str, tool: str, *, ok: bool, result: Any) -> dict[str, Any]:
        took = round((self._clock.current_time() - self._began[call]) * 1000)
        return {"call": call, "tool": tool, "ok": ok, "result": result, "duration_ms": took}

    # -- mechanism ----------------------------------------------------------------------------------------------------

    def prepare(self, registry: Ref[Any], limits: Limits) -> None:
        """Give the agent what it needs of its node; the session does so before the run."""
        self._work = _Work(registry, limits)
        self._clock = trio.lowlevel.current_clock()
        self._grammar = None
        self._n = 0
        self._calls = 0
        self._undurable = 0
        self._pending = {}
        self._began = {}
        self._cut = {}
        self._lost = None

    async def on_receive(self, message: Any) -> None:
        """Take the one message of an agent's life."""
        match message:
            case Perform():
                await self._perform(message.message)
            case _:
                raise TypeError(f"an agent takes Perform, not {type(message).__name__}")

    async def _perform(self, message: Message) -> None:
        started = trio.current_time()
        try:
            self._message = message
            self._route = await self._find_route()
            self._grammar = grammar = RunGrammar(message.run)
            grammar.apply("agent_started", None)
            try:
                result = await self._work_on(message)
                terminal, data = "agent_completed", {"result": result}
            except Exception as error:
                told = _the_only(error)
                if not isinstance(told, AgentError):
                    raise
                terminal, data = "agent_error", {"code": told.code, "message": told.message}
            if not grammar.ended:
                if terminal == "agent_error":
                    self._cut_open_calls(grammar)
                else:
                    data["duration_ms"] = round((trio.current_time() - started) * 1000)
                await self.emit(terminal, data)
            # A run does not end before its last record is durable.
            while self._pending:
                await next(iter(self._pending.values()))
            if self._lost is not None:
                raise self._lost
        except Refusal as error:
            # For the kernel a refusal is an answer, and the actor lives on; here nobody waits for an answer.
            raise RuntimeError(f"run {message.run} was refused something: {error}") from error
        self.stop()

    def _cut_open_calls(self, grammar: RunGrammar) -> None:
        for call, tool in grammar.open_calls.items():
            if call not in self._cut:
                self._cut[call] = self._completed(call, tool, ok=False, result=None)

    async def _find_route(self) -> Route:
        # A restarted registry first hears from all sessions, and a session that fails waits for its agents to end: one
        # that shields its end would wait for itself, and longer than its session is given to stop.
        seconds = self._work.limits.drain_seconds / 2
        asked = RouteOfRun(self._message.run)
        route: Route = await self._work.registry.ask_async(asked, timeout_seconds=seconds)
        return route


def _in_own_name(type: str, data: Any) -> Any:
    """What an agent says, it says itself: `by` is not its to choose (law S7)."""
    if isinstance(data, Mapping) and (type == "agent_error" or (type == "tool_completed" and "by" in data)):
        return {**data, "by": "agent"}
    return data


def _as_json(arguments: Any) -> Any:
    return dict(arguments) if isinstance(arguments, Mapping) else arguments


def _named(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__}


def _the_only(error: Exception) -> Exception:
    """What a nursery wrapped into groups, if it is one exception."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
