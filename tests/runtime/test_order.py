"""A2: messages of one sender stay in order; what supervisors, timers and the dead have to say goes first."""

from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import ChildSpec, MailboxFull, Supervision, open_system
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Collect, Log, Parent, Raise, Sleep, Worker, nap

HOW = st.sampled_from(["tell", "send", "ask", "submit"])


class Crashing(Collect):
    """Writes down each message, sleeps or crashes on some."""

    mailbox_capacity = 3

    def on_receive(self, message: Any) -> Any:
        self.log.append(message)
        _, _, what = message
        if what == "crash":
            raise ValueError(message)
        return nap(1) if what == "sleep" else None


# A2
@given(
    shares=st.lists(
        st.lists(st.tuples(st.integers(0, 1), HOW, st.sampled_from(["", "", "sleep", "crash"]))), max_size=4
    ),
    schedule=st.random_module(),
)
async def test_each_sender_is_heard_in_order(shares: list[list[tuple[int, str, str]]], schedule: object) -> None:
    """Whatever mixture of tell, send, ask and submit, through full mailboxes, async handlers and restarts."""
    logs: list[list[Any]] = [[], []]
    async with open_system(slice_clock=frozen_clock) as system:
        supervision = Supervision(intensity=10_000)
        parent = await system.spawn(lambda: Parent(supervision), id="parent")
        refs = [
            await parent.ask_async(ChildSpec("0", lambda: Crashing(logs[0]))),
            await parent.ask_async(ChildSpec("1", lambda: Crashing(logs[1]))),
        ]
        sent: list[list[Any]] = [[], []]
        crashed: list[Any] = []

        async def sender(name: int, share: list[tuple[int, str, str]]) -> None:
            for number, (target, how, what) in enumerate(share):
                ref, message = refs[target], (name, number, what)
                if how == "ask":
                    with trio.move_on_after(0.5):
                        try:
                            await ref.ask_async(message)
                        except MailboxFull:
                            continue
                        except ValueError as error:
                            crashed.append(error.args[0])
                elif how == "submit":
                    await ref.submit(message)
                elif how == "tell":
                    try:
                        ref.tell(message)
                    except MailboxFull:
                        continue
                else:
                    await ref.send(message)
                sent[target].append(message)

        async with trio.open_nursery() as nursery:
            for name, share in enumerate(shares):
                nursery.start_soon(sender, name, share)
        await trio.sleep(1_000)
        await settle(system)
    assert set(crashed) <= set(logs[0]) | set(logs[1])
    for log, was_sent in zip(logs, sent, strict=True):
        for name in range(len(shares)):
            handled = [message for message in log if message[0] == name]
            wanted = [message for message in was_sent if message[0] == name]
            assert [number for _, number, _ in handled] == sorted(number for _, number, _ in handled)
            # Only a question whose asker had gone before its turn is left out.
            assert {m for m in wanted if m not in handled} <= {
                (name, number, what) for number, (_, how, what) in enumerate(shares[name]) if how == "ask"
            }
            assert set(handled) <= {(name, number, what) for number, (_, _, what) in enumerate(shares[name])}


# A2
@given(
    before=st.integers(0, 5),
    facts=st.integers(0, 5),
    after=st.integers(0, 5),
    end=st.sampled_from(["stop", "kill", "drain", "none"]),
)
async def test_the_lane_overtakes_messages(before: int, facts: int, after: int, end: str) -> None:
    """Facts go first, in their own order; stop and kill before all messages; a drain after those that were there."""
    log: list[Any] = []

    class Busy(Collect):
        def on_receive(self, message: Any) -> Any:
            self.log.append(message)
            return nap(1) if message == "first" else None

    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision()), id="parent")
        ref = await parent.ask_async(ChildSpec("child", lambda: Busy(log)))
        ref.tell("first")
        await settle(system)
        for n in range(before):
            ref.tell(n)
        if end == "drain":
            ref.stop(block=False)
        for n in range(facts):
            ref.notify(f"fact {n}")
        for n in range(after):
            ref.tell(before + n)
        if end == "stop":
            parent.tell(lambda parent: parent.stop_child("child"))
        elif end == "kill":
            ref.kill()
        await trio.sleep(10)
        said = [f"fact {n}" for n in range(facts)]
        told = [*range(before + after)]
        if end == "stop":
            # The facts were in the lane before it, the messages behind all of them.
            assert log == ["first", *said]
            assert not ref.is_alive()
        elif end == "kill":
            # The handler is cut off and the actor restarted; the lane and the messages are kept.
            assert log == ["first", *said, *told]
        elif end == "drain":
            assert log == ["first", *said, *told[:before]]
            assert not ref.is_alive()
        else:
            assert log == ["first", *said, *told]


async def test_a_death_notice_overtakes_messages() -> None:
    """A watcher with a full mailbox hears of the death before the messages that came earlier."""
    log: Log = []
    async with open_system() as system:
        parent = await system.spawn(lambda: Parent(Supervision(), log), id="parent")
        worker = await system.spawn(Worker, id="worker")

        async def wait_long(parent: Parent) -> None:
            parent.watch(worker)
            await trio.sleep(5)

        parent.tell(wait_long)
        for n in range(3):
            parent.tell(lambda parent, n=n: log.append(("message", n)))
        await settle(system)
        worker.stop(block=False)
        await trio.sleep(10)
    assert log == [("exited", worker, None), ("message", 0), ("message", 1), ("message", 2)]


async def test_a_stop_from_within_is_a_drain() -> None:
    """`Actor.stop()` lets the messages that wait be handled, and answers later ones with ActorDeadError."""
    log: Log = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Worker(log), id="a")
        ref.tell(lambda worker: worker.stop())
        ref.tell("before")
        await settle(system)
        assert not ref.is_alive()
    assert log == [("handle", "before")]


async def test_order_holds_across_a_crash_in_the_middle() -> None:
    """The messages behind the one that crashed are handled by the restarted actor, in order."""
    log: Log = []
    async with open_system() as system:
        ref = await system.spawn(lambda: Worker(log), id="a")
        error = ValueError("crash")
        for message in (1, Raise(error), 2, Sleep(1, "s"), 3):
            ref.tell(message)
        await trio.sleep(2)
        assert log == [
            ("handle", 1),
            ("raise", error),
            ("handle", 2),
            ("begin", "s", 0),
            ("end", "s", 1),
            ("handle", 3),
        ]
