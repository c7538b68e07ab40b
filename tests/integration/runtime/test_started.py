"""Pykka's `start()`: where such an actor lives, what an exception means there, when its host thread comes and goes."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
import trio

from callboard.runtime import Actor, AskTimeout, MailboxFull, NotRunning, WouldBlock, open_system
from tests.integration.runtime.test_thread_actors import PATIENCE_SECONDS, Threaded
from tests.runtime.kit import dead_letters, nap

HOST_THREAD = "callboard: started actors"


class Told(Actor):
    """Calls what it is sent with itself; writes down its hooks and where they ran."""

    mailbox_capacity = 5

    def __init__(self, log: list[Any] | None = None) -> None:
        super().__init__()
        self.log: list[Any] = [] if log is None else log

    def on_start(self) -> None:
        self.log.append(("start", threading.current_thread().name))

    def on_stop(self) -> None:
        self.log.append(("stop", self.actor_ref.is_alive(), self.actor_ref in pykka.ActorRegistry.get_all()))

    def on_failure(self, *why: Any) -> None:
        self.log.append(("failure", why[0].__name__, self.actor_ref.is_alive()))

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else message


def host_threads() -> list[threading.Thread]:
    """The threads of started actors; there is never more than one that takes actors."""
    return [thread for thread in threading.enumerate() if thread.name == HOST_THREAD]


@pytest.fixture(autouse=True)
def all_is_gone() -> Iterator[None]:
    """After each test no actor is registered, and the host thread has ended by itself."""
    yield
    assert pykka.ActorRegistry.get_all() == []
    for thread in host_threads():
        thread.join(PATIENCE_SECONDS)
    assert host_threads() == []


def raising(error: BaseException) -> Any:
    """A message whose handler raises."""

    def do(_: Told) -> None:
        raise error

    return do


def test_without_a_system_it_lives_on_the_host_thread() -> None:
    """All started actors of a program share one daemon thread, which is there as long as they are."""
    first, second = Told.start(), Told.start()
    assert {first, second} == set(pykka.ActorRegistry.get_all())
    (thread,) = host_threads()
    assert thread.daemon
    assert first.ask(lambda _: threading.current_thread()) is thread
    assert second.ask(lambda actor: nap(0, actor.log)) == [("start", HOST_THREAD)]
    assert first.stop() is True
    assert first.stop() is False
    assert second.ask(1) == 1
    assert second.stop() is True
    thread.join(PATIENCE_SECONDS)
    third = Told.start()  # on a thread of its own again
    assert third.ask(lambda _: threading.current_thread()) is not thread
    third.stop()


def test_init_runs_on_the_calling_thread_and_raises_there() -> None:
    """As in pykka; the rest of the actor's life is on the host thread."""

    class Made(Told):
        def __init__(self, fail: bool) -> None:
            super().__init__()
            self.made_on = threading.current_thread()
            if fail:
                raise ValueError("no such thing")

    ref = Made.start(fail=False)
    assert ref.proxy().made_on.get() is threading.current_thread()
    with pytest.raises(ValueError, match="no such thing"):
        Made.start(fail=True)
    assert pykka.ActorRegistry.get_all() == [ref]
    ref.stop()


def test_an_exception_in_an_ask_is_the_answer_and_in_a_tell_the_end() -> None:
    """Pykka's rule, for plain handlers and coroutines; whoever is gone is gone before its hook runs."""
    log: list[Any] = []
    ref = Told.start(log)

    async def fail() -> None:
        raise KeyError("async")

    with pytest.raises(ValueError, match="asked"):
        ref.ask(raising(ValueError("asked")))
    with pytest.raises(KeyError, match="async"):
        ref.ask(lambda _: fail())
    assert ref.ask("still there") == "still there"
    ref.tell(raising(ValueError("told")))
    assert ref.actor_stopped.wait(PATIENCE_SECONDS)
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ref.tell(1)
    for thread in host_threads():
        thread.join(PATIENCE_SECONDS)
    assert log == [("start", HOST_THREAD), ("failure", "ValueError", False)]


def test_what_is_no_exception_stops_all_actors() -> None:
    """Pykka's rule: SystemExit in one actor stops every actor, the stock ones too; the asker gets it."""
    log: list[Any] = []
    others: list[pykka.ActorRef[Any]] = [Told.start(log), Threaded.start(log)]
    ref = Told.start()
    with pytest.raises(SystemExit):
        ref.ask(raising(SystemExit(1)))
    for other in others:
        assert other.actor_stopped.wait(PATIENCE_SECONDS)
    for thread in threading.enumerate():
        if thread.name == HOST_THREAD or thread.name.startswith("Threaded-"):
            thread.join(PATIENCE_SECONDS)
    assert ("stop", False, False) in log
    assert "stop" in log


def test_pykkas_registry_stops_callboards_and_stock_actors_alike() -> None:
    """`stop_all` stops the youngest first and waits for each; actors of both kinds ask each other before."""
    log: list[Any] = []
    told, stock = Told.start(log), Threaded.start(log)
    assert stock.ask(lambda _: told.ask(1)) == 1
    pykka.ActorRegistry.broadcast("to all")
    assert pykka.ActorRegistry.stop_all() == [True, True]
    assert [each for each in log if "stop" in each] == ["stop", ("stop", False, False)]


def test_stopping_again_and_again_from_many_threads_leaves_nothing() -> None:
    """The host thread ends and starts anew while others start actors: none of them is lost."""
    answers: list[list[int]] = [[] for _ in range(4)]

    def start_and_stop(mine: list[int]) -> None:
        for number in range(25):
            ref = Told.start()
            mine.append(ref.ask(number))
            ref.stop()

    threads = [threading.Thread(target=start_and_stop, args=(mine,)) for mine in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert answers == 4 * [list(range(25))]


async def test_in_an_open_system_it_lives_there() -> None:
    """The innermost system of this thread takes it; it stops with that, and its failure ends nobody else."""
    log: list[Any] = []
    async with open_system("outer") as outer:
        async with open_system("inner") as inner:
            ref = Told.start(log)
            assert log == []  # `on_start` runs in a turn of its own
            assert await ref.ask_async(lambda actor: actor.system) is inner
            broken = Told.start()
            broken.tell(raising(ValueError("told")))
            await broken.wait_gone()
            assert dead_letters(inner) == {reason: 1 for reason in dead_letters(inner) if reason.value == "crashed"}
            assert await ref.ask_async(1) == 1
            assert host_threads() == []
        assert not ref.is_alive()
        assert log[-1] == ("stop", False, False)
        second = Told.start()
        assert await second.ask_async(lambda actor: actor.system) is outer
        await second.stop(block=False)

        class Last(Actor):
            def on_stop(self) -> None:
                with pytest.raises(NotRunning, match="outer is stopping"):
                    Told.start()
                log.append("refused")

        await outer.spawn(Last, id="last")
    assert log[-1] == "refused"


async def test_a_thread_beside_an_open_system_has_none() -> None:
    """Only the thread that runs the system counts: others get the host thread."""
    async with open_system():
        ref = await trio.to_thread.run_sync(Told.start)
        assert await ref.ask_async(lambda _: threading.current_thread().name) == HOST_THREAD
        assert await ref.stop(block=False)


async def test_blocking_calls_raise_on_the_trio_thread() -> None:
    """Each says what to use instead."""
    async with open_system():
        ref = Told.start()
        for call in (
            lambda: ref.ask(1),
            lambda: ref.ask(1, block=False).get(),
            lambda: ref.proxy().log.get(),
            ref.stop,
            lambda: ref.actor_stopped.wait(1),
            pykka.ActorRegistry.stop_all,
        ):
            with pytest.raises(WouldBlock, match="await"):
                call()
        with pytest.raises(AskTimeout):
            await ref.ask_async(lambda _: nap(60), timeout_seconds=0.01)
        for _ in range(5):
            ref.tell("fill")
        with pytest.raises(MailboxFull):
            ref.tell("one too many")
        await ref.stop(block=False)


def run_program(text: str) -> subprocess.CompletedProcess[str]:
    """Run a small program in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(text)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))


def test_at_the_interpreters_exit_started_actors_stop_in_order() -> None:
    """A program that just ends: the youngest stops first, `on_stop` runs, and the process is not held up."""
    done = run_program(
        """
        from callboard.runtime import Actor

        class Told(Actor):
            def __init__(self, name):
                super().__init__()
                self.name = name

            async def on_stop(self):
                print(self.name, "stops")

        first, second = Told.start("first"), Told.start("second")
        first.tell("something")
        print("the end")
        """
    )
    assert (done.stdout, done.stderr, done.returncode) == ("the end\nsecond stops\nfirst stops\n", "", 0)


def test_a_forked_process_starts_a_host_thread_of_its_own() -> None:
    """The thread of the parent does not exist in the child, which would wait for it for ever."""
    done = run_program(
        """
        import os, warnings
        warnings.simplefilter("ignore")  # Python 3.12 and newer warn of every fork with threads
        from callboard.runtime import Actor

        class Told(Actor):
            def on_receive(self, message):
                return message

        ref = Told.start()
        child = os.fork()
        if child == 0:
            own = Told.start()
            print(own.ask("child", timeout=30), own.stop(), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print(ref.ask("parent"), ref.stop())
        """
    )
    assert (done.stdout, done.returncode) == ("child True\nparent True\n", 0), done.stderr
