"""One connection of one device, as seen from outside: what it sends, all that came, and waits that always end.

A task reads the socket and writes down what comes; scenarios wait until something of it is there. What breaks the
wire's own rules (a frame before welcome, one of no known form, a close that nobody asked for) is put down here; what
the records say is judged later, when all is known. It does not know what a scenario wants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import trio

from .answer import Answer
from .evidence import Evidence, Findings, Lost, Setback, shorten
from .grammar import TERMINALS
from .lines import Line
from .socket import Closed, Socket
from .story import Said, Story
from .stream import Merged, Missing, Seen
from .tickets import Ticket
from .wire import GapFrame, PingFrame, WelcomeFrame, read, read_as, read_record

__all__ = ["Link"]

T = TypeVar("T")

# Closes of a node that goes away, of its machine, or of a proxy before it (RFC 6455; IANA: 1012 to 1014).
GONE = frozenset((1001, 1006, 1012, 1013, 1014))

# How soon a command that was refused with `retry` is sent again.
RETRY_SECONDS = 0.25


class Link:
    """One connection.

    Args:
        findings: where breaches are put down.
        story: the session that it is for.
        device: what the device is called in evidence.
        socket: the open WebSocket.
        seconds: how long any wait may take.
        deaf: read the welcome, and nothing after it.
        merge: ask for merged records.
        mortal: the node may go away, which raises Lost where somebody waits.
    """

    def __init__(
        self,
        findings: Findings,
        story: Story,
        device: str,
        socket: Socket,
        seconds: float,
        *,
        deaf: bool,
        merge: bool,
        mortal: bool = False,
    ) -> None:
        self.story = story
        self.device = device
        self.welcome: WelcomeFrame | None = None
        self.ticket: Ticket | None = None
        self.merge = merge
        self.items: list[Seen | Missing | Merged] = []
        self.started: dict[str, Seen] = {}
        self.ended: dict[str, Seen] = {}
        self.answers: dict[int, list[Answer]] = {}
        self.errors: list[str] = []
        self.closed: Closed | None = None
        self.unreadable = False
        """Whether records came that could not be read: then the others cannot be judged as a whole."""
        self.head = 0
        self.told: set[int] = set()
        """Positions that the node named, which a merged record must not go across."""
        self.seam = Line.CONTIGUOUS
        """The line that a wrong first record belongs to."""
        self.opened = trio.current_time()
        self.hello_at = 0.0
        self.welcomed_after = 0.0
        """Seconds from hello to welcome."""
        self.last_id = 0
        self._findings = findings
        self._socket = socket
        self._seconds = seconds
        self._news = trio.Event()
        self._deaf = deaf
        self._mortal = mortal
        self._taken: dict[int, int] = {}

    @property
    def lost(self) -> bool:
        """Whether it has ended as connections to a node end that goes away: come back, and go on."""
        return self.closed is not None and _of_a_node_that_goes(self.closed.code)

    @property
    def records(self) -> list[Seen]:
        """The records that came, without the declared gaps between them."""
        return [item for item in self.items if isinstance(item, Seen)]

    # -- evidence -----------------------------------------------------------------------------------------------------

    def fault(
        self, line: Line, expected: str, *, seen: str = "", seq: int | None = None, frame: str | bytes = ""
    ) -> None:
        """Put down a breach that this connection saw."""
        who = self.story.user.name
        evidence = Evidence(expected=expected, seen=seen, user=who, device=self.device, seq=seq, frame=shorten(frame))
        self._findings.failed(line, evidence)

    def check(self, line: Line, true: bool, expected: str, *, seen: str = "", frame: str | bytes = "") -> None:
        """Put down how a line came out here. Raises Setback if it was broken."""
        if not true:
            self.fault(line, expected, seen=seen, frame=frame)
            raise Setback
        self._findings.passed(line)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Write down what comes, until the connection ends."""
        try:
            while True:
                if self._deaf and self.welcome is not None:
                    await trio.sleep_forever()
                data = await self._socket.receive()
                answer = self._take(data, trio.current_time())
                news, self._news = self._news, trio.Event()
                news.set()
                if answer is not None:
                    await self._socket.send(msgspec.json.encode(answer))
        except Closed as closed:
            self.closed = closed
            self._news.set()

    def _take(self, data: str | bytes, now: float) -> dict[str, object] | None:
        """Write down one frame; gives what has to be said to it at once."""
        if isinstance(data, bytes):
            self.fault(Line.FRAMES, "text messages only", seen="a binary one", frame=data)
            return None
        try:
            frame = read(data)
            if self.welcome is None and frame.t != "welcome":
                self.fault(Line.BEFORE_WELCOME, "nothing before welcome", seen=f"a frame `{frame.t}`", frame=data)
            return self._note(frame.t, frame.events, data, now)
        except msgspec.DecodeError as error:
            self.fault(Line.FRAMES, "a frame of the protocol's form", seen=str(error), frame=data)
            return None

    def _note(self, t: str, events: list[msgspec.Raw], data: str, now: float) -> dict[str, object] | None:
        match t:
            case "events":
                self._note_records(events, now)
            case "result":
                frame = read_as(data, dict[str, Any])
                id = frame.get("id")
                if not isinstance(id, int) or ("ok" in frame) is ("error" in frame):
                    self.fault(Line.FRAMES, "a result with an id, and either ok or error", frame=data)
                    return None
                self.answers.setdefault(id, []).append(Answer(data, frame, now))
            case "welcome":
                if self.welcome is not None:
                    self.fault(Line.FRAMES, "one welcome", seen="a second one", frame=data)
                    return None
                self.welcome = read_as(data, WelcomeFrame)
                self.last_id = self.welcome.last_id
                self.head = self.welcome.begins - 1
                self.told.add(self.welcome.head)
                self.welcomed_after = now - self.hello_at
                self._findings.passed(Line.BEFORE_WELCOME, seconds=self.welcomed_after)
            case "gap":
                gap = read_as(data, GapFrame)
                self.items.append(Missing(gap.first, gap.last))
                self.head = max(self.head, gap.last)
            case "error":
                self.errors.append(data)
            case "ping":
                self.told.add(read_as(data, PingFrame).seq)
                self._findings.passed(Line.FRAMES)
                return {"t": "pong", "seq": self.head}
            # What else there is, as `goaway`, is a newer node's or says nothing to a client that leaves soon.
        self._findings.passed(Line.FRAMES)
        return None

    def _note_records(self, events: list[msgspec.Raw], now: float) -> None:
        for raw in events:
            own = bytes(raw)
            try:
                form = read_record(own)
            except msgspec.DecodeError as error:
                self.unreadable = True
                self.fault(Line.FRAMES, "a record of the protocol's form", seen=str(error), frame=own)
                continue
            if isinstance(form.seq, list):
                self._note_merged(Merged(form.seq[0], form.seq[1], own))
                continue
            shared = self.story.shared.setdefault(own, own)
            record = Seen(form.seq, form.id, form.type, form.run, shared, now)
            self.items.append(record)
            self.head = max(self.head, record.seq)
            if record.run is not None:
                if record.type == "agent_started":
                    self.started.setdefault(record.run, record)
                elif record.type in TERMINALS:
                    self.ended.setdefault(record.run, record)

    def _note_merged(self, merged: Merged) -> None:
        self.items.append(merged)
        self.head = max(self.head, merged.last)
        if not self.merge:
            self.fault(Line.MERGED, "single records, as hello did not ask for merged ones", frame=merged.raw)
        elif across := [seq for seq in self.told if merged.first <= seq < merged.last]:
            expected = f"no merged record across position {across[0]}, of which this connection was told"
            self.fault(Line.MERGED, expected, seq=merged.first, frame=merged.raw)

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def until(self, found: Callable[[], T | None], line: Line, expected: str, seconds: float | None = None) -> T:
        """Wait until something is there, and give it.

        Raises:
            Setback: it did not come in time, which is put down against `line`; or the node closed the connection.
        """
        seconds = self._seconds if seconds is None else seconds
        with trio.move_on_after(seconds):
            while True:
                # Cleared by replacing it, before the look: what comes after the look finds the new one.
                news = self._news
                value = found()
                if value is not None:
                    return value
                if self._mortal and self.lost:
                    raise Lost
                if self.closed is not None:
                    seen = f"closed with {self.closed.code} {self.closed.reason}".rstrip()
                    self.fault(Line.ENTRY, f"an open connection, to wait for {expected}", seen=seen)
                    raise Setback
                await news.wait()
        self.fault(line, expected, seen=f"nothing of it in {seconds:g} s")
        raise Setback

    async def wait_news(self) -> None:
        """Wait until something has come, or the connection has ended."""
        await self._news.wait()

    async def until_closed(self, line: Line, expected: str) -> int:
        """Wait until the node closes the connection, and give the code. Raises Setback as `until` does."""
        with trio.move_on_after(self._seconds):
            while self.closed is None:
                await self._news.wait()
        if self.closed is None:
            self.fault(line, expected, seen=f"still open after {self._seconds:g} s")
            raise Setback
        return self.closed.code

    async def reach(self, seq: int, line: Line) -> None:
        """Wait until the record `seq` has come."""
        await self.until(lambda: True if self.head >= seq else None, line, f"all records up to {seq}")

    async def end_of(self, run: str, line: Line = Line.TERMINAL) -> Seen:
        """Wait for the terminal event of a run, and give it."""
        return await self.until(lambda: self.ended.get(run), line, "the terminal event of the run")

    # -- speaking -----------------------------------------------------------------------------------------------------

    async def send(self, message: dict[str, object], *, may_be_closed: bool = False) -> None:
        """Send a frame. Raises Setback if the node does not take it in time, or has closed unless it may."""
        try:
            with trio.fail_after(self._seconds):
                await self._socket.send(msgspec.json.encode(message))
        except Closed as closed:
            if may_be_closed:
                return
            if self._mortal and _of_a_node_that_goes(closed.code):
                raise Lost from None
            self.fault(Line.ENTRY, "an open connection", seen=f"closed with {closed.code} {closed.reason}".rstrip())
            raise Setback from None
        except trio.TooSlowError:
            self.fault(Line.ENTRY, "a node that reads", seen=f"a frame was not taken in {self._seconds:g} s")
            raise Setback from None

    async def say_hello(self, hello: dict[str, object], *, may_be_closed: bool = False) -> None:
        """Send hello. Raises Setback as `send` does."""
        self.hello_at = trio.current_time()
        await self.send(hello, may_be_closed=may_be_closed)

    async def command(
        self,
        op: str,
        data: dict[str, object],
        *,
        run: str | None = None,
        id: int | None = None,
        line: Line = Line.ANSWERED,
    ) -> Answer:
        """Give a command, with the next id if none is given, and wait for its result.

        What is refused with `retry` is sent again, as a client should. A result that does not come is put down against
        `line`. Raises Setback as `until` does.
        """
        if id is None:
            self.last_id += 1
            id = self.last_id
        message: dict[str, object] = {"t": "command", "id": id, "op": op, "data": data}
        if run is not None:
            message["run"] = run
        give_up_at = trio.current_time() + self._seconds
        while True:
            sent_at = trio.current_time()
            await self.send(message)
            answer = await self._next_answer(id, line, f"the result of command {id}, {op}")
            if not answer.retry or trio.current_time() > give_up_at:
                self._findings.passed(Line.ANSWERED, seconds=answer.arrived - sent_at)
                return answer
            await trio.sleep(RETRY_SECONDS)

    async def _next_answer(self, id: int, line: Line, expected: str) -> Answer:
        answers = self.answers.setdefault(id, [])
        taken = self._taken.get(id, 0)
        answer = await self.until(lambda: answers[taken] if len(answers) > taken else None, line, expected)
        self._taken[id] = taken + 1
        return answer

    async def say(self, text: str, *, line: Line = Line.ANSWERED) -> tuple[int, Answer, Said]:
        """Say something in the session; gives the command's id, its result and what was said. Raises Setback."""
        story = self.story
        story.texts.add(text)
        story.unanswered.add(text)
        at = trio.current_time()
        answer = await self.command("user_message", {"text": text}, line=line)
        return self.last_id, answer, self.accepted(answer, text, at)

    def accepted(self, answer: Answer, text: str, at: float) -> Said:
        """Take note of the run that an answer to a message names. Raises Setback if it names none."""
        run = answer.ok("run")
        if not isinstance(run, str):
            self.fault(Line.ANSWERED, "a user_message is answered with the id of its run", frame=answer.raw)
            raise Setback
        said = self.story.said.setdefault(run, Said(run, text, answer.frame.get("seq"), at))
        self.story.unanswered.discard(text)
        return said

    def cut(self) -> None:
        """Have the connection end without a word, as a network would end it, when its block is left."""
        self._socket.abandon()


def _of_a_node_that_goes(code: int) -> bool:
    return code in GONE or 4100 <= code < 4300
