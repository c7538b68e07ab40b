"""A session at work, in good weather."""

from tests.actors.story import check_story, types_of
from tests.actors.world import open_world


async def test_a_message_becomes_a_run_with_one_end() -> None:
    """S2 S6."""
    async with open_world() as world:
        client = await world.connected()
        await client.say("think tool delta")
        await world.settle()
        assert client.records == await world.history("ada")
        check_story(client.records)
        assert types_of(client.records) == [
            "agent_started",
            "agent_thinking",
            "tool_executing",
            "tool_completed",
            "agent_delta",
            "agent_completed",
        ]
