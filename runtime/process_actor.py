"""`ProcessActor`: an actor whose messages are worked on in a process of its own, for what keeps a processor busy.

Theory of operation. The actor is an ordinary one, whose ``async def`` handler sends the message to its worker process
and waits for the answer. A worker belongs to one incarnation. A task of the system waits for its end and reaps it, so
it leaves no zombie and no descriptor, whoever or whatever killed it. It is killed, with all its process group, when the
message takes too long, when the asker goes (law A5), and when the incarnation ends in any other way than in order.

Messages and answers are pickled; the pipes are between this process and its own child, and nobody else ever holds them.
"""

from __future__ import annotations

import multiprocessing.process
import multiprocessing.spawn
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import trio

from . import process_child
from .actor import Actor
from .errors import CutShort, NotRunning, Refusal

__all__ = ["ProcessActor"]

# A process that has ended, and whose child still holds its end of the pipe, has said its last word after this.
LAST_WORDS_SECONDS = 1.0


class ProcessActor(Actor):
    """An actor that calls a function in a worker process for each message, and answers with what it gives.

    The process is started with the actor and replaced with it: when it crashes, is killed, or takes longer than
    `seconds` for a message, the actor fails, and its supervisor decides; ref and mailbox stay. When the asker goes, the
    process is killed too; that is no failure, and the next message gets a new one.

    Args:
        function: what handles a message, to be found by its module and name, as pickle does.
        setup: called once in each new process, before the first message; what it gives is then the function's first
            argument, and the process' own state.
        seconds: how long a message may take.
        start_seconds: how long a process may take to start, `setup` included.

    A message that cannot be pickled is answered with a `Refusal`. An exception of the function's is a failure, as in
    any actor, but for a `Refusal`; it carries the traceback of the process as a note. Context variables stay here.
    """

    max_bytes: ClassVar[int] = 16 * 1024 * 1024
    """The largest message or answer, pickled: what is larger holds up the loop, and belongs into a file."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        setup: Callable[[], Any] | None = None,
        seconds: float | None = None,
        start_seconds: float = 30.0,
    ) -> None:
        super().__init__()
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds is {seconds!r}; it must be above 0")
        self._function = function
        self._setup = setup
        self._seconds = float("inf") if seconds is None else seconds
        self._start_seconds = start_seconds
        self._worker: _Worker | None = None

    @property
    def pid(self) -> int | None:
        """The worker process, while there is one."""
        return self._worker.process.pid if self._worker is not None and self._worker.alive else None

    async def on_start(self) -> None:  # type: ignore[override]
        """Start the process; what `setup` raises there is raised here."""
        await self._start()

    async def on_receive(self, message: Any) -> Any:
        """Have a message worked on."""
        try:
            body = pickle.dumps(message, protocol=5)
        except Exception as error:
            raise Refusal(f"{type(message).__name__} cannot be sent to a process: {error}") from error
        if len(body) > self.max_bytes:
            raise Refusal(f"{type(message).__name__} takes {len(body)} bytes; a process takes {self.max_bytes}")
        if self._worker is None or not self._worker.alive:
            await self._start()
        return await self._call(process_child.MESSAGE, body, self._seconds)

    async def on_stop(self) -> None:  # type: ignore[override]
        """Let the process end by itself."""
        if self._worker is not None:
            await self._worker.stop()

    def _let_go(self) -> None:
        if self._worker is not None:
            self._worker.kill()

    async def _start(self) -> None:
        if getattr(multiprocessing.process.current_process(), "_inheriting", False):
            raise NotRunning("this program's main module starts actors when it is imported: guard that by __name__")
        try:
            work = pickle.dumps((self._function, self._setup), protocol=5)
        except Exception as error:
            raise CutShort(f"what {self._cell.path} runs cannot be sent to a process: {error}") from error
        preparation = multiprocessing.spawn.get_preparation_data(self._cell.path)
        if b"__main__" not in work:
            # Nothing of it is wanted, so the parent's main module need not be imported there.
            preparation.pop("init_main_from_name", None)
            preparation.pop("init_main_from_path", None)
        # A key of multiprocessing's own, for connections between processes; there are none here.
        preparation.pop("authkey", None)
        self._worker = worker = await _Worker.open(self._cell.path)
        self.system.start_soon(worker.look_after)
        body = pickle.dumps((preparation, work, self.max_bytes))
        await self._call(process_child.PREPARE, body, self._start_seconds)

    async def _call(self, kind: bytes, body: bytes, seconds: float) -> Any:
        worker = self._worker
        assert worker is not None
        answered = False
        try:
            with trio.move_on_after(seconds):
                kind, answer = await worker.ask(kind, body)
                answered = True
        finally:
            if not answered:
                # Too late, not wanted any more, or broken: there is no way to take a message back.
                worker.kill()
                with trio.CancelScope(shield=True):
                    await worker.ended.wait()
        if not answered:
            raise CutShort(f"the process of {self._cell.path} took longer than {seconds} s and was killed")
        return self._read(kind, answer)

    def _read(self, kind: bytes, answer: bytes) -> Any:
        if kind == process_child.READY:
            return None
        if kind == process_child.DONE:
            try:
                return pickle.loads(answer)
            except Exception as error:
                raise CutShort(f"the answer of {self._cell.path}'s process cannot be read: {error}") from error
        words, where, itself = pickle.loads(answer)
        if kind == process_child.UNREADABLE:
            raise Refusal(f"the process of {self._cell.path} cannot read the message: {words}")
        if kind == process_child.UNANSWERABLE:
            raise CutShort(f"the answer of {self._cell.path}'s process cannot be sent: {words}")
        try:
            raised = pickle.loads(itself)
        except Exception:  # noqa: BLE001 - many exceptions can be pickled and not be made again
            raised = None
        if not isinstance(raised, Exception):
            raised = CutShort(f"the process of {self._cell.path} raised {words}")
        raised.add_note(f"In a process of {self._cell.path}:\n{where}")
        raise raised


class _Worker:
    """One process with its two pipes."""

    def __init__(self, path: str, process: trio.Process, requests: int, answers: int) -> None:
        self._path = path
        self.process = process
        self._requests = trio.lowlevel.FdStream(requests)
        self._answers = trio.lowlevel.FdStream(answers)
        self._asking = trio.Lock()
        self._reading: trio.CancelScope | None = None
        self.alive = True
        self.ended = trio.Event()

    @classmethod
    async def open(cls, path: str) -> _Worker:
        """Start a process."""
        requests, to_child = os.pipe()
        from_child, answers = os.pipe()
        try:
            process = await trio.lowlevel.open_process(
                # -P: the script's own folder is no place to import from.
                [sys.executable, "-P", process_child.__file__, str(requests), str(answers)],
                stdin=subprocess.DEVNULL,
                pass_fds=(requests, answers),
                # A session of its own: Ctrl-C is for the parent, which then stops it in order.
                start_new_session=True,
            )
        except BaseException:
            os.close(to_child)
            os.close(from_child)
            raise
        finally:
            os.close(requests)
            os.close(answers)
        return cls(path, process, to_child, from_child)

    async def look_after(self) -> None:
        """Wait for the end of the process, reap it, and close the pipes."""
        try:
            await self.process.wait()
        finally:
            self.kill()
            with trio.CancelScope(shield=True):
                await self.process.wait()
                self.alive = False
                self.ended.set()
                if self._reading is not None:
                    self._reading.deadline = trio.current_time() + LAST_WORDS_SECONDS
                async with self._asking:
                    await self._requests.aclose()
                    await self._answers.aclose()

    def kill(self) -> None:
        """Kill it, and those that it has started, if it has not ended."""
        self.alive = False
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return  # it ends in this very moment

    async def stop(self) -> None:
        """Tell it to end in order, and wait for that."""
        await self._requests.aclose()
        await self.ended.wait()

    async def ask(self, kind: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Send a frame and wait for the one that answers it. Raises CutShort if the process ends before."""
        async with self._asking:
            try:
                await self._requests.send_all(process_child.frame(kind, body))
                with trio.CancelScope() as self._reading:
                    header = await self._receive(process_child.HEADER)
                    return header[8:], await self._receive(int.from_bytes(header[:8], "big"))
            except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
                pass  # it has ended, or is about to
            finally:
                self._reading = None
        await self.ended.wait()
        code = self.process.returncode
        assert code is not None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise CutShort(f"the process of {self._path} {how} before it answered")

    async def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = await self._answers.receive_some(min(size - len(data), 65_536))
            if not more:
                raise EOFError
            data += more
        return bytes(data)
