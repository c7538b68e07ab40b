"""`Agent`: the code that does the work of a run in a worker, as authors write it. It looks like `callboard.Agent`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, ClassVar, TypeVar, overload

import attrs
import trio

from ...actors import TERMINALS, Event, GrammarError, InvalidEvent, Message, RunGrammar
from ..protocol import RunEvent, encode_agents
from .work import Work

__all__ = ["Agent", "Receipt"]

T = TypeVar("T")


@attrs.frozen(eq=False)
class Receipt:
    """The acknowledgement of one `emit`: awaiting it waits until the record is durable.

    Raises:
        EventRefused: the node did not record it.
    """

    _work: Work
    _n: int

    def __await__(self) -> Generator[Any, Any, None]:
        return self._work.wait_settled(self._n).__await__()


class Agent:
    """Subclass it and write `run`. One is made for each attempt at a run."""

    restartable: ClassVar[bool] = False
    """Whether another worker may begin a run again when this one is lost. What was said of it stays said."""

    attempt: int = 1
    """Which attempt at the run this is: above 1 where a worker was lost."""

    _work: Work
    _grammar: RunGrammar
    _calls = 0

    async def run(self, message: Message) -> Any:
        """Do the work. What is returned, any JSON value, becomes the `result` of `agent_completed`.

        It is cancelled when the run ends from outside: its user cancels it, its deadline passes, or it is another
        worker's by now. Raise `AgentError` to end it with an error that the user is to read.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define `async def run(self, message)`")

    async def emit(self, type: str, data: Mapping[str, Any]) -> Receipt:
        """Say something in the session: `agent_thinking`, `agent_delta`, `x.…`, and the tool events.

        Waits for room only, also while there is no connection; awaiting the receipt waits for durability.

        Raises:
            InvalidEvent: the type is unknown, a field is missing, or JSON cannot hold the data exactly.
            GrammarError: the event is out of place in this run, or not an agent's to say.
        """
        work = self._work
        limits = work.limits
        if type in TERMINALS or type == "agent_started":
            raise GrammarError(f"{type} is said by the end of `run`, or by the session")
        event = Event.make("", type, work.run, data, max_bytes=limits.event_bytes, max_depth=limits.depth)
        self._grammar.apply(type, event.call, event.tool)
        said = dict(data)
        n = await work.say(
            lambda n: encode_agents(RunEvent(run=work.run, attempt=work.attempt, n=n, type=type, data=said))
        )
        return Receipt(work, n)

    @overload
    async def tool(self, name: str, arguments: Mapping[str, Any], function: Callable[[], Awaitable[T]]) -> T: ...

    @overload
    async def tool(self, name: str, arguments: Mapping[str, Any], function: Callable[[], T]) -> T: ...

    async def tool(self, name: str, arguments: Mapping[str, Any], function: Callable[[], Any]) -> Any:
        """Call a tool, between its `tool_executing` and its `tool_completed`.

        A plain `function` runs in a worker thread. If it raises, the call completes with ``ok: false`` and the
        exception's type, and the exception is raised here again.
        """
        self._calls += 1
        call = f"call-{self.attempt}-{self._calls}"
        await self.emit("tool_executing", {"call": call, "tool": name, "arguments": dict(arguments)})
        began = trio.current_time()

        async def completed(*, ok: bool, result: Any) -> None:
            took = round((trio.current_time() - began) * 1000)
            done = {"call": call, "tool": name, "ok": ok, "result": result, "duration_ms": took}
            await self.emit("tool_completed", done)

        try:
            if inspect.iscoroutinefunction(function):
                result = await function()
            else:
                (result,) = await trio.to_thread.run_sync(lambda: (function(),), abandon_on_cancel=True)
                if inspect.isawaitable(result):
                    result = await result
        except Exception as error:
            await completed(ok=False, result={"error": type(error).__name__})
            raise
        try:
            await completed(ok=True, result=result)
        except InvalidEvent as error:
            await completed(ok=False, result={"error": type(error).__name__})
            raise
        return result

    def _begin(self, work: Work) -> None:
        self._work = work
        self.attempt = work.attempt
        self._grammar = RunGrammar(work.run)
        self._grammar.apply("agent_started", None)
