"""A11: tell, ask and stop from any thread and any event loop, on the real clock.

Nothing here sleeps: threads wait for events, barriers and answers.
"""

import asyncio
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import pykka
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.runtime import Actor, AskTimeout, MailboxFull, Overflow, Ref, Refusal, Reply, WouldBlock, open_system
from tests.runtime.kit import Raise, Sleep, Worker, nap


class Collecting(Actor):
    """Notes what it handles, with a small mailbox; now and then it is slow."""

    mailbox_capacity = 3

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log

    def on_receive(self, message: Any) -> Any:
        self.log.append(message)
        if message[-1] == "slow":
            return nap(0, message)
        if message[-1] == "refuse":
            raise Refusal(message)
        return message


@contextmanager
def hosted(*factories: Callable[[], pykka.Actor]) -> Iterator[list[Ref[Any]]]:
    """Actors in a trio loop of another thread, as a sync program has them; the loop is ended with the block."""
    started: queue.Queue[Any] = queue.Queue()

    async def main() -> None:
        async with open_system() as system:
            refs = [await system.spawn(factory, id=str(n)) for n, factory in enumerate(factories)]
            end = trio.Event()
            token = trio.lowlevel.current_trio_token()
            started.put((refs, lambda: token.run_sync_soon(end.set)))
            await end.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    refs, end = started.get()
    try:
        yield refs
    finally:
        end()
        thread.join()


def in_threads(*functions: Callable[[], Any]) -> list[Any]:
    """Run them at the same time; their results, or what they raised."""
    results: list[Any] = [None] * len(functions)
    barrier = threading.Barrier(len(functions))

    def run(number: int, function: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            results[number] = function()
        except Exception as error:  # noqa: BLE001 - it is compared by whoever started the thread
            results[number] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


messages = st.lists(
    st.tuples(st.sampled_from(["tell", "ask", "future"]), st.sampled_from(["", "", "slow", "refuse"])), max_size=30
)


# A11
@settings(max_examples=30)
@given(shares=st.lists(messages, min_size=1, max_size=4))
def test_threads_are_heard_completely_and_in_order(shares: list[list[tuple[str, str]]]) -> None:
    """Through a mailbox of three: `tell` blocks for room, each ask gets its own answer, nothing is lost or doubled."""
    log: list[Any] = []
    with hosted(lambda: Collecting(log)) as (ref,):

        def speak(name: int, share: list[tuple[str, str]]) -> list[Any]:
            answers: list[Any] = []
            futures: list[pykka.Future[Any]] = []
            for number, (how, what) in enumerate(share):
                message = (name, number, what if how != "tell" or what != "refuse" else "")
                try:
                    if how == "tell":
                        ref.tell(message)
                    elif how == "ask":
                        answers.append(ref.ask(message))
                    else:
                        futures.append(ref.ask(message, block=False))
                except Refusal as refusal:
                    answers.append(refusal.args[0])
            for future in futures:
                try:
                    answers.append(future.get())
                except Refusal as refusal:
                    answers.append(refusal.args[0])
            return sorted(answers)

        answers = in_threads(*[partial(speak, name, share) for name, share in enumerate(shares)])
        ref.stop()
    for name, share in enumerate(shares):
        assert [number for who, number, _ in log if who == name] == [*range(len(share))]
        asked = [number for number, (how, _) in enumerate(share) if how != "tell"]
        assert [answer[:2] for answer in answers[name]] == [(name, number) for number in asked]
    assert len(log) == sum(len(share) for share in shares)


# A11
@settings(max_examples=30)
@given(
    threads=st.integers(1, 4),
    asks=st.integers(1, 40),
    end=st.sampled_from(["stop", "close", "kill", "crash"]),
    after=st.integers(0, 20),
)
def test_every_ask_of_a_thread_ends_while_the_actor_ends(threads: int, asks: int, end: str, after: int) -> None:
    """Stopped, killed, crashed, or its whole loop ended under the hands of those who ask: nobody hangs."""
    with hosted(lambda: Collecting([])) as (ref,):
        go = threading.Semaphore(0)

        def ask(name: int) -> list[Any]:
            outcomes: list[Any] = []
            for number in range(asks):
                go.release()
                message = (name, number, "slow")
                try:
                    outcomes.append(ref.ask(message) == message)
                except pykka.ActorDeadError:
                    outcomes.append("dead")
            return outcomes

        def finish() -> None:
            for _ in range(min(after, threads * asks)):
                go.acquire()
            if end == "stop":
                ref.stop()
            elif end == "close":
                closing.__exit__(None, None, None)
            elif end == "kill":
                ref.kill()
            else:
                ref._cell.system.from_thread(ref._cell.request_kill, ValueError("crash"))

        other = hosted(lambda: Collecting([]))
        if end == "close":
            closing = other
            (ref,) = closing.__enter__()
        *outcomes, finished = in_threads(*[partial(ask, name) for name in range(threads)], finish)
        assert finished is None
        for own in outcomes:
            assert len(own) == asks
            # One killed handler may be in between; after the end of the actor there are only dead ones.
            if end in ("stop", "close"):
                assert own == sorted(own, key=lambda outcome: outcome == "dead")
            else:
                assert own.count("dead") <= 1
            assert set(own) <= {True, "dead"}


def test_a_threads_message_that_meets_the_end_is_buried() -> None:
    """The actor ends between a thread's look at the mailbox and its putting the message in: the ask must not hang."""
    gone = threading.Event()
    looked = threading.Semaphore(0)

    class Late(deque[Any]):
        """The queue of a thread that is held up in just that moment."""

        def append(self, envelope: Any) -> None:
            if not trio.lowlevel.in_trio_task():
                looked.release()
                assert gone.wait(60)
            super().append(envelope)

    with hosted(Worker) as (ref,):
        ref._cell.queue = Late()
        ref.when_gone(lambda _: gone.set())

        def end() -> None:
            for _ in range(2):
                looked.acquire()
            ref._cell.system.from_thread(ref._cell.control, ref._cell.begin_stop)

        asked, told, ended = in_threads(lambda: ref.ask("question"), lambda: ref.tell("note"), end)
        assert isinstance(asked, pykka.ActorDeadError)
        assert (told, ended) == (None, None)
        arrived = threading.Event()
        ref._cell.system.from_thread(arrived.set)  # behind the news of both messages
        assert arrived.wait(60)
        assert not ref._cell.queue
        assert ref._cell.system.dead_letters.counts()["stopped"] == 2


def test_stop_from_a_thread_says_whether_the_actor_was_alive() -> None:
    """True once, then False; also when its whole loop has ended. A tell raises, and `tell_if_alive` does not."""
    with hosted(Worker, Worker) as (first, second):
        assert first.stop() is True
        assert first.stop() is False
        assert second.stop(block=False).get() is True
        assert not first.is_alive()
        third = second
    for ref in (first, third):
        assert ref.stop() is False
        assert ref.stop(block=False).get() is False
        with pytest.raises(pykka.ActorDeadError):
            ref.tell("late")
        with pytest.raises(pykka.ActorDeadError):
            ref.ask("late")
        with pytest.raises(pykka.ActorDeadError):
            ref.ask("late", block=False).get()
        assert ref.tell_if_alive("late") is False
        ref.kill()
        ref.notify("late")


def test_a_drain_keeps_its_place_among_a_threads_messages() -> None:
    """What the thread tells after its stop is not handled, although the stop does not block."""
    for _ in range(20):
        log: list[Any] = []
        with hosted(partial(Collecting, log)) as (ref,):
            ref.tell(("before",))
            stopped = ref.stop(block=False)
            ref.tell_if_alive(("after",))
            assert stopped.get() is True
        assert log == [("before",)]


def test_a_thread_that_gives_up_cancels_the_handler() -> None:
    """A5 across threads: `ask` with a time-out abandons its question."""
    log: list[Any] = []
    ended = threading.Event()

    class Noting(Worker):
        async def _sleep(self, seconds: float, value: Any) -> Any:
            try:
                return await super()._sleep(seconds, value)
            finally:
                ended.set()

    with hosted(lambda: Noting(log)) as (ref,):
        with pytest.raises(pykka.Timeout, match=r"no answer within 0\.01 seconds"):
            ref.ask(Sleep(1_000, "work"), timeout=0.01)
        assert ended.wait(60)
        assert [event for event, *_ in log] == ["begin", "cancelled"]
        assert ref.ask("next") == "next"


def test_a_future_may_be_asked_again_after_a_time_out() -> None:
    """Pykka's `get(timeout=)` gives up waiting, not the question."""
    with hosted(Worker) as (ref,):
        gate: queue.Queue[str] = queue.Queue()

        async def wait(worker: Worker) -> str:
            return await trio.to_thread.run_sync(gate.get)

        future = ref.ask(wait, block=False)
        with pytest.raises(pykka.Timeout):
            future.get(timeout=0.01)
        gate.put("opened")
        assert future.get() == "opened"


def test_several_threads_and_a_task_wait_for_one_future() -> None:
    """All are woken; one that stops waiting takes nothing from the others."""
    with hosted(Worker) as (ref,):
        gate: queue.Queue[str] = queue.Queue()

        async def wait(worker: Worker) -> str:
            return await trio.to_thread.run_sync(gate.get)

        future = ref.ask(wait, block=False)

        async def look() -> None:
            with trio.move_on_after(0):
                await future

        waiting = threading.Barrier(4)

        def get() -> Any:
            waiting.wait()
            return future.get()

        def open_gate() -> None:
            waiting.wait()
            gate.put("opened")

        assert in_threads(get, get, get, open_gate) == ["opened", "opened", "opened", None]
        trio.run(look)
        assert future.get() == "opened"


def test_a_deferred_reply_is_given_by_another_thread() -> None:
    """The asker on a thread and the one on trio are both woken; a second answer is refused."""
    held: queue.Queue[Reply[Any]] = queue.Queue()

    def answer() -> list[str]:
        said = []
        for number in range(2):
            reply = held.get()
            reply.set(number)
            try:
                reply.set("again")
            except queue.Full:
                said.append("refused")
        return said

    with hosted(Worker) as (ref,):

        def ask() -> Any:
            return ref.ask(lambda worker: held.put(worker.defer_reply()))

        async def ask_on_trio() -> Any:
            return await ref.ask_async(lambda worker: held.put(worker.defer_reply()))

        *answers, said = in_threads(ask, partial(trio.run, ask_on_trio), answer)
        assert sorted(answers) == [0, 1]
        assert said == ["refused", "refused"]


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_loops_of_other_threads_ask_and_wait_for_room(loop: str) -> None:
    """Red if a full mailbox blocks such a loop, or a `send` there does not wait for room, or a circle hides there."""
    begun = threading.Event()
    log: list[Any] = []
    with hosted(lambda: Collecting(log), Worker) as (narrow, worker):

        async def work(_: Worker) -> None:
            begun.set()
            await trio.sleep_forever()

        async def elsewhere() -> Any:
            with pytest.raises(MailboxFull, match=f"would block this thread's {loop} loop"):
                narrow.tell(("x",))
            with pytest.raises(MailboxFull):
                await narrow.ask_async(("x",))
            with pytest.raises(WouldBlock, match=f"this thread's {loop} loop"):
                worker.ask("x")
            with pytest.raises(WouldBlock, match=f"this thread's {loop} loop"):
                worker.stop()
            reply = await worker.submit(Sleep(60))
            with pytest.raises(WouldBlock, match=f"this thread's {loop} loop"):
                reply.get()
            reply.abandon()
            return await send_and_make_room()

        async def make_room() -> Any:
            answer = await worker.ask_async("hello")  # the sender stands in line by now
            assert ("sent",) not in log
            narrow.kill()
            return answer

        async def send_and_make_room() -> Any:
            if loop == "asyncio":
                return (await asyncio.gather(narrow.send(("sent",)), make_room()))[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(narrow.send, ("sent",))
                return await make_room()

        narrow._cell.system.from_thread(setattr, narrow._cell, "receive", work)
        narrow.tell("busy")
        assert begun.wait(60)
        for n in range(3):
            narrow.tell((n,))
        assert (trio.run(elsewhere) if loop == "trio" else asyncio.run(elsewhere())) == "hello"
        narrow.stop()
    assert log == [(0,), (1,), (2,), ("sent",)]


def test_an_asyncio_loop_tells_and_asks() -> None:
    """`tell` works in place, `ask_async` and futures are awaited there, `ask` works in a thread of asyncio's."""
    log: list[Any] = []
    with hosted(lambda: Worker(log)) as (ref,):

        async def main() -> Any:
            ref.tell("told")
            assert await ref.ask_async("asked", timeout_seconds=60) == "asked"
            assert await ref.ask("future", block=False).map(str.upper) == "FUTURE"
            assert await (await ref.submit("submitted")) == "submitted"
            with pytest.raises(LookupError, match="wrong"):
                await ref.ask_async(Raise(LookupError("wrong")))
            answers = await asyncio.gather(*[asyncio.to_thread(ref.ask, n) for n in range(5)])
            stopped = await ref.stop(block=False)
            with pytest.raises(pykka.ActorDeadError):
                await ref.ask_async("late")
            assert await ref.wait_gone() is None
            return sorted(answers), stopped

        assert asyncio.run(main()) == ([0, 1, 2, 3, 4], True)
    told = [what for what, message in log if what == "handle"]
    assert told == ["handle"] * 9
    assert log[:4] == [("handle", "told"), ("handle", "asked"), ("handle", "future"), ("handle", "submitted")]
    assert sorted(log[5:]) == [("handle", n) for n in range(5)]


@pytest.mark.parametrize("way", ["cancelled", "deadline", "wait_for"])
def test_an_asyncio_task_that_gives_up_cancels_the_handler(way: str) -> None:
    """A5. Red if a question that nobody waits for any more is worked on, or its end is a failure."""
    begun, cancelled = threading.Event(), threading.Event()
    with hosted(Worker) as (ref,):

        async def work(_: Worker) -> None:
            begun.set()
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        async def main() -> None:
            if way == "deadline":
                with pytest.raises(AskTimeout, match=r"did not answer within 0\.01 seconds"):
                    await ref.ask_async(work, timeout_seconds=0.01)
            elif way == "wait_for":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(ref.ask_async(work), 0.01)
            else:
                task = asyncio.create_task(ref.ask_async(work))
                assert await asyncio.to_thread(begun.wait, 60)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            # The deadline may pass while the question still is in the mailbox: then it is never run.
            assert await ref.ask_async("still there") == "still there"
            assert cancelled.is_set() is begun.is_set()

        asyncio.run(main())
        assert ref.ask(lambda worker: worker.restarts) == 0


def test_an_asyncio_loop_that_closes_gives_up_what_its_tasks_waited_for() -> None:
    """Red if the handler works on for a loop that is no more, or its answer breaks something."""
    begun, cancelled = threading.Event(), threading.Event()
    with hosted(Worker) as (ref,):

        async def work(_: Worker) -> None:
            begun.set()
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        async def main() -> None:
            tasks.append(asyncio.create_task(ref.ask_async(work)))
            assert await asyncio.to_thread(begun.wait, 60)

        tasks: list[asyncio.Task[Any]] = []
        asyncio.run(main())  # at its end it cancels what is left
        assert tasks[0].cancelled()
        assert cancelled.wait(60)
        assert ref.ask(lambda worker: worker.restarts) == 0


def test_a_threads_context_travels() -> None:
    """A handler runs in the context of the thread that told."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    with hosted(Worker) as (ref,):

        def ask(name: str) -> Any:
            user.set(name)
            return ref.ask(lambda worker: user.get())

        assert in_threads(partial(ask, "ann"), partial(ask, "bob")) == ["ann", "bob"]


def test_a_thread_waits_for_room_whatever_the_policy() -> None:
    """The policies are for those who must not wait; a thread's message is never dropped."""
    log: list[Any] = []

    class Dropping(Collecting):
        mailbox_overflow = Overflow.DROP_NEWEST
        mailbox_capacity = 1

    with hosted(lambda: Dropping(log)) as (ref,):

        def tell(name: int) -> None:
            for number in range(50):
                ref.tell((name, number, "slow"))

        in_threads(partial(tell, 0), partial(tell, 1))
        ref.stop()
    assert len(log) == 100


@attrs.frozen
class Question:
    """What the stock actor is to ask, and whom."""

    ref: Ref[Any]
    message: Any


class Stock(pykka.ThreadingActor):
    """An actor of pykka's own, with its thread."""

    use_daemon_thread = True

    def on_receive(self, message: Question) -> Any:
        return message.ref.ask(message.message)

    def ask_by_proxy(self, ref: Ref[Any], *numbers: int) -> Any:
        return ref.proxy().add(*numbers).get()


class Adding(Worker):
    """Has methods for a proxy."""

    total = 0

    def add(self, *numbers: int) -> int:
        self.total += sum(numbers)
        return self.total

    async def add_later(self, *numbers: int) -> int:
        await trio.lowlevel.checkpoint()
        return self.add(*numbers)

    def fail(self) -> None:
        raise ValueError("in a method")


def test_a_stock_pykka_actor_asks_one_of_callboard() -> None:
    """From its own thread, by message and by proxy; exceptions and deaths come through."""
    stock = Stock.start()
    try:
        with hosted(Adding) as (ref,):
            assert stock.ask(Question(ref, "hello")) == "hello"
            assert stock.proxy().ask_by_proxy(ref, 1, 2).get() == 3
            with pytest.raises(ValueError, match="crash"):
                stock.ask(Question(ref, Raise(ValueError("crash"))))
            ref.stop()
            with pytest.raises(pykka.ActorDeadError):
                stock.ask(Question(ref, "late"))
    finally:
        stock.stop()


def test_an_envelope_of_pykka_is_answered_in_pykkas_future() -> None:
    """Code that puts envelopes into inboxes itself is served too: answers, exceptions, an actor that is gone."""
    from pykka._envelope import Envelope

    with hosted(Worker) as (ref,):
        future: pykka.ThreadingFuture[Any] = pykka.ThreadingFuture()
        ref.actor_inbox.put(Envelope("hello", reply_to=future))
        assert future.get(timeout=60) == "hello"
        future = pykka.ThreadingFuture()
        ref.actor_inbox.put(Envelope(Raise(ValueError("crash")), reply_to=future))
        with pytest.raises(ValueError, match="crash"):
            future.get(timeout=60)
        assert ref.actor_inbox.empty()
        with pytest.raises(TypeError, match="read by its dispatcher only"):
            ref.actor_inbox.get()


def test_a_proxy_works_from_a_thread() -> None:
    """Attributes, methods, `async def` methods, exceptions, `defer`; an assignment waits as in pykka."""
    with hosted(Adding) as (ref,):
        proxy = ref.proxy()
        assert proxy.add(1, 2).get() == 3
        assert proxy.add_later(4).get() == 7
        assert proxy.total.get() == 7
        proxy.total = 100
        assert proxy.total.get() == 100
        proxy.add.defer(1)
        assert proxy.total.get() == 101
        assert pykka.get_all([proxy.add(0), proxy.add(0)]) == [101, 101]
        with pytest.raises(ValueError, match="in a method"):
            proxy.fail().get()
        # Under a supervisor that was a failure, so a fresh actor answers now.
        assert proxy.total.get() == 0
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = proxy.nothing
        ref.stop()
        with pytest.raises(pykka.ActorDeadError):
            ref.proxy()


async def test_a_proxys_futures_are_awaited_on_trio() -> None:
    """Calls and attributes give futures to await; an assignment would block, and says so."""
    async with open_system() as system:
        ref = await system.spawn(Adding, id="a")
        proxy = await trio.to_thread.run_sync(ref.proxy)
        assert await proxy.add(1, 2) == 3
        assert await proxy.add_later(1) == 4
        assert await proxy.total == 4
        with pytest.raises(WouldBlock):
            proxy.total = 5
        assert await ref.proxy().total == 4


async def test_a_future_with_somebodys_own_hook_is_computed_in_a_thread() -> None:
    """It may block, so it must not do so on the trio thread."""
    future: Reply[bool] = Reply()
    future.set_get_hook(lambda timeout: trio.lowlevel.in_trio_task())
    assert await future is False
    stock: pykka.ThreadingFuture[int] = pykka.ThreadingFuture()
    own: Reply[int] = Reply()
    own.set(1)
    joined = own.join(stock)
    stock.set(2)
    assert await joined == [1, 2]


async def test_actors_watch_and_notify_across_threads() -> None:
    """`kill`, `notify` and `when_gone` may be called on a thread; callbacks come on the trio thread."""
    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Worker(log), id="a")
        gone: list[bool] = []

        def elsewhere() -> None:
            ref.when_gone(lambda _: gone.append(trio.lowlevel.in_trio_task()))
            ref.notify("fact")
            ref.kill()

        await trio.to_thread.run_sync(elsewhere)
        assert await ref.ask_async("after the restart") == "after the restart"
        assert log == [("handle", "fact"), ("handle", "after the restart")]
        await ref.stop(block=False)
        assert gone == [True]
