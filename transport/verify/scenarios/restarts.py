"""Through restarts: the node is killed and begun anew by somebody else, again and again, while users talk.

Each device does what a client has to: it comes back with its position, asks once more what has no answer, and asks the
last answered command again, too. What a restart allows is waited out: a port that is closed, tickets that are void,
connections that end without a word. What it does not allow is a position that does not hold any more, a record that is
missing or there twice, another answer, and a run without its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import httpx
import trio

from ..evidence import Evidence, Lost, Setback
from ..lines import Line
from ..link import Link
from ..socket import Closed, open_socket
from ..story import Story
from ..tickets import Ticket
from ..together import all_of, beside
from ..world import TRY_AGAIN, World

__all__ = ["JUDGED", "restarts"]

WHAT = "users through restarts"

# The lines that are judged through restarts. The others are about tickets and counters, which a node keeps in memory,
# about codes of closes, for which a kill leaves no time, or compare latencies.
JUDGED = frozenset(
    (
        Line.ENTRY,
        Line.BEFORE_WELCOME,
        Line.FRAMES,
        Line.OWN,
        Line.CONTIGUOUS,
        Line.IDENTICAL,
        Line.IDS,
        Line.GRAMMAR,
        Line.TOOL_PAIRS,
        Line.TERMINAL,
        Line.ANSWERED,
        Line.POSITION,
        Line.REPEAT,
        Line.RESUME,
        Line.FIRST,
    )
)

# Between two attempts to get in; a client backs off longer.
PAUSE_SECONDS = 0.1
# Between two messages of a device, at most: so that a kill also falls into times when nothing is under way.
REST_SECONDS = 0.5
# The verdict on a ticket of the node before: nobody knows it any more.
VOID = "4302"


async def restarts(world: World) -> None:
    """All users talk for as long as the plan says; then a new device of each has to see all of it."""
    with world.stage(WHAT, world.plan.users) as step:
        await all_of([partial(_one, world, step) for _ in range(world.plan.users)])
    lost = sum(link.lost for story in world.stories for link in story.links)
    text = f"{lost} connections were lost to restarts" if lost else "no restart was seen"
    world.findings.remark([Line.RESUME], text)


async def _one(world: World, step: Any) -> None:
    story = world.story(await world.user("restart"))
    until = trio.current_time() + (world.plan.through_restarts or 0.0)
    devices = [_Device(world, story, f"device {number}") for number in range(1, world.plan.devices + 1)]
    await all_of([partial(device.talk, until) for device in devices])
    await _Device(world, story, "a new device from the first").see_all()
    step()


@attrs.define(eq=False)
class _Device:
    world: World
    story: Story
    name: str
    id: str = attrs.field(init=False)
    epoch: str = ""
    applied: int = 0
    _number: int = 0
    _open: tuple[int, str] | None = None
    _answered: tuple[int, str, dict[str, Any]] | None = None

    def __attrs_post_init__(self) -> None:
        self.id = self.world.device()

    async def talk(self, until: float) -> None:
        """Say one thing after the other until then, through everything. Raises Setback for a breach."""
        while self._open is not None or trio.current_time() < until:
            self._not_for_ever(until, Line.ANSWERED, f"an answer to {self._open}")
            try:
                async with self._enter() as link:
                    await self._repeat(link)
                    while self._open is not None or trio.current_time() < until:
                        await self._say(link)
                        await trio.sleep(self.world.rng.uniform(0, REST_SECONDS))
            except Lost:
                continue

    async def see_all(self) -> None:
        """As a new device see all from the first record, up to the ends of all runs. Raises Setback for a breach."""
        began = trio.current_time()
        while True:
            self.epoch, self.applied = "", 0  # from the first once more, if it was cut off
            try:
                async with self._enter(start="first") as link:
                    assert link.welcome is not None
                    await link.reach(link.welcome.head, Line.FIRST)
                    begins = link.welcome.begins
                    if begins > 1:
                        self.world.findings.remark([Line.FIRST], "retention has dropped the first records of a session")
                    for run, said in self.story.said.items():
                        if isinstance(said.seq, int) and said.seq < begins:
                            continue
                        link.check(Line.FIRST, run in link.started, f"the run of {said.text!r}, which was accepted")
                        await link.end_of(run)
                    return
            except Lost:
                self._not_for_ever(began, Line.FIRST, "all records, and the ends of all runs")

    def _not_for_ever(self, since: float, line: Line, expected: str) -> None:
        """What did not come in time although the node was there now and then does not come. Raises Setback then."""
        if trio.current_time() > since + self.world.seconds:
            seen = f"nothing of it in {self.world.seconds:g} s"
            self.world.findings.failed(line, Evidence(expected=expected, seen=seen, device=self.name))
            raise Setback

    # -- what it does on a connection ---------------------------------------------------------------------------------

    async def _say(self, link: Link) -> None:
        if self._open is None:
            self._number += 1
            text = f"{self.world.plan.text} ({self.name}, {self._number})"
            self._open = self._number, text
            self.story.texts.add(text)
            self.story.unanswered.add(text)
        id, text = self._open
        at = trio.current_time()
        answer = await link.command("user_message", {"text": text}, id=id)
        said = link.accepted(answer, text, at)
        self._open, self._answered = None, (id, text, answer.frame)
        await link.end_of(said.run)

    async def _repeat(self, link: Link) -> None:
        """Ask the command that was answered last once more."""
        if self._answered is None:
            return
        id, text, first = self._answered
        at = trio.current_time()
        again = await link.command("user_message", {"text": text}, id=id, line=Line.REPEAT)
        if isinstance(again.ok("run"), str):
            link.accepted(again, text, at)  # should it be another run, it is this session's all the same
        link.check(Line.REPEAT, again.frame == first, f"after a restart too the first answer, {first}", frame=again.raw)

    # -- getting in ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _enter(self, start: object = None) -> AsyncIterator[Link]:
        """Get in, however long the node is away, but for no longer than any wait may take. Raises Setback."""
        world, give_up_at = self.world, trio.current_time() + self.world.seconds
        seen = ""
        while trio.current_time() < give_up_at:
            entered = False
            try:
                ticket = await self._ticket()
                async with open_socket(ticket.url, world.tls) as socket:
                    link = Link(
                        world.findings,
                        self.story,
                        self.name,
                        socket,
                        world.seconds,
                        deaf=False,
                        merge=False,
                        mortal=True,
                    )
                    async with beside(link.read):
                        position = {"epoch": self.epoch, "seq": self.applied} if self.epoch else start
                        verdict = await world.verdict(link, ticket, self.id, position)
                        if link.welcome is not None:
                            entered = True
                            self._resumed(link)
                            try:
                                yield link
                            finally:
                                self.applied = max(self.applied, link.head)
                            return
                        seen = f"a close with {verdict}"
                        if not link.lost and verdict != VOID:
                            link.check(Line.ENTRY, False, "a welcome, or a node that is away", seen=verdict)
            except (httpx.HTTPError, OSError, Closed) as error:
                if entered:
                    raise
                seen = f"{type(error).__name__} {error}"
            await trio.sleep(PAUSE_SECONDS)
        evidence = Evidence(expected=f"a node that is back within {world.seconds:g} s", seen=seen, device=self.name)
        world.findings.failed(Line.ENTRY, evidence)
        raise Setback

    async def _ticket(self) -> Ticket:
        """A ticket. Raises OSError if there is none now, Setback if there should be one."""
        world, asked_at = self.world, trio.current_time()
        headers = {"authorization": f"Bearer {self.story.user.token}"}
        response = await world.http.post(
            f"{world.plan.url}/v1/tickets", headers=headers, json={"session": self.story.name}
        )
        if response.status_code in TRY_AGAIN:
            raise OSError(f"no ticket: {response.status_code}")
        ticket = world.read_ticket(self.story, response, asked_at)
        world.findings.passed(Line.ENTRY)
        return ticket

    def _resumed(self, link: Link) -> None:
        welcome = link.welcome
        assert welcome is not None
        own = welcome.session == self.story.id
        link.check(Line.OWN, own, f"the session of the ticket, {self.story.id}", seen=f"{welcome.session}")
        if self.epoch:
            link.seam = Line.RESUME
            right = (welcome.mode, welcome.epoch, welcome.begins) == ("replay", self.epoch, self.applied + 1)
            expected = f"replay of {self.epoch} from {self.applied + 1}"
            seen = f"{welcome.mode} of {welcome.epoch} from {welcome.begins}"
            link.check(Line.RESUME, right, expected, seen=seen)
            self.world.findings.outcomes[Line.RESUME].seconds.append(link.welcomed_after)
        self.epoch = welcome.epoch
        self.applied = max(self.applied, welcome.begins - 1)
