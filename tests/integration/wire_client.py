"""A client of `callboard.v1`, written from the description of the wire alone, on the `websockets` library.

It does what a client has to do, and notes every breach that it sees in `problems`: a first frame that is no welcome, a
record that is not the next one, a result that answers nothing, an epoch that changes without a reset. It imports
nothing of callboard.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable
from time import perf_counter
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.typing import Origin, Subprotocol

__all__ = ["Device", "Refused", "TicketRefused", "get_json", "get_ticket", "open_refused"]

Map = dict[str, Any]
# Far beyond what any step takes; what does not come in this time does not come.
STEP_SECONDS = 60.0


class TicketRefused(Exception):
    """The node gave no ticket; `status` says why."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status


class Refused(Exception):
    """The node closed the connection before its welcome, with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


def _ask(method: str, url: str, token: str, origin: str | None, body: bytes | None) -> Map:
    headers = {"Authorization": f"Bearer {token}", **({} if origin is None else {"Origin": origin})}
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=STEP_SECONDS) as answer:
            decoded: Map = json.load(answer)
            return decoded
    except urllib.error.HTTPError as error:
        with error:
            raise TicketRefused(error.code, error.read().decode()) from None


async def get_ticket(url: str, token: str, *, origin: str | None = None) -> Map:
    """`POST /v1/tickets`: ticket, session, expires_in_s and url. Raises TicketRefused."""
    return await asyncio.to_thread(_ask, "POST", f"{url}/v1/tickets", token, origin, b"{}")


async def get_json(url: str, token: str) -> Map:
    """What a bearer gets from a URL. Raises TicketRefused."""
    return await asyncio.to_thread(_ask, "GET", url, token, None, None)


async def _open(url: str, origin: str | None) -> ClientConnection:
    return await connect(
        url,
        subprotocols=[Subprotocol("callboard.v1.json")],
        origin=None if origin is None else Origin(origin),
        compression=None,
        ping_interval=None,
        open_timeout=STEP_SECONDS,
        close_timeout=5,
        max_size=None,
        proxy=None,
    )


async def open_refused(url: str, ticket: str, *, origin: str | None = None) -> int:
    """Say hello with a ticket that should not be good; gives the close code. AssertionError if it is welcomed."""
    socket = await _open(url, origin)
    try:
        await socket.send(json.dumps({"t": "hello", "ticket": ticket, "device": secrets.token_hex(16), "client": "x"}))
        async with asyncio.timeout(STEP_SECONDS):
            said = await socket.recv()
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd is not None else 1006
    finally:
        await socket.close()
    raise AssertionError(f"a ticket that should not be good was answered with {said!r:.80}")


class Device:
    """One device of one user: its connection, its position, what it applied, and its open commands."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.id = secrets.token_hex(16)
        self.session = ""
        self.epoch = ""
        self.applied = 0
        self.records: list[Map] = []
        self.problems: list[str] = []
        self.results: dict[int, Map] = {}
        self.welcomes: list[Map] = []
        self.close_code: int | None = None
        self.last_ticket = ""
        self._limits: Map = {}
        self._open: dict[int, Map] = {}
        self._next_id = 1
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()

    async def enter(self, start: Any = None) -> Map:
        """Get a ticket, connect, say hello, and give the welcome. Goes on at the position, if there is one."""
        answer = await get_ticket(self.url, self.token)
        self.last_ticket, session = answer["ticket"], answer["session"]
        self._socket = socket = await _open(answer["url"], None)
        hello: Map = {"t": "hello", "ticket": self.last_ticket, "device": self.id, "client": "golden path"}
        if self.epoch:
            hello["start"] = {"epoch": self.epoch, "seq": self.applied}
        elif start is not None:
            hello["start"] = start
        await socket.send(json.dumps(hello))
        try:
            async with asyncio.timeout(STEP_SECONDS):
                welcome: Map = json.loads(await socket.recv())
        except ConnectionClosed as end:
            raise Refused(end.rcvd.code if end.rcvd is not None else 1006) from None
        self._take_welcome(welcome, session)
        self._reading = asyncio.create_task(self._read(socket))
        for command in list(self._open.values()):
            await socket.send(json.dumps(command))
        return welcome

    def _take_welcome(self, welcome: Map, session: str) -> None:
        if welcome["t"] != "welcome":
            self.problems.append(f"the first frame was {welcome['t']}")
        if welcome["session"] != session or (self.session and self.session != session):
            self.problems.append(f"welcome to session {welcome['session']}, the ticket was for {session}")
        expected = "replay" if self.epoch else "fresh"
        if welcome["mode"] != expected:
            self.problems.append(f"welcome with mode {welcome['mode']}, expected was {expected}")
        if self.epoch and (welcome["epoch"], welcome["from"]) != (self.epoch, self.applied + 1):
            self.problems.append(f"resumed at {welcome['from']} after {self.applied}")
        self.session, self.epoch, self._limits = session, welcome["epoch"], welcome["limits"]
        self.applied = welcome["from"] - 1
        self.welcomes.append(welcome)

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                if self._socket is not socket:
                    return  # nothing of an old connection is applied
                self._take(json.loads(text))
                if '"ping"' in text[:20]:
                    await socket.send(json.dumps({"t": "pong", "seq": self.applied}))
                async with self._changed:
                    self._changed.notify_all()
        except ConnectionClosed as end:
            self.close_code = end.rcvd.code if end.rcvd is not None else 1006
        except ConnectionClosedOK:
            self.close_code = 1000
        async with self._changed:
            self._changed.notify_all()

    def _take(self, message: Map) -> None:
        match message["t"]:
            case "events":
                for record in message["events"]:
                    if record["seq"] == self.applied + 1:
                        self.applied += 1
                        self.records.append(record)
                    else:
                        self.problems.append(f"record {record['seq']} came after {self.applied}")
            case "result":
                if self._open.pop(message["id"], None) is None:
                    self.problems.append(f"a result came for command {message['id']}, which was not open")
                self.results[message["id"]] = message
            case "gap" | "error" | "welcome":
                self.problems.append(f"unexpected: {json.dumps(message):.200}")
            case "ping" | "goaway":
                pass
            case unknown:
                self.problems.append(f"a message of type {unknown}")

    async def wait(self, true: Callable[[], bool]) -> None:
        """Wait until something is so. Raises TimeoutError, with what there is instead."""
        try:
            async with asyncio.timeout(STEP_SECONDS), self._changed:
                await self._changed.wait_for(lambda: true() or self.close_code is not None)
        except TimeoutError:
            raise TimeoutError(
                f"device {self.id} at {self.applied}, open commands {list(self._open)}, {self.problems}"
            ) from None
        assert true(), f"the connection ended with {self.close_code}"

    async def command(self, op: str, *, id: int | None = None, **more: Any) -> int:
        """Send a command, with a new id or that of an earlier one; gives the id."""
        if id is None:
            id, self._next_id = self._next_id, self._next_id + 1
        self._open[id] = {"t": "command", "id": id, "op": op, **more}
        assert self._socket is not None
        await self._socket.send(json.dumps(self._open[id]))
        return id

    async def result(self, id: int) -> Map:
        """Wait for the result of a command."""
        await self.wait(lambda: id in self.results)
        return self.results[id]

    async def ask(self, text: str) -> tuple[str, float]:
        """Send a user's message; gives the run, and the seconds until it was accepted."""
        began = perf_counter()
        result = await self.result(await self.command("user_message", data={"text": text}))
        assert "ok" in result, result
        run: str = result["ok"]["run"]
        return run, perf_counter() - began

    def of_run(self, run: str) -> list[Map]:
        """The records of a run, as far as they were applied."""
        return [record for record in self.records if record.get("run") == run]

    async def terminal(self, run: str) -> Map:
        """Wait for the end of a run."""
        await self.wait(lambda: any(is_terminal(record) for record in self.of_run(run)))
        return next(record for record in self.of_run(run) if is_terminal(record))

    async def cut(self) -> None:
        """Break the connection off without a word."""
        assert self._socket is not None
        assert self._reading is not None
        self._socket.transport.abort()
        self._socket = None
        await self._reading
        self.close_code = None

    async def leave(self) -> None:
        """Close the connection."""
        if self._socket is not None and self._reading is not None:
            await self._socket.close()
            await self._reading


def is_terminal(record: Map) -> bool:
    """Whether a record ends its run."""
    return record["type"] in ("agent_completed", "agent_error", "agent_cancelled")
