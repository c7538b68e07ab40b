"""Stock `pykka.ThreadingActor`s under callboard's supervision: asked, watched, restarted, stopped, left behind.

Real threads and the real clock. Nothing sleeps but deadlines that are tested; threads wait for events.
"""

import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pykka
import pytest
import trio

from callboard.runtime import (
    Actor,
    ActorExited,
    AskCycle,
    AskTimeout,
    ChildSpec,
    Killed,
    MailboxFull,
    NotRunning,
    Ref,
    Refusal,
    Restart,
    RestartsExhausted,
    Supervision,
    cancelled,
    open_system,
)
from tests.runtime.kit import Parent, Sleep, Worker, dead_letters

# Far above what a loaded machine needs; only a hung thread meets it.
PATIENCE_SECONDS = 30


class Threaded(pykka.ThreadingActor):
    """Calls what it is sent with itself; writes down its hooks."""

    mailbox_capacity = 3

    def __init__(self, log: list[Any] | None = None) -> None:
        super().__init__()
        self.log: list[Any] = [] if log is None else log

    def on_start(self) -> None:
        self.log.append("start")

    def on_stop(self) -> None:
        self.log.append("stop")

    def on_failure(self, *why: Any) -> None:
        self.log.append(("failure", why[0].__name__, threading.current_thread().name))

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.log.append(message)
        return message

    def double(self, number: int) -> int:
        return 2 * number


class Gate:
    """A place where a thread waits: `reached` when it is there, until `open`."""

    def __init__(self) -> None:
        self.reached = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._open = threading.Event()
        self.flags: list[bool] = []

    def __call__(self, actor: Threaded) -> str:
        self._token.run_sync_soon(self.reached.set)
        assert self._open.wait(PATIENCE_SECONDS)
        self.flags.append(cancelled())
        return "through"

    def open(self) -> None:
        self._open.set()


def until_cancelled(actor: Threaded) -> None:
    """Work until nobody wants the result any more."""
    actor.log.append("begun")
    pause = threading.Event()
    while not cancelled():
        pause.wait(0.001)
    actor.log.append("saw the flag")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does without telling anybody."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - see above
            await trio.sleep(0.001)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """A test leaves no thread of an actor behind."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("Trio thread"):
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), thread


def raises(error: Exception) -> Any:
    """A message whose handler raises."""

    def do(_: Threaded) -> None:
        raise error

    return do


async def test_it_is_asked_by_trio_and_asks_trio_from_its_own_thread() -> None:
    """A stock actor answers asks and proxies on its own daemon thread, and asks an actor of the loop from there."""
    async with open_system("house") as system:
        ref = await system.spawn(Threaded, id="it")
        other = await system.spawn(Worker, id="other")
        thread = await ref.ask_async(lambda _: threading.current_thread())
        assert (thread.name.rpartition("-")[0], thread.daemon) == ("Threaded", True)
        assert await ref.ask_async(lambda _: other.ask("hello")) == "hello"
        assert await ref.proxy().double(21) == 42
        assert await ref.ask_async(lambda actor: actor.actor_ref) is ref
        assert str(ref) == "Threaded (house/it)"
        assert ref not in pykka.ActorRegistry.get_all()


async def test_its_own_handler_runs_in_the_senders_context() -> None:
    """A context variable set by whoever asks is seen by the thread, for that message only."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    async with open_system() as system:
        ref = await system.spawn(Threaded, id="it")
        user.set("ann")
        assert await ref.ask_async(lambda _: user.get()) == "ann"
        user.set("bob")
        assert await ref.ask_async(lambda _: user.get()) == "bob"


# A7
async def test_an_exception_in_an_ask_is_a_failure_and_a_refusal_is_not() -> None:
    """Under a supervisor OTP's rule holds for threads too: the asker gets the exception, the actor is restarted."""
    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Threaded(log), id="it")
        with pytest.raises(Refusal, match="no"):
            await ref.ask_async(raises(Refusal("no")))
        assert log == ["start"]
        name = await ref.ask_async(lambda _: threading.current_thread().name)
        with pytest.raises(ValueError, match="broken"):
            await ref.ask_async(raises(ValueError("broken")))
        assert await ref.ask_async("after") == "after"
        # `on_failure` runs on the failed one's thread, and before the next one starts.
        assert log == ["start", ("failure", "ValueError", name), "start", "after"]
        assert await ref.ask_async(lambda _: threading.current_thread().name) != name
    assert log[-1] == "stop"


# A7
async def test_the_next_incarnation_starts_when_the_failed_one_has_cleaned_up() -> None:
    """Red if `on_failure`, which may close what `on_start` opens, still runs while the next thread starts."""
    log: list[Any] = []

    class Sluggish(Threaded):
        def on_failure(self, *why: Any) -> None:
            threading.Event().wait(0.05)
            super().on_failure(*why)

    async with open_system() as system:
        ref = await system.spawn(lambda: Sluggish(log), id="it")
        with pytest.raises(ValueError, match="broken"):
            await ref.ask_async(raises(ValueError("broken")))
        assert await ref.ask_async("after") == "after"
        assert [each if isinstance(each, str) else each[0] for each in log] == ["start", "failure", "start", "after"]


# A5
async def test_what_is_raised_when_nobody_waits_is_no_failure() -> None:
    """Red if a blocking call that was interrupted restarts its actor: it raises whatever it likes."""
    log: list[Any] = []

    def interrupted(actor: Threaded) -> None:
        until_cancelled(actor)
        raise OSError("the socket was closed under me")

    async with open_system() as system:
        ref = await system.spawn(lambda: Threaded(log), id="it")
        with pytest.raises(AskTimeout):
            await ref.ask_async(interrupted, timeout_seconds=0.05)
        assert await ref.ask_async("after") == "after"
        assert log == ["start", "begun", "saw the flag", "after"]
        assert dead_letters(system) == {}


# A6
async def test_a_restart_keeps_the_messages_that_wait() -> None:
    """What was told before the crash is handled by the next incarnation; what crashed is in dead letters."""
    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Threaded(log), id="it")
        ref.tell(raises(ValueError("broken")))
        ref.tell(1)
        assert await ref.ask_async(2) == 2
        assert [each for each in log if isinstance(each, int)] == [1, 2]
        assert {reason.value: n for reason, n in dead_letters(system).items()} == {"crashed": 1}


# A7
async def test_giving_up_escalates_to_the_supervisor() -> None:
    """A thread that fails more often than tolerated is gone, and its supervisor fails."""
    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision(intensity=1)), id="parent")
        child: Ref[Any] = await parent.ask_async(ChildSpec("child", Threaded))
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                await child.ask_async(raises(ValueError("broken")))
        assert isinstance(await child.wait_gone(), RestartsExhausted)
        await parent.ask_async("is it there again?")
        assert system.statistics().actors[1].restarts == 1


# A7
async def test_a_failure_to_start_is_raised_to_whoever_spawns() -> None:
    """What `__init__` or `on_start` raises arrives at `spawn`, and nothing is left."""

    class Unlucky(pykka.ThreadingActor):
        def on_start(self) -> None:
            raise OSError("no such device")

    async with open_system() as system:
        with pytest.raises(OSError, match="no such device"):
            await system.spawn(Unlucky, id="it")
        same = Threaded()
        await system.spawn(lambda: same, id="same")
        with pytest.raises(NotRunning, match="new"):
            await system.spawn(lambda: same, id="again")
        assert [actor.path for actor in system.statistics().actors] == ["system", "system/same"]


# A3
async def test_its_mailbox_is_bounded_for_callboards_senders() -> None:
    """The bound is that of the class; the thread's own inbox never holds more than one message of theirs."""
    async with open_system() as system:
        subjects: list[Threaded] = []

        def make() -> Threaded:
            subjects.append(Threaded())
            return subjects[-1]

        ref = await system.spawn(make, id="it")
        gate = Gate()
        through = ref.ask(gate, block=False)
        await gate.reached.wait()
        for number in range(3):
            ref.tell(number)
        with pytest.raises(MailboxFull, match="its capacity is 3"):
            ref.tell(4)
        assert subjects[0].actor_inbox.empty()
        gate.open()
        assert await through == "through"


# A1, A5
async def test_the_flag_is_raised_when_the_asker_goes_and_the_next_message_waits() -> None:
    """The thread sees that nobody waits; the next message starts after that, and an ask that expired is never run."""
    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Threaded(log), id="it")
        gate = Gate()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.ask_async, gate)
            await gate.reached.wait()
            nursery.cancel_scope.cancel()
        with pytest.raises(AskTimeout):
            await ref.ask_async("never run", timeout_seconds=0.02)
        later = ref.ask("later", block=False)
        gate.open()
        assert await later == "later"
        assert gate.flags == [True]
        assert log == ["start", "later"]
        assert await ref.ask_async(lambda _: cancelled()) is False
        assert dead_letters(system) == {}


# A5
async def test_a_deadline_travels_through_a_thread() -> None:
    """When a task gives up that asked a thread that asks an actor of the loop, the latter's handler is cancelled."""
    log: list[Any] = []
    heard = trio.Event()

    class Slow(Actor):
        async def on_receive(self, message: Any) -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                heard.set()
                raise

    async with open_system() as system:
        ref = await system.spawn(lambda: Threaded(log), id="it")
        slow = await system.spawn(Slow, id="slow")

        def ask_slow(actor: Threaded) -> None:
            try:
                slow.ask("x")
            except pykka.Timeout as error:
                actor.log.append((str(error), cancelled()))

        with pytest.raises(AskTimeout):
            await ref.ask_async(ask_slow, timeout_seconds=0.05)
        await heard.wait()
        assert await ref.ask_async("after") == "after"
        assert log == ["start", ("whoever asked gave up waiting", True), "after"]
        assert system.statistics().actors[1].restarts == 0


# A8
async def test_a_thread_that_overruns_its_stop_is_left_behind() -> None:
    """Its stop ends at its deadline; what the thread says after that is refused and counted, and it ends itself."""
    log: list[Any] = []
    errors: list[BaseException] = []
    async with open_system() as system:
        other = await system.spawn(lambda: Worker(log), id="other")
        parent = await system.spawn(lambda: Parent(Supervision()), id="parent")
        ref: Ref[Any] = await parent.ask_async(ChildSpec("it", Threaded, stop_seconds=0.05))
        gate = Gate()

        def stuck(actor: Threaded) -> str:
            gate(actor)
            for say in (lambda: other.tell("late"), lambda: other.ask("late")):
                try:
                    say()
                except pykka.ActorDeadError as error:
                    errors.append(error)
            return "late answer"

        answer = ref.ask(stuck, block=False)
        await gate.reached.wait()
        await parent.ask_async(lambda actor: actor.stop_child("it"))
        with pytest.raises(pykka.ActorDeadError):
            await answer
        assert isinstance(await ref.wait_gone(), Killed)
        assert system.statistics().abandoned == 1
        gate.open()
        await until(lambda: not system.statistics().abandoned)
        assert gate.flags == [True]
        assert [str(error) for error in errors] == 2 * [
            "the actor that tells Worker (system/other) was abandoned; what it says is refused"
        ]
        assert log == []
        assert system.statistics().refused == 3


# A8
async def test_a_kill_leaves_a_busy_thread_behind_and_ends_an_idle_one() -> None:
    """A killed thread is replaced at once; an idle one ends, a busy one sees the flag and ends with what it does."""
    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Threaded(log), id="it")
        answer = ref.ask(until_cancelled, block=False)
        await until(lambda: "begun" in log)
        ref.kill()
        with pytest.raises(pykka.ActorDeadError, match="killed"):
            await answer
        assert await ref.ask_async("next") == "next"
        ref.kill()
        assert await ref.ask_async("third") == "third"
        await until(lambda: not system.statistics().abandoned)
    assert sorted(map(str, log)) == sorted(
        ["start", "begun", "saw the flag", "start", "next", "start", "third", "stop"]
    )


# A9
async def test_it_is_watched_and_restarts_are_no_deaths() -> None:
    """Whoever watches a stock actor hears of its end once, with the reason."""
    async with open_system() as system:
        watcher = await system.spawn(lambda: Parent(Supervision()), id="watcher")
        ref = await system.spawn(Threaded, id="it", restart=Restart.TRANSIENT)
        await watcher.ask_async(lambda actor: actor.watch(ref))
        with pytest.raises(ValueError, match="broken"):
            await ref.ask_async(raises(ValueError("broken")))
        assert await ref.ask_async(1) == 1
        assert await ref.stop(block=False) is True
        assert await ref.stop(block=False) is False
        log = await watcher.ask_async(lambda actor: actor.log)
        assert log == [("exited", ref, None)]
        assert ActorExited(ref, None).reason is None


# A7
@pytest.mark.parametrize("restart, starts", [(Restart.PERMANENT, 2), (Restart.TRANSIENT, 1)])
async def test_one_that_stops_itself_ends_normally(restart: Restart, starts: int) -> None:
    """`self.stop()` is a drain and a normal end: a permanent actor is started again, a transient one is gone."""
    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Threaded(log), id="it", restart=restart)
        gate = Gate()
        ref.tell(lambda actor: (gate(actor), actor.stop(), actor.stop()))
        await gate.reached.wait()
        ref.tell("before the end")
        gate.open()
        await until(lambda: "stop" in log)
        if restart is Restart.TRANSIENT:
            assert await ref.wait_gone() is None
            assert not ref.is_alive()
        else:
            assert await ref.ask_async("and after it") == "and after it"
        assert log[: log.index("stop")] == ["start", "before the end"]
        assert log.count("start") == starts
        assert dead_letters(system) == {}


async def test_a_proxy_to_itself_works_by_the_same_rules() -> None:
    """A proxy made in `__init__` goes by the thread's own inbox; there an exception is a failure too."""

    class Looping(Threaded):
        def __init__(self, log: list[Any]) -> None:
            super().__init__(log)
            self._me = self.actor_ref.proxy()

        def later(self, what: Any) -> None:
            self.on_receive(what)

        def begin(self, what: Any) -> None:
            self._me.later(what)

    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Looping(log), id="it")
        await ref.proxy().begin("said to itself")
        assert await ref.ask_async("next") == "next"
        assert log == ["start", "said to itself", "next"]
        await ref.proxy().begin(raises(ValueError("broken")))
        await until(lambda: len(log) == 5)
        assert [each if isinstance(each, str) else each[:2] for each in log[3:]] == [("failure", "ValueError"), "start"]
        assert await ref.ask_async("alive") == "alive"


# A10
async def test_a_thread_that_waits_for_itself_is_told_so() -> None:
    """A blocking ask or stop of itself, and a tell to its own full mailbox, would wait for ever: each raises."""
    async with open_system() as system:
        ref = await system.spawn(Threaded, id="it")

        def to_itself(actor: Threaded) -> list[str]:
            said = []
            for what in (lambda: actor.actor_ref.ask(1), lambda: actor.actor_ref.stop()):
                with pytest.raises(AskCycle, match="system/it would wait for itself") as cycle:
                    what()
                said.append(str(cycle.value).partition(" ")[0])
            for number in range(3):
                actor.actor_ref.tell(number)
            with pytest.raises(MailboxFull, match="its own thread would wait for itself"):
                actor.actor_ref.tell(4)
            return said

        assert await ref.ask_async(to_itself) == ["ask(block=True)", "stop(block=True)"]


async def test_a_thread_among_tasks_takes_part_in_an_ordered_stop() -> None:
    """At the end of the system the youngest stops first, and `on_stop` of a thread has run before its elder stops."""
    log: list[Any] = []

    class Elder(Actor):
        def on_stop(self) -> None:
            log.append("elder stops")

    async with open_system() as system:
        await system.spawn(Elder, id="elder")
        ref = await system.spawn(lambda: Threaded(log), id="it")
        ref.tell("last")
        await ref.ask_async(Sleep(0))
    assert [each for each in log if isinstance(each, str)] == ["start", "last", "stop", "elder stops"]
