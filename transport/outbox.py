"""The outbox: the one place that writes a WebSocket's bytes.

Theory of operation. Whoever has news calls `flush`, a plain function that never waits: it writes what there is, whole
frames in order, straight to the socket, until the socket would block or there is nothing left. Only then, or when
records have to be read from the journal, a task is started that goes on, and ends when it has caught up. What is to be
written:

1. what trio-websocket has to say (a pong): put between two frames, never into one;
2. frames made here: welcome, results, errors, pings: bounded in bytes;
3. records, of which nothing is queued: `pull` gives the next frame of what the cursor can see;
4. the close, behind all that `pull` still gives; nothing follows it.

So a slow client holds one frame that is half out, some small frames, and a number. Three outcomes end a connection,
always by aborting the stream, as a close cannot follow half a frame: the peer is gone, it takes nothing for
`write_seconds`, or more than `max_bytes` of small frames wait.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable

import trio

__all__ = ["LAGGING", "Lagging", "Outbox"]


class Lagging:
    """What `pull` gives when the next records have to be read from the journal first."""


LAGGING = Lagging()

# The first byte of a final control frame, RFC 6455 section 5.2.
PONG = 0x8A
CLOSE = 0x88


class Outbox:
    """Writes one stream.

    Args:
        stream: where the bytes go; a plain socket is written to directly.
        pull: gives the next frame of records, None if there is none, or `LAGGING`.
        catch_up: reads from the journal, so that `pull` has something to give.
        failed: hears once why nothing more can be written: ``gone``, ``stalled`` or ``full``.
        write_seconds: how long the socket may take nothing.
        max_bytes: how many bytes of small frames may wait.
    """

    __slots__ = (
        "_busy",
        "_catch_up",
        "_control",
        "_failed",
        "_fd",
        "_frame_bytes",
        "_frames",
        "_lagging",
        "_last",
        "_last_said",
        "_max_bytes",
        "_open",
        "_pull",
        "_quiet",
        "_rest",
        "_spawn",
        "_stream",
        "_write_seconds",
        "behind",
    )

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        pull: Callable[[], bytes | Lagging | None],
        catch_up: Callable[[], Awaitable[None]],
        failed: Callable[[str], None],
        write_seconds: float,
        max_bytes: int,
    ) -> None:
        self._stream = stream
        self._fd = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else None
        self._pull = pull
        self._catch_up = catch_up
        self._failed = failed
        self._write_seconds = write_seconds
        self._max_bytes = max_bytes
        self._spawn: Callable[[Callable[[], Awaitable[None]]], None] | None = None
        self._rest: memoryview | None = None
        self._lagging = False
        # Lists, though taken from in front: they are short, and an empty deque holds 0.7 KiB.
        self._control: list[bytes] = []
        self._frames: list[bytes] = []
        self._frame_bytes = 0
        self._last: bytes | None = None
        self._last_said = False
        self._busy = False
        self.behind = False
        """Whether what `pull` gives now has waited behind bytes that the socket did not take at once."""
        self._open = True
        self._quiet = trio.Event()

    @property
    def waiting_bytes(self) -> int:
        """Bytes in memory that wait for the socket."""
        return self._frame_bytes + sum(map(len, self._control)) + (len(self._rest) if self._rest is not None else 0)

    def start(self, spawn: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        """Use `spawn` to start the task that goes on where the socket would block, and write what waits already."""
        self._spawn = spawn
        self.flush()

    def put(self, frame: bytes) -> None:
        """Queue a frame made here and flush."""
        if not self._open or self._last is not None:
            return
        self._frame_bytes += len(frame)
        self._frames.append(frame)
        # What the socket takes at once does not wait.
        self.flush()
        if self._frame_bytes > self._max_bytes:
            self._fail("full")

    def put_control(self, data: bytes) -> None:
        """Queue bytes of trio-websocket and flush. Of several pongs that wait only the newest is kept."""
        if not self._open or self._last is not None:
            return
        if data[0] == CLOSE:
            self._last = data
        elif data[0] == PONG and self._control and self._control[-1][0] == PONG:
            # RFC 6455 section 5.5.3: a pong may answer the newest ping only. So a flood of pings queues nothing.
            self._control[-1] = data
        else:
            self._control.append(data)
        self.flush()

    def close(self) -> None:
        """Write nothing more. To be called before the stream is closed: its number may be another's right after."""
        self._open = False
        self._fd = None
        self._spawn = None
        self._rest = None
        self._control.clear()
        self._frames.clear()
        self._frame_bytes = 0
        self._quiet.set()

    async def wait_written(self) -> None:
        """Wait until nothing is on its way out, or nothing can be any more."""
        while self._open and self._busy:
            await self._quiet.wait()
        await trio.lowlevel.checkpoint()

    def flush(self) -> None:
        """Write what there is to write now. Never waits, never raises for what the peer did."""
        if self._busy or not self._open:
            return  # the task is at work, and looks again before it ends
        if self._fd is not None:
            if self._rest is None and self._last is None and not self._control and not self._frames:
                if self._write_records():
                    return
            else:
                while (chunk := self._next()) is not None:
                    if not self._write(chunk):
                        break
                if self._rest is None and not self._lagging:
                    return
        if self._spawn is not None:
            self._busy = True
            self._quiet = trio.Event()
            self._spawn(self._go_on)

    def _write_records(self) -> bool:
        """`flush` where records only are to be written, which is nearly always. Whether all of them are.

        In one function, as its calls would cost a quarter of what the kernel takes for the bytes.
        """
        pull = self._pull
        while True:
            frame = pull()
            if frame is None:
                self._lagging = False
                return True
            if isinstance(frame, Lagging):
                self._lagging = True
                return False
            fd = self._fd
            if fd is None:
                return True  # `pull` ended the connection
            try:
                sent = os.write(fd, frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._fail("gone")
                return True
            if sent != len(frame):
                self._lagging = False
                self._rest = memoryview(frame)[sent:]
                return False

    def _next(self) -> memoryview | None:
        """What to write next; keeps it as `_rest` until it is written."""
        if self._rest is not None:
            return self._rest
        if self._last_said:
            return None
        if self._control:
            data = self._control.pop(0)
        elif self._frames:
            data = self._frames.pop(0)
            self._frame_bytes -= len(data)
        else:
            pulled = self._pull()
            self._lagging = isinstance(pulled, Lagging)
            if isinstance(pulled, Lagging):
                return None
            if pulled is None:
                if self._last is None:
                    return None
                self._last_said = True
                pulled = self._last
            data = pulled
        self._rest = memoryview(data)
        return self._rest

    def _write(self, chunk: memoryview) -> bool:
        """Write some of a chunk to the socket; whether it took any."""
        assert self._fd is not None
        try:
            sent = os.write(self._fd, chunk)
        except BlockingIOError:
            return False
        except OSError:
            self._fail("gone")
            return False
        self._wrote(chunk, sent)
        return True

    def _wrote(self, chunk: memoryview, sent: int) -> None:
        self._rest = None if sent == len(chunk) else chunk[sent:]

    def _fail(self, why: str) -> None:
        if self._open:
            self.close()
            stream = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
            if why != "gone" and isinstance(stream, trio.SocketStream):
                # Else the kernel would keep what the peer does not take, and go on offering it for many minutes.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._failed(why)

    async def _go_on(self) -> None:
        """Write and read on until there is nothing left to do."""
        while self._open:
            chunk = self._next()
            if chunk is not None:
                await self._write_when_possible(chunk)
            elif self._lagging:
                await trio.lowlevel.checkpoint()
                await self._catch_up()
            else:
                break
        # No await between the look above and this: what comes now finds a flush that works.
        self._busy = self.behind = False
        self._quiet.set()

    async def _write_when_possible(self, chunk: memoryview) -> None:
        self.behind = True
        try:
            with trio.fail_after(self._write_seconds):
                if self._fd is None:
                    await self._stream.send_all(chunk)
                    self._wrote(chunk, len(chunk))
                elif self._write(chunk) or not self._open:
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.lowlevel.wait_writable(self._fd)
        except trio.TooSlowError:
            self._fail("stalled")
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._fail("gone")
