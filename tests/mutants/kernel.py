"""Broken kernels: for each law of actors at least one, and the property test that has to notice.

A mutant patches the kernel of its own process (see `plugin.py`) and breaks one thing that somebody might break. It
stands here and not as a switch in the kernel. Its docstring says what is wrong with it.
"""

from __future__ import annotations

import contextvars
import os
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import callboard.runtime.family as family
import callboard.runtime.supervision as supervision
from callboard.runtime import DeathReason, MailboxFull
from callboard.runtime.cell import ActorExited, Cell, State
from callboard.runtime.family import Family
from callboard.runtime.mailbox import Mailbox
from callboard.runtime.ref import Ref
from callboard.runtime.reply import Reply
from callboard.runtime.together import Together
from callboard.runtime.waits import Waits

__all__ = ["MUTANTS", "QUICK", "Mutant"]

Patch = Callable[[pytest.MonkeyPatch], None]


@attrs.frozen
class Mutant:
    """One broken kernel: the law that it breaks, the test that must fail, and how it is made."""

    law: str
    name: str
    test: str
    apply: Patch
    quick: bool


MUTANTS: dict[str, Mutant] = {}
QUICK: list[str] = []


def mutant(law: str, test: str, *, quick: bool = False) -> Callable[[Patch], Patch]:
    """Note a mutant: `test` is a file below `tests/`, and a test in it."""

    def note(apply: Patch) -> Patch:
        MUTANTS[apply.__name__] = Mutant(law, apply.__name__, f"tests/{test}", apply, quick)
        if quick:
            QUICK.append(apply.__name__)
        return apply

    return note


# -- A1 ---------------------------------------------------------------------------------------------------------------

TURNS = "runtime/test_turns.py::test_handlers_of_an_actor_never_overlap"


@mutant("A1", TURNS)
def takes_turns_while_busy(patch: pytest.MonkeyPatch) -> None:
    """A coroutine of the actor runs, and the next message is handled beside it."""
    turn, run_coroutine = Cell.turn, Cell._run_coroutine

    def deaf_turn(self: Cell, budget: int, deadline: float) -> int:
        scope, self.scope = self.scope, None
        try:
            return turn(self, budget, deadline)
        finally:
            if self.scope is None:
                self.scope = scope

    def deaf_run(self: Cell, *args: Any) -> None:
        run_coroutine(self, *args)
        self.idle = True

    patch.setattr(Cell, "turn", deaf_turn)
    patch.setattr(Cell, "_run_coroutine", deaf_run)


@mutant("A1", TURNS)
def handles_in_the_senders_turn(patch: pytest.MonkeyPatch) -> None:
    """A message is handled where it is told, in the middle of another handler."""
    tell = Ref.tell

    def nested(self: Any, message: Any) -> None:
        tell(self, message)
        if self._cell.state is State.RUNNING and self._cell.scope is None:
            self._cell.turn(1, float("inf"))

    patch.setattr(Ref, "tell", nested)


# -- A2 ---------------------------------------------------------------------------------------------------------------


@mutant("A2", "runtime/test_order.py::test_each_sender_is_heard_in_order")
def newest_first(patch: pytest.MonkeyPatch) -> None:
    """A message that waits is overtaken by the next one."""
    put = Mailbox.put

    def overtaking(self: Any, message: Any, reply: Any) -> None:
        waiting = len(self.queue)
        put(self, message, reply)
        if len(self.queue) > waiting:
            self.queue.appendleft(self.queue.pop())

    patch.setattr(Mailbox, "put", overtaking)


@mutant("A2", "runtime/test_order.py::test_the_lane_overtakes_messages")
def one_lane_for_all(patch: pytest.MonkeyPatch) -> None:
    """What supervisors and timers have to say stands behind the messages."""

    def queued(self: Any, message: Any) -> None:
        self.put(message, None)

    patch.setattr(Mailbox, "notify", queued)


@mutant("A2", "runtime/test_order.py::test_the_lane_overtakes_messages")
def a_drain_overtakes(patch: pytest.MonkeyPatch) -> None:
    """Pykka's stop goes before the messages that were sent before it."""
    drain = Mailbox.drain

    def early(self: Any, *args: Any) -> None:
        drain(self, *args)
        if self.queue:
            self.queue.appendleft(self.queue.pop())

    patch.setattr(Mailbox, "drain", early)


# -- A3 ---------------------------------------------------------------------------------------------------------------

BOUNDS = "runtime/test_bounds.py::test_a_full_mailbox_does_what_it_declares"


@mutant("A3", BOUNDS)
def no_bound(patch: pytest.MonkeyPatch) -> None:
    """A full mailbox takes one more, and one more."""
    make_room = Mailbox._make_room
    patch.setattr(Mailbox, "_make_room", lambda self, *args: not self.closed or make_room(self, *args))


@mutant("A3", BOUNDS)
def drops_in_silence(patch: pytest.MonkeyPatch) -> None:
    """What a full mailbox drops is in nobody's count."""
    bury = Mailbox.bury

    def silent(self: Any, message: Any, reason: DeathReason, error: BaseException | None = None) -> None:
        if reason is not DeathReason.DROPPED:
            bury(self, message, reason, error)

    patch.setattr(Mailbox, "bury", silent)


@mutant("A3", "runtime/test_bounds.py::test_send_waits_for_room_and_leaves_nothing_when_cancelled")
def a_cancelled_send_is_sent(patch: pytest.MonkeyPatch) -> None:
    """Who gives up waiting for room leaves the message in line."""
    stand = Mailbox.stand_in_line

    def stay(self: Any, sender: Any) -> None:
        stand(self, sender)
        sender.admitted.on_abandon = None

    patch.setattr(Mailbox, "stand_in_line", stay)


# -- A4 ---------------------------------------------------------------------------------------------------------------

ASKS = "runtime/test_asks.py::test_every_ask_ends_as_the_model_says"


@mutant("A4", ASKS, quick=True)
def the_queue_dies_in_silence(patch: pytest.MonkeyPatch) -> None:
    """An actor is gone, and whoever asked it waits for ever."""
    patch.setattr(Mailbox, "bury_queue", lambda self, *args: self.queue.clear())


@mutant("A4", ASKS)
def a_killed_handler_answers_nobody(patch: pytest.MonkeyPatch) -> None:
    """The question that was in hand when the actor was killed is forgotten."""
    after = Cell._after_handler

    def forgetful(self: Cell, result: Any, error: BaseException | None) -> None:
        if self.killing is not None:
            self.reply = None
        after(self, result, error)

    patch.setattr(Cell, "_after_handler", forgetful)


@mutant("A4", "runtime/test_asks.py::test_a_deferred_reply_ends_once")
def promises_outlive_their_maker(patch: pytest.MonkeyPatch) -> None:
    """A deferred reply is left open when its actor ends."""
    patch.setattr(Cell, "_drop_deferred", lambda self, error: None)


# -- A5 ---------------------------------------------------------------------------------------------------------------


@mutant("A5", "runtime/test_deadlines.py::test_a_cancelled_ask_cancels_every_hop_at_once")
def works_on_for_nobody(patch: pytest.MonkeyPatch) -> None:
    """The asker has gone, and the handler is not told."""
    abandon = Reply.abandon

    def untold(self: Any) -> None:
        self.on_abandon = None
        abandon(self)

    patch.setattr(Reply, "abandon", untold)


@mutant("A5", "runtime/test_deadlines.py::test_an_expired_question_is_never_run")
def runs_what_has_expired(patch: pytest.MonkeyPatch) -> None:
    """A question whose asker has gone is handled all the same."""
    special = Cell._special

    def eager(self: Cell, message: Any, reply: Any) -> Any:
        return self.receive if reply is not None and reply.abandoned else special(self, message, reply)

    patch.setattr(Cell, "_special", eager)


# -- A6 ---------------------------------------------------------------------------------------------------------------

RESTARTS = "runtime/test_restarts.py::test_a_restart_keeps_address_queue_and_watchers"


@mutant("A6", RESTARTS, quick=True)
def crashes_again_on_the_same(patch: pytest.MonkeyPatch) -> None:
    """The message that crashed is delivered to the next incarnation, too."""
    fail = Cell.fail

    def again(self: Cell, error: BaseException) -> None:
        letters = self.system.dead_letters.newest()
        if letters and letters[-1].error is error and not self.restarts:
            self.queue.appendleft((letters[-1].message, None, contextvars.copy_context()))
        fail(self, error)

    patch.setattr(Cell, "fail", again)


@mutant("A6", RESTARTS)
def a_restart_empties_the_mailbox(patch: pytest.MonkeyPatch) -> None:
    """What waits is taken for the crashed incarnation's."""
    restart = Cell.restart

    def emptied(self: Cell) -> None:
        self.bury_queue()
        restart(self)

    patch.setattr(Cell, "restart", emptied)


@mutant("A6", RESTARTS)
def a_restart_forgets_the_watchers(patch: pytest.MonkeyPatch) -> None:
    """Who watched the first incarnation hears nothing of the end."""
    restart = Cell.restart

    def unwatched(self: Cell) -> None:
        self.watchers = None
        restart(self)

    patch.setattr(Cell, "restart", unwatched)


@mutant("A6", "runtime/test_together.py::test_siblings_are_restarted_together")
def a_siblings_restart_empties_the_mailbox(patch: pytest.MonkeyPatch) -> None:
    """What waits at a sibling goes down with it."""
    down = Cell._down

    def emptied(self: Cell) -> None:
        self.bury_queue()
        down(self)

    patch.setattr(Cell, "_down", emptied)


# -- A7 ---------------------------------------------------------------------------------------------------------------

SUPERVISORS = "runtime/test_supervision.py::test_supervisors_carry_out_what_is_decided"
TOGETHER = "runtime/test_together.py::test_siblings_are_restarted_together"


@mutant("A7", "runtime/test_decide.py::test_intensity_counts_restarts_in_a_sliding_window", quick=True)
def one_restart_too_many(patch: pytest.MonkeyPatch) -> None:
    """The intensity is what is tolerated plus one."""
    decide = supervision.decide

    def generous(policy: Any, *rest: Any) -> Any:
        arguments: tuple[Any, ...] = (attrs.evolve(policy, intensity=policy.intensity + 1), *rest)
        return decide(*arguments)

    patch.setattr("callboard.runtime.decide", generous)
    patch.setattr(family, "decide", generous)


@mutant("A7", SUPERVISORS)
def dynamic_children_share_a_window(patch: pytest.MonkeyPatch) -> None:
    """One user's crashes use up another's restarts."""
    decide = Family._decide
    shared: dict[int, tuple[float, ...]] = {}

    def shared_decide(self: Any, child: Any, kind: Any, history: Any, *, echo: bool) -> Any:
        plan = decide(self, child, kind, shared.get(id(self), ()), echo=echo)
        shared[id(self)] = plan.history
        return plan

    patch.setattr(Family, "_decide", shared_decide)


@mutant("A7", SUPERVISORS)
def giving_up_is_nobodys_business(patch: pytest.MonkeyPatch) -> None:
    """The child is gone, and its supervisor lives on as if it were dynamic."""
    give_up = Family._give_up
    patch.setattr(Family, "_give_up", lambda self, *args, dynamic: give_up(self, *args, dynamic=True))


@mutant("A7", TOGETHER)
def eldest_down_first(patch: pytest.MonkeyPatch) -> None:
    """Siblings are brought down in the order in which they started."""
    carry_out = Together.carry_out

    def backwards(self: Any, plan: Any, failed: Any) -> None:
        go_on, self._go_on = self._go_on, lambda: None
        carry_out(self, plan, failed)
        del self._go_on
        self._to_stop.reverse()
        go_on()

    patch.setattr(Together, "carry_out", backwards)


@mutant("A7", TOGETHER)
def a_failure_on_the_way_down_is_no_restart(patch: pytest.MonkeyPatch) -> None:
    """A start that fails while siblings restart is forgiven."""
    decide = Family._decide

    def forgiving(self: Any, child: Any, kind: Any, history: Any, *, echo: bool) -> Any:
        plan = decide(self, child, kind, history, echo=echo)
        return plan if child.up_since is not None or not child.failures else attrs.evolve(plan, history=history)

    patch.setattr(Family, "_decide", forgiving)


@mutant("A7", "runtime/test_supervision.py::test_a_restart_waits_for_its_back_off")
def chance_of_its_own(patch: pytest.MonkeyPatch) -> None:
    """The jitter of a back-off is not drawn from the system's generator."""
    decide = Family._decide

    def another(self: Any, *args: Any, echo: bool) -> Any:
        rng, self._cell.system.rng = self._cell.system.rng, random.Random(os.urandom(8))
        plan = decide(self, *args, echo=echo)
        self._cell.system.rng = rng
        return plan

    patch.setattr(Family, "_decide", another)


# -- A8 ---------------------------------------------------------------------------------------------------------------

STOPPING = "runtime/test_stopping.py::test_a_tree_stops_in_reverse_order_within_its_deadlines"


@mutant("A8", STOPPING)
def eldest_stops_first(patch: pytest.MonkeyPatch) -> None:
    """Children stop in the order in which they started."""

    class Queue(deque[Any]):
        def pop(self) -> Any:  # type: ignore[override]
            return self.popleft()

    patch.setattr(family, "deque", Queue)


@mutant("A8", STOPPING)
def no_deadline(patch: pytest.MonkeyPatch) -> None:
    """A child that overruns its time is waited for."""
    stop_child = Family.stop_child

    def patient(self: Any, id: str, done: Any = None) -> None:
        child = self.children.get(id)
        if child is not None:
            child.spec = attrs.evolve(child.spec, stop_seconds=10**6)
        stop_child(self, id, done)

    patch.setattr(Family, "stop_child", patient)


@mutant("A8", STOPPING)
def eldest_is_killed_first(patch: pytest.MonkeyPatch) -> None:
    """Children are killed in the order in which they started."""
    kill_all = Family.kill_all

    def backwards(self: Any, done: Any) -> None:
        self.children = dict(reversed(self.children.items()))
        kill_all(self, done)

    patch.setattr(Family, "kill_all", backwards)


# -- A9 ---------------------------------------------------------------------------------------------------------------

WATCHING = "runtime/test_watching.py::test_a_watcher_is_told_exactly_once"


@mutant("A9", WATCHING)
def nobody_is_told(patch: pytest.MonkeyPatch) -> None:
    """An actor is gone for good, and its watchers do not hear of it."""
    terminate = Cell.terminate

    def quiet(self: Cell, reason: BaseException | None) -> None:
        self.watchers = None
        terminate(self, reason)

    patch.setattr(Cell, "terminate", quiet)


@mutant("A9", WATCHING)
def a_restart_is_told_as_a_death(patch: pytest.MonkeyPatch) -> None:
    """Watchers hear of each incarnation's end."""
    restart = Cell.restart

    def told(self: Cell) -> None:
        for watcher in self.watchers or ():
            watcher.notify(ActorExited(self.ref, self.last_error))
        restart(self)

    patch.setattr(Cell, "restart", told)


# -- A10 --------------------------------------------------------------------------------------------------------------


@mutant("A10", "runtime/test_cycles.py::test_a_circle_of_asks_is_named_and_everything_else_is_answered")
def circles_are_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    """Actors that wait for each other wait until somebody loses patience."""
    patch.setattr(Waits, "_way", lambda self, start, goal: None)


@mutant("A10", "runtime/test_cycles.py::test_a_circle_of_asks_is_named_and_everything_else_is_answered")
def old_waits_count(patch: pytest.MonkeyPatch) -> None:
    """A wait that has ended still makes circles, so that asks are refused which could be answered."""
    patch.setattr(Waits, "end", lambda self, edge: None)


# -- A11 --------------------------------------------------------------------------------------------------------------

THREADS = "integration/runtime/test_threads.py::test_threads_are_heard_completely_and_in_order"


@mutant("A11", THREADS)
def threads_overtake_themselves(patch: pytest.MonkeyPatch) -> None:
    """A message from another thread is put before those that wait."""
    put = Mailbox.put_from_thread

    def overtaking(self: Any, message: Any, reply: Any) -> None:
        put(self, message, reply)
        if len(self.queue) > 1:
            self.queue.rotate(1)

    patch.setattr(Mailbox, "put_from_thread", overtaking)


@mutant("A11", THREADS)
def threads_do_not_wait_for_room(patch: pytest.MonkeyPatch) -> None:
    """A full mailbox refuses what a thread tells, as if that were trio's own."""
    put = Mailbox.put_from_thread

    def refusing(self: Any, message: Any, reply: Any) -> None:
        if len(self.queue) >= self.capacity:
            raise MailboxFull(f"the mailbox of {self.ref} is full")
        put(self, message, reply)

    patch.setattr(Mailbox, "put_from_thread", refusing)


# -- A12 --------------------------------------------------------------------------------------------------------------

SEEDS = "runtime/test_determinism.py::test_one_seed_gives_one_run"


@mutant("A12", SEEDS)
def turns_by_chance(patch: pytest.MonkeyPatch) -> None:
    """Which ready actor is first comes from nobody's seed."""
    turn = Cell.turn

    def shuffling(self: Cell, *args: Any) -> int:
        done = turn(self, *args)
        if os.urandom(1)[0] < 64:
            self.system._run_queue.rotate(1)
        return done

    patch.setattr(Cell, "turn", shuffling)


@mutant("A12", SEEDS)
def jitter_by_chance(patch: pytest.MonkeyPatch) -> None:
    """Back-offs take their chance from the machine."""
    chance_of_its_own(patch)
