"""A3: every mailbox has a bound and a policy; each drop is counted and goes to dead letters with its reason."""

from collections import Counter, deque
from typing import Any

import pykka
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import Actor, DeadLetter, DeathReason, MailboxFull, Overflow, Reply, Supervision, open_system
from callboard.runtime.testing import settle
from tests.runtime.kit import Worker, dead_letters, nap, spawn_child


def bounded(capacity: int, overflow: Overflow, log: list[Any]) -> type[Actor]:
    """An actor that is busy for ten seconds with "work", and notes the rest."""

    class Bounded(Actor):
        mailbox_capacity = capacity
        mailbox_overflow = overflow

        def on_receive(self, message: Any) -> Any:
            log.append(message)
            return nap(10) if message == "work" else message

    return Bounded


# A3
@given(
    capacity=st.integers(1, 4),
    overflow=st.sampled_from(Overflow),
    ways=st.lists(st.sampled_from(["tell", "ask", "send"]), max_size=12),
)
async def test_a_full_mailbox_does_what_it_declares(capacity: int, overflow: Overflow, ways: list[str]) -> None:
    """Against a model with a deque: what is taken, refused, dropped and evicted, and what waits for room."""
    queue: deque[tuple[int, str]] = deque()
    line: deque[int] = deque()
    refused, dropped = [], []
    for number, way in enumerate(ways):
        if len(queue) < capacity and not line:
            queue.append((number, way))
        elif way == "send":
            line.append(number)
        elif overflow is Overflow.DROP_OLDEST:
            dropped.append(queue.popleft())
            queue.append((number, way))
        elif overflow is Overflow.DROP_NEWEST and way == "tell":
            dropped.append((number, way))
        else:
            refused.append(number)

    log: list[Any] = []
    letters: list[DeadLetter] = []
    full: dict[int, str] = {}
    answers: dict[int, Reply[Any]] = {}
    async with open_system() as system, trio.open_nursery() as nursery:
        system.dead_letters.listen(letters.append)
        ref = await system.spawn(bounded(capacity, overflow, log), id="a")
        ref.tell("work")
        await settle(system)
        for number, way in enumerate(ways):
            try:
                if way == "tell":
                    ref.tell(number)
                elif way == "ask":
                    answers[number] = ref.ask(number, block=False)
                else:
                    nursery.start_soon(ref.send, number)
                    await settle(system)
            except MailboxFull as error:
                full[number] = str(error)
        said = f"the mailbox of Bounded (system/a) holds {capacity} messages; its capacity is {capacity}"
        assert full == dict.fromkeys(refused, said)
        await settle(system)
        (actor,) = [a for a in system.statistics().actors if a.path == "system/a"]
        assert (actor.mailbox, actor.capacity) == (len(queue), capacity)
        evicted = {number for number, way in dropped if way == "ask"}
        for number, reply in answers.items():
            if number in evicted:
                with pytest.raises(MailboxFull):
                    await reply
            else:
                assert await reply == number
        await trio.sleep(20)
        assert log == ["work", *[number for number, _ in queue], *line]
        assert [(letter.path, letter.message, letter.reason) for letter in letters] == [
            ("system/a", number, DeathReason.DROPPED) for number, _ in dropped
        ]
        assert dead_letters(system) == Counter(letter.reason for letter in letters)
        nursery.cancel_scope.cancel()


# A3
@given(
    capacity=st.integers(1, 3),
    senders=st.lists(st.sampled_from(["stay", "cancel"]), max_size=8),
    end=st.sampled_from(["handle", "stop", "kill"]),
)
async def test_send_waits_for_room_and_leaves_nothing_when_cancelled(
    capacity: int, senders: list[str], end: str
) -> None:
    """Those who stay are taken first come first served, or told of the death; those cancelled were never sent."""
    log: list[Any] = []
    outcome: dict[int, str] = {}
    async with open_system() as system:
        parent, ref = await spawn_child(system, Supervision(), bounded(capacity, Overflow.FAIL, log))
        ref.tell("work")
        await settle(system)
        for n in range(capacity):
            ref.tell(f"first {n}")
        scopes: dict[int, trio.CancelScope] = {}

        async def send(number: int) -> None:
            with trio.CancelScope() as scopes[number]:
                try:
                    await ref.send(number)
                except pykka.ActorDeadError:
                    outcome[number] = "dead"
                else:
                    outcome[number] = "sent"
            outcome.setdefault(number, "cancelled")

        async with trio.open_nursery() as nursery:
            for number in range(len(senders)):
                nursery.start_soon(send, number)
                await settle(system)
            assert outcome == {}
            for number, what in enumerate(senders):
                if what == "cancel":
                    scopes[number].cancel()
            await settle(system)
            if end == "stop":
                ref.stop(block=False)
            elif end == "kill":
                # The stop waits for the handler, five seconds at most.
                parent.tell(lambda parent: parent.stop_child("child"))
        await trio.sleep(20)
        letters = dead_letters(system)
    staying = [number for number, what in enumerate(senders) if what == "stay"]
    if end == "kill":
        assert log == ["work"]
        assert sorted(number for number, what in outcome.items() if what == "dead") == staying
    elif end == "handle":
        assert log == ["work", *[f"first {n}" for n in range(capacity)], *staying]
        assert sorted(number for number, what in outcome.items() if what == "sent") == staying
    else:
        # A drain needs no room: it stands before those who wait for some.
        assert log == ["work", *[f"first {n}" for n in range(capacity)]]
        told = [what for _, what in sorted(outcome.items()) if what != "cancelled"]
        # A place that is given up by a message on its way to its handler goes to the first in line, behind the drain.
        assert told == ["sent"] * min(len(staying), capacity) + ["dead"] * max(len(staying) - capacity, 0)
        assert letters.get(DeathReason.STOPPED, 0) == told.count("sent")
        assert letters.get(DeathReason.DEAD, 0) == told.count("dead")
    assert {number for number, what in outcome.items() if what == "cancelled"} == set(range(len(senders))) - set(
        staying
    )


async def test_a_drain_is_never_evicted() -> None:
    """With DROP_OLDEST the stop at the head of the queue stays, and the newest message goes instead."""
    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(bounded(1, Overflow.DROP_OLDEST, log), id="a")
        ref.tell("work")
        await settle(system)
        stopped = ref.stop(block=False)
        ref.tell("late")
        with pytest.raises(MailboxFull):
            ref.ask("later", block=False)
        assert await stopped is True
        assert dead_letters(system) == {DeathReason.DROPPED: 1}
    assert log == ["work"]


async def test_dead_letters_keep_the_newest() -> None:
    """All are counted, the newest 128 can be looked at, and no more are held."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        await ref.stop(block=False)
        for number in range(200):
            with pytest.raises(pykka.ActorDeadError, match="Worker \\(system/a\\) not found"):
                ref.tell(number)
        assert ref.tell_if_alive("more") is False
        newest = system.dead_letters.newest()
        assert [letter.message for letter in newest] == [*range(73, 200), "more"]
        assert {letter.reason for letter in newest} == {DeathReason.DEAD}
        assert dead_letters(system) == {DeathReason.DEAD: 201}


async def test_a_mailbox_without_room_is_refused_when_the_actor_is_made() -> None:
    """A capacity of zero could never take anything; the message shows it."""

    class Closed(Actor):
        mailbox_capacity = 0

    async with open_system() as system:
        with pytest.raises(ValueError, match="mailbox_capacity of Closed is 0; it must be >= 1"):
            await system.spawn(Closed, id="a")
        assert len(system.statistics().actors) == 1


async def test_send_to_a_dead_actor_is_a_dead_letter() -> None:
    """It raises at once, and the message is counted like one that was told."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        await ref.stop(block=False)
        with pytest.raises(pykka.ActorDeadError):
            await ref.send("late")
        with pytest.raises(pykka.ActorDeadError):
            await ref.submit("late question")
        assert dead_letters(system) == {DeathReason.DEAD: 1}
