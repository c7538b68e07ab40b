"""Each mistake of the README's table gets its documented error at once, and leaves the system whole."""

from pathlib import Path
from typing import Any

import pykka
import pytest

from callboard.runtime import (
    Actor,
    AskCycle,
    DeathReason,
    MailboxFull,
    NotRunning,
    Overflow,
    WouldBlock,
    open_system,
)
from callboard.runtime.testing import settle
from tests.runtime.kit import Worker, dead_letters, nap

README = Path(__file__).parent.parent.parent / "runtime" / "README.md"


def documented(error: BaseException, said: str) -> None:
    """The error says this, and the table promises it."""
    assert said in str(error), error
    table = README.read_text(encoding="utf-8").partition("### What goes wrong")[2].partition("\n## ")[0]
    name = type(error).__name__
    rows = [row for row in table.splitlines() if f"{name}`" in row and said.rpartition(";")[2].strip() in row]
    assert rows, f"no row with {name} and {said!r}"


async def test_blocking_calls_on_the_trio_thread() -> None:
    """Red if one of pykka's blocking calls stops every actor instead of raising."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        started = Worker.start()
        future = ref.ask(lambda _: nap(10, "later"), block=False)
        for call in (
            lambda: ref.ask("x"),
            lambda: future.get(),
            lambda: future.get(timeout=0),
            lambda: pykka.get_all([future]),
            lambda: ref.proxy().log.get(),
            lambda: ref.stop(),
            lambda: ref.stop(timeout=1),
            lambda: pykka.ActorRegistry.stop_all(),
            lambda: started.actor_stopped.wait(1),
        ):
            with pytest.raises(WouldBlock) as blocked:
                call()
            documented(blocked.value, "would block this thread's trio loop")
        assert await future == "later"
        assert await started.stop(block=False)


@pytest.mark.parametrize("how", ["spawned", "started"])
async def test_telling_and_asking_one_that_has_stopped(how: str) -> None:
    """In pykka's own words, whatever the call; a tell is a dead letter too."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a") if how == "spawned" else Worker.start()
        await ref.stop(block=False)
        with pytest.raises(pykka.ActorDeadError) as dead:
            ref.tell("x")
        assert str(dead.value) == f"{ref} not found"
        documented(dead.value, "not found")
        for ask in (ref.ask_async("x"), ref.send("x"), ref.submit("x")):
            with pytest.raises(pykka.ActorDeadError, match="not found"):
                await ask
        with pytest.raises(pykka.ActorDeadError, match="not found"):
            await ref.ask("x", block=False)
        with pytest.raises(pykka.ActorDeadError, match="not found"):
            ref.proxy()
        assert await ref.stop(block=False) is False
        assert ref.tell_if_alive("x") is False
        assert dead_letters(system) == {DeathReason.DEAD: 3}


class Unlucky(Actor):
    """Does not start."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.late = late

    def on_start(self) -> Any:
        if self.late:
            return self.fail()
        raise OSError("no such device")

    async def fail(self) -> None:
        await nap(1)
        raise OSError("no such device")


@pytest.mark.parametrize("late", [False, True])
async def test_spawning_what_does_not_start(late: bool) -> None:
    """The exception itself, at whoever spawned; the name is free again, and nobody is restarted."""
    async with open_system() as system:
        with pytest.raises(OSError, match="no such device"):
            await system.spawn(lambda: Unlucky(late), id="a")
        await system.spawn(Worker, id="a")
        assert [(actor.path, actor.restarts) for actor in system.statistics().actors[1:]] == [("system/a", 0)]


@pytest.mark.parametrize("overflow", Overflow)
async def test_overfilling_a_mailbox(overflow: Overflow) -> None:
    """Each policy as it says: raised, or dropped and counted; an ask is never dropped without an answer."""

    class Small(Worker):
        mailbox_capacity = 2
        mailbox_overflow = overflow

    log: list[Any] = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Small(log), id="a")
        ref.tell("first")
        ref.tell("second")
        dropped: list[str] = []
        match overflow:
            case Overflow.FAIL:
                with pytest.raises(MailboxFull) as full:
                    ref.tell("third")
                documented(full.value, "holds 2 messages; its capacity is 2")
            case Overflow.DROP_NEWEST:
                ref.tell("third")
                dropped = ["third"]
            case Overflow.DROP_OLDEST:
                ref.tell("third")
                dropped = ["first"]
        if overflow is not Overflow.DROP_OLDEST:
            with pytest.raises(MailboxFull, match="its capacity is 2"):
                await ref.ask_async("asked")
        assert [letter.message for letter in system.dead_letters.newest()] == dropped
        assert dead_letters(system) == ({DeathReason.DROPPED: 1} if dropped else {})
        await settle(system)
        sent = ["first", "second"] if overflow is Overflow.FAIL else ["first", "second", "third"]
        assert log == [("handle", message) for message in sent if message not in dropped]


async def test_asking_oneself() -> None:
    """The message names the circle; the handler gets it, so here it is a failure of the actor and it is restarted."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        with pytest.raises(AskCycle) as circle:
            await ref.ask_async(lambda worker: worker.actor_ref.ask_async("x"))
        documented(circle.value, "actors would wait for each other")
        assert "system/a -[str]-> system/a" in str(circle.value)
        assert await ref.ask_async("alive") == "alive"


async def test_actors_from_the_wrong_place() -> None:
    """Called classes, and factories that give the same actor twice."""
    made = Worker()
    with pytest.raises(NotRunning) as called:
        made.stop()
    documented(called.value, "was made by calling its class")
    async with open_system() as system:
        kept: list[Worker] = []

        def same() -> Worker:
            kept.append(Worker()) if not kept else None
            return kept[0]

        await system.spawn(same, id="a")
        with pytest.raises(NotRunning) as twice:
            await system.spawn(same, id="b")
        documented(twice.value, "a new")
