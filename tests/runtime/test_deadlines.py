"""A5: when the asker goes, the work for it ends, through any number of hops; nobody waits for that."""

from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import Actor, AskTimeout, DeathReason, Ref, Reply, open_system
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Log, Sleep, Worker, dead_letters, nap

HOW = ("ask_async", "future", "submit", "nursery", "timeout")


class Hop(Actor):
    """Asks the next one, in one of the ways there are; the last one works."""

    def __init__(self, log: Log, name: int, how: str, following: Ref[Any] | None, seconds: float) -> None:
        super().__init__()
        self.log, self.name, self.how, self.following, self.seconds = log, name, how, following, seconds

    async def on_receive(self, message: Any) -> Any:
        ended = False
        try:
            answer = await self._work(message)
            ended = True
            return answer
        finally:
            if not ended:
                self.log.append((self.name, trio.current_time()))
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.seconds)  # to clean up takes its time: nobody who has gone waits for it

    async def _work(self, message: Any) -> Any:
        following = self.following
        if following is None:
            await trio.sleep(1_000)
            return message
        if self.how == "future":
            return await following.ask(message, block=False)
        if self.how == "submit":
            return await (await following.submit(message))
        if self.how == "timeout":
            return await following.ask_async(message, timeout_seconds=5_000)
        if self.how == "nursery":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(following.ask_async, message)
            return message
        return await following.ask_async(message)


# A5
@given(
    hops=st.lists(st.tuples(st.sampled_from(HOW), st.sampled_from([0.0, 30.0])), min_size=3, max_size=6),
    after=st.integers(1, 1_001).map(lambda n: n - 0.5),
    way=st.sampled_from(["scope", "timeout", "kill the asker"]),
    schedule=st.random_module(),
)
async def test_a_cancelled_ask_cancels_every_hop_at_once(
    hops: list[tuple[str, float]], after: float, way: str, schedule: object
) -> None:
    """All handlers of the chain are cancelled in the same moment; no actor fails; the asker goes on without a wait."""
    log: Log = []
    async with open_system(slice_clock=frozen_clock) as system:
        ref: Ref[Any] | None = None
        refs: list[Ref[Any]] = []
        for name, (how, seconds) in reversed(list(enumerate(hops))):
            ref = await system.spawn(partial(Hop, log, name, how, ref, seconds), id=str(name))
            refs.insert(0, ref)
        first = refs[0]

        async def ask(worker: Worker | None = None) -> Any:
            return await first.ask_async("question")

        ended: float
        answer: Any = None
        if way == "scope":
            with trio.move_on_after(after):
                answer = await ask()
            ended = trio.current_time()
        elif way == "timeout":
            try:
                answer = await first.ask_async("question", timeout_seconds=after)
            except AskTimeout as error:
                answer = str(error)
            ended = trio.current_time()
        else:
            asker = await system.spawn(Worker, id="asker")
            reply = await asker.submit(ask)
            await trio.sleep(after)
            asker.kill()
            ended = trio.current_time()
            await settle(system)
            answer = await reply if after > 1_000 else None
        if after > 1_000:
            assert (answer, ended) == ("question", 1_000.5 if way == "kill the asker" else 1_000)
            assert log == []
            return
        assert ended == after
        said = f"{first} did not answer within {after} seconds"
        assert answer == (said if way == "timeout" else None)
        await settle(system)
        assert trio.current_time() == after
        assert sorted(log) == [(name, after) for name in range(len(hops))]
        await trio.sleep(100)
        failed = [a.path for a in system.statistics().actors if a.restarts]
        assert failed == (["system/asker"] if way == "kill the asker" else [])
        assert system.statistics().tasks == 0


# A5
@given(
    questions=st.lists(st.tuples(st.integers(1, 20), st.sampled_from(["leave", "stay"])), max_size=8),
    busy=st.integers(1, 20),
    schedule=st.random_module(),
)
async def test_an_expired_question_is_never_run(questions: list[tuple[int, str]], busy: int, schedule: object) -> None:
    """Those whose asker left while the actor was busy go to dead letters; all others are answered, in order."""
    handled: list[int] = []
    answered: list[int] = []

    class Busy(Actor):
        def on_receive(self, message: Any) -> Any:
            if message == "work":
                return nap(busy + 0.5)
            handled.append(message)
            return message

    async with open_system(slice_clock=frozen_clock) as system:
        ref = await system.spawn(Busy, id="a")
        ref.tell("work")
        await settle(system)

        async def ask(number: int, seconds: int) -> None:
            with trio.move_on_after(seconds):
                answered.append(await ref.ask_async(number))

        async with trio.open_nursery() as nursery:
            for number, (seconds, what) in enumerate(questions):
                nursery.start_soon(ask, number, seconds if what == "leave" else 1_000)
                await settle(system)
        await trio.sleep(busy)
    in_time = [n for n, (seconds, what) in enumerate(questions) if what == "stay" or seconds > busy]
    assert handled == in_time
    assert sorted(answered) == in_time
    expired = len(questions) - len(in_time)
    assert dead_letters(system) == ({DeathReason.EXPIRED: expired} if expired else {})


async def test_a_plain_handler_runs_to_its_end() -> None:
    """It cannot be cancelled; its late answer is dropped, and it is no failure."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        log: list[Any] = []
        with trio.CancelScope() as scope:

            def leave(worker: Worker) -> str:
                scope.cancel()
                log.append("end")
                return "too late"

            await ref.ask_async(leave)
        assert scope.cancelled_caught
        assert log == ["end"]
        assert [a.restarts for a in system.statistics().actors] == [0, 0]


async def test_a_handler_that_raises_while_it_is_cancelled_has_failed() -> None:
    """Only the cancellation itself is forgiven, not what its clean-up raises; the system goes on."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")

        async def careless(worker: Worker) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 10)
                try:
                    await trio.sleep(10)
                finally:
                    raise ValueError("clean-up")

        with trio.move_on_after(1):
            await ref.ask_async(careless)
        await settle(system)
        (actor,) = system.statistics().actors[1:]
        assert (actor.restarts, actor.last_error) == (1, "ExceptionGroup")


async def test_a_tell_is_cancelled_by_nobody() -> None:
    """Work that nobody waits for goes on when the teller's scope is cancelled."""
    async with open_system() as system:
        log: Log = []
        ref = await system.spawn(lambda: Worker(log), id="a")
        with trio.move_on_after(1):
            await ref.send(Sleep(5, "work"))
            await trio.sleep_forever()
        await trio.sleep(10)
        assert log == [("begin", "work", 0), ("end", "work", 5)]


async def test_a_deferred_reply_tells_that_its_asker_has_gone() -> None:
    """`abandoned` is set and `on_abandon` is called; nothing of the reply is kept by the actor."""
    held: list[Reply[Any]] = []
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        with trio.move_on_after(1):
            await ref.ask_async(lambda worker: held.append(worker.defer_reply()))
        assert held[0].abandoned
        assert held[0].done
        assert ref._cell.deferred == {}


async def test_a_question_without_any_time_is_not_run() -> None:
    """A deadline of zero seconds, or a scope that is cancelled already, ends the ask before its turn."""
    async with open_system() as system:
        log: Log = []
        ref = await system.spawn(lambda: Worker(log), id="a")
        with pytest.raises(AskTimeout, match="did not answer within 0 seconds"):
            await ref.ask_async("question", timeout_seconds=0)
        with trio.CancelScope() as scope:
            scope.cancel()
            await ref.ask_async("question")
        await settle(system)
        assert log == []
        assert dead_letters(system) == {DeathReason.EXPIRED: 2}


async def test_mapped_and_joined_futures_carry_the_cancellation() -> None:
    """Pykka's map, filter, reduce and join are awaited without a thread, and lead to the asks they are made of."""
    async with open_system() as system:
        log: Log = []
        refs = [await system.spawn(lambda: Worker(log), id=str(n)) for n in range(3)]
        with trio.move_on_after(1):
            first, *others = [ref.ask(Sleep(10 * n, n), block=False) for n, ref in enumerate(refs)]
            await first.join(*others).map(sum)
        await settle(system)
        assert log[3:] == [("end", 0, 0), ("cancelled", 1, 1)]
        await trio.sleep(100)
        assert log[-1] == ("end", 2, 20)  # a future that nobody has awaited yet is not given up

        numbers = refs[0].ask([1, 2, 3, 4], block=False)
        assert await numbers.filter(lambda n: n > 1).map(list) == [2, 3, 4]
        assert await numbers.reduce(lambda a, b: a * b, 10) == 240
        with pytest.raises(ZeroDivisionError):
            await numbers.map(lambda value: 1 / 0)
