"""One user with two sessions: the name makes the difference."""

from __future__ import annotations

from functools import partial

from ..lines import Line
from ..together import all_of
from ..world import World
from .crowd import check_listed

__all__ = ["names"]


async def names(world: World) -> None:
    """A second name is a second session: empty at first, with records of its own, listed beside the first one."""
    await all_of([partial(_two, world) for _ in range(world.plan.few)])


async def _two(world: World) -> None:
    user = await world.user("names")
    here, there = world.story(user), world.story(user, f"{world.plan.session}, the other")
    async with world.join(here, "device 1") as one:
        _, _, said = await one.say(world.plan.text)
        await one.end_of(said.run)
        async with world.join(there, "device 1, other session", own=Line.NAMES) as two:
            assert one.welcome is not None
            assert two.welcome is not None
            differ = here.id != there.id and two.welcome.session != one.welcome.session
            two.check(Line.NAMES, differ, f"another session than {here.id}", seen=two.welcome.session)
            two.check(Line.NAMES, two.welcome.head == 0, "an empty session", seen=f"head {two.welcome.head}")
            _, _, other = await two.say(world.plan.text)
            await two.end_of(other.run)
            # One round trip: what would come to the first session of this has come by then.
            await one.command("verify.strange", {})
            apart = other.run not in one.started and said.run not in two.started
            two.check(Line.NAMES, apart, "each run in its own session only", seen=f"runs {said.run} and {other.run}")
            await check_listed(world, [here, there])
