"""What a session's records have to tell, checked naively and without a line of the code under test.

It reads the JSON as a page gets it, and knows the grammar from the design only.
"""

from collections.abc import Iterable, Sequence
from typing import Any

TERMINAL = ("agent_completed", "agent_error", "agent_cancelled")
SAID_BY_AGENTS = ("agent_thinking", "tool_executing", "tool_completed", "agent_delta", "agent_completed", "agent_error")


def check_story(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Assert S2, S6 and S7 of all records of one session, of which none may be open; gives the records of each run."""
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    ids = [record["id"] for record in records]
    assert len(set(ids)) == len(ids), "an id was used twice"
    times = [record["at"] for record in records]
    assert times == sorted(times)
    runs: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if "run" in record:
            runs.setdefault(record["run"], []).append(record)
        else:
            assert record["type"].startswith("x."), record
    for run, told in runs.items():
        check_run(run, told)
    return runs


def check_run(run: str, told: Sequence[dict[str, Any]]) -> None:
    """Assert that the records of one run are a whole story with one end."""
    types = [record["type"] for record in told]
    assert types[0] == "agent_started", types
    assert types.count("agent_started") == 1, types
    assert sum(type in TERMINAL for type in types) == 1, types
    assert types[-1] in TERMINAL, types
    assert told[0]["data"]["by"] == "session"
    assert told[-1]["id"] == f"{run}/end"
    open_calls: set[str] = set()
    for record in told:
        call = record["data"].get("call")
        if record["type"] == "tool_executing":
            assert call not in open_calls, types
            open_calls.add(call)
        elif record["type"] == "tool_completed":
            assert call in open_calls, types
            open_calls.discard(call)
    assert not open_calls, types
    if types[-1] == "agent_cancelled":
        assert told[-1]["data"]["by"] == "user"
    if types[-1] == "agent_error":
        assert told[-1]["data"]["by"] in ("agent", "supervisor")


def types_of(records: Iterable[dict[str, Any]]) -> list[str]:
    """The types, in order."""
    return [record["type"] for record in records]
