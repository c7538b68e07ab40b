"""Actors that work in a process of their own, with real processes: their crashes, deadlines, ends and what they leave.

Nothing here sleeps: tests wait for answers, for files that a process writes, and for processes to be gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pykka
import pytest
import trio

from callboard.runtime import (
    ActorSystem,
    AskTimeout,
    CutShort,
    ProcessActor,
    Ref,
    Refusal,
    RestartsExhausted,
    open_system,
)
from tests.integration.boards import until
from tests.integration.runtime import process_work
from tests.integration.runtime.process_work import count, work

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No descriptor, and no child of this process, zombies included."""
    descriptors = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == descriptors
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@asynccontextmanager
async def worker(**options: Any) -> AsyncIterator[tuple[ActorSystem, Ref[Any]]]:
    """A system with one such actor."""
    function = options.pop("function", work)
    async with open_system() as system:
        yield system, await system.spawn(lambda: ProcessActor(function, **options), id="worker")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie of somebody else's does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def written(path: Path) -> int:
    """The pid that a process writes into a file, once it is there."""
    await until(lambda: path.exists() and path.read_text() != "")
    return pid_in(path)


def pid_in(path: Path) -> int:
    """The pid in a file, 0 if there is none."""
    return int((path.exists() and path.read_text()) or 0)


async def test_it_answers_from_a_process_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    """What it prints goes where this process prints to, and not among its answers; it holds none of our descriptors."""
    async with worker() as (_, ref):
        assert await ref.ask_async(("sum", 100_000)) == sum(range(100_000))
        pid, group = await ref.ask_async(("pid",))
        assert pid == group != os.getpid()
        assert await ref.ask_async(("print", "hello")) == "printed"
        # The three of every process, two pipes, and the folder that it reads just then.
        assert len(await ref.ask_async(("descriptors",))) == 6
        answers = [ref.ask(("sum", n), block=False) for n in range(20)]
        assert [await answer for answer in answers] == [sum(range(n)) for n in range(20)]
        assert (await ref.ask_async(("pid",)))[0] == pid
    assert capfd.readouterr().out == "hello\n"
    assert not alive(pid)


async def test_set_up_makes_the_state_of_each_process() -> None:
    """A6. It is lost with the process; the ref and the queued messages are not."""
    async with worker(function=count, setup=process_work.Counter) as (system, ref):
        assert [await ref.ask_async("one") for _ in range(3)] == [1, 2, 3]
        death, after = ref.ask("die", block=False), ref.ask("queued", block=False)
        with pytest.raises(CutShort, match="system/worker was killed by SIGKILL before it answered"):
            await death
        assert await after == 1
        assert system.statistics().actors[1].restarts == 1


@pytest.mark.parametrize(
    "message, error, words",
    [
        (("raise", LookupError("wrong")), LookupError, "^'?wrong"),
        (("needy",), CutShort, "raised Needy: 1 and 2"),
        (("lambda",), CutShort, "cannot be sent: .*lambda"),
        (("bytes", 17 * 1024 * 1024), CutShort, "cannot be sent: .* bytes, and 16777216 are allowed"),
        (("exit", 3), CutShort, "ended with code 3"),
        (("kill", signal.SIGKILL), CutShort, "killed by SIGKILL"),
        (("kill", signal.SIGSEGV), CutShort, "killed by SIGSEGV"),
    ],
)
async def test_a_crash_is_a_failure_of_the_actor(message: Any, error: type[Exception], words: str) -> None:
    """A7. The asker is told how it was; the supervisor starts another process behind the same ref."""
    async with worker() as (system, ref):
        before, _ = await ref.ask_async(("pid",))
        with pytest.raises(error, match=words) as caught:
            await ref.ask_async(message)
        if message[0] in ("raise", "needy"):
            assert "In a process of system/worker" in caught.value.__notes__[0]
            assert "process_work.py" in caught.value.__notes__[0]
        after, _ = await ref.ask_async(("pid",))
        assert before != after
        assert system.statistics().actors[1].restarts == 1
        assert system.statistics().dead_letters["crashed"] == 1


async def test_a_refusal_is_an_answer_and_so_is_what_cannot_be_sent() -> None:
    """Red if the actor fails over a message that it cannot take: any asker could bring it down."""
    async with worker() as (system, ref):
        before, _ = await ref.ask_async(("pid",))
        with pytest.raises(Refusal, match="not today"):
            await ref.ask_async(("refuse",))
        with pytest.raises(Refusal, match="function cannot be sent to a process"):
            await ref.ask_async(lambda: None)
        with pytest.raises(Refusal, match=r"bytes takes 167772\d+ bytes; a process takes 16777216"):
            await ref.ask_async(bytes(16 * 1024 * 1024))
        with pytest.raises(Refusal, match="cannot read the message: LookupError"):
            await ref.ask_async(process_work.Unreadable())
        assert (await ref.ask_async(("pid",)))[0] == before
        assert system.statistics().actors[1].restarts == 0


async def test_a_process_that_dies_between_messages_is_replaced(tmp_path: Path) -> None:
    """Red if the next asker pays for it with an error, or a zombie stays."""
    async with worker() as (system, ref):
        pid, _ = await ref.ask_async(("pid",))
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(pid) and not Path(f"/proc/{pid}").exists())
        assert (await ref.ask_async(("pid",)))[0] != pid
        assert system.statistics().actors[1].restarts == 0


@pytest.mark.parametrize("way", ["seconds", "asker", "killed", "stopped"])
async def test_a_process_that_is_not_wanted_any_more_is_killed(way: str, tmp_path: Path) -> None:
    """A5, A8. In the middle of what it does; only the asker's end is no failure."""
    path = tmp_path / "pid"
    async with open_system() as system:
        seconds = 0.2 if way == "seconds" else None
        ref = await system.spawn(lambda: ProcessActor(work, seconds=seconds), id="worker", stop_seconds=0)
        if way == "asker":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.ask_async, ("spin", str(path)))
                pid = await written(path)
                nursery.cancel_scope.cancel()
        else:
            answer = ref.ask(("spin", str(path)), block=False)
            if way == "seconds":
                with pytest.raises(CutShort, match=r"took longer than 0\.2 s and was killed"):
                    await answer
                pid = pid_in(path)
            else:
                pid = await written(path)
                if way == "killed":
                    ref.kill()
                    with pytest.raises(pykka.ActorDeadError):
                        await answer
        if way != "stopped":
            assert await ref.ask_async(("sum", 3)) == 3
            assert system.statistics().actors[1].restarts == (way != "asker")
            assert not alive(pid)
    assert not alive(pid)


async def test_a_deadline_of_the_asker_kills_it_too(tmp_path: Path) -> None:
    """A5. And what waits behind it is handled by another process."""
    async with worker() as (system, ref):
        asked = ref.ask(("sum", 4), block=False)
        with pytest.raises(AskTimeout):
            await ref.ask_async(("spin", str(tmp_path / "pid")), timeout_seconds=0.3)
        assert await asked == 6
        assert await ref.ask_async(("sum", 5)) == 10
        assert system.statistics().actors[1].restarts == 0


async def test_its_own_processes_are_killed_with_it(tmp_path: Path) -> None:
    """Red if what a worker has started goes on after it was killed."""
    async with worker() as (_, ref):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.ask_async, ("sleep", str(tmp_path / "pid")))
            grandchild = await written(tmp_path / "pid")
            nursery.cancel_scope.cancel()
        await until(lambda: not alive(grandchild))


async def test_an_ordered_stop_lets_it_end_by_itself(tmp_path: Path) -> None:
    """Red if its exit handlers are not run."""
    path = tmp_path / "word"
    async with worker() as (_, ref):
        await ref.ask_async(("at exit", str(path)))
        await ref.stop(block=False)
        assert path.read_text() == "in order"


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"setup": process_work.no_setup}, FileNotFoundError, "no model here"),
        ({"setup": process_work.exit_setup}, CutShort, "ended with code 7"),
        ({"setup": process_work.slow_setup, "start_seconds": 0.2}, CutShort, r"took longer than 0\.2 s"),
        ({"function": lambda message: message}, CutShort, "cannot be sent to a process"),
        ({"seconds": 0}, ValueError, "seconds is 0"),
    ],
)
async def test_a_failure_to_start_is_raised_to_whoever_spawns(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A7. And the process is gone."""
    with pytest.raises(error, match=words):
        async with worker(**options):
            raise AssertionError("it has started")


async def test_one_that_always_crashes_is_given_up() -> None:
    """A7. Red if processes are started for ever."""

    async def crash() -> None:
        async with worker() as (_, ref):
            for _ in range(10):
                with contextlib.suppress(CutShort, pykka.ActorDeadError):
                    await ref.ask_async(("exit", 1))

    with pytest.raises(RestartsExhausted, match="system/worker failed again after 3 restarts"):
        await crash()


PROGRAM = """
import sys, trio
from callboard.runtime import ProcessActor, open_system

def double(n):
    return 2 * n

def spin(path):
    import os
    open(path, "w").write(str(os.getpid()))
    while True:
        pass

async def main():
    async with open_system() as system:
        ref = await system.spawn(lambda: ProcessActor(spin if len(sys.argv) > 1 else double), id="worker")
        print(await ref.ask_async(sys.argv[1] if len(sys.argv) > 1 else 4), flush=True)
"""
GUARDED = f"{PROGRAM}\nif __name__ == '__main__':\n    trio.run(main)\n"
UNGUARDED = f"{PROGRAM}\ntrio.run(main)\n"


@pytest.mark.parametrize("program, code, said", [(GUARDED, 0, "8\n"), (UNGUARDED, 1, "")])
def test_functions_of_the_main_module_work_if_it_is_guarded(program: str, code: int, said: str, tmp_path: Path) -> None:
    """An unguarded one would start itself again in each process: it is told instead."""
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (code, said), done.stderr
    assert code == 0 or "guard that by __name__" in done.stderr


@pytest.mark.parametrize("order", [signal.SIGKILL, signal.SIGINT])
async def test_it_does_not_outlive_its_parent(order: signal.Signals, tmp_path: Path) -> None:
    """Killed in the middle of its work when the parent is killed; stopped by the parent at Ctrl-C."""
    script, path = tmp_path / "program.py", tmp_path / "pid"
    script.write_text(GUARDED)
    process = await trio.lowlevel.open_process([sys.executable, str(script), str(path)], stderr=subprocess.DEVNULL)
    try:
        pid = await written(path)
        assert alive(pid)
        process.send_signal(order)
        await until(lambda: not alive(pid))
        with trio.fail_after(60):
            await process.wait()
    finally:
        process.kill()
        await process.wait()
