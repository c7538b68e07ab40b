"""A client of a simulated node, written from the rules of the wire alone: it shares no state with the product's client.

It applies a record if its seq is one above what it applied, passes over what it has, and gives the connection up
otherwise; some ask for merged records, and apply them whole or not at all. It repeats what has no result; it answers
pings. What it saw is kept for the judge, under the epoch that it saw it in. It also does what no good client does:
repeats commands, sends them out of order or with another body, asks from a position that never was, uses a ticket
twice, floods, and stops reading.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from ..client import NoTicketNow, TicketDenied, get_ticket
from ..verify.socket import Closed, Socket
from .network import Wire

__all__ = ["Asked", "Device", "Dial"]

Dial = Callable[[str], Awaitable[tuple[trio.abc.Stream, Wire]]]
"""Opens a simulated connection for a device; raises OSError while no node listens."""

URL = "http://node.sim"
# What a client should wait after a close of each range, at the most: short, as virtual time is only as long as needed.
BACK_OFF_SECONDS = 3.0
MOST_WRONG = 5
# Longer than any welcome may take in a run that is well.
SILENCE_SECONDS = 20.0


@attrs.define(eq=False)
class Asked:
    """A command, and all answers to it. A lie is one that has to be refused."""

    id: int
    op: str
    data: dict[str, Any]
    run: str | None = None
    results: list[dict[str, Any]] = attrs.field(factory=list)
    lie: bool = False

    def final(self) -> dict[str, Any] | None:
        """The answer that is kept, if there is one yet."""
        return next((result for result in self.results if not result.get("error", {}).get("retry")), None)

    def frame(self) -> dict[str, Any]:
        """The command as it is sent."""
        run = {} if self.run is None else {"run": self.run}
        return {"t": "command", "id": self.id, "op": self.op, "data": self.data, **run}


@attrs.define(eq=False)
class View:
    """What was applied under one epoch, and the stretches that were said to be not to be had.

    `records` has each record under its seq, a merged one under its last; in `told` are positions that the node named.
    """

    first: int
    applied: int
    records: dict[int, dict[str, Any]] = attrs.field(factory=dict)
    gaps: list[tuple[int, int]] = attrs.field(factory=list)
    told: set[int] = attrs.field(factory=set)


class Device:
    """One device of one user, attached to one session, for as long as `run` runs.

    Args:
        name: for the trace.
        user: whose it is.
        session: the session's name.
        token: gives the user's JWT.
        dial: opens a connection.
        rng: its own chance.
        note: the trace.
        look: called for each record that is applied, with the session's id.
        merge: ask for merged records.
    """

    def __init__(
        self,
        name: str,
        user: str,
        session: str,
        token: Callable[[], str],
        dial: Dial,
        rng: random.Random,
        note: Callable[[str], None],
        look: Callable[[str, dict[str, Any]], None],
        *,
        merge: bool,
    ) -> None:
        self.name = name
        self.user = user
        self.session = session
        self.session_id = ""
        self.wire: Wire | None = None
        self.open = False
        self.calm = False
        """No mischief any more: read, resume, repeat what has no answer."""
        self.power_was_cut = False
        """Answers may have gone with the records that they belong to."""
        self.away_seconds = 0.0
        """After this connection, do not come back for so long."""
        self.wrong: list[str] = []
        self.epoch = ""
        self.views: dict[str, View] = {}
        self.asked: dict[int, Asked] = {}
        self.older: list[Asked] = []
        """Commands of device ids that were given up, as the node had forgotten them."""
        self.welcomes = 0
        self.codes: list[int] = []
        self.lagged = False
        self._token = token
        self._dial = dial
        self._rng = rng
        self._note = note
        self._look = look
        self._merge = merge
        self._device = f"{rng.getrandbits(128):032x}"
        self._next_id = 1
        self._position: tuple[str, int] | None = None
        self._socket: Socket | None = None
        self._dream = False
        self._babbled = False
        self._calmed = trio.Event()

    # -- what the plan makes it do ------------------------------------------------------------------------------------

    async def say(self, op: str, data: dict[str, Any], run: str | None = None) -> None:
        """Give a command, now or at the next connection."""
        asked = self.asked[self._next_id] = Asked(self._next_id, op, data, run)
        self._next_id += 1
        self._note(f"{self.name} asks {asked.id} {op}")
        await self._send(asked.frame())

    async def repeat(self) -> None:
        """Send a command again that was sent before."""
        if self.asked:
            asked = self._rng.choice(list(self.asked.values()))
            self._note(f"{self.name} repeats {asked.id}")
            await self._send(asked.frame())

    async def lie(self) -> None:
        """Use an id again for another command: it has to be refused, and changes nothing."""
        answered = [asked for asked in self.asked.values() if asked.final() is not None and not asked.lie]
        if answered:
            asked = self._rng.choice(answered)
            self._note(f"{self.name} lies about {asked.id}")
            await self._send({**asked.frame(), "op": "user_message", "data": {"text": "a lie"}})

    async def babble(self) -> None:
        """Send what no client should; a node may close for it, and nothing else."""
        what = self._rng.choice(
            (b"{", b'{"t":"nothing"}', b'{"t":"ack","seq":1000000}', b'{"t":"pong","seq":-1}', b"[]", b'{"t":"hello"}')
        )
        self._note(f"{self.name} babbles {what!r}")
        self._babbled = True
        await self._send_bytes(what)

    def dream(self) -> None:
        """At the next connection ask from a position that never was."""
        self._dream = True

    def rename(self) -> bool:
        """Go on as a device that nobody knows, if every command has its answer; whether it does."""
        if not self.asked or not self.settled():
            return False
        self._note(f"{self.name} takes another device id")
        self._anew()
        return True

    def calm_down(self) -> None:
        """No mischief any more, and come back if it is away."""
        self.calm = True
        self._calmed.set()

    def last_run(self) -> str | None:
        """The newest run that this device has seen begin."""
        view = self.views.get(self.epoch)
        runs = [record["run"] for record in view.records.values() if record["type"] == "agent_started"] if view else []
        return runs[-1] if runs else None

    def settled(self) -> bool:
        """Whether every command has an answer that is kept."""
        return all(asked.final() is not None for asked in self.asked.values())

    # -- connections --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be attached, again and again."""
        while True:
            wait = BACK_OFF_SECONDS
            try:
                wait = await self._one_connection()
            except (OSError, NoTicketNow, trio.BrokenResourceError, trio.TooSlowError):
                self._note(f"{self.name} finds no node")
            except TicketDenied as denied:
                self.wrong.append(f"S12: {self.name} was denied a ticket that is its right: {denied}")
            finally:
                self._leave()
            if len(self.wrong) > MOST_WRONG:
                return  # it has seen enough
            await trio.sleep(self._rng.uniform(0.01, wait))
            if self.away_seconds and not self.calm:
                self._note(f"{self.name} is away")
                with trio.move_on_after(self.away_seconds):
                    await self._calmed.wait()
            self.away_seconds = 0.0

    def _leave(self) -> None:
        if self.wire is not None:
            self.wire.cut()
        self.wire = self._socket = None
        self.open = False

    async def _one_connection(self) -> float:
        async def dial(host: str, port: int) -> trio.abc.Stream:
            stream, self.wire = await self._dial(self.name)
            return stream

        ticket = await get_ticket(URL, self._token(), session=self.session, open_stream=dial)
        if self.session_id and ticket.session != self.session_id:
            self.wrong.append(f"S1: {self.name} was sent to session {ticket.session}, not {self.session_id}")
        self.session_id = ticket.session
        stream, self.wire = await self._dial(self.name)
        socket = Socket(stream)
        try:
            with trio.fail_after(SILENCE_SECONDS):
                await socket.shake_hands("node.sim", "/v1/connect", None)
                await socket.send(json.dumps(self._hello(ticket.ticket)).encode())
            return await self._listen(socket, ticket.ticket)
        except Closed as closed:
            return self._closed(closed.code)

    def _hello(self, ticket: str) -> dict[str, Any]:
        hello: dict[str, Any] = {"t": "hello", "ticket": ticket, "device": self._device, "client": "simulated"}
        if self._merge:
            hello["merge"] = True
        if self._dream and self._position is not None:
            self._note(f"{self.name} dreams of a position")
            hello["start"] = {"epoch": self._position[0], "seq": self._position[1] + 1_000}
            self._dream = False
            self._position = None
        elif self._position is not None:
            hello["start"] = {"epoch": self._position[0], "seq": self._position[1]}
        else:
            hello["start"] = "first"
        return hello

    def _closed(self, code: int) -> float:
        self._note(f"{self.name} is closed with {code}")
        self.codes.append(code)
        if code in (4001, 4002) and self._babbled:
            self._babbled = False
            return 1.0
        if 4000 <= code < 4100:
            self.wrong.append(f"{self.name} was closed with {code}, which says not to come again")
        return BACK_OFF_SECONDS

    async def _listen(self, socket: Socket, ticket: str) -> float:
        heartbeat = SILENCE_SECONDS
        welcomed = False
        while True:
            try:
                with trio.fail_after(heartbeat):
                    message = json.loads(await socket.receive())
            except trio.TooSlowError:
                self._note(f"{self.name} hears nothing")
                self.lagged = True
                return 0.05
            kind = message["t"]
            if kind == "welcome":
                heartbeat = (message["heartbeat_ms"] + message["timeout_ms"]) / 1000 + 1.0
                welcomed = True
                self._socket, self.open = socket, True
                self._welcome(message)
                for asked in list(self.asked.values()):
                    if asked.final() is None:
                        await self._send(asked.frame())
                if not self.calm and self._rng.random() < 0.2:
                    await self._twice(ticket)
            elif not welcomed:
                self.wrong.append(f"{self.name} heard {kind} before its welcome")
            elif kind == "events":
                if not self._events(message["events"]):
                    return 0.05
            elif kind == "gap":
                self._gap(message)
            elif kind == "result":
                self._result(message)
            elif kind == "ping":
                self.views[self.epoch].told.add(message["seq"])
                await self._send({"t": "pong", "seq": self._applied()})
            elif kind == "goaway":
                return float(message["in_ms"]) / 1000 + 0.05

    async def _twice(self, ticket: str) -> None:
        """Use a ticket that was used: it has to be refused with 4301."""
        stream, wire = await self._dial(f"{self.name}-again")
        socket = Socket(stream)
        try:
            with trio.move_on_after(SILENCE_SECONDS):
                await socket.shake_hands("node.sim", "/v1/connect", None)
                await socket.send(json.dumps({**self._hello(ticket), "device": "f" * 32}).encode())
                while True:
                    said = json.loads(await socket.receive())
                    self.wrong.append(f"S12: a used ticket was answered with {said['t']}")
        except Closed as closed:
            # 1006 and the draining codes: the wire was cut, or the node was about to go.
            if closed.code not in (4301, 4302, 4200, 1006, 1012, 1013):
                self.wrong.append(f"S12: a used ticket was closed with {closed.code}")
        finally:
            wire.cut()

    # -- what it hears ------------------------------------------------------------------------------------------------

    def _applied(self) -> int:
        return self.views[self.epoch].applied

    def _welcome(self, message: dict[str, Any]) -> None:
        self.welcomes += 1
        mode, epoch, begin = message["mode"], message["epoch"], message["from"]
        self._note(f"{self.name} is welcomed: {mode} {epoch} from {begin}, head {message['head']}")
        if message["session"] != self.session_id:
            self.wrong.append(f"S1: {self.name} was attached to {message['session']}, not to {self.session_id}")
        if mode == "replay":
            if self._position != (epoch, begin - 1):
                self.wrong.append(f"S4: {self.name} at {self._position} was welcomed to replay from {epoch} {begin}")
        elif mode == "fresh" and self._position is not None:
            self.wrong.append(f"S10: {self.name} at {self._position} was welcomed as if it were new")
        if mode != "replay":
            self.views[epoch] = View(begin, begin - 1)
        self.epoch = epoch
        # Of a connection before no more: it did not hear of those of this one.
        self.views[epoch].told = {message["head"]}
        self._position = (epoch, begin - 1)

    def _events(self, events: list[dict[str, Any]]) -> bool:
        view = self.views[self.epoch]
        for record in events:
            first, last = record["seq"] if isinstance(record["seq"], list) else (record["seq"], record["seq"])
            if last <= view.applied:
                continue
            if first != view.applied + 1:
                self.wrong.append(f"S2: {self.name} at {view.applied} got {record['seq']}")
                return False
            if first < last and (not self._merge or any(first <= seq < last for seq in view.told)):
                self.wrong.append(f"S10: {self.name} got {record['seq']} as one; it was told of {sorted(view.told)}")
            view.applied = last
            view.records[last] = record
            self._position = (self.epoch, last)
            self._look(self.session_id, record)
        return True

    def _gap(self, message: dict[str, Any]) -> None:
        view = self.views[self.epoch]
        if message["from"] != view.applied + 1 or message["to"] < message["from"]:
            self.wrong.append(f"S10: {self.name} at {view.applied} was told of a gap {message}")
        view.gaps.append((message["from"], message["to"]))
        view.applied = message["to"]
        self._position = (self.epoch, view.applied)

    def _result(self, message: dict[str, Any]) -> None:
        asked = self.asked.get(message["id"])
        code = message.get("error", {}).get("code")
        self._note(f"{self.name} gets the result of {message['id']}: {code or 'ok'}")
        if asked is None:
            self.wrong.append(f"S5: {self.name} got a result for {message['id']}, which it never asked")
        elif code == "id_conflict":
            pass  # the answer to a lie
        elif code == "expired_id" and asked.final() is None:
            # The node does not know this device: it takes a new id, and asks anew what was not done.
            self._note(f"{self.name} takes a new device id")
            self._anew()
        else:
            answer = {key: value for key, value in message.items() if key != "t"}
            kept = asked.final()
            retry = message.get("error", {}).get("retry")
            if kept is not None and not retry and kept != answer and not self.power_was_cut:
                self.wrong.append(f"S5: {self.name} got two answers to {asked.id}: {kept} and {answer}")
            asked.results.append(answer)

    def _anew(self) -> None:
        open_ones = [asked for asked in self.asked.values() if asked.final() is None]
        self.older += [asked for asked in self.asked.values() if asked.final() is not None]
        self._device = f"{self._rng.getrandbits(128):032x}"
        self.asked = {number: Asked(number, a.op, a.data, a.run) for number, a in enumerate(open_ones, 1)}
        self._next_id = len(self.asked) + 1
        if self.wire is not None:
            self.wire.cut()  # the hello names the device

    # -- what it says -------------------------------------------------------------------------------------------------

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_bytes(json.dumps(message).encode())

    async def _send_bytes(self, frame: bytes) -> None:
        socket = self._socket
        if socket is None:
            return
        with trio.move_on_after(SILENCE_SECONDS):
            try:
                await socket.send(frame)
            except Closed:
                return
            return
        if self.wire is not None:
            self.wire.cut()

    async def catch_up(self, head: int) -> bool:
        """Whether it has applied all records up to `head`."""
        await trio.lowlevel.checkpoint()
        return bool(self.epoch) and self._applied() >= head and not math.isnan(head)
