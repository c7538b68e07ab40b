"""A6: after a restart the ref, the queued messages and the watchers are the same; what crashed is not redelivered."""

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import (
    Actor,
    DeadLetter,
    DeathReason,
    Killed,
    NotRunning,
    Reply,
    Strategy,
    Supervision,
    open_system,
)
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Log, Parent, Raise, Sleep, Worker, dead_letters, spawn_child


class Counted(Actor):
    """Handles messages that say how; the log has the incarnation with each."""

    incarnations = 0

    def __init__(self, log: list[Any]) -> None:
        super().__init__()
        self.log = log
        type(self).incarnations += 1
        self.incarnation = type(self).incarnations

    def on_receive(self, message: tuple[int, str]) -> Any:
        number, what = message
        self.log.append((self.incarnation, number))
        if what == "crash":
            raise ValueError(number)
        if what in ("slow", "slow crash"):
            return self._slow(number, what)
        return number

    async def _slow(self, number: int, what: str) -> int:
        await trio.sleep(1)
        if what == "slow crash":
            raise ValueError(number)
        return number


# A6
@given(
    messages=st.lists(
        st.tuples(st.sampled_from(["plain", "crash", "slow", "slow crash"]), st.sampled_from(["tell", "ask"])),
        max_size=8,
    ),
    kill_after=st.none() | st.integers(0, 8),
    schedule=st.random_module(),
)
async def test_a_restart_keeps_address_queue_and_watchers(
    messages: list[tuple[str, str]], kill_after: int | None, schedule: object
) -> None:
    """Each message is handled once, in order; those that crashed are in dead letters with their exception."""
    log: list[Any] = []
    letters: list[DeadLetter] = []
    watched: Log = []

    class Fresh(Counted):
        incarnations = 0

    async with open_system(slice_clock=frozen_clock) as system:
        system.dead_letters.listen(letters.append)
        _, ref = await spawn_child(system, Supervision(intensity=100, period_seconds=1), lambda: Fresh(log))
        watcher = await system.spawn(lambda: Parent(Supervision(), watched), id="watcher")
        await watcher.ask_async(lambda parent: parent.watch(ref))
        replies: dict[int, Reply[Any]] = {}
        for number, (what, how) in enumerate(messages):
            if how == "ask":
                replies[number] = ref.ask((number, what), block=False)
            else:
                ref.tell((number, what))
        if kill_after is not None:
            await trio.sleep(kill_after + 0.5)
            ref.kill()
        await trio.sleep(100)

        # A message that sleeps takes a second; the kill interrupts the one at work, and is a crash of its own.
        now, incarnation, handled = 0.0, 1, []
        interrupted: int | None = None
        killed = kill_after is None
        for number, (what, _) in enumerate(messages):
            if not killed and kill_after is not None and now > kill_after:
                killed, incarnation = True, incarnation + 1
            handled.append((incarnation, number))
            if what in ("slow", "slow crash"):
                if not killed and kill_after is not None and now == kill_after:
                    killed, incarnation, interrupted = True, incarnation + 1, number
                    continue
                now += 1
            if what in ("crash", "slow crash"):
                incarnation += 1
        assert log == handled
        crashed = [n for n, (what, _) in enumerate(messages) if "crash" in what and n != interrupted]
        reasons = dict.fromkeys(crashed, DeathReason.CRASHED)
        if interrupted is not None:
            reasons[interrupted] = DeathReason.INTERRUPTED
        assert {letter.message[0]: letter.reason for letter in letters} == reasons
        for letter in letters:
            if letter.reason is DeathReason.CRASHED:
                assert isinstance(letter.error, ValueError)
                assert letter.error.args == (letter.message[0],)
            else:
                assert isinstance(letter.error, Killed)
        for number, reply in replies.items():
            if number == interrupted:
                with pytest.raises(Exception, match="was killed while it worked on the answer"):
                    await reply
            elif number in crashed:
                with pytest.raises(ValueError, match=str(number)):
                    await reply
            else:
                assert await reply == number
        (actor,) = [a for a in system.statistics().actors if a.path == ref.path]
        assert actor.restarts == len(crashed) + (0 if kill_after is None else 1)
        assert watched == []
        assert await ref.stop(block=False) is True
        await settle(system)
        assert watched == [("exited", ref, None)]


async def test_a_kill_means_the_incarnation_of_that_moment() -> None:
    """An actor that fails while a kill is on its way is not killed once more after its restart."""
    async with open_system() as system:
        log: Log = []
        ref = await system.spawn(lambda: Worker(log), id="a")

        def kill_and_crash(worker: Worker) -> None:
            worker.actor_ref.kill()
            raise ValueError("crash")

        ref.tell(kill_and_crash)
        ref.tell("after")
        await settle(system)
        assert [a.restarts for a in system.statistics().actors] == [0, 1]
        assert log == [("handle", "after")]


async def test_two_kills_in_one_moment_are_one() -> None:
    """Idle, busy with a handler, and from within a plain handler."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        ref.kill()
        ref.kill()
        await settle(system)
        assert [a.restarts for a in system.statistics().actors] == [0, 1]
        ref.tell(Sleep(10))
        await settle(system)
        ref.kill()
        ref.kill()
        await settle(system)
        assert [a.restarts for a in system.statistics().actors] == [0, 2]
        assert dead_letters(system) == {DeathReason.INTERRUPTED: 1}


async def test_each_restart_makes_a_new_actor() -> None:
    """A factory that hands out the crashed one again is a failed start, and so is one that raises."""
    made: list[Worker] = []

    def factory() -> Worker:
        if not made:
            made.append(Worker())
        return made[0]

    supervision = Supervision(Strategy.DYNAMIC, intensity=2)
    async with open_system() as system:
        log: Log = []
        _, ref = await spawn_child(system, supervision, factory, log=log)
        ref.tell(Raise(ValueError("crash")))
        await settle(system)
        assert not ref.is_alive()
        ((_, _, error),) = log
        assert isinstance(error.__cause__, NotRunning)
        assert "has to make a new callboard actor" in str(error.__cause__)


async def test_an_actor_that_was_made_by_calling_its_class_says_what_to_do() -> None:
    """Outside of a factory there is no cell to live in. To make one is no error, as in pykka; to use it is."""
    worker = Worker()
    with pytest.raises(NotRunning, match=r"use `await system\.spawn\(Worker, id=\.\.\.\)`"):
        _ = worker.actor_ref
    async with open_system() as system:
        with pytest.raises(NotRunning, match="was made by calling its class"):
            await system.spawn(lambda: worker, id="a")


async def test_on_failure_runs_before_the_restart() -> None:
    """With pykka's three arguments; what it raises itself changes nothing."""
    log: list[Any] = []

    class Failing(Worker):
        def on_start(self) -> None:
            log.append("start")

        def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
            log.append((exception_type, str(exception_value), traceback is not None))
            raise LookupError("in the hook")

    async with open_system() as system:
        ref = await system.spawn(Failing, id="a")
        ref.tell(Raise(ValueError("crash")))
        ref.tell("after")
        await settle(system)
        assert log == ["start", (ValueError, "crash", True), "start"]
        assert [a.handled for a in system.statistics().actors] == [0, 2]


async def test_a_dead_actor_is_let_go() -> None:
    """A ref that is kept for long does not keep what the actor held."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        assert ref._actor_weakref() is not None
        await ref.stop(block=False)
        assert ref._actor_weakref() is None
        assert str(ref) == "Worker (system/a)"
