"""How runs end: `cancel` ends one, a closed socket does not."""

from __future__ import annotations

from functools import partial

import trio

from ..lines import Line
from ..link import Link
from ..together import all_of
from ..world import World

__all__ = ["cancel", "disconnect"]

# A fast agent may have ended before the cancel comes; so often it is tried with each user.
TRIES = 3
# How long a session is left alone: a node that cancelled what its clients left would have done so by then.
ALONE_SECONDS = 0.25


async def cancel(world: World) -> None:
    """Cancel runs as soon as they are known."""
    open_runs: list[bool] = []
    await all_of([partial(_cancel, world, open_runs) for _ in range(world.plan.few)])
    if open_runs and not any(open_runs):
        text = f"the agent is too fast: {len(open_runs)} runs had ended before their cancel came"
        world.findings.remark([Line.CANCEL], text)


async def _cancel(world: World, open_runs: list[bool]) -> None:
    story = world.story(await world.user("cancel"))
    async with world.join(story, "device 1") as link:
        for _ in range(TRIES):
            open_runs.append(await _cancel_one(world, link))
            if open_runs[-1]:
                break
        strange = await link.command("cancel", {}, run=world.random_bytes(16).hex())
        link.check(Line.CANCEL_ENDED, strange.error == "unknown_run", "unknown_run", frame=strange.raw)


async def _cancel_one(world: World, link: Link) -> bool:
    """Say something and cancel it; whether the run was still open."""
    _, _, said = await link.say(world.plan.text)
    begun = trio.current_time()
    answer = await link.command("cancel", {}, run=said.run)
    state = answer.ok("state")
    link.check(Line.CANCEL_ENDED, state in ("cancelling", "ended"), "cancelling or ended", frame=answer.raw)
    cancelling = state == "cancelling"
    end = await link.end_of(said.run, Line.CANCEL if cancelling else Line.TERMINAL)
    right = (end.type == "agent_cancelled") is cancelling
    expected = "agent_cancelled after the answer `cancelling`" if cancelling else "no agent_cancelled after `ended`"
    if not right:
        link.fault(Line.CANCEL, expected, seen=end.type, seq=end.seq, frame=end.raw)
    elif cancelling:
        world.findings.passed(Line.CANCEL, seconds=end.arrived - begun)
    again = await link.command("cancel", {}, run=said.run)
    expected = "`ended`, as the run has its terminal event"
    link.check(Line.CANCEL_ENDED, again.ok("state") == "ended", expected, frame=again.raw)
    return cancelling


async def disconnect(world: World) -> None:
    """All sockets of a session are closed while its run is open."""
    open_runs: list[bool] = []
    await all_of([partial(_leave, world, open_runs, party % 2 == 0) for party in range(world.plan.few)])
    if open_runs and not any(open_runs):
        text = f"the agent is too fast: {len(open_runs)} runs had ended before their sockets were closed"
        world.findings.remark([Line.DISCONNECT], text)


async def _leave(world: World, open_runs: list[bool], in_order: bool) -> None:
    story = world.story(await world.user("leaver"))
    async with world.join(story, "device 1") as link:
        _, _, said = await link.say(world.plan.text)
        if not in_order:
            link.cut()
    was_open = said.run not in link.ended
    open_runs.append(was_open)
    await trio.sleep(ALONE_SECONDS)
    async with world.join(story, "device 2, later") as link:
        end = await link.end_of(said.run)
        if end.type == "agent_cancelled":
            how = "a close frame" if in_order else "no close frame"
            expected = f"another end than agent_cancelled: nobody cancelled it, its socket ended with {how}"
            link.fault(Line.DISCONNECT, expected, seq=end.seq, frame=end.raw)
        elif was_open:
            world.findings.passed(Line.DISCONNECT)
