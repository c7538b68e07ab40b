"""A1, A4, A6, A8 for stock threads as children, by drawn programs: whatever is done to one, each ask ends once.

Real threads; how they interleave is the machine's choice, so what is checked holds for every interleaving.
"""

import contextlib
import threading
from typing import Any

import pykka
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.runtime import (
    ChildSpec,
    MailboxFull,
    Ref,
    Refusal,
    Restart,
    Strategy,
    Supervision,
    cancelled,
    open_system,
)
from tests.runtime.kit import Parent

ASKS = ["answer", "refuse", "crash", "wait", "stop itself"]
DEEDS = ["tell", "kill", "stop child", "drain", "switch"]


class Busy(pykka.ThreadingActor):
    """Does what it is told, and notes when two messages of one incarnation are handled at a time."""

    mailbox_capacity = 4

    def __init__(self, handled: list[int], overlaps: list[str]) -> None:
        super().__init__()
        self.handled = handled
        self.overlaps = overlaps
        self.alone = threading.Lock()

    def on_receive(self, message: tuple[str, int]) -> int:
        if not self.alone.acquire(blocking=False):
            self.overlaps.append(str(message))
        try:
            return self.obey(*message)
        finally:
            self.alone.release()

    def obey(self, kind: str, number: int) -> int:
        self.handled.append(number)
        match kind:
            case "refuse":
                raise Refusal(number)
            case "crash":
                raise ValueError(number)
            case "wait":
                pause = threading.Event()
                while not cancelled():
                    pause.wait(0.0005)
            case "stop itself":
                self.stop()
        return number


# A1 A4 A6 A8
@settings(max_examples=60)
@given(
    program=st.lists(st.sampled_from(ASKS + DEEDS), min_size=1, max_size=15),
    restart=st.sampled_from(Restart),
)
async def test_each_ask_of_a_thread_ends_once(program: list[str], restart: Restart) -> None:
    """Answers are one's own, failures too; nothing hangs, nothing is handled twice, and no thread is left."""
    handled: list[int] = []
    overlaps: list[str] = []
    outcomes: dict[int, str] = {}
    before = set(threading.enumerate())
    with trio.fail_after(60):
        async with open_system() as system, trio.open_nursery() as nursery:
            supervision = Supervision(Strategy.DYNAMIC, intensity=100, period_seconds=1)
            parent = await system.spawn(lambda: Parent(supervision), id="parent")
            spec = ChildSpec("it", lambda: Busy(handled, overlaps), restart, stop_seconds=0.05)
            ref: Ref[Any] = await parent.ask_async(spec)

            async def ask(kind: str, number: int) -> None:
                try:
                    with trio.move_on_after(0.01 if kind == "wait" else 30) as scope:
                        answer = await ref.ask_async((kind, number))
                        outcome = "answer" if answer == number else f"the answer of {answer}"
                    if scope.cancelled_caught:
                        outcome = "gave up" if kind == "wait" else "hung"
                except (Refusal, ValueError) as error:
                    outcome = "raised" if error.args == (number,) else f"what {error.args} raised"
                except pykka.ActorDeadError:
                    outcome = "dead"
                except MailboxFull:
                    outcome = "full"
                assert number not in outcomes
                outcomes[number] = outcome

            for number, step in enumerate(program):
                match step:
                    case "tell":
                        if ref.is_alive():
                            with contextlib.suppress(MailboxFull):
                                ref.tell(("answer", number))
                    case "kill":
                        ref.kill()
                    case "stop child":
                        await parent.ask_async(lambda actor: actor.stop_child("it"))
                    case "drain":
                        ref.stop(block=False)
                    case "switch":
                        await trio.sleep(0.002)
                    case _:
                        nursery.start_soon(ask, step, number)
                        await trio.lowlevel.checkpoint()
    may_be = {
        "answer": {"answer", "dead", "full"},
        "stop itself": {"answer", "dead", "full"},
        "refuse": {"raised", "dead", "full"},
        "crash": {"raised", "dead", "full"},
        "wait": {"gave up", "dead", "full"},
    }
    for number, outcome in outcomes.items():
        assert outcome in may_be[program[number]], (program[number], outcome)
    assert set(outcomes) == {number for number, step in enumerate(program) if step in ASKS}
    assert overlaps == []
    assert len(handled) == len(set(handled))
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("Trio thread"):
            thread.join(30)
            assert not thread.is_alive()
