"""Coming back: after a cut, as a new device from the first record, and with the last n of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from ..evidence import Setback
from ..lines import Line
from ..link import Link
from ..story import Story
from ..stream import Seen
from ..together import all_of
from ..world import World

__all__ = ["history", "resume"]

RESUMED = "users whose socket is cut in mid-stream"
# How often a socket is cut during one run; a fast agent leaves time for fewer.
CUTS = 3


async def resume(world: World) -> None:
    """Sockets are cut without a close frame while events come; the same device goes on where it was."""
    middle: list[bool] = []
    with world.stage(RESUMED, world.plan.few) as step:
        await all_of([partial(_cut, world, middle, step) for _ in range(world.plan.few)])
    if not any(middle):
        text = "no cut fell into a run: the agent is too fast. What came after a random record was asked for again"
        world.findings.remark([Line.RESUME], text)


async def _cut(world: World, middle: list[bool], step: Callable[[], None]) -> None:
    story = world.story(await world.user("cut"))
    device = world.device()
    async with world.join(story, "device 1, uncut") as witness:
        async with world.join(story, "device 2, before the cut", device=device) as link:
            id, first, said = await link.say(world.plan.text)
            await link.until(lambda: link.started.get(said.run), Line.IDENTICAL, "agent_started on this device")
            await _more(link, said.run)
            link.cut()
        middle.append(said.run not in witness.ended)
        for cut in range(1, CUTS + 1):
            # What was on its way when the socket was cut is lost: this client has applied up to `seq` only.
            seq = world.rng.randint(1, link.head) if cut == 1 else link.head
            assert link.welcome is not None
            epoch = link.welcome.epoch
            start = {"epoch": epoch, "seq": seq}
            name = f"device 2, after cut {cut} at {seq}"
            async with world.join(story, name, device=device, start=start, seam=Line.RESUME) as link:
                welcome = link.welcome
                assert welcome is not None
                right = (welcome.mode, welcome.epoch, welcome.begins) == ("replay", epoch, seq + 1)
                seen = f"{welcome.mode} of {welcome.epoch} from {welcome.begins}"
                link.check(Line.RESUME, right, f"replay of {epoch} from {seq + 1}", seen=seen)
                world.findings.outcomes[Line.RESUME].seconds.append(link.welcomed_after)
                ended = cut == CUTS or said.run in witness.ended
                if ended:
                    end = await witness.end_of(said.run)
                    await link.reach(end.seq, Line.RESUME)
                    again = await link.command("user_message", {"text": said.text}, id=id, line=Line.REPEAT)
                    expected = f"after the cut too the first answer, {first.raw}"
                    link.check(Line.REPEAT, again.frame == first.frame, expected, frame=again.raw)
                else:
                    await _more(link, said.run)
                    middle.append(said.run not in witness.ended)
                # The last one too: nothing more is said on it, so only its end tells the node that it is gone.
                link.cut()
            if ended:
                break
    step()


async def _more(link: Link, run: str) -> None:
    """Wait until something more has come, or the run has ended."""
    known = len(link.items)
    line, what = Line.TERMINAL, "more events of the run, or its end"
    await link.until(lambda: True if len(link.items) > known or run in link.ended else None, line, what)


async def history(world: World) -> None:
    """New devices in a session that has a history: from the first record, and with the last n."""
    await all_of([partial(_history, world) for _ in range(world.plan.few)])


async def _history(world: World) -> None:
    story = world.story(await world.user("history"))
    async with world.join(story, "device 1") as link:
        _, _, said = await link.say(world.plan.text)
        end = await link.end_of(said.run)
        await _first(world, story, end)
        # The same once more, in whatever pieces the node makes of it.
        async with world.join(story, "a new device, merging", start="first", seam=Line.FIRST, merge=True) as merging:
            await merging.reach(end.seq, Line.FIRST)
        for last in (0, 1, world.rng.randint(1, end.seq), end.seq, end.seq + 3):
            await _last(world, story, last)


async def _first(world: World, story: Story, end: Seen) -> None:
    begun = trio.current_time()
    async with world.join(story, "a new device from the first", start="first", seam=Line.FIRST) as link:
        welcome = link.welcome
        assert welcome is not None
        right = (welcome.mode, welcome.begins) == ("fresh", 1) and welcome.head >= end.seq
        seen = f"{welcome.mode} from {welcome.begins} to {welcome.head}"
        link.check(Line.FIRST, right, f"fresh from 1 to {end.seq} at least", seen=seen)
        await link.reach(welcome.head, Line.FIRST)
        world.findings.outcomes[Line.FIRST].seconds.append(trio.current_time() - begun)


async def _last(world: World, story: Story, last: int) -> None:
    name = f"a new device with the last {last}"
    async with world.join(story, name, start={"last": last}, seam=Line.LAST) as link:
        welcome = link.welcome
        assert welcome is not None
        begins = max(0, welcome.head - last) + 1
        right = (welcome.mode, welcome.begins) == ("fresh", begins)
        link.check(Line.LAST, right, f"fresh from {begins}", seen=f"{welcome.mode} from {welcome.begins}")
        await link.reach(welcome.head, Line.LAST)
        # One round trip through the session: what else there would be has come by then.
        await link.command("verify.strange", {})
        if link.unreadable:
            raise Setback
        number = sum(1 for record in link.records if record.seq <= welcome.head)
        expected = min(last, welcome.head)
        link.check(Line.LAST, number == expected, f"{expected} records", seen=f"{number}")
