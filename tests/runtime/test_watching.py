"""A9: whoever watches is told once, with the reason, when an actor is gone for good; a restart is no death."""

import gc
from functools import partial
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from callboard.runtime import ActorExited, Ref, Restart, RestartsExhausted, Strategy, Supervision, open_system
from callboard.runtime.cell import Cell
from callboard.runtime.testing import frozen_clock, settle
from tests.runtime.kit import Log, Parent, Raise, Worker, spawn_child


class Watcher(Worker):
    """Writes down the death notices."""

    def __init__(self, notices: Log) -> None:
        super().__init__()
        self.notices = notices

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, ActorExited):
            self.notices.append((message.ref, message.reason, trio.current_time()))
            return None
        return super().on_receive(message)


# A9
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["watch", "watch", "unwatch", "crash", "crash the watcher", "stop", "kill"]),
            st.integers(0, 2),
        ),
        max_size=12,
    ),
    restarts=st.integers(0, 3),
    schedule=st.random_module(),
)
async def test_a_watcher_is_told_exactly_once(steps: list[tuple[str, int]], restarts: int, schedule: object) -> None:
    """Watching twice, taking it back, watching the dead, restarts on both sides: one notice for all of it."""
    logs: list[Log] = [[], [], []]
    expected: list[list[tuple[str, int]]] = [[], [], []]
    async with open_system(slice_clock=frozen_clock) as system:
        supervision = Supervision(Strategy.DYNAMIC, intensity=restarts, period_seconds=1_000)
        _, ref = await spawn_child(system, supervision, Worker)
        watchers: list[Ref[Any]] = []
        for n in range(3):
            watchers.append(await system.spawn(partial(Watcher, logs[n]), id=f"watcher {n}"))
        watching = [False, False, False]
        dead = death = ""
        left, own = restarts, 3
        for time, (step, n) in enumerate(steps, start=1):
            await trio.sleep_until(time)
            if step == "watch":
                watchers[n].tell(lambda watcher: watcher.watch(ref))
                if dead:
                    expected[n].append((dead, time))  # the dead are told of at once, each time
                else:
                    watching[n] = True
            elif step == "unwatch":
                watchers[n].tell(lambda watcher: watcher.unwatch(ref))
                watching[n] = False
            elif step == "crash the watcher" and own:
                # One window for all three: the system itself tolerates three.
                own -= 1
                watchers[n].tell(Raise(ValueError("watcher")))
            elif step == "stop":
                ref.stop(block=False)
                death = "stopped"
            elif step in ("crash", "kill"):
                if step == "crash":
                    ref.tell_if_alive(Raise(ValueError("crash")))
                else:
                    ref.kill()
                death = "given up" if not left else ""
                left -= 1
            if step in ("stop", "crash", "kill") and not dead and death:
                dead = death
                for m in range(3):
                    if watching[m]:
                        expected[m].append((dead, time))
            await settle(system)
        seen = [
            [("given up" if isinstance(reason, RestartsExhausted) else "stopped", time) for _, reason, time in log]
            for log in logs
        ]
        assert seen == expected
        assert {note[0] for log in logs for note in log} <= {ref}


async def test_a_notice_names_the_ref_and_the_reason() -> None:
    """None after a stop; the exception of a child that is not restarted; of a dead one it comes at once."""
    log: Log = []
    async with open_system() as system:
        watcher = await system.spawn(lambda: Parent(Supervision(), log), id="watcher")
        stopped = await system.spawn(Worker, id="stopped")
        _, failed = await spawn_child(system, Supervision(), Worker, Restart.TEMPORARY)
        for ref in (stopped, failed):
            watcher.tell(lambda watcher, ref=ref: watcher.watch(ref))
        await settle(system)
        stopped.stop(block=False)
        error = ValueError("for good")
        failed.tell(Raise(error))
        await settle(system)
        assert log == [("exited", stopped, None), ("exited", failed, error)]
        watcher.tell(lambda watcher: watcher.watch(failed))
        await settle(system)
        assert log[2:] == [("exited", failed, error)]


async def test_a_watcher_that_is_gone_leaves_nothing_behind() -> None:
    """The watched actor does not keep it, and its own death tells nobody."""
    async with open_system() as system:
        watched = await system.spawn(Worker, id="watched")
        for n in range(10):
            watcher = await system.spawn(Worker, id=str(n))
            await watcher.ask_async(lambda worker: worker.watch(watched))
            await watcher.stop(block=False)
        assert not watched._cell.watchers
        await watched.stop(block=False)
        assert watched._cell.watchers is None


async def test_waiting_for_the_end_leaves_nothing_behind_when_cancelled() -> None:
    """A long-lived actor does not collect those who waited for it in vain."""
    async with open_system() as system:
        ref = await system.spawn(Worker, id="a")
        for _ in range(10):
            with trio.move_on_after(1):
                await ref.wait_gone()
        assert not ref._cell.gone
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.wait_gone)
            await trio.sleep(1)
            ref.stop(block=False)
        assert await ref.wait_gone() is None


async def test_a_watcher_that_lives_long_holds_none_of_the_dead() -> None:
    """Red if it grows with all that it ever watched: the registry of a node watches each of its sessions and runs."""
    notices: Log = []
    async with open_system(slice_clock=frozen_clock) as system:
        watcher = await system.spawn(partial(Watcher, notices), id="watcher")
        for n in range(10):
            ref = await system.spawn(Worker, id=f"{n}")
            await watcher.ask_async(partial(_watch, ref=ref))
            await ref.stop(block=False)
            del ref
        await settle(system)
        assert len(notices) == 10
        notices.clear()
        gc.collect()
        left = [each for each in gc.get_objects() if isinstance(each, Cell) and each.system is system]
        assert {*left} == {*system.cells}


def _watch(watcher: Watcher, ref: Ref[Any]) -> None:
    watcher.watch(ref)
