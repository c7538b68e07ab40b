"""The clients of these benchmarks: each checks all that it gets, and notes how late each event came."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, cast

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from ..delivery.load import Event, Wrong

__all__ = ["Device", "Plain"]

TERMINALS = frozenset(("agent_completed", "agent_error", "agent_cancelled"))


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message of callboard, as far as it matters here."""

    t: str
    events: list[Event] = []
    head: int = 0
    epoch: str = ""
    from_: int = msgspec.field(default=0, name="from")
    error: msgspec.Raw = msgspec.Raw(b"")


decode_frame = msgspec.json.Decoder(Frame).decode
decode_event = msgspec.json.Decoder(Event).decode


class Plain(WSListener):
    """A client of a server that pushes events, one in a message, numbered from 1 on each connection.

    Args:
        name: whose events it may get.
        checked: whether what others than the benchmark's own agent say is wrong.
    """

    def __init__(self, name: str, *, checked: bool = True) -> None:
        self.name = name
        self.checked = checked
        self.applied = 0
        self.got = 0
        """Events of the benchmark's agent so far."""
        self.latencies: list[float] = []
        """Seconds from when each paced event was to be said, as they came."""
        self.error: str | None = None
        self.closed: int | None = None
        self.ready = asyncio.Event()
        self.news = asyncio.Event()
        """Set whenever a count that somebody waits for is reached, or it has ended."""
        self.wanted = 0
        self.transport: WSTransport | None = None
        self.leaving = False

    async def connect(self, url: str, headers: dict[str, str]) -> None:
        """Connect, up to the server's welcome if it says one."""
        self.closed, self.leaving = None, False
        self.ready.clear()
        await ws_connect(
            lambda: self, url, extra_headers=headers, websocket_handshake_timeout=60, read_buffer_init_size=1_024
        )
        await self.ready.wait()

    async def until(self, got: int) -> None:
        """Wait until so many events have come, or it is clear that they will not."""
        self.wanted = got
        while self.got < got and self.error is None and self.closed is None:
            self.news.clear()
            await self.news.wait()

    def cut(self) -> None:
        """Break the connection off without a word."""
        self.leaving = True
        if self.transport is not None:
            self.transport.underlying_transport.abort()

    def send(self, message: bytes) -> None:
        """Send one message."""
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, message)

    def order(self, text: str) -> None:
        """Tell the server what to say."""
        self.send(text.encode())

    def acknowledge(self) -> None:
        """Say what was applied, where the protocol knows that."""

    # -- what picows calls --------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep what is written to."""
        self.transport = transport
        self.opened()

    def opened(self) -> None:
        """Take a server as ready that says nothing first."""
        self.ready.set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one message."""
        if frame.msg_type is WSMsgType.TEXT:
            try:
                self.take(frame.get_payload_as_memoryview(), time.perf_counter())
            except (Wrong, msgspec.DecodeError) as error:
                self.fail(str(error))
        elif frame.msg_type is WSMsgType.CLOSE:
            self.over(cast(int, frame.get_close_code()))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The server is gone, or this client went."""
        self.over(1006)

    def over(self, code: int) -> None:
        """The connection has ended."""
        if self.closed is None:
            self.closed = code
        self.transport = None
        self.ready.set()
        self.news.set()

    def fail(self, error: str) -> None:
        """End with an error."""
        self.error = self.error or f"{self.name}: {error}"
        self.ready.set()
        self.news.set()

    def take(self, payload: memoryview, now: float) -> None:
        """Take one message."""
        event = decode_event(payload)
        self.follow(event.seq)
        self.say(event.data.text, now)

    def follow(self, seq: int) -> None:
        """Apply a number."""
        if seq != self.applied + 1:
            raise Wrong(f"got {seq} after {self.applied}")
        self.applied = seq

    def say(self, text: str, now: float) -> None:
        """Apply an event of the benchmark's agent."""
        name, moment, _ = text.split(" ", 2)
        if name != self.name:
            raise Wrong(f"got an event of another's: {text!r}")
        if moment != "-":
            self.latencies.append(now - float(moment))
        self.got += 1
        if self.got >= self.wanted:
            self.news.set()


class Device(Plain):
    """A client of callboard."""

    def __init__(self, name: str, *, checked: bool = True) -> None:
        super().__init__(name, checked=checked)
        self.device = "0" * 24 + name[1:].rjust(8, "0")
        self.ticket = ""
        self.start: dict[str, Any] | None = None
        """From where the next connection resumes."""
        self.epoch = ""
        self.head = 0
        self.commands = 0
        self.ended = 0
        """Runs that have ended so far."""
        self.first_after: float | None = None

    def opened(self) -> None:
        """Say hello."""
        hello: dict[str, Any] = {"t": "hello", "ticket": self.ticket, "device": self.device, "client": "bench"}
        if self.start is not None:
            hello["start"] = self.start
        self.send(json.dumps(hello).encode())

    async def caught_up(self) -> None:
        """Wait until all that was there at the welcome is applied."""
        while self.applied < self.head and self.error is None and self.closed is None:
            self.news.clear()
            await self.news.wait()

    async def until_ended(self, runs: int) -> None:
        """Wait until so many runs have ended."""
        while self.ended < runs and self.error is None and self.closed is None:
            self.news.clear()
            await self.news.wait()

    def take(self, payload: memoryview, now: float) -> None:
        """Take one message."""
        frame = decode_frame(payload)
        if frame.t == "events":
            for event in frame.events:
                self.follow(event.seq)
                if event.type == "agent_delta" and self.checked:
                    self.say(event.data.text, now)
                elif event.type in TERMINALS:
                    self.ended += 1
                    self.news.set()
            if self.applied == self.head:
                self.news.set()
        elif frame.t == "ping":
            self.send(b'{"t":"pong","seq":%d}' % self.applied)
        elif frame.t == "welcome":
            if self.start is not None and frame.from_ != self.start["seq"] + 1:
                raise Wrong(f"resumed at {self.start}, and the server goes on from {frame.from_}")
            self.epoch, self.head, self.applied = frame.epoch, frame.head, frame.from_ - 1
            self.ready.set()
        elif frame.t == "error" or (frame.error and self.checked):
            raise Wrong(bytes(payload).decode())

    def command(self, op: str, data: dict[str, Any]) -> None:
        """Send one command."""
        self.commands += 1
        self.send(json.dumps({"t": "command", "id": self.commands, "op": op, "data": data}).encode())

    def order(self, text: str, agent: str | None = None) -> None:
        """Start a run."""
        self.command("user_message", {"text": text} | ({} if agent is None else {"agent": agent}))

    def acknowledge(self) -> None:
        """Say what was applied."""
        self.send(b'{"t":"ack","seq":%d}' % self.applied)
