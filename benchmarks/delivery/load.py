"""The load generator: real WebSocket clients in a process of their own, each of which checks all that it gets.

``python -m benchmarks.delivery.load SPEC``, where SPEC is a JSON map. It connects its clients, says ``ready``, and at a
line on its standard input tells the server to begin. When every client has got every event it prints what it saw. An
event that is missing, out of order or another client's ends it with exit code 1.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from callboard.transport.auth import Authenticator

__all__ = ["main"]

# At most one a second, says the protocol.
ACK_SECONDS = 1.0
# Whoever gets nothing for so long never will.
SILENCE_SECONDS = 60.0
DEVICE = "0" * 24


class Data(msgspec.Struct, frozen=True, gc=False):
    """What an event says, as far as it matters here."""

    text: str = ""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event of any server."""

    seq: int
    type: str
    data: Data


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message of callboard."""

    t: str
    events: list[Event] = []
    head: int = 0
    error: msgspec.Raw = msgspec.Raw(b"")


class Publication(msgspec.Struct, frozen=True, gc=False):
    """What centrifuge puts around an event."""

    data: Event = Event(0, "", Data())


class Pushed(msgspec.Struct, frozen=True, gc=False):
    """What it puts around that."""

    data: Publication = Publication()


class Push(msgspec.Struct, frozen=True, gc=False):
    """One line of centrifuge."""

    id: int = 0
    result: Pushed = Pushed()
    error: msgspec.Raw = msgspec.Raw(b"")


class Wrong(Exception):
    """A client got what it should not have."""


decode_event = msgspec.json.Decoder(Event).decode
decode_push = msgspec.json.Decoder(Push).decode
decode_frame = msgspec.json.Decoder(Frame).decode


class Client(WSListener):
    """One client: counts, and checks that its events are its own, complete and in order."""

    def __init__(self, name: str, spec: dict[str, Any], done: Callable[[Client], None]) -> None:
        self.name = name
        self.mine = name + " "
        self.spec = spec
        self.wanted = spec["events"]
        self.done = done
        self.seq = 0
        self.got = 0
        self.messages = 0
        self.error: str | None = None
        self.welcomed = asyncio.Event()
        self.transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep what is written to."""
        self.transport = transport
        self.opened()

    def opened(self) -> None:
        """Take a server as ready that says nothing first."""
        self.welcomed.set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one message."""
        if frame.msg_type is WSMsgType.TEXT or frame.msg_type is WSMsgType.BINARY:
            try:
                self.take(frame.get_payload_as_memoryview())
            except (Wrong, msgspec.DecodeError) as error:
                self.fail(str(error))
        elif frame.msg_type is WSMsgType.CLOSE:
            self.fail(f"closed with {frame.get_close_code()}: {frame.get_close_message()!r}")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The server is gone."""
        if self.got < self.wanted:
            self.fail("disconnected")

    def fail(self, error: str) -> None:
        """End with an error."""
        if self.error is None:
            self.error = f"{self.name}: {error}"
            self.done(self)
            self.welcomed.set()

    def take(self, payload: memoryview) -> None:
        """Take a message that is one event."""
        self.messages += 1
        self.check(decode_event(payload))
        self.count(1)

    def check(self, event: Event) -> None:
        """Look at one event."""
        if event.seq != self.seq + 1:
            raise Wrong(f"got {event.seq} after {self.seq}")
        self.seq = event.seq
        if not event.data.text.startswith(self.mine):
            raise Wrong(f"got an event of another's: {event.data.text!r}")

    def count(self, events: int) -> None:
        """So many more events have come."""
        self.got += events
        if self.got >= self.wanted:
            self.done(self)

    def begin(self) -> None:
        """Have the server begin."""
        self.transport.send(WSMsgType.TEXT, b"go")

    def acknowledge(self) -> None:
        """Say what was applied, where the protocol knows that."""


class SocketIo(Client):
    """A client of Socket.IO, protocol version 5 on Engine.IO 4: opens, connects, says who it is."""

    def opened(self) -> None:
        """Wait for the server's word."""

    def take(self, payload: memoryview) -> None:
        """Take one packet."""
        head = bytes(payload[:11])
        if head == b'42["event",':
            self.messages += 1
            self.check(decode_event(payload[11:-1]))
            self.count(1)
        elif head[:1] == b"0":
            self.transport.send(WSMsgType.TEXT, b"40")
        elif head[:2] == b"40":
            self.welcomed.set()
        elif head == b"2":
            self.transport.send(WSMsgType.TEXT, b"3")
        else:
            raise Wrong(f"got {bytes(payload)!r:.80}")

    def begin(self) -> None:
        """Have the server begin."""
        self.transport.send(WSMsgType.TEXT, b'42["go","%b"]' % self.name.encode())


class Centrifuge(Client):
    """A client of centrifuge: replies and publications as lines of JSON, several in a message."""

    def opened(self) -> None:
        """Connect; the server subscribes this client to its channel."""
        self.transport.send(WSMsgType.TEXT, b'{"id":1,"params":{"name":"%b"}}' % self.name.encode())

    def take(self, payload: memoryview) -> None:
        """Take some lines."""
        events = 0
        for line in bytes(payload).splitlines():
            push = decode_push(line)
            if push.error:
                raise Wrong(line.decode())
            if push.id == 1:
                self.welcomed.set()
            elif not push.id:
                self.check(push.result.data.data)
                events += 1
        if events:
            self.messages += 1
            self.count(events)

    def begin(self) -> None:
        """Have the server begin."""
        self.transport.send(WSMsgType.TEXT, b'{"id":2,"method":9,"params":{"data":{}}}')


class Callboard(Client):
    """A client of callboard: hello and welcome, a command that starts the run, acknowledgements."""

    def opened(self) -> None:
        """Say hello."""
        hello = {"t": "hello", "ticket": self.ticket, "device": DEVICE + self.name[1:].rjust(8, "0"), "client": "bench"}
        self.transport.send(WSMsgType.TEXT, json.dumps(hello).encode())

    ticket = ""

    def take(self, payload: memoryview) -> None:
        """Take one message."""
        frame = decode_frame(payload)
        if frame.t == "events":
            deltas = 0
            for event in frame.events:
                if event.type == "agent_delta":
                    self.check(event)
                    deltas += 1
                else:
                    if event.seq != self.seq + 1:
                        raise Wrong(f"got {event.seq} after {self.seq}")
                    self.seq = event.seq
            if deltas:
                self.messages += 1
                self.count(deltas)
        elif frame.t == "welcome":
            self.seq = frame.head
            self.welcomed.set()
        elif frame.t == "error" or frame.error:
            raise Wrong(bytes(payload).decode())

    def begin(self) -> None:
        """Start the run."""
        text = f"{self.spec['events']} {self.spec['burst']} {self.spec['number']}"
        command = {"t": "command", "id": 1, "op": "user_message", "data": {"text": text}}
        self.transport.send(WSMsgType.TEXT, json.dumps(command).encode())

    def acknowledge(self) -> None:
        """Say what was applied."""
        self.transport.send(WSMsgType.TEXT, b'{"t":"ack","seq":%d}' % self.seq)


KINDS: dict[str, type[Client]] = {
    "plain": Client,
    "callboard": Callboard,
    "socket.io": SocketIo,
    "centrifuge": Centrifuge,
}
PATHS = {"socket.io": "socket.io/?EIO=4&transport=websocket&name=", "centrifuge": "connection/websocket?name="}


class Tickets:
    """Gets tickets as a page does, over HTTP, one for each client."""

    def __init__(self, netloc: str, key: str) -> None:
        self._authenticator = Authenticator(bytes.fromhex(key), time.time)
        self._node = http.client.HTTPConnection(netloc)

    def take(self, name: str) -> tuple[str, str]:
        """Where this client connects, and its ticket."""
        bearer = {"Authorization": f"Bearer {self._authenticator.token(name)}"}
        self._node.request("POST", "/v1/tickets", b"{}", bearer)
        answer = json.loads(self._node.getresponse().read())
        return answer["url"], answer["ticket"]


async def _run(spec: dict[str, Any]) -> int:
    names = [f"u{index:05d}" for index in range(spec["number"])]
    kind = KINDS[spec["clients"]]
    tickets = Tickets(spec["url"], spec["key"])
    all_done = asyncio.Event()
    left = len(names)
    failed: list[str] = []

    def done(client: Client) -> None:
        nonlocal left
        left -= 1
        if client.error is not None:
            failed.append(client.error)
        if left == 0 or failed:
            all_done.set()

    clients: list[Client] = []
    for index, name in enumerate(names):
        client = kind(name, spec, done)
        url, headers = f"ws://{spec['url']}/{PATHS.get(spec['clients'], '')}{name}", {}
        if isinstance(client, Callboard):
            url, client.ticket = tickets.take(name)
            headers = {"Sec-WebSocket-Protocol": "callboard.v1.json"}
        await ws_connect(lambda client=client: client, url, extra_headers=headers)
        clients.append(client)
        if index % 50 == 0:
            await client.welcomed.wait()
    for client in clients:
        await client.welcomed.wait()
    if failed:
        print(*failed[:3], sep="; ", file=sys.stderr)
        return 1
    gc.freeze()
    gc.disable()
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    began, cpu = time.perf_counter(), time.process_time()
    for client in clients:
        client.begin()
    seen = -1
    silent = 0.0
    while not all_done.is_set():
        try:
            await asyncio.wait_for(all_done.wait(), ACK_SECONDS)
        except TimeoutError:
            for client in clients:
                client.acknowledge()
            before, seen = seen, sum(client.got for client in clients)
            silent = silent + ACK_SECONDS if seen == before else 0.0
            if silent >= SILENCE_SECONDS:
                failed.append(f"{seen} of {len(clients) * spec['events']} events came, then nothing")
                break
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    report = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "events": sum(client.got for client in clients),
        "messages": sum(client.messages for client in clients),
    }
    if failed:
        print(*failed[:3], sep="; ", file=sys.stderr)
        return 1
    print(json.dumps(report), flush=True)
    return 0


def main() -> int:
    """Run one load."""
    return asyncio.run(_run(json.loads(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
