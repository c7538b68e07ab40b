"""What runs in the worker process of a `ProcessActor`: reads messages from one pipe, writes answers to another.

It is run as a script, ``python -P process_child.py REQUESTS ANSWERS`` with two inherited descriptors, and imports
nothing of callboard: a worker should start in the time that Python takes. Standard output and error are left alone.

A frame is its length in eight bytes, a kind of one byte, and a pickle. Only the parent and this child hold these pipes.

The parent's end closes when it stops this worker, or dies, however that comes about. A thread waits for that, so that a
worker in the middle of long work does not outlive its parent: it then kills its process group, itself included.
"""

from __future__ import annotations

import multiprocessing.process
import multiprocessing.spawn
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import IO, Any

HEADER = 9

# From the parent.
PREPARE = b"p"
MESSAGE = b"m"
# From the child.
READY = b"r"
DONE = b"d"
RAISED = b"x"
UNREADABLE = b"u"
UNANSWERABLE = b"a"


def frame(kind: bytes, body: bytes) -> bytes:
    """A frame as it goes over a pipe."""
    return len(body).to_bytes(8, "big") + kind + body


def explain(error: BaseException) -> bytes:
    """An exception for the parent: its type and words, its traceback, and itself if it can be pickled."""
    try:
        itself = pickle.dumps(error, protocol=5)
    except Exception:  # noqa: BLE001 - whatever its own code raises; then there are the words
        itself = b""
    words = f"{type(error).__name__}: {error}"
    return pickle.dumps((words, "".join(traceback.format_exception(error)), itself))


class Child:
    """The two pipes, and the work between them."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self.requests = requests
        self.answers = answers
        self.frames: queue.SimpleQueue[tuple[bytes, bytes] | None] = queue.SimpleQueue()
        self.working = False

    def read(self) -> None:
        """Hand on what the parent sends, one frame at a time as it does, until its end closes."""
        while len(header := self.requests.read(HEADER)) == HEADER:
            body = self.requests.read(int.from_bytes(header[:8], "big"))
            self.working = True
            self.frames.put((header[8:], body))
        if self.working:
            os.killpg(0, signal.SIGKILL)
        self.frames.put(None)

    def answer(self, kind: bytes, body: bytes) -> None:
        """Send a frame; from here on the parent may close its end and mean an orderly stop."""
        self.working = False
        self.answers.write(frame(kind, body))
        self.answers.flush()

    def run(self) -> None:
        """Prepare, and then handle messages until the parent has no more."""
        first = self.frames.get()
        if first is None:
            return
        try:
            function, max_bytes = prepare(first[1])
        except Exception as error:  # noqa: BLE001 - the parent raises it
            self.answer(RAISED, explain(error))
            return
        self.answer(READY, b"")
        while (item := self.frames.get()) is not None:
            self.handle(function, item[1], max_bytes)

    def handle(self, function: Callable[[Any], Any], body: bytes, max_bytes: int) -> None:
        """Work on one message."""
        try:
            message = pickle.loads(body)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            self.answer(UNREADABLE, explain(error))
            return
        try:
            value = function(message)
        except Exception as error:  # noqa: BLE001 - the parent raises it; SystemExit ends the process
            self.answer(RAISED, explain(error))
            return
        try:
            result = pickle.dumps(value, protocol=5)
            if len(result) > max_bytes:
                raise ValueError(f"it takes {len(result)} bytes, and {max_bytes} are allowed")
        except Exception as error:  # noqa: BLE001 - the parent raises it
            self.answer(UNANSWERABLE, explain(error))
        else:
            self.answer(DONE, result)


def prepare(body: bytes) -> tuple[Callable[[Any], Any], int]:
    """Be as the parent is, as far as imports go, and make what handles messages."""
    preparation, work, max_bytes = pickle.loads(body)
    # What multiprocessing sets while it imports the parent's main module: no process may be started by that.
    process: Any = multiprocessing.process.current_process()
    process._inheriting = True
    try:
        multiprocessing.spawn.prepare(preparation)
        function, setup = pickle.loads(work)
    finally:
        del process._inheriting
    if setup is None:
        return function, max_bytes
    state = setup()
    return (lambda message: function(state, message)), max_bytes


def main() -> None:
    """Run on the descriptors that the command line names."""
    descriptors = [int(argument) for argument in sys.argv[1:3]]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # whom this worker starts must not hold the pipes open
    # Closed by the end of the process: a thread that reads cannot have its file closed under it.
    child = Child(os.fdopen(descriptors[0], "rb", closefd=False), os.fdopen(descriptors[1], "wb", closefd=False))
    threading.Thread(target=child.read, name="callboard: parent", daemon=True).start()
    try:
        child.run()
    except BrokenPipeError:
        return  # the parent has gone


if __name__ == "__main__":
    main()
