"""A state machine: mailboxes, asks, restarts and stops of a few actors, step by step against a naive model.

Handlers hold until the machine lets them go, so no time passes but when it says so, and after each step there is one
right state of everything: who handles what, what waits, who has been told what, and what is in dead letters.
"""

from collections import Counter
from functools import partial
from typing import Any

import attrs
import pykka
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callboard.runtime import (
    Actor,
    ChildSpec,
    Killed,
    MailboxFull,
    Ref,
    Refusal,
    Strategy,
    Supervision,
    open_system,
)
from callboard.runtime.testing import settle
from tests.runtime.kit import Parent, dead_letters
from tests.runtime.stepped import Stepped

STOP_SECONDS = 10.0
DRAIN = -1


class Told(Exception):
    """What handlers raise."""


@attrs.define
class Modelled:
    """One actor as naive as can be; messages are numbers."""

    capacity: int
    restarts_left: int
    restarts: int = 0
    alive: bool = True
    current: int | None = None
    stopping: bool = False
    queue: list[int] = attrs.Factory(list)
    line: list[int] = attrs.Factory(list)
    deferred: list[int] = attrs.Factory(list)
    handled: list[int] = attrs.Factory(list)


class Model:
    """All actors; `outcomes` has how each message ended for its sender, None where it is still waited for."""

    def __init__(self) -> None:
        self.actors: list[Modelled] = []
        self.kinds: dict[int, str] = {}
        self.ways: dict[int, str] = {}
        self.outcomes: dict[int, str | None] = {}
        self.letters: Counter[str] = Counter()

    def say(self, actor: Modelled, number: int, way: str, kind: str) -> None:
        self.kinds[number], self.ways[number], self.outcomes[number] = kind, way, None
        if not actor.alive:
            self.outcomes[number] = "dead"
            self.letters["dead"] += way != "ask"
        elif len(actor.queue) < actor.capacity and not (way == "send" and actor.line):
            actor.queue.append(number)
            if way != "ask":
                self.outcomes[number] = "sent"
        elif way == "send":
            actor.line.append(number)
        else:
            self.outcomes[number] = "full"
        self.go_on(actor)

    def go_on(self, actor: Modelled) -> None:
        """Handle what waits, up to one that holds."""
        while actor.alive and actor.current is None and actor.queue:
            number = actor.queue.pop(0)
            self.admit(actor)
            if number == DRAIN:
                self.die(actor)
            elif self.outcomes[number] == "cancelled":
                self.letters["expired"] += 1
            else:
                self.handle(actor, number, self.kinds[number])

    def admit(self, actor: Modelled) -> None:
        while actor.line and len(actor.queue) < actor.capacity:
            sent = actor.line.pop(0)
            actor.queue.append(sent)
            self.outcomes[sent] = "sent"

    def handle(self, actor: Modelled, number: int, kind: str) -> None:
        actor.handled.append(number)
        if kind == "hold":
            actor.current = number
        elif kind == "crash":
            self.letters["crashed"] += 1
            self.answer(number, "raised")
            self.crash(actor, "raised")
        elif kind == "refuse":
            self.letters["crashed"] += self.ways[number] != "ask"
            self.answer(number, "refused")
        elif kind == "defer":
            if self.ways[number] == "ask":
                actor.deferred.append(number)
        else:
            self.answer(number, "answer")

    def answer(self, number: int, outcome: str) -> None:
        if self.outcomes[number] is None:
            self.outcomes[number] = outcome

    def crash(self, actor: Modelled, promises: str) -> None:
        for number in actor.deferred:
            self.answer(number, promises)
        actor.deferred.clear()
        if actor.restarts_left and not actor.stopping:
            actor.restarts_left -= 1
            actor.restarts += 1
        else:
            self.die(actor)

    def die(self, actor: Modelled) -> None:
        actor.alive = False
        for number in actor.deferred:
            self.answer(number, "dead")
        for number in actor.queue:
            if number != DRAIN:
                expired = self.outcomes[number] == "cancelled"
                self.letters["expired" if expired else "stopped"] += 1
                self.answer(number, "dead")
        for number in actor.line:
            self.letters["dead"] += 1
            self.outcomes[number] = "dead"
        actor.queue, actor.line, actor.deferred = [], [], []

    def release(self, actor: Modelled, how: str) -> None:
        number, actor.current = actor.current, None
        assert number is not None
        if how == "crash":
            self.letters["crashed"] += 1
            self.answer(number, "raised")
            self.crash(actor, "raised")
        else:
            self.answer(number, "answer")
        self.after_one(actor)

    def after_one(self, actor: Modelled) -> None:
        if actor.alive and actor.stopping:
            self.die(actor)
        self.go_on(actor)

    def interrupt(self, actor: Modelled) -> None:
        if actor.current is not None:
            self.letters["interrupted"] += 1
            self.answer(actor.current, "dead")
            actor.current = None

    def kill(self, actor: Modelled) -> None:
        if actor.alive:
            self.interrupt(actor)
            self.crash(actor, "killed")
            self.go_on(actor)

    def drain(self, actor: Modelled) -> None:
        if actor.alive:
            actor.queue.append(DRAIN)
            self.go_on(actor)

    def stop(self, actor: Modelled) -> None:
        if actor.alive:
            actor.stopping = True
            if actor.current is None:
                self.die(actor)

    def stops_fall_due(self) -> None:
        for actor in self.actors:
            if actor.alive and actor.stopping:
                self.interrupt(actor)
                self.die(actor)

    def cancel(self, number: int) -> None:
        self.outcomes[number] = "cancelled"
        for actor in self.actors:
            if number in actor.line:
                actor.line.remove(number)
            if number in actor.deferred:
                actor.deferred.remove(number)
            if actor.current == number:
                actor.current = None
                self.after_one(actor)


class Held(Actor):
    """Handles numbered messages as they say, and holds where they say so."""

    def __init__(self, capacity: int, handled: list[int], gates: list[tuple[trio.Event, list[str]]]) -> None:
        self.mailbox_capacity = capacity  # type: ignore[misc]
        super().__init__()
        self.handled, self.gates = handled, gates

    def on_receive(self, message: tuple[int, str]) -> Any:
        number, kind = message
        self.handled.append(number)
        match kind:
            case "hold":
                return self._hold(number)
            case "crash":
                raise Told(number)
            case "refuse":
                raise Refusal(number)
            case "defer":
                self.defer_reply()
        return number

    async def _hold(self, number: int) -> int:
        gate: tuple[trio.Event, list[str]] = (trio.Event(), [])
        self.gates.append(gate)
        try:
            await gate[0].wait()
        finally:
            self.gates.remove(gate)
        if gate[1] == ["crash"]:
            raise Told(number)
        return number


class Machine(RuleBasedStateMachine):
    """The kernel and the model, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.refs: list[Ref[Any]] = []
        self.handled: list[list[int]] = []
        self.gates: list[list[tuple[trio.Event, list[str]]]] = []
        self.outcomes: dict[int, str | None] = {}
        self.scopes: dict[int, trio.CancelScope] = {}
        self.told: list[Any] = []
        self.loop = Stepped(self.main)
        self.loop.call(trio.lowlevel.checkpoint)

    async def main(self, next_call: Any) -> None:
        async with trio.open_nursery() as self.nursery:  # noqa: SIM117 - who asks sees the end of the system
            async with open_system() as system:
                supervision = Supervision(Strategy.DYNAMIC, intensity=2, period_seconds=10**9)
                self.parent = await system.spawn(lambda: Parent(supervision), id="parent")
                self.watcher = await system.spawn(lambda: Parent(supervision, self.told), id="watcher")
                while (call := await next_call()) is not None:
                    function, result = call
                    value = await function()
                    await settle(system)
                    self.found, self.letters = system.statistics(), dead_letters(system)
                    result.append(value)
        self.found = system.statistics()

    def do(self, function: Any) -> None:
        """Do it on the loop, and wait until all is at rest."""

        async def call() -> None:
            function()

        self.loop.call(call)

    def teardown(self) -> None:
        self.loop.end()
        assert self.found.actors == ()
        assert self.found.tasks == self.found.timers == 0
        assert None not in self.outcomes.values(), self.outcomes

    @initialize(capacity=st.integers(1, 3))
    def first(self, capacity: int) -> None:
        self.spawn(capacity)

    @precondition(lambda self: len(self.refs) < 4)
    @rule(capacity=st.integers(1, 3))
    def spawn(self, capacity: int) -> None:
        handled: list[int] = []
        gates: list[tuple[trio.Event, list[str]]] = []
        spec = ChildSpec(str(len(self.refs)), lambda: Held(capacity, handled, gates), stop_seconds=STOP_SECONDS)

        async def start() -> Ref[Any]:
            ref: Ref[Any] = await self.parent.ask_async(spec)
            await self.watcher.ask_async(lambda watcher: watcher.watch(ref))
            return ref

        self.refs.append(self.loop.call(start))
        self.handled.append(handled)
        self.gates.append(gates)
        self.model.actors.append(Modelled(capacity, restarts_left=2))

    @rule(
        which=st.integers(0, 3),
        way=st.sampled_from(["tell", "ask", "ask", "send"]),
        kind=st.sampled_from(["plain", "hold", "hold", "crash", "refuse", "defer"]),
    )
    def say(self, which: int, way: str, kind: str) -> None:
        index, number = which % len(self.refs), len(self.outcomes)
        self.outcomes[number] = None
        self.do(lambda: self.nursery.start_soon(self._say, self.refs[index], number, way, kind))
        self.model.say(self.model.actors[index], number, way, kind)

    @rule(which=st.integers(0, 3), ways=st.lists(st.sampled_from(["ask", "send"]), min_size=1, max_size=4))
    def crowd(self, which: int, ways: list[str]) -> None:
        """One that holds, and others behind it: what is of interest is said in front of a full mailbox."""
        for way in ways:
            self.say(which, way, "hold")

    @precondition(lambda self: None in self.outcomes.values())
    @rule(which=st.integers(0, 20))
    def lose_patience(self, which: int) -> None:
        """As `cancel`, which is drawn too seldom alone."""
        self.cancel(which)

    async def _say(self, ref: Ref[Any], number: int, way: str, kind: str) -> None:
        outcome = "cancelled"
        with trio.CancelScope() as self.scopes[number]:
            try:
                if way == "ask":
                    answer = await ref.ask_async((number, kind))
                    outcome = "answer" if answer == number else f"another's answer {answer}"
                elif way == "send":
                    await ref.send((number, kind))
                    outcome = "sent"
                else:
                    ref.tell((number, kind))
                    outcome = "sent"
            except pykka.ActorDeadError:
                outcome = "dead"
            except MailboxFull:
                outcome = "full"
            except Told:
                outcome = "raised"
            except Refusal:
                outcome = "refused"
            except Killed:
                outcome = "killed"
        self.outcomes[number] = outcome

    @precondition(lambda self: any(self.gates))
    @rule(which=st.integers(0, 3), how=st.sampled_from(["answer", "crash"]))
    def release(self, which: int, how: str) -> None:
        holding = [index for index, gates in enumerate(self.gates) if gates]
        index = holding[which % len(holding)]
        gate, said = self.gates[index][0]
        said.append(how)
        self.do(gate.set)
        self.model.release(self.model.actors[index], how)

    @rule(which=st.integers(0, 3), how=st.sampled_from(["kill", "drain", "stop_child"]))
    def end(self, which: int, how: str) -> None:
        index = which % len(self.refs)
        actor, ref = self.model.actors[index], self.refs[index]
        if how == "kill":
            self.do(ref.kill)
            self.model.kill(actor)
        elif how == "drain":
            self.do(lambda: ref.stop(block=False))
            self.model.drain(actor)
        else:
            self.do(lambda: self.parent.tell(lambda parent: parent.stop_child(str(index))))
            self.model.stop(actor)

    @precondition(lambda self: None in self.outcomes.values())
    @rule(which=st.integers(0, 20))
    def cancel(self, which: int) -> None:
        waiting = [number for number, outcome in self.outcomes.items() if outcome is None]
        number = waiting[which % len(waiting)]
        self.do(self.scopes[number].cancel)
        self.model.cancel(number)

    @rule()
    def time_passes(self) -> None:
        self.loop.call(partial(trio.sleep, 2 * STOP_SECONDS))
        self.model.stops_fall_due()

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        if not self.refs:
            return
        assert self.outcomes == self.model.outcomes
        assert self.handled == [actor.handled for actor in self.model.actors]
        assert [ref.is_alive() for ref in self.refs] == [actor.alive for actor in self.model.actors]
        found = {a.path: (a.mailbox, a.restarts, a.state == "busy") for a in self.found.actors}
        for ref, actor in zip(self.refs, self.model.actors, strict=True):
            if actor.alive:
                lane = int(actor.stopping)  # the order to stop, which waits for the handler
                assert found[ref.path] == (len(actor.queue) + lane, actor.restarts, actor.current is not None)
            else:
                assert ref.path not in found
        assert {reason.value: count for reason, count in self.letters.items()} == +self.model.letters
        told = Counter(entry[1] for entry in self.told)
        assert told == Counter(ref for ref in self.refs if not ref.is_alive())
        assert all(entry[0] == "exited" for entry in self.told)


# A1 A2 A3 A4 A6 A8 A9
TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=30)
