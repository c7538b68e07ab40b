"""The outbox, over a socket pair whose reader is the test, and over a stream in memory."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from callboard.transport.outbox import LAGGING, Lagging, Outbox

PONG, CLOSE = b"\x8a\x01", b"\x88\x02\x03\xe8"


class Records:
    """A log and one cursor in it. What is older than `in_memory` has to be read by `catch_up`, one at a time."""

    def __init__(self, *records: bytes, in_memory: int = 0) -> None:
        self.all = list(records)
        self.in_memory = in_memory
        self.cursor = 0
        self.backlog: bytes | None = None
        self.reads = 0

    def pull(self) -> bytes | Lagging | None:
        if self.cursor == len(self.all):
            return None
        if self.cursor < self.in_memory and self.backlog is None:
            return LAGGING
        self.backlog = None
        self.cursor += 1
        return self.all[self.cursor - 1]

    async def catch_up(self) -> None:
        self.reads += 1
        await trio.sleep(1)
        self.backlog = self.all[self.cursor]


class Pair:
    """An outbox, and the far end of its socket, of which nothing is read unless the test does."""

    def __init__(self, outbox: Outbox, records: Records, failures: list[str], number: int, far: socket.socket) -> None:
        self.outbox = outbox
        self.number = number
        self.records = records
        self.failures = failures
        self.far = far

    def read(self, size: int = 1 << 20) -> bytes:
        """What is there, without waiting."""
        try:
            return self.far.recv(size)
        except BlockingIOError:
            return b""

    async def read_all(self) -> bytes:
        """All that comes until the outbox has nothing more to write."""
        read = bytearray()
        while True:
            await trio.testing.wait_all_tasks_blocked()
            if not (data := self.read()):
                return bytes(read)
            read += data


@asynccontextmanager
async def open_pair(*, max_bytes: int = 10_000, send_buffer: int = 4_096) -> AsyncIterator[Pair]:
    """An outbox over a socket whose kernel buffers are small."""
    near, far = socket.socketpair()
    with far:
        near.setblocking(False)
        far.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        number = near.fileno()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        records, failures = Records(), list[str]()
        outbox = Outbox(
            stream,
            pull=records.pull,
            catch_up=records.catch_up,
            failed=failures.append,
            write_seconds=15.0,
            max_bytes=max_bytes,
        )
        async with stream, trio.open_nursery() as nursery:
            spawned: Callable[[Callable[[], Awaitable[None]]], None] = nursery.start_soon
            outbox.start(spawned)
            yield Pair(outbox, records, failures, number, far)
            outbox.close()
            nursery.cancel_scope.cancel()


async def test_what_the_socket_takes_is_written_at_once() -> None:
    """No task is started and nothing waits: the bytes are out when `put` returns."""
    async with open_pair() as pair:
        before = trio.lowlevel.current_statistics().tasks_living
        pair.outbox.put(b"welcome")
        pair.records.all.extend((b"one", b"two"))
        pair.outbox.flush()
        pair.outbox.put_control(PONG)
        assert pair.read() == b"welcome" + b"onetwo" + PONG
        assert pair.outbox.waiting_bytes == 0
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_pong_goes_between_two_frames_never_into_one() -> None:
    """The socket takes half a frame; the pong that comes meanwhile waits for the other half."""  # S8
    async with open_pair() as pair:
        big = bytes(range(256)) * 400
        pair.outbox.put(big)
        assert 0 < pair.outbox.waiting_bytes < len(big)
        pair.outbox.put_control(PONG)
        pair.outbox.put(b"after")
        assert await pair.read_all() == big + PONG + b"after"
        assert pair.outbox.waiting_bytes == 0


async def test_of_many_pongs_the_newest_waits() -> None:
    """A peer that pings and reads nothing makes the node hold one pong, not all of them."""  # S8
    async with open_pair() as pair:
        big = b"x" * 100_000
        pair.outbox.put(big)
        waiting = pair.outbox.waiting_bytes
        for number in range(1_000):
            pair.outbox.put_control(b"\x8a" + number.to_bytes(2, "big"))
        assert pair.outbox.waiting_bytes == waiting + 3
        assert await pair.read_all() == big + b"\x8a" + (999).to_bytes(2, "big")


async def test_records_are_not_queued() -> None:
    """A client that reads nothing holds one frame of a backlog of any length."""  # S8
    async with open_pair() as pair:
        pair.records.all.extend(b"%06d" % number * 1_000 for number in range(1_000))
        pair.outbox.flush()
        taken = pair.records.cursor
        assert taken < 20
        for _ in range(100):
            pair.outbox.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert pair.records.cursor == taken
        assert pair.outbox.waiting_bytes <= 6_000
        assert await pair.read_all() == b"".join(b"%06d" % number * 1_000 for number in range(1_000))


async def test_frames_made_here_go_before_records() -> None:
    """A result does not wait behind a backlog."""
    async with open_pair() as pair:
        pair.records.all.extend([b"r" * 50_000, b"s"])
        pair.outbox.flush()
        pair.outbox.put(b"result")
        assert await pair.read_all() == b"r" * 50_000 + b"result" + b"s"


async def test_what_is_read_from_the_journal_keeps_its_place() -> None:
    """While records are read, frames of other kinds wait for a moment, and nothing is lost or repeated."""
    async with open_pair() as pair:
        pair.records.all.extend((b"old1", b"old2"))
        pair.records.in_memory = 2
        pair.outbox.flush()
        pair.records.all.append(b"new")
        pair.outbox.flush()
        pair.outbox.put(b"result")
        await trio.sleep(5)
        assert pair.read() == b"result" + b"old1" + b"old2" + b"new"
        assert pair.records.reads == 2


async def test_nothing_follows_a_close() -> None:
    """The close comes behind what can be seen, and whatever is put after it is dropped."""
    async with open_pair() as pair:
        big = b"x" * 100_000
        pair.outbox.put(big)
        pair.records.all.append(b"record")
        pair.outbox.put_control(CLOSE)
        pair.outbox.put(b"late")
        pair.outbox.put_control(PONG)
        pair.outbox.put_control(CLOSE)
        assert await pair.read_all() == big + b"record" + CLOSE
        pair.records.all.append(b"later")
        pair.outbox.flush()
        assert pair.read() == b""
        assert pair.outbox.waiting_bytes == 0


async def test_a_stalled_peer_is_cut_after_its_time() -> None:
    """Who takes nothing for `write_seconds` fails once, with ``stalled``, and the kernel keeps nothing for it."""  # S8
    async with open_pair() as pair:
        pair.outbox.put(b"x" * 100_000)
        await trio.sleep(14)
        assert pair.failures == []
        await trio.sleep(2)
        assert pair.failures == ["stalled"]
        pair.outbox.put(b"late")
        pair.outbox.flush()
        assert pair.failures == ["stalled"]


async def test_a_slow_peer_that_takes_something_is_not_cut() -> None:
    """The deadline is on progress, not on the whole."""
    async with open_pair() as pair:
        pair.outbox.put(b"x" * 200_000)
        read = 0
        for _ in range(200):
            await trio.sleep(5)
            read += len(pair.read(4_096))
        assert pair.failures == []
        assert read == 200_000


async def test_small_frames_that_nobody_reads_are_bounded() -> None:
    """Who commands and never reads the results is cut at `max_bytes`."""  # S8, S13
    async with open_pair(max_bytes=10_000) as pair:
        pair.outbox.put(b"x" * 100_000)
        for _ in range(100):
            pair.outbox.put(b"y" * 100)
        assert pair.failures == []
        pair.outbox.put(b"y")
        assert pair.failures == ["full"]


async def test_a_frame_larger_than_the_bound_that_the_socket_takes_is_no_failure() -> None:
    """The bound is on what waits."""
    async with open_pair(max_bytes=10, send_buffer=1 << 20) as pair:
        pair.outbox.put(b"x" * 1_000)
        assert pair.failures == []
        assert pair.read() == b"x" * 1_000


async def test_a_peer_that_is_gone() -> None:
    """It fails once, with ``gone``, whether the news comes to `put` or to the task that waits."""
    async with open_pair() as pair:
        pair.far.close()
        pair.outbox.put(b"x")
        pair.outbox.put(b"y")
        assert pair.failures == ["gone"]
    async with open_pair() as pair:
        pair.outbox.put(b"x" * 100_000)
        await trio.testing.wait_all_tasks_blocked()
        pair.far.close()
        await trio.testing.wait_all_tasks_blocked()
        assert pair.failures == ["gone"]


async def test_a_closed_outbox_never_writes_to_its_number_again() -> None:
    """The kernel gives a closed descriptor's number to the next socket: another user's."""  # S1
    async with open_pair() as pair:
        number = pair.number
        pair.outbox.close()
        mine, other = socket.socketpair()
        with mine, other:
            saved = os.dup(number)
            os.dup2(mine.fileno(), number)
            pair.records.all.append(b"secret")
            pair.outbox.put(b"secret")
            pair.outbox.put_control(PONG)
            pair.outbox.flush()
            await trio.testing.wait_all_tasks_blocked()
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(100)
            os.dup2(saved, number)
            os.close(saved)
        assert pair.outbox.waiting_bytes == 0


async def test_waiting_for_what_is_on_its_way() -> None:
    """`wait_written` ends when the last byte is out, or when nothing can go out any more."""
    async with open_pair() as pair, trio.open_nursery() as nursery:
        await pair.outbox.wait_written()
        pair.outbox.put(b"x" * 100_000)
        done = list[str]()

        async def wait() -> None:
            await pair.outbox.wait_written()
            done.append("written")

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert done == []
        assert len(await pair.read_all()) == 100_000
        assert done == ["written"]
        pair.outbox.put(b"x" * 100_000)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        pair.outbox.close()
        await trio.testing.wait_all_tasks_blocked()
        assert done == ["written", "written"]


async def test_over_a_stream_that_is_no_socket() -> None:
    """A task writes, as such a stream cannot be written to without waiting; the order is the same."""
    near, far = memory_stream_pair()
    records, failures = Records(b"old", b"new", in_memory=1), list[str]()
    outbox = Outbox(
        near,
        pull=records.pull,
        catch_up=records.catch_up,
        failed=failures.append,
        write_seconds=15.0,
        max_bytes=10_000,
    )
    async with trio.open_nursery() as nursery:
        spawn: Callable[[Callable[[], Awaitable[None]]], None] = nursery.start_soon
        outbox.start(spawn)
        outbox.put(b"welcome")
        outbox.put_control(PONG)
        await trio.sleep(5)
        assert await far.receive_some() == PONG + b"welcome" + b"old" + b"new"
        await far.aclose()
        outbox.put(b"x")
        await trio.sleep(1)
        assert failures == ["gone"]


@given(seed=st.integers(0, 2**32))
async def test_whatever_happens_each_frame_arrives_whole_and_in_order(seed: int) -> None:
    """Frames, records, pongs and reads in any order: what comes out is a sequence of whole frames."""  # S2, S8
    chance = random.Random(seed)
    async with open_pair(max_bytes=1 << 30) as pair:
        frames = 0
        read = bytearray()
        for _ in range(60):
            match chance.randrange(6):
                case 0 | 1:
                    pair.outbox.put(_frame(b"F", frames, chance.choice((1, 100, 9_000))))
                    frames += 1
                case 2 | 3:
                    pair.records.all.append(_frame(b"R", len(pair.records.all), chance.choice((1, 100, 9_000))))
                    if chance.random() < 0.3:
                        pair.records.in_memory = chance.randrange(len(pair.records.all) + 1)
                    pair.outbox.flush()
                case 4:
                    pair.outbox.put_control(PONG)
                case 5:
                    await trio.sleep(chance.random())
                    read += pair.read(chance.choice((10, 5_000, 100_000)))
        while True:
            await trio.sleep(2)
            if not (data := pair.read()) and pair.records.cursor == len(pair.records.all):
                break
            read += data
        assert pair.failures == []
        assert _parsed(bytes(read), b"F") == list(range(frames))
        assert _parsed(bytes(read), b"R") == list(range(len(pair.records.all)))


def _frame(kind: bytes, number: int, size: int) -> bytes:
    body = kind * size
    return kind + number.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body


def _parsed(data: bytes, wanted: bytes) -> list[int]:
    numbers = []
    while data:
        if data.startswith(PONG):
            data = data[len(PONG) :]
            continue
        kind, number, size = data[:1], int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:7], "big")
        assert data[7 : 7 + size] == kind * size
        if kind == wanted:
            numbers.append(number)
        data = data[7 + size :]
    return numbers
