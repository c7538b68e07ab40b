"""Ctrl-C: no actor goes deaf, wherever it hits; the first one stops in order, the second one kills.

The signals are raised by the tests themselves, at chosen instructions, so nothing here depends on timing.
"""

import itertools
import signal
import sys
from types import FrameType
from typing import Any

import pytest
import trio
import trio.lowlevel

from callboard.runtime import ActorSystem, Ref, open_system
from tests.conftest import run_on_virtual_time
from tests.runtime.kit import Sleep, Worker

OPERATIONS = ("tell", "ask", "stop", "kill", "notify", "when_gone", "timer")


class Tracer:
    """Raises SIGINT at the n-th instruction of the kernel that is run while it is on."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if "runtime" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.count += 1
            if self.count == self.at:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return self


def operate(operation: str, ref: Ref[Any], system: ActorSystem) -> None:
    """Do it: each of these is called by the main task, which Ctrl-C interrupts."""
    if operation == "tell":
        ref.tell("message")
    elif operation == "ask":
        ref.ask("message", block=False)
    elif operation == "stop":
        ref.stop(block=False)
    elif operation == "kill":
        ref.kill()
    elif operation == "notify":
        ref.notify("message")
    elif operation == "when_gone":
        ref.when_gone(lambda _: None)
    else:
        system.timers.call_later(1, lambda: None)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_instruction_at_which_ctrl_c_leaves_an_actor_deaf(operation: str) -> None:
    """At every instruction of the kernel in turn: the actor hears what follows, and stops in order, in no time."""
    former = sys.gettrace()
    for at in itertools.count(1):
        tracer = Tracer(at)
        log: list[Any] = []
        ends: list[float] = []

        class Hearing(Worker):
            def on_stop(self) -> None:
                self.log.append(("stopped",))

        async def main(tracer: Tracer = tracer, log: list[Any] = log, ends: list[float] = ends) -> None:
            try:
                async with open_system() as system:
                    ref = await system.spawn(lambda: Hearing(log), id="a")
                    try:
                        sys.settrace(tracer)
                        try:
                            operate(operation, ref, system)
                        finally:
                            sys.settrace(former)
                        await trio.lowlevel.checkpoint()
                    finally:
                        with trio.CancelScope(shield=True):
                            ref.tell_if_alive("are you there?")
                            await trio.lowlevel.cancel_shielded_checkpoint()
                            await trio.lowlevel.cancel_shielded_checkpoint()
            finally:
                ends.append(trio.current_time())

        if tracer_ran_out(main, tracer):
            assert at > 10
            return
        assert ("stopped",) in log
        assert operation == "stop" or ("handle", "are you there?") in log
        assert ends == [0]


def tracer_ran_out(main: Any, tracer: Tracer) -> bool:
    """Run it; whether there was no such instruction any more."""
    try:
        run_on_virtual_time(main)
    except KeyboardInterrupt:
        return False
    assert tracer.count < tracer.at, "the interrupt was lost"
    return True


def test_ctrl_c_in_a_handler_reaches_the_caller_after_an_ordered_stop() -> None:
    """Handlers are protected: the message is handled to its end, and so are those that wait for their stop."""
    log: list[Any] = []

    def interrupted(worker: Worker) -> None:
        signal.raise_signal(signal.SIGINT)
        log.append("handled")

    class Slow(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            await trio.sleep(3)
            log.append(("stopped", trio.current_time()))

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Slow, id="a")
            ref.tell(interrupted)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        run_on_virtual_time(main)
    assert log == ["handled", ("stopped", 3)]


@pytest.mark.parametrize("first", ["in the body", "while it stops"])
def test_a_second_ctrl_c_kills_what_is_still_stopping(first: str) -> None:
    """The first one grants every actor its deadline, also when it comes in the middle of the stop."""
    log: list[Any] = []
    ends: list[float] = []

    class Endless(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            await self._sleep(1_000, "stop")

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        try:
            async with open_system() as system:
                for name in "ab":
                    await system.spawn(lambda: Endless(log), id=name, stop_seconds=2_000)
                busy = await system.spawn(lambda: Endless(log), id="c", stop_seconds=2_000)
                busy.tell(Sleep(10_000, "work"))
                system.timers.call_later(5, interrupt)
                system.timers.call_later(20, interrupt)
                if first == "in the body":
                    await trio.sleep_forever()
                else:
                    await trio.sleep(1)
        finally:
            ends.append(trio.current_time())

    with pytest.raises(KeyboardInterrupt):
        run_on_virtual_time(main)
    assert ends == [20]
    assert log == [("begin", "work", 0), ("cancelled", "work", 20)]


def test_ctrl_c_while_a_system_stops_is_raised_after_the_stop() -> None:
    """One alone does not cut the stop short."""
    log: list[Any] = []

    class Slow(Worker):
        async def on_stop(self) -> None:  # type: ignore[override]
            await trio.sleep(3)
            log.append(("stopped", trio.current_time()))

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Slow, id="a")
            system.timers.call_later(1, lambda: signal.raise_signal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        run_on_virtual_time(main)
    assert log == [("stopped", 3)]
