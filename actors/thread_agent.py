"""Stock pykka actors as agents: the home of blocking code.

An app may give a `pykka.ThreadingActor` as an agent. Its `on_receive` gets the run as a `BlockingMessage` and does the
work on a thread of its own, with blocking calls to speak. `ThreadAgent` is the agent that stands for it in the session:
the stock actor is its child, and what the thread says goes through it, so a run has the same grammar, back-pressure and
one terminal event as any other. When the run ends from outside, the thread sees a flag, whatever it waits for here
raises, and it has some seconds to come to its end; then it is left behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pykka
import trio

from ..runtime import ChildSpec, Reply, Restart, WouldBlock, loop_of_this_thread
from .agent import Agent, Receipt
from .errors import AgentError, RunEnded
from .messages import Message

if TYPE_CHECKING:
    from .events import Position

__all__ = ["BlockingMessage", "BlockingReceipt", "ThreadAgent"]

T = TypeVar("T")

# What a thread gets to come to its end in when its run has ended from outside, if its class has no `stop_seconds`;
# what OTP gives workers, and callboard asyncio coroutines.
STOP_SECONDS = 5.0


class BlockingReceipt:
    """The acknowledgement of one `emit` on a thread."""

    def __init__(self, agent: ThreadAgent, receipt: Receipt) -> None:
        self._agent = agent
        self._receipt = receipt

    def get(self, *, timeout: float | None = None) -> Position:
        """Block until the record is durable, and give its position.

        Raises:
            pykka.Timeout: it is not after `timeout` seconds; it may be tried again.
            StoreUnavailable: the journal did not take it.
            RunEnded: the run was ended from outside.
        """

        async def wait() -> Position:
            return await self._receipt

        return self._agent.on_loop(wait).get(timeout=timeout)


@attrs.frozen(eq=False)
class BlockingMessage(Message):
    """A run, as the `on_receive` of a `pykka.ThreadingActor` gets it.

    ::

        class Primes(pykka.ThreadingActor):
            def on_receive(self, message):
                for number in candidates(message.text):
                    if message.cancelled:
                        return None  # nobody wants it any more
                    message.emit("agent_thinking", {"text": f"Is {number} prime?"})
                return "…"  # any JSON value: the `result` of agent_completed

    Its methods block, and may be called on any thread that runs no loop of trio or asyncio. Raise `AgentError` to end
    the run with an error that the user is to read.
    """

    _by: ThreadAgent = attrs.field(kw_only=True, repr=False)

    @property
    def cancelled(self) -> bool:
        """Whether the run has ended from outside: nothing that is said or returned is wanted any more."""
        return self._by.over

    def emit(self, type: str, data: Mapping[str, Any]) -> BlockingReceipt:
        """Say something in the session; see `Agent.emit`. Blocks while too much of this run is not durable yet.

        Raises:
            RunEnded: the run was ended from outside.
            InvalidEvent, GrammarError, StoreUnavailable: as in `Agent.emit`.
        """
        agent = self._by
        return BlockingReceipt(agent, agent.on_loop(agent.emit, type, data).get())

    def tool(self, name: str, arguments: Mapping[str, Any], function: Callable[[], T]) -> T:
        """Call a tool on this thread, between its `tool_executing` and its `tool_completed`; see `Agent.tool`.

        Raises:
            RunEnded: the run was ended from outside. `function` runs to its end all the same: it may look at
                `cancelled`.
            Exception: whatever `function` raised.
        """
        begun: Reply[None] = Reply(what="the beginning of a tool call")
        worked: Reply[T] = Reply(what=f"the tool {name}")

        async def wait_for_thread() -> T:
            begun.offer(None)
            return await worked.wait()

        done: Reply[T] = self._by.on_loop(self._by.tool, name, arguments, wait_for_thread, then=begun)
        begun.get()
        if not done.done:
            try:
                worked.offer(function())
            except Exception as error:  # noqa: BLE001 - `done` raises it again, once the call is completed
                worked.offer_exception(error)
            except BaseException as error:
                worked.offer_exception(RuntimeError(f"the thread was ended by {type(error).__name__}"))
                raise
        return done.get()


class ThreadAgent(Agent):
    """The agent that stands for a stock actor, made and not started."""

    def __init__(self, subject: pykka.ThreadingActor) -> None:
        super().__init__()
        self._subject = subject
        self._nursery: trio.Nursery | None = None
        self.over = False
        """The thread's work is not wanted any more, or done."""

    async def run(self, message: Message) -> Any:
        """Have the thread do the work."""
        limit = self._work.limits.threads
        if self.system.threads >= limit:
            raise AgentError("busy", f"{limit} threads are at work, which is the limit of this node; try again later.")
        work = BlockingMessage(**{field.name: getattr(message, field.name) for field in attrs.fields(Message)}, by=self)
        subject: Any = self._subject
        subject.on_receive = _with_outcome(subject.on_receive)
        stop_seconds = getattr(subject, "stop_seconds", STOP_SECONDS)
        thread = await self.spawn(ChildSpec("thread", lambda: subject, Restart.TEMPORARY, stop_seconds))
        outcome: Any = None
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    outcome = await thread.ask_async(work)
                except Exception as error:  # noqa: BLE001 - raised below, where no nursery wraps it
                    outcome = _Raised(error)
                self._nursery.cancel_scope.cancel()
        finally:
            self.over = True
            self._nursery = None
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome

    def on_loop(self, function: Callable[..., Awaitable[T]], *args: Any, then: Reply[None] | None = None) -> Reply[T]:
        """Call an async function of this agent for its thread, on the loop; on any other thread.

        Args:
            function: what to call; it is cancelled when the run ends.
            args: its arguments.
            then: ends too, once the answer is there.
        """
        if loop := loop_of_this_thread():
            raise WouldBlock(f"a BlockingMessage would block this thread's {loop} loop; use an Agent or AsyncioAgent")
        answer: Reply[T] = Reply(what="the agent of a thread")
        if then is not None:

            def ended(_: Reply[Any]) -> None:
                then.offer(None)

            answer.on_done = ended
        try:
            self.system.from_thread(self._begin, function, args, answer)
        except pykka.ActorDeadError:
            answer.offer_exception(self._ended())
        return answer

    def _begin(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], answer: Reply[Any]) -> None:
        if self._nursery is None or self._nursery.cancel_scope.cancel_called:
            self.system.count_refused()
            answer.offer_exception(self._ended())
        else:
            self._nursery.start_soon(self._answer, function, args, answer)

    async def _answer(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], answer: Reply[Any]) -> None:
        try:
            answer.offer(await function(*args))
        except trio.Cancelled:
            answer.offer_exception(self._ended())
            raise
        except Exception as error:  # noqa: BLE001 - it is raised on the thread
            answer.offer_exception(error)

    def _ended(self) -> RunEnded:
        return RunEnded(f"run {self._message.run} has ended")


@attrs.frozen
class _Raised:
    """What ended the work."""

    error: Exception


def _with_outcome(on_receive: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # An AgentError is the author's own word and no failure of the actor.
    def receive(message: Any) -> Any:
        try:
            return on_receive(message)
        except AgentError as error:
            return _Raised(error)

    return receive
