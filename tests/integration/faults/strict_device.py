"""A client of the test's own that keeps the rules of the wire through anything, and notes every breach of them.

On the framing of the `websockets` library; nothing of callboard. It gets in by ticket, resumes at its position, repeats
what has no answer, and treats each close code as its range says.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import trio
from websockets.exceptions import InvalidState

from tests.integration.faults.news import News
from tests.transport.peer import Closed, Message, Peer

__all__ = ["BrokenOff", "StrictDevice", "ends_run"]

# Between two attempts to get in. A client backs off longer; this one is to be there when the node is.
PAUSE_SECONDS = 0.1
# What a node may be in the middle of: it begins, it ends, it has too much to do.
LATER = (429, 503)
# Retry with a new ticket: expired on a busy machine, or of a node that is no more. Used or foreign it never is.
NEW_TICKET = (4300, 4302)


class BrokenOff(Exception):
    """The connection is no more."""


@attrs.define(eq=False)
class _Command:
    frame: Message
    sends: int = 0
    answered: trio.Event = attrs.field(factory=trio.Event)
    result: Message = attrs.field(factory=dict)


class StrictDevice:
    """One device of one user.

    Args:
        port: of the node, or of what stands before it, on loopback.
        token: the user's, or what gives one.
        start: where it begins the first time: left out for the node's own default.
    """

    def __init__(self, port: int, token: str | Callable[[], str], *, start: Any = None) -> None:
        self.port = port
        self.id = secrets.token_hex(16)
        self.epoch = ""
        self.first = 0
        """The first seq that it accounts for."""
        self.applied = 0
        self.records: list[Message] = []
        self.ended: dict[str, Message] = {}
        """The ends of runs, by run."""
        self.breaches: list[str] = []
        self.closes: list[int] = []
        self.welcomes = 0
        self.repeated = 0
        """Commands that were sent once more."""
        self.news = News()
        self.peer: Peer | None = None
        self._token = token if callable(token) else lambda: token
        self._start = start
        self._next_id = 1
        self._open: dict[int, _Command] = {}
        self._unsent: set[int] = set()
        self._sending = trio.StrictFIFOLock()

    # -- what a test does with it -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be connected, again and again, until cancelled."""
        while True:
            # The node or the way to it is gone; what of it is a breach has been noted.
            with suppress(BrokenOff, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                await self._connect_once()
            await trio.sleep(PAUSE_SECONDS)

    async def command(self, op: str, data: Message, **more: Any) -> Message:
        """Do a command once, whatever happens meanwhile; gives its result, which may be an error."""
        id, self._next_id = self._next_id, self._next_id + 1
        command = self._open[id] = _Command({"t": "command", "id": id, "op": op, "data": data, **more})
        self._unsent.add(id)
        self.news.tell()
        await command.answered.wait()
        return command.result

    def cut(self) -> None:
        """Break the connection off without a word; it comes back."""
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.reset()

    def breach(self, what: str) -> None:
        """Note that a rule was broken."""
        self.breaches.append(f"device {self.id[:6]}, connection {self.welcomes}, at {self.applied}: {what}")

    # -- one connection -----------------------------------------------------------------------------------------------

    async def _connect_once(self) -> None:
        ticket = await self.ticket()
        try:
            peer = await Peer.connect(self.port)
        except AssertionError as refused:
            # The handshake is answered by HTTP while the node begins or ends.
            raise BrokenOff from refused
        try:
            async with peer.stream:
                await self._speak(peer, ticket)
        except Closed as end:
            self.closes.append(end.code)
            if 4000 <= end.code < 4100 or (4300 <= end.code < 4400 and end.code not in NEW_TICKET):
                self.breach(f"closed with {end.code} {end}")
            raise BrokenOff from end
        finally:
            self.peer = None
            self.news.tell()

    async def _speak(self, peer: Peer, ticket: str) -> None:
        hello: Message = {"t": "hello", "ticket": ticket, "device": self.id, "client": "strict"}
        start = {"epoch": self.epoch, "seq": self.applied} if self.epoch else self._start
        if start is not None:
            hello["start"] = start
        await self._send(peer, hello)
        self._take_welcome(await peer.receive())
        self.peer = peer
        self._unsent = {*self._open}
        self.news.tell()
        ended: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_commands, peer)
            try:
                while True:
                    await self._take(peer, await peer.receive())
            except BaseException as error:  # noqa: BLE001 - raised again outside of the nursery
                ended = error
            nursery.cancel_scope.cancel()
        if ended is not None:
            raise ended

    async def _send_commands(self, peer: Peer) -> None:
        """Send what has no answer, in the order of the ids: what is open from before first."""
        while True:
            await self.news.until(lambda: bool(self._unsent))
            for id in sorted(self._unsent):
                self._unsent.discard(id)
                command = self._open[id]
                self.repeated += command.sends > 0
                command.sends += 1
                try:
                    await self._send(peer, command.frame)
                except BrokenOff:
                    return  # which the reader sees too

    async def ticket(self) -> str:
        """A ticket of this user. Raises BrokenOff, or OSError, if there is none now."""
        body = b"{}"
        head = (
            f"POST /v1/tickets HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {self._token()}\r\n\r\n"
        )
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(head.encode() + body)
            answer = b"".join([data async for data in stream])
        status = int(answer[9:12] or b"0")
        if status == 201:
            ticket: str = json.loads(answer.partition(b"\r\n\r\n")[2])["ticket"]
            return ticket
        if status and status not in LATER:
            self.breach(f"no ticket: {answer[:200]!r}")
        raise BrokenOff

    # -- what comes ---------------------------------------------------------------------------------------------------

    def _take_welcome(self, welcome: Message) -> None:
        if welcome["t"] != "welcome":
            self.breach(f"the first frame was {welcome}")
            raise BrokenOff
        if self.epoch:
            right = ("replay", self.epoch, self.applied + 1)
            if (welcome["mode"], welcome["epoch"], welcome["from"]) != right:
                self.breach(f"resumed otherwise than {right}: {welcome}")
        else:
            self.first, self.applied = welcome["from"], welcome["from"] - 1
        if welcome["last_id"] >= self._next_id:
            self.breach(f"the node knows command {welcome['last_id']}, and {self._next_id - 1} was the last")
        self.epoch = welcome["epoch"]
        self.welcomes += 1

    async def _take(self, peer: Peer, message: Message) -> None:
        match message["t"]:
            case "events":
                for record in message["events"]:
                    if record["seq"] != self.applied + 1:
                        self.breach(f"record {record['seq']} came")
                        raise BrokenOff
                    self.applied += 1
                    self.records.append(record)
                    if ends_run(record):
                        self.ended.setdefault(record["run"], record)
            case "result":
                await self._take_result(message)
            case "ping":
                await self._send(peer, {"t": "pong", "seq": self.applied})
            case "goaway":
                # Leave at the moment that the node gives, and not before.
                with trio.move_on_after(message["in_ms"] / 1000):
                    while True:
                        await self._take(peer, await peer.receive())
                raise BrokenOff
            case _:
                self.breach(f"{message} came")
        self.news.tell()

    async def _take_result(self, message: Message) -> None:
        command = self._open.get(message["id"])
        if command is None:
            self.breach(f"{message} answers nothing that is open")
        elif message.get("error", {}).get("retry"):
            await trio.sleep(PAUSE_SECONDS)
            self._unsent.add(message["id"])
        else:
            del self._open[message["id"]]
            command.result = message
            command.answered.set()

    # -- what goes ----------------------------------------------------------------------------------------------------

    async def _send(self, peer: Peer, message: Message) -> None:
        try:
            async with self._sending:
                await peer.send(message)
        except (InvalidState, trio.BusyResourceError, trio.ClosedResourceError) as error:
            raise BrokenOff from error


def ends_run(record: Message) -> bool:
    """Whether a record is the end of its run."""
    return record["type"] in ("agent_completed", "agent_error", "agent_cancelled")
