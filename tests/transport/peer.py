"""A client for tests that look at single frames: the framing is that of `websockets`, the stream is trio's.

It follows no rule of the protocol by itself, so that a test may break each of them; it knows nothing of the node's own
code.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

import trio
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

__all__ = ["Closed", "Message", "Peer"]

SUBPROTOCOL = "callboard.v1.json"
Message = dict[str, Any]


class Closed(Exception):
    """The server has closed the WebSocket; `code` is 1006 if it did so without a word."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Peer:
    """One WebSocket to the node."""

    def __init__(self, stream: trio.abc.Stream, protocol: ClientProtocol) -> None:
        self.stream = stream
        self.protocol = protocol
        self.records: list[Message] = []
        self.welcome: Message = {}
        self.commands = 0
        self._messages: list[Message] = []
        self._response: Response | None = None

    @classmethod
    async def connect(
        cls,
        port: int,
        *,
        origin: str | None = None,
        subprotocol: str | None = SUBPROTOCOL,
        receive_buffer: int | None = None,
        glued: bytes = b"",
    ) -> Peer:
        """Open a WebSocket. Raises AssertionError if the handshake is refused.

        Args:
            port: of the node, on loopback.
            origin: as a browser would send it.
            subprotocol: what is offered.
            receive_buffer: bytes that the kernel takes for a peer that reads nothing.
            glued: bytes to send together with the handshake.
        """
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await sock.connect(("127.0.0.1", port))
            return await cls.over(trio.SocketStream(sock), origin=origin, subprotocol=subprotocol, glued=glued)
        except BaseException:
            sock.close()
            raise

    @classmethod
    async def over(
        cls,
        stream: trio.abc.Stream,
        *,
        origin: str | None = None,
        subprotocol: str | None = SUBPROTOCOL,
        glued: bytes = b"",
        headers: Headers | None = None,
    ) -> Peer:
        """The same over any stream whose far end is the node's; with further headers, as a proxy adds them."""
        protocol = ClientProtocol(
            parse_uri("ws://node.example/v1/connect"),
            origin=None if origin is None else Origin(origin),
            subprotocols=None if subprotocol is None else [Subprotocol(subprotocol)],
            max_size=None,
        )
        peer = cls(stream, protocol)
        request = protocol.connect()
        request.headers.update(headers or {})
        protocol.send_request(request)
        await stream.send_all(b"".join(protocol.data_to_send()) + glued)
        while peer._response is None:
            await peer._read()
        assert protocol.state is not State.CONNECTING, protocol.handshake_exc
        return peer

    async def send(self, message: Message | str | bytes) -> None:
        """Send a map as JSON, or a text as it is, or bytes as a binary message."""
        if isinstance(message, bytes):
            self.protocol.send_binary(message)
        else:
            self.protocol.send_text((message if isinstance(message, str) else json.dumps(message)).encode())
        await self._flush()

    async def hello(self, ticket: str, device: str = "d" * 32, **more: Any) -> Message:
        """Say hello and give the welcome, which has to come first."""
        await self.send({"t": "hello", "ticket": ticket, "device": device, "client": "peer", **more})
        self.welcome = await self.receive()
        assert self.welcome["t"] == "welcome", self.welcome
        return self.welcome

    async def receive(self) -> Message:
        """The next message. Raises Closed."""
        while not self._messages:
            if self.protocol.state is State.CLOSED:
                raise Closed(self.protocol.close_code or 1006, self.protocol.close_reason or "")
            await self._read()
        message = self._messages.pop(0)
        if message["t"] == "events":
            self.records += message["events"]
        return message

    async def until(self, found: Callable[[Message], bool]) -> Message:
        """Read on until a message is found, and give it."""
        while not found(message := await self.receive()):
            pass
        return message

    async def until_record(self, type: str) -> Message:
        """Read on until a record of this type is there, and give it."""
        while not (found := [record for record in self.records if record["type"] == type]):
            await self.receive()
        return found[0]

    async def command(self, op: str, **more: Any) -> int:
        """Send a command with the next id, and give the id."""
        self.commands += 1
        await self.send({"t": "command", "id": self.commands, "op": op, **more})
        return self.commands

    async def ask(self, text: str, agent: str | None = None) -> str:
        """Send a user's message, and give its run once it is accepted."""
        data = {"text": text} if agent is None else {"text": text, "agent": agent}
        result = await self.result(await self.command("user_message", data=data))
        run: str = result["ok"]["run"]
        return run

    def of_run(self, run: str) -> list[str]:
        """The types of a run's records so far."""
        return [record["type"] for record in self.records if record.get("run") == run]

    async def end_of(self, run: str) -> Message:
        """Read on until a run has ended, and give its terminal event."""
        while not (found := [record for record in self.records if record.get("run") == run and _ends(record)]):
            await self.receive()
        return found[0]

    async def result(self, id: int) -> Message:
        """The result of a command."""
        return await self.until(lambda message: message["t"] == "result" and message["id"] == id)

    async def closed(self) -> int:
        """Read until the server closes, answer its close, and give its code."""
        try:
            while True:
                await self.receive()
        except Closed as end:
            return end.code

    async def leave(self) -> None:
        """Close as a client should, and wait for the server's end."""
        self.protocol.send_close(1000)
        await self._flush()
        await self.closed()
        await self.stream.aclose()

    def reset(self) -> None:
        """Break off: the server gets a reset."""
        assert isinstance(self.stream, trio.SocketStream)
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def _read(self) -> None:
        try:
            data = await self.stream.receive_some(65_536)
        except trio.BrokenResourceError:
            data = b""
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self._response = event
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._messages.append(json.loads(bytes(event.data)))
        if not data and self._response is None:
            raise ConnectionError("the server ended the connection before it answered")
        await self._flush()

    async def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            try:
                if data:
                    await self.stream.send_all(data)
                elif isinstance(self.stream, trio.abc.HalfCloseableStream):  # TLS is not
                    await self.stream.send_eof()
            except (trio.BrokenResourceError, OSError):
                return  # the server is gone, which the next read tells


def _ends(record: Message) -> bool:
    return record["type"] in ("agent_completed", "agent_error", "agent_cancelled")
