"""A node that is played: one session behind a `Way`, which lets a client in, or not, as the test says.

It follows the wire's rules of what a session answers, keeps all that it did for the test to look at, and has no network
and no clock but trio's. What goes wrong stands in a `Fate` for each attempt; after the last one all goes well.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import msgspec
import trio

from callboard.actors import Limits as NodeLimits
from callboard.transport.client import Client, Closed, Link, NoTicketNow, Ticket, open_client
from callboard.transport.protocol import (
    Ack,
    ClientMessage,
    Command,
    CommandError,
    Goaway,
    Hello,
    Ping,
    Pong,
    Result,
    decode_client,
    encode,
    limits_on_wire,
)
from tests.transport.protocol.session_model import SessionModel

__all__ = ["Fate", "PlayedLink", "PlayedNode", "attached", "later"]

WELL = 10_000


@attrs.frozen(kw_only=True)
class Fate:
    """What becomes of one attempt.

    Attributes:
        ticket: what is raised instead of a ticket, if anything.
        opening: what is raised instead of a link.
        hello: the code of a close that the hello gets for an answer; 0 for silence.
        messages: how many messages with records go out before the end.
        end: the code of the close at the end; 0: nothing is said any more; None: there is no end.
        skip: whether the last record before the end is left out, which a client must not accept.
        goaway_ms: when the client is asked to go, if it is.
        answers: what becomes of the commands, one after the other: ``ok``, ``lost`` (done, and not answered),
            ``late`` (answered after a second), ``rate`` and ``busy`` (not done, retry), ``store`` (not done, retry),
            ``stored`` (done, but retry is said).
        pause_seconds: between two messages.
    """

    ticket: Exception | None = None
    opening: Closed | None = None
    hello: int | None = None
    messages: int = WELL
    end: int | None = None
    skip: bool = False
    goaway_ms: int | None = None
    answers: Sequence[str] = ()
    pause_seconds: float = 0.0


@attrs.define
class _Device:
    highest: int = 0
    first_is_open: bool = True
    results: dict[int, tuple[bytes, Result]] = attrs.Factory(dict)


class PlayedLink:
    """The client's end of a connection, as the played node made it."""

    def __init__(self, node: PlayedNode, fate: Fate) -> None:
        self.fate = fate
        self.heard: list[ClientMessage] = []
        self.hello: Hello | None = None
        self.cursor = 1
        self.closed_with: int | None = None
        self.abandoned = False
        self.stalled = False  # takes nothing any more
        self.silent = False  # says nothing any more
        self.news = trio.Event()
        self._node = node
        self._answers = iter(fate.answers)
        self._end = Closed(1006, "")
        self._out, self._in = trio.open_memory_channel[bytes](math.inf)

    # -- `Link`

    async def receive(self) -> str | bytes:
        try:
            return await self._in.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise self._end from None

    async def send(self, frame: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.stalled:
            await trio.sleep_forever()
        if not self.open:
            raise Closed(self._end.code, self._end.reason)
        message = decode_client(frame, max_bytes=65_536, max_depth=32)
        self.heard.append(message)
        self._node.take(self, message)

    def close(self, code: int) -> None:
        if self.closed_with is None and not self.abandoned:
            self.closed_with = code
            self._leave()

    def abandon(self) -> None:
        self.abandoned = True
        self._leave()

    # -- the node's end

    @property
    def open(self) -> bool:
        """Whether either end may still say something."""
        return self.closed_with is None and not self.abandoned and not self._node.left(self)

    def say(self, message: bytes) -> None:
        if self.open and not self.silent:
            self._out.send_nowait(message)

    def end(self, code: int) -> None:
        """Close it from the node's side: what was said before is still read."""
        if self.open:
            self._end = Closed(code or 1006, "played")
            self._out.close()
            self._leave()

    def next_answer(self) -> str:
        return next(self._answers, "ok")

    def of(self, kind: type[Any]) -> list[Any]:
        """What was heard of one kind."""
        return [message for message in self.heard if isinstance(message, kind)]

    @property
    def ids(self) -> list[int]:
        """The ids of the commands that it brought, as they came."""
        return [command.id for command in self.of(Command)]

    def wake(self) -> None:
        news, self.news = self.news, trio.Event()
        news.set()

    def _leave(self) -> None:
        self._node.forget(self)
        self.wake()
        if self.closed_with is not None or self.abandoned:
            self._in.close()


class PlayedNode:
    """The node and its one session.

    Args:
        nursery: where its connections live.
        fates: what becomes of the attempts.
    """

    def __init__(self, nursery: trio.Nursery, fates: Sequence[Fate] = ()) -> None:
        self.session = SessionModel()
        self.life = 0
        self.done: list[tuple[int, str]] = []
        self.devices: dict[str, _Device] = {}
        self.attempts: list[float] = []
        self.links: list[PlayedLink] = []
        self.limits = NodeLimits()
        self._nursery = nursery
        self._fates = iter(fates)
        self._fate = Fate()
        self._open: dict[PlayedLink, None] = {}

    # -- `Way`

    async def ticket(self) -> Ticket:
        await trio.lowlevel.checkpoint()
        self.attempts.append(trio.current_time())
        self._fate = next(self._fates, Fate())
        if self._fate.ticket is not None:
            raise self._fate.ticket
        return Ticket(f"ticket-{len(self.attempts)}", "s-1", 30.0, "ws://node.example/v1/connect")

    async def open(self, nursery: trio.Nursery, url: str) -> Link:
        await trio.lowlevel.checkpoint()
        if self._fate.opening is not None:
            raise self._fate.opening
        link = PlayedLink(self, self._fate)
        self.links.append(link)
        self._open[link] = None
        return link

    # -- the session

    def append(self, count: int = 1) -> None:
        """Let the session say something."""
        for _ in range(count):
            self.session.append()
        self._wake()

    def restart(self, kept: int = 0) -> None:
        """Lose the end of the history, and all that is known of devices."""
        self.session.begin_anew(kept)
        self.life += 1
        self.devices.clear()
        for link in list(self._open):
            link.end(1006)

    def forget_devices(self) -> None:
        """As if 256 others had come.

        But for those whose first command was not answered: repeated, it cannot be told from that of a new device, which
        the law allows for.
        """
        self.devices = {id: device for id, device in self.devices.items() if device.first_is_open}

    def left(self, link: PlayedLink) -> bool:
        return link not in self._open

    def forget(self, link: PlayedLink) -> None:
        self._open.pop(link, None)

    @property
    def current(self) -> PlayedLink:
        """The newest connection."""
        return self.links[-1]

    def _wake(self) -> None:
        for link in list(self._open):
            link.wake()

    # -- what clients say

    def take(self, link: PlayedLink, message: ClientMessage) -> None:
        match message:
            case Hello():
                assert link.hello is None, "a second hello"
                link.hello = message
                self._nursery.start_soon(self._serve, link, message)
            case Command():
                assert link.hello is not None
                self._command(link, link.hello.device, message)
            case Ack() | Pong():
                pass

    async def _serve(self, link: PlayedLink, hello: Hello) -> None:
        fate = link.fate
        if fate.hello is not None:
            if fate.hello:
                link.end(fate.hello)
            return
        for other in [other for other in self._open if other is not link and other.hello is not None]:
            if other.hello is not None and other.hello.device == hello.device:
                other.end(4008)
        welcome = self.session.welcome(hello)
        known = self.devices.get(hello.device)
        link.cursor = welcome.from_seq
        link.say(
            encode(
                msgspec.structs.replace(
                    welcome, last_id=0 if known is None else known.highest, limits=limits_on_wire(self.limits)
                )
            )
        )
        if fate.goaway_ms is not None:
            link.say(encode(Goaway(reason="draining", in_ms=fate.goaway_ms, by_ms=60_000)))
        said = 0
        while link.open and said < fate.messages:
            if link.cursor <= self.session.head:
                frame, link.cursor = self.session.frame(link.cursor, 3, 1)
                link.say(frame)
                said += 1
                await trio.sleep(fate.pause_seconds)
                continue
            with trio.move_on_after(10) as quiet:
                await link.news.wait()
            if quiet.cancelled_caught:
                link.say(encode(Ping(seq=self.session.head)))
        if fate.skip and link.cursor < self.session.head:
            link.say(self.session.frame(link.cursor + 1, 3, 1)[0])
        if fate.end:
            link.end(fate.end)

    def _command(self, link: PlayedLink, id: str, command: Command) -> None:
        answer = link.next_answer()
        if answer in ("rate", "store"):
            self._refuse(link, command, {"rate": "rate", "store": "store_unavailable"}[answer], retry=True)
            return
        device = self.devices.get(id)
        body = hashlib.sha256(msgspec.json.encode([command.op, command.run, command.data])).digest()
        if device is None and command.id != 1:
            self._refuse(link, command, "expired_id", retry=False)
            return
        known = None if device is None else device.results.get(command.id)
        if device is not None and known is not None:
            assert known[0] == body, "an id with another body"
            self._answer(link, device, known[1])
            return
        if answer == "busy":
            self._refuse(link, command, "busy", retry=True)
            return
        device = self.devices.setdefault(id, _Device())
        self.append()
        self.done.append((self.life, str(command.data["text"])))
        result = Result(id=command.id, ok={"run": f"run-{len(self.done)}"}, seq=self.session.head)
        device.results[command.id] = body, result
        device.highest = max(device.highest, command.id)
        if answer == "stored":
            self._refuse(link, command, "store_unavailable", retry=True)
        elif answer == "late":
            self._nursery.start_soon(self._later, link, device, result)
        elif answer == "ok":
            self._answer(link, device, result)

    async def _later(self, link: PlayedLink, device: _Device, result: Result) -> None:
        await trio.sleep(1)
        self._answer(link, device, result)

    def _answer(self, link: PlayedLink, device: _Device, result: Result) -> None:
        if link.open:
            device.first_is_open = device.first_is_open and result.id != 1
            link.say(encode(result))

    def _refuse(self, link: PlayedLink, command: Command, code: str, *, retry: bool) -> None:
        link.say(encode(Result(id=command.id, error=CommandError(code=code, message="played", retry=retry))))


@asynccontextmanager
async def attached(
    *fates: Fate, records: int = 0, seed: int = 0, node_class: type[PlayedNode] | None = None, **options: Any
) -> AsyncIterator[tuple[Client, PlayedNode]]:
    """A client of a played node, which has so many records already."""
    numbers = random.Random(seed)
    async with trio.open_nursery() as nursery:
        node = (node_class or PlayedNode)(nursery, fates)
        node.append(records)
        async with open_client(
            node, client="test", rng=random.Random(seed), random_bytes=numbers.randbytes, **options
        ) as client:
            yield client, node
        nursery.cancel_scope.cancel()


def later(seconds: float = 0.0) -> NoTicketNow:
    """A node that has no ticket just now."""
    return NoTicketNow("played", seconds)
