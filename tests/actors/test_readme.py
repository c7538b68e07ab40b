"""`actors/README.md` is true: its example runs as printed there, and its tables say what the code says."""

import re
from pathlib import Path
from typing import Any

import attrs

from callboard.actors import TERMINALS, App, Limits
from tests.actors.story import check_story, types_of
from tests.actors.world import open_world

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "actors" / "README.md").read_text(encoding="utf-8")


async def test_the_example_runs() -> None:
    """A command of an author's own, sent twice and done once; a run with a tool, and one that the agent gives up."""
    names: dict[str, Any] = {"__name__": "example"}
    for code in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(compile(code, "actors/README.md", "exec"), names)
    app: App = names["app"]
    async with open_world(agents=app.agents, session=app.session) as world:
        client = await world.connected()
        id = await client.command("count", {})
        await world.settle()
        await client.repeat(id)
        await client.say("2+3")
        await world.settle()
        await client.say("hello")
        await world.settle()
        assert [result.ok for result in client.results[id]] == [{"count": 1}, {"count": 1}]
        check_story(client.records)
        assert types_of(client.records) == [
            "x.counted",
            *("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"),
            *("agent_started", "agent_thinking", "agent_error"),
        ]
        assert client.records[5]["data"]["result"] == "2+3=5"
        assert client.records[8]["data"] == {"code": "no_sum", "message": "I can only add.", "by": "agent"}


def test_the_limits_are_those_of_the_code() -> None:
    """Each row's name is a field of `Limits`, and the number beside it is its default."""
    rows = re.findall(r"\| `(\w+)` \| (\d+) (?=\|)", TEXT)
    defaults = attrs.asdict(Limits())
    assert len(rows) == 20
    assert [(name, float(value)) for name, value in rows] == [(name, float(defaults[name])) for name, _ in rows]


def test_the_ends_and_their_codes_are_those_of_the_code() -> None:
    """Every code of a supervisor's end is in the table, and every code in the table is one that is written."""
    table = TEXT.partition("## Who writes the end of a run")[2].partition("\nEnds that")[0]
    first = re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE)
    source = "".join((ROOT / "actors" / name).read_text(encoding="utf-8") for name in ("run_keeper.py", "session.py"))
    written = set(re.findall(r"\"((?:agent_failed|agent_killed|deadline|session_restarted|node_\w+))\"", source))
    assert set(first) == set(TERMINALS) | written
