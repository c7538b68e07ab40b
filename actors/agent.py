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
import msgspec
import trio

from ..runtime import Actor, Ref, Refusal, Reply, in_trio
from .errors import AgentError, GrammarError, InvalidEvent
from .events import TERMINALS, Event, EventKind, Position, fields_of
from .grammar import RunGrammar
from .limits import Limits
from .messages import Message, Perform, Publish, Route, RouteOfRun

__all__ = ["Agent", "Receipt"]

T = TypeVar("T")

# After so many events without a task switch an agent lets others run; as many as a session handles in one turn.
EMITS_IN_A_ROW = 64
# Types of which an agent keeps what their events have in common; an author may use any number of x.* types.
MAX_KINDS = 32

# What only a session or a supervisor may say; an agent that could would make events that are not its own (law S7).
RESERVED = frozenset(("agent_started", "agent_cancelled"))


class Receipt(msgspec.Struct, frozen=True, eq=False):
    """The acknowledgement of one `emit`. Awaiting it waits until the record is durable, and gives its `Position`.

    It may be awaited any number of times, or not at all. Cancelling that takes nothing back: what was said is said.

    Raises:
        StoreUnavailable: the journal did not take it.
        RunEnded: the run had been ended from outside before.
    """

    _said: _Said
    _n: int

    def __await__(self) -> Generator[Any, Any, Position]:
        said = self._said
        return said.wait(self._n - said.first).__await__()


class _Said(Publish):
    """What an agent has said and its session has not acknowledged; the address to which that is answered.

    A `Reply` for each event would cost more than the event.
    """

    __slots__ = ("_agent", "_epoch", "_error", "_session", "_waiting", "size")

    abandoned = False
    """What was said is said: nobody can take it back."""

    def __init__(self, agent: Agent, session: Ref[Any], run: str, first: int, event: Event) -> None:
        self.run = run
        self.first = first
        self.events = [event]
        self.taken = False
        self.seqs = ()
        self.refused = None
        self.size = len(event.body)
        self._agent = agent
        self._session = session
        self._epoch: str | None = None
        self._error: BaseException | None = None
        self._waiting: list[tuple[int, Reply[Position]]] | None = None

    async def wait(self, index: int = -1) -> Position:
        """Wait until an event of these, or the last of them, is durable."""
        if not trio.lowlevel.in_trio_task():
            return await in_trio(self.wait, index)  # an agent on asyncio
        # As one who asks the session, so that an agent does not wait for ever for a session that waits for its end.
        twin: Reply[Position] = self._session.expect("a receipt")
        if self._epoch is not None or self._error is not None:
            self._tell(index, twin)
        elif self._waiting is None:
            self._waiting = [(index, twin)]
        else:
            self._waiting.append((index, twin))
        return await twin.wait()

    def offer(self, value: Position) -> bool:
        """What the session took is durable."""
        if self._epoch is not None or self._error is not None:
            return False
        self._epoch = value.epoch
        self._agent._answered(self, self.refused)
        if self._waiting is not None:
            self._tell_all()
        return True

    def offer_exception(self, error: BaseException) -> bool:
        """Nothing of it is, or ever will be."""
        if self._epoch is not None or self._error is not None:
            return False
        self._error = error
        self._agent._answered(self, error)
        self._tell_all()
        return True

    def _tell_all(self) -> None:
        waiting, self._waiting = self._waiting, None
        for index, twin in waiting or ():
            self._tell(index, twin)

    def _tell(self, index: int, twin: Reply[Position]) -> None:
        index %= len(self.events)
        if self._epoch is not None and index < len(self.seqs):
            twin.offer(Position(self._epoch, self.seqs[index]))
        else:
            error = self._error or self.refused
            assert error is not None, self
            twin.offer_exception(error)


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
    _kinds: dict[str, EventKind]
    # Those of them that change nothing in how far the run has come; none after its end.
    _plain: dict[str, EventKind]
    _window_bytes: int
    # How many events may follow without another look at whether they may.
    _left: int
    # What was said last and can still be added to, while the session has not taken it.
    _open: _Said | None
    _n: int
    _calls: int
    _undurable: int
    # What was said and is not durable yet, oldest first; bounded by `window_bytes`.
    _pending: dict[_Said, None]
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
        was said. While there is room it is no task switch, but for every 64th: whoever computes for long afterwards
        awaits the receipt first, so that what was said goes out.

        Raises:
            InvalidEvent: the type is unknown, a field is missing, or JSON cannot hold the data exactly.
            GrammarError: the event is out of place in this run, or not an agent's to say.
            RunEnded: the run was ended from outside.
            StoreUnavailable: something said before was not taken by the journal.
            AskCycle: the session waits for this agent's end, so it cannot take more; only where the end is shielded.
        """
        said = self._open
        # What nearly all events are: of a type that has been said before and turns nothing, behind others that the
        # session has not taken yet. In one stretch, as a call costs a tenth of it; `_say` is the whole of it.
        if self._left > 0 and said is not None and not said.taken and type.__class__ is str:
            kind = self._plain.get(type)
            if kind is not None:
                n = self._n + 1
                event = kind.make_numbered(n, data)
                self._n = n
                size = len(event.body)
                said.size += size
                said.events.append(event)
                self._undurable = undurable = self._undurable + size
                self._left = self._left - 1 if undurable <= self._window_bytes else 0
                return Receipt(said, n)
        if self._left <= 0 or self._route.withdrawn:
            await self._make_way(type)
        said = self._say(type, data)
        receipt = Receipt(said, self._n)
        if said is not self._open:
            await self._wait_for_room(said)
        return receipt

    async def _make_way(self, type: str) -> None:
        """Wait until the next event may be said."""
        grammar = self._grammar
        if grammar is None:
            fields_of(type)  # raises if there is no such type
            raise GrammarError(f"{type} before the run: an agent speaks while its `run` works")
        for call in list(self._cut):
            closing = self._cut.pop(call, None)
            if closing is None:
                continue  # another task of this agent was faster
            try:
                await self._make_way("tool_completed")
                await self.emit("tool_completed", closing)
            except BaseException:
                self._cut[call] = closing
                raise
        # Nobody waits here for anything, but one that emits without end lets the others have their turn.
        await trio.lowlevel.checkpoint()
        while True:
            if self._lost is not None:
                raise self._lost
            if self._undurable > self._work.limits.window_bytes and self._pending:
                await next(iter(self._pending)).wait()
            elif self._route.withdrawn:
                self._route = await self._find_route()
                self._open = None
            else:
                break
        said = self._open
        if said is None or said.taken or len(said.events) >= EMITS_IN_A_ROW:
            self._open = None
            self._left = EMITS_IN_A_ROW
        else:
            self._left = EMITS_IN_A_ROW - len(said.events)  # which bounds the message, too

    def _say(self, type: str, data: Mapping[str, Any]) -> _Said:
        """Say it, if there is room: then it is in `_open`. Gives what it went with."""
        kind = self._kinds.get(type) if type.__class__ is str else None
        if kind is None:
            kind = self._kind(type)
        n = self._n + 1
        run = self._message.run
        if kind.turning:
            data = _in_own_name(type, data)
        event = kind.make(f"{run}/end", data) if type in TERMINALS else kind.make_numbered(n, data)
        grammar = self._grammar
        assert grammar is not None
        if kind.turning or grammar.ended:
            grammar.apply(type, event.call, event.tool)
            if event.call is not None:
                self._note_call(type, event.call)
            if grammar.ended:
                self._plain.clear()
        self._n = n
        size = len(event.body)
        self._undurable += size
        self._left = self._left - 1 if self._undurable <= self._window_bytes else 0
        said = self._open
        if said is not None and not said.taken:
            said.events.append(event)
            said.size += size
            return said
        said = _Said(self, self._route.ref, run, n, event)
        self._pending[said] = None
        self._open = said if said._session.post_nowait(said, said) else None
        return said

    async def _wait_for_room(self, said: _Said) -> None:
        try:
            await said._session.post(said, said)
        except BaseException:
            event = said.events[0]
            assert self._grammar is not None
            self._grammar.take_back(event.type, event.call, event.tool)
            self._note_plain()
            self._settle(said)
            raise

    def _kind(self, type: str) -> EventKind:
        fields_of(type)  # raises if there is no such type
        if type in RESERVED:
            raise GrammarError(f"{type} is said by the session, not by an agent")
        limits = self._work.limits
        kind = EventKind(type, self._message.run, max_bytes=limits.event_bytes, max_depth=limits.depth)
        if len(self._kinds) < MAX_KINDS:
            self._kinds[type] = kind
            if self._grammar is not None and not self._grammar.ended:
                self._note_plain()
        return kind

    def _note_plain(self) -> None:
        self._plain = {type: kind for type, kind in self._kinds.items() if not kind.turning}

    def _note_call(self, type: str, call: str) -> None:
        if type == "tool_executing":
            self._began[call] = self._clock.current_time()
        else:
            self._began.pop(call, None)

    def _answered(self, said: _Said, error: BaseException | None) -> None:
        if error is not None and self._lost is None:
            self._lost = error
            self._left = 0
        self._settle(said)

    def _settle(self, said: _Said) -> None:
        if said in self._pending:
            del self._pending[said]
            self._undurable -= said.size

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
                self._left = 0
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
        self._window_bytes = limits.window_bytes
        self._left = 0
        self._kinds = {}
        self._plain = {}
        self._open = None
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
                await next(iter(self._pending)).wait()
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
                self._left = 0

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
