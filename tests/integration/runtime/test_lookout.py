"""The lookout: who holds the loop up is found by a thread, while it is still at it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from callboard.runtime import Actor, ActorSystem, SlowHandler, open_system


class Busy(Actor):
    """Holds the loop, in a plain or an async handler, until it may go on."""

    def on_receive(self, message: Any) -> Any:
        match message:
            case ("plain", free):
                hold(free)
            case ("async", free):
                return self.hold(free)
        return None

    async def hold(self, free: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()
        hold(free)


def hold(free: Callable[[], bool]) -> None:
    """Hold the loop until `free`."""
    while not free():
        time.sleep(0.001)


def noticed(system: ActorSystem) -> Callable[[], bool]:
    """Whether the lookout has seen it; read from within the very code that holds the loop."""
    lookout = system.lookout
    assert lookout is not None
    return lambda: bool(lookout.slow)


async def seen(system: ActorSystem) -> SlowHandler:
    """The one case, once it is over."""
    while True:
        slow = system.statistics().slow
        if slow and slow[0].over:
            (case,) = slow
            return case
        await trio.sleep(0.01)


@pytest.mark.parametrize("how", ["plain", "async"])
async def test_a_handler_that_holds_the_loop(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is named with its message and where it is, while it is at it, and how long it took in the end."""
    caplog.set_level(logging.WARNING, "callboard")
    async with open_system("board", slow_seconds=0.05) as system:
        ref = await system.spawn(Busy, id="busy")
        began = time.monotonic()
        ref.tell((how, noticed(system)))
        case = await seen(system)
        took = time.monotonic() - began
    assert (case.path, case.message) == ("board/busy", "tuple")
    assert 0.05 <= case.seconds <= took
    assert any("in hold" in frame for frame in case.stack)
    assert "actor board/busy, at tuple, holds the loop up" in caplog.text
    assert "actor board/busy, at tuple, held the loop up for" in caplog.text


async def test_code_outside_of_actors() -> None:
    """A platform's own code on the same loop is no actor's; its stack tells whose it is."""
    async with open_system(slow_seconds=0.05) as system:
        await trio.lowlevel.checkpoint()
        hold(noticed(system))
        case = await seen(system)
    assert (case.path, case.message) == (None, None)
    assert any("test_code_outside_of_actors" in frame for frame in case.stack)


async def test_the_thread_ends_with_the_system() -> None:
    """At once, however long it waits between two looks, and with nothing reported."""
    before = threading.active_count()
    began = time.monotonic()
    for _ in range(20):
        async with open_system(slow_seconds=30.0) as system:
            assert threading.active_count() == before + 1
        assert system.statistics().slow == ()
    assert threading.active_count() == before
    assert time.monotonic() - began < 30


async def test_how_long_messages_wait() -> None:
    """Noted by the lookout on its way."""
    async with open_system(slow_seconds=0.01) as system:
        ref = await system.spawn(Busy, id="busy")
        gate = trio.Event()
        ref.tell(("async", gate.is_set))
        gate.set()
        sleeper = await system.spawn(Sleeper, id="sleeper")
        sleeper.tell("first")
        sleeper.tell("second")
        while True:
            actor = system.statistics().actors[-1]
            if actor.oldest_seconds:
                break
            await trio.sleep(0.01)
        assert actor.path == "system/sleeper"
        assert actor.current_seconds is not None
        assert actor.oldest_seconds <= actor.current_seconds
        sleeper.kill()


class Sleeper(Actor):
    async def on_receive(self, message: Any) -> None:
        await trio.sleep_forever()
