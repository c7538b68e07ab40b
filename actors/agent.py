"""`Agent`: the code that does the work of a run, as authors write it.

One agent is made for each run. It lives under the session's supervision: when it raises, hangs past its deadline or is
cancelled, the session writes the run's one terminal event (law S6). Its events go to the session by the registry's
route.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, ClassVar, TypeVar, cast

import attrs
import trio

from ..runtime import Actor, Ref, Refusal, Reply
from .errors import AgentError, GrammarError
from .events import TERMINALS, Event, Position
from .grammar import RunGrammar
from .limits import Limits
from .messages import Message, Perform, Publish, Route, RouteOfRun

__all__ = ["Agent", "Receipt"]

T = TypeVar("T")

# What only a session or a supervisor may say; an agent that could would make events that are not its own (law S7).
RESERVED = frozenset(("agent_started", "agent_cancelled"))


class Receipt:
    """The acknowledgement of one `emit`. Awaiting it waits until the record is durable, and gives its `Position`."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply[Position]) -> None:
        self._reply = reply

    def __await__(self) -> Generator[Any, Any, Position]:
        return self._reply.__await__()


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
    _grammar: RunGrammar
    _room: trio.Event
    _n: int
    _calls: int
    _undurable: int

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
        """
        if type in RESERVED:
            raise GrammarError(f"{type} is said by the session, not by an agent")
        data = dict(data)
        if type == "agent_error":
            data.setdefault("by", "agent")
        while self._undurable > self._work.limits.window_bytes:
            await self._room.wait()
        while self._route.withdrawn:
            self._route = await self._find_route()
        # From here to the mailbox there is no task switch, so two tasks of one agent cannot mix up their events.
        run = self._message.run
        n = self._n + 1
        event = Event.make(
            f"{run}/end" if type in TERMINALS else f"{run}/{n}",
            type,
            run,
            data,
            max_bytes=self._work.limits.event_bytes,
            max_depth=self._work.limits.depth,
        )
        tool = str(data.get("tool", ""))
        self._grammar.apply(type, event.call, tool)
        self._n = n
        size = len(event.body)
        self._undurable += size
        try:
            reply = await self._route.ref.submit(Publish(run, n, event, tool))
        except BaseException:
            self._grammar.take_back(type, event.call, tool)
            self._durable(size)
            raise
        if reply.done:
            self._durable(size)
        else:
            reply.on_done = lambda _: self._durable(size)
        return Receipt(reply)

    def _durable(self, size: int) -> None:
        self._undurable -= size
        room, self._room = self._room, trio.Event()
        room.set()

    async def tool(self, name: str, arguments: Mapping[str, Any], function: Callable[[], T | Awaitable[T]]) -> T:
        """Call a tool, between its `tool_executing` and its `tool_completed`.

        A plain `function` runs in a worker thread, an async one here. Its result has to be JSON data. If it raises, the
        call completes with ``ok: false`` and the exception's type, and the exception is raised here again.
        """
        self._calls += 1
        call = f"call-{self._calls}"
        await self.emit("tool_executing", {"call": call, "tool": name, "arguments": dict(arguments)})
        started = trio.current_time()
        completed = {"call": call, "tool": name, "ok": True, "result": None, "duration_ms": 0}
        try:
            if inspect.iscoroutinefunction(function):
                result = cast(T, await function())
            else:
                # Abandoned when the run is cancelled: a thread cannot be stopped, and nobody waits for it.
                result = cast(T, await trio.to_thread.run_sync(function, abandon_on_cancel=True))
                if inspect.isawaitable(result):
                    result = await result
        except Exception as error:
            completed.update(ok=False, result={"error": type(error).__name__})
            completed["duration_ms"] = _milliseconds(started)
            await self.emit("tool_completed", completed)
            raise
        completed.update(result=result, duration_ms=_milliseconds(started))
        await self.emit("tool_completed", completed)
        return result

    # -- mechanism ----------------------------------------------------------------------------------------------------

    def prepare(self, registry: Ref[Any], limits: Limits) -> None:
        """Give the agent what it needs of its node; the session does so before the run."""
        self._work = _Work(registry, limits)

    async def on_receive(self, message: Any) -> None:
        """Take the one message of an agent's life."""
        match message:
            case Perform():
                await self._perform(message.message)
            case _:
                raise TypeError(f"an agent takes Perform, not {type(message).__name__}")

    async def _perform(self, message: Message) -> None:
        self._message = message
        self._n = 0
        self._calls = 0
        self._undurable = 0
        self._room = trio.Event()
        self._grammar = RunGrammar(message.run)
        self._grammar.apply("agent_started", None)
        self._route = await self._find_route()
        started = trio.current_time()
        try:
            result = await self.run(message)
            terminal, data = "agent_completed", {"result": result, "duration_ms": 0}
        except AgentError as error:
            terminal, data = "agent_error", {"code": error.code, "message": error.message, "by": "agent"}
            for call, tool in list(self._grammar.open_calls.items()):
                closing = {"call": call, "tool": tool, "ok": False, "result": None, "duration_ms": 0}
                await self.emit("tool_completed", closing)
        except Refusal as error:
            # For the kernel a refusal is an answer, and the actor lives on; here nobody waits for an answer.
            raise RuntimeError(f"run {message.run} was refused something: {error}") from error
        if not self._grammar.ended:
            if terminal == "agent_completed":
                data["duration_ms"] = _milliseconds(started)
            await self.emit(terminal, data)
        # A run does not end before its last record is durable.
        while self._undurable:
            await self._room.wait()
        self.stop()

    async def _find_route(self) -> Route:
        route: Route = await self._work.registry.ask_async(RouteOfRun(self._message.run))
        return route


def _milliseconds(since: float) -> int:
    return round((trio.current_time() - since) * 1000)
