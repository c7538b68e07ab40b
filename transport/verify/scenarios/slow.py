"""A client that reads nothing beside users who work: they must not be slower for it.

The same users say the same things twice, first alone, then beside the stuck client, and the time from a message to the
first event of its run is compared. The stuck client is one more device of one of the users, which says long messages,
so that its own session has more for it than its socket takes.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from ..evidence import Evidence, percentile
from ..lines import Line
from ..link import Link
from ..together import all_of
from ..world import World

__all__ = ["slow"]

WHAT = "rounds alone and beside a stuck client"
ROUNDS = 4
# As long a message as leaves room in a frame of the usual 64 KiB; its record is as long.
LONG_TEXT_CHARS = 40_000
# What the kernel keeps of both ends for the stuck client is less; beyond it bytes wait in the node.
STUCK_BYTES = 100_000
# A machine with other work has delays of this order by itself.
SLACK_SECONDS = 0.5
FACTOR = 2.0
# What a stuck client costs, it costs each time; what another process on this machine costs, it does not.
LOOKS = 3


async def slow(world: World) -> None:
    """Compare the latencies of the same users without a stuck client and beside one."""
    async with AsyncExitStack() as stack:
        step = stack.enter_context(world.stage(WHAT, 2 * ROUNDS))
        links: list[Link] = []
        for number in range(1 + world.plan.few):
            story = world.story(await world.user("beside" if number else "slow"))
            links.append(await stack.enter_async_context(world.join(story, "device 1")))
        alone: list[float] = []
        for _ in range(ROUNDS):
            await _round(world, links, alone, Line.ANSWERED)
            step()
        bound = FACTOR * percentile(alone, 99) + SLACK_SECONDS
        looks: list[list[float]] = []
        kept = 0
        while len(looks) < LOOKS and (not looks or percentile(looks[-1], 99) > bound):
            looks.append([])
            # Another one for each look, as a node may cut one that takes nothing for long.
            async with world.join(links[0].story, "a stuck device", deaf=True) as stuck:
                stuck.cut()  # once all is said: it takes effect at the end
                begins = stuck.head
                for _ in range(ROUNDS):
                    await _round(world, links, looks[-1], Line.SLOW)
                    step()
                kept = sum(len(record.raw) for record in links[0].records if record.seq > begins)
        _judge(world, alone, looks, bound, kept)


async def _round(world: World, links: list[Link], seconds: list[float], line: Line) -> None:
    await all_of([partial(_say, world, link, seconds, line, index == 0) for index, link in enumerate(links)])


async def _say(world: World, link: Link, seconds: list[float], line: Line, long: bool) -> None:
    text = world.plan.text
    if long:
        assert link.welcome is not None
        room = min(LONG_TEXT_CHARS, link.welcome.limits.frame_bytes // 2)
        text = " ".join([text] * max(1, room // (len(text.encode()) + 1)))
    _, _, said = await link.say(text, line=line)
    expected = "agent_started, whatever another client does"
    started = await link.until(lambda: link.started.get(said.run), line, expected)
    seconds.append(started.arrived - said.at)
    if long:
        # It has done what it is for; an agent may take its time for so long a text.
        await link.command("cancel", {}, run=said.run, line=line)
    await link.end_of(said.run, Line.TERMINAL if line is Line.ANSWERED else line)


def _judge(world: World, alone: list[float], looks: list[list[float]], bound: float, kept: int) -> None:
    before, after = percentile(alone, 99), [percentile(look, 99) for look in looks]
    beside = ", ".join(f"{1000 * value:.1f}" for value in after)
    told = f"p99 {1000 * before:.1f} ms alone, {beside} ms beside it; bound {1000 * bound:.0f} ms"
    if after[-1] > bound:
        expected = (
            f"p99 within {FACTOR:g} times what it was alone and {1000 * SLACK_SECONDS:g} ms, in one of {LOOKS} looks"
        )
        world.findings.failed(Line.SLOW, Evidence(expected=expected, seen=told))
    elif kept < STUCK_BYTES:
        told += f"; only {kept} bytes were for the stuck client, too few to be sure that it was stuck"
    else:
        told += f"; {kept} bytes were for the stuck client"
        for value in looks[-1]:
            world.findings.passed(Line.SLOW, seconds=value)
    world.findings.remark([Line.SLOW], told)
