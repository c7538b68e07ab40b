"""What a client may do wrong or newer than the node, once it is in."""

from __future__ import annotations

import trio

from ..lines import Line
from ..world import World

__all__ = ["second_hello", "unknown_type"]

# No node will ever know it.
STRANGE = "verify.strange"


async def second_hello(world: World) -> None:
    """Hello is said once: a second one ends the connection."""
    story = world.story(await world.user("hello"))
    async with world.join(story, "device 1") as link:
        begun = trio.current_time()
        await link.say_hello(world.hello(world.random_bytes(32).hex(), world.device()))
        code = await link.until_closed(Line.SECOND_HELLO, "a close with 4002")
        link.check(Line.SECOND_HELLO, code == 4002, "a close with 4002", seen=f"{code}")
        world.findings.outcomes[Line.SECOND_HELLO].seconds.append(trio.current_time() - begun)


async def unknown_type(world: World) -> None:
    """A frame of a newer client is answered with an error, and the connection goes on."""
    story = world.story(await world.user("newer"))
    async with world.join(story, "device 1") as link:
        begun = trio.current_time()
        await link.send({"t": STRANGE})
        await link.until(lambda: link.errors or None, Line.UNKNOWN_TYPE, "an `error` frame for an unknown `t`")
        seconds = trio.current_time() - begun
        answer = await link.command(STRANGE, {}, line=Line.UNKNOWN_TYPE)
        link.check(Line.UNKNOWN_TYPE, answer.error == "unknown_op", "unknown_op after it", frame=answer.raw)
        world.findings.outcomes[Line.UNKNOWN_TYPE].seconds.append(seconds)
