"""All users with all their devices at the same time: token, ticket, connection, welcome, message, events.

Each user also says the same command once more, while its run is under way and after it, and says another one under its
id. They leave when all are done, so all of them are there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import trio

from ..answer import Answer
from ..evidence import Evidence, Setback, shorten
from ..lines import Line
from ..link import Link
from ..story import Story
from ..together import Gate, all_of
from ..world import World

__all__ = ["check_listed", "crowd"]

WHAT = "users through message and events"


async def crowd(world: World) -> None:
    """All users at once."""
    number = world.plan.users
    gates = Gate(number), Gate(number)
    with world.stage(WHAT, number) as step:
        await all_of([partial(_one, world, party, gates, step) for party in range(number)])


async def _one(world: World, party: int, gates: tuple[Gate, Gate], step: Callable[[], None]) -> None:
    entered, done = gates
    try:
        story = world.story(await world.user("user"))
        async with AsyncExitStack() as stack:
            links = [
                await stack.enter_async_context(world.join(story, f"device {number}"))
                for number in range(1, world.plan.devices + 1)
            ]
            await entered.wait(party, world.seconds)
            await _talk(world, story, links)
            step()
            await done.wait(party, world.seconds)
    finally:
        entered.count(party)
        done.count(party)


async def _talk(world: World, story: Story, links: list[Link]) -> None:
    sender, text = links[0], world.plan.text
    id, first, said = await sender.say(text)
    await _repeat(world, sender, id, first)
    end = await sender.end_of(said.run)
    for link in links[1:]:
        await link.reach(end.seq, Line.IDENTICAL)
    await _repeat(world, sender, id, first)
    other_text = f"{text} Once more."
    story.refused.add(other_text)
    other = await sender.command("user_message", {"text": other_text}, id=id, line=Line.CONFLICT)
    sender.check(Line.CONFLICT, other.error == "id_conflict", "id_conflict for another body", frame=other.raw)
    await check_listed(world, [story])


async def _repeat(world: World, sender: Link, id: int, first: Answer) -> None:
    text = world.plan.text
    begun = trio.current_time()
    again = await sender.command("user_message", {"text": text}, id=id, line=Line.REPEAT)
    if isinstance(again.ok("run"), str):
        sender.accepted(again, text, begun)  # should it be another run, it is this session's all the same
    if again.frame == first.frame:
        world.findings.passed(Line.REPEAT, seconds=again.arrived - begun)
    else:
        # The users go on: what else they have to show does not hang on this.
        sender.fault(Line.REPEAT, f"the first answer once more, {first.raw}", frame=again.raw)


async def check_listed(world: World, stories: list[Story]) -> None:
    """What the node lists for a user has to be these sessions and no others. Raises Setback."""
    user = stories[0].user
    begun = trio.current_time()
    response = await world.request("GET", "/v1/sessions", token=user.token)
    seconds = trio.current_time() - begun
    expected = sorted((story.name, story.id) for story in stories)
    try:
        listed = sorted((str(entry["name"]), str(entry["session"])) for entry in response.json()["sessions"])
    except (ValueError, KeyError, TypeError):
        listed = []
    if listed == expected:
        world.findings.passed(Line.LISTED, seconds=seconds)
        return
    world.findings.failed(
        Line.LISTED,
        Evidence(
            expected=f"exactly {expected}",
            seen=f"{response.status_code}, {len(listed)} sessions",
            user=user.name,
            frame=shorten(response.text),
        ),
    )
    raise Setback
