"""The grammar of a run, and the fold of a session's runs."""

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import Event, Exchange, GrammarError, Record, RunGrammar, Runs
from tests.actors.story import check_run

TYPES = (
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "x.note",
    "agent_completed",
    "agent_error",
    "agent_cancelled",
)
DATA: dict[str, dict[str, Any]] = {
    "agent_started": {"agent": "a", "by": "session"},
    "agent_thinking": {"text": "t"},
    "tool_executing": {"tool": "t", "arguments": {}},
    "tool_completed": {"tool": "t", "ok": True, "result": None, "duration_ms": 1},
    "x.note": {},
    "agent_completed": {"duration_ms": 0},
    "agent_error": {"code": "c", "message": "m", "by": "agent"},
    "agent_cancelled": {"by": "user", "reason": "r"},
}

events = st.tuples(st.sampled_from(TYPES), st.sampled_from(("c1", "c2")))


def told(type: str, call: str, seq: int) -> dict[str, Any]:
    """An event as the checker reads it."""
    id = "r/end" if type in ("agent_completed", "agent_error", "agent_cancelled") else f"r/{seq}"
    data = {**DATA[type], "call": call} if type.startswith("tool") else DATA[type]
    return {"id": id, "type": type, "data": data}


def allowed(story: list[tuple[str, str]]) -> bool:
    """Whether some end makes a legal run of this beginning, by the naive checker."""
    records = [told(type, call, seq) for seq, (type, call) in enumerate(story)]
    ends: list[list[dict[str, Any]]] = [[], [told("agent_completed", "", 98)]]
    for calls in (("c1",), ("c2",), ("c1", "c2")):
        ends.append([*(told("tool_completed", call, 90) for call in calls), told("agent_completed", "", 98)])
    for end in ends:
        try:
            check_run("r", [*records, *end])
        except (AssertionError, IndexError):
            continue
        return True
    return False


# S6
@settings(max_examples=300)
@given(st.lists(events, max_size=8))
def test_the_grammar_takes_exactly_the_legal_stories(story: list[tuple[str, str]]) -> None:
    """S6. Red if an event out of place is taken, or one in place refused; and if `take_back` leaves a trace."""
    grammar, so_far = RunGrammar("r"), list[tuple[str, str]]()
    for type, call in story:
        applies = call if type.startswith("tool") else None
        if allowed([*so_far, (type, call)]):
            before = (dict(grammar.open_calls), grammar.ended)
            grammar.check(type, applies)
            if type != "agent_started":
                grammar.apply(type, applies, "t")
                grammar.take_back(type, applies, "t")
                assert (dict(grammar.open_calls), grammar.ended) == before
            grammar.apply(type, applies, "t")
            so_far.append((type, call))
        else:
            with pytest.raises(GrammarError):
                grammar.apply(type, applies)


@attrs.define
class Told:
    """One event of one of several runs, to be applied if it is in place."""

    run: str
    type: str
    call: str
    text: str


names = st.sampled_from(("r1", "r2", "r3", "r4"))
calls = st.sampled_from(("c1", "c2"))
stories = st.lists(st.builds(Told, names, st.sampled_from(TYPES), calls, st.text(max_size=3)), max_size=60)


def state(runs: Runs) -> Any:
    """Everything that the fold knows."""
    return (
        {run.id: (run.last_n, dict(run.started_ms), dict(run.grammar.open_calls)) for run in runs.open.values()},
        [run for run in ("r1", "r2", "r3", "r4") if runs.ended(run)],
        runs.history(before=""),
    )


# S4 S6
@settings(max_examples=200)
@given(stories, st.integers(1, 5))
def test_the_fold_at_work_equals_the_fold_read_back(story: list[Told], exchanges: int) -> None:
    """S4 S6. Red if a restarted session knows its runs differently from the one that crashed."""
    at_work, records, numbers = Runs(exchanges), list[Record](), dict[str, int]()
    for one in story:
        started = one.run in at_work.open
        if (one.type == "agent_started") is (started or at_work.ended(one.run)):
            continue  # a session gives each run an id of its own, and takes nothing of runs that are not open
        if not started and one.type != "agent_started":
            continue
        number = numbers.get(one.run, -1) + 1
        terminal = one.type in ("agent_completed", "agent_error", "agent_cancelled")
        data = dict(DATA[one.type])
        if one.type.startswith("tool"):
            data["call"] = one.call
        if one.type == "agent_started":
            data["input"] = one.text
        if one.type == "agent_completed":
            data["result"] = {"text": [one.text]}
        id = f"{one.run}/end" if terminal else f"{one.run}/{number}"
        event = Event.make(id, one.type, one.run, data, max_bytes=10**6, max_depth=8)
        record = Record.of(event, len(records) + 1, 1_000 + len(records))
        try:
            at_work.apply(event, record, data.get("tool", ""))
        except GrammarError:
            continue
        numbers[one.run] = number
        if one.run in at_work.open:
            at_work.open[one.run].last_n = number  # the session counts while it works
        records.append(record)
    read_back = Runs(exchanges)
    for record in records:
        read_back.read_back(record)
    assert state(read_back) == state(at_work)
    # And when retention has cut the beginning off, what is open and what has ended is the same.
    for cut in range(1, len(records)):
        rest = Runs(exchanges)
        for record in records[cut:]:
            rest.read_back(record)
        seen = {record.run for record in records[cut:]}
        assert set(rest.open) == {run for run in at_work.open if run in seen}
        assert all(rest.ended(run) == at_work.ended(run) for run in seen if run is not None)


def test_history_holds_what_was_asked_before_and_its_answers() -> None:
    """Red if an agent sees its own question, a later one, one too many, half an answer, or another's changes."""
    runs = Runs(2)
    seq = 0

    def tell(run: str, type: str, data: dict[str, Any]) -> None:
        nonlocal seq
        seq += 1
        event = Event.make(f"{run}/{seq}", type, run, data, max_bytes=10**6, max_depth=8)
        runs.apply(event, Record.of(event, seq, seq))

    for run in ("r1", "r2", "r3", "r4"):
        tell(run, "agent_started", {"agent": "a", "input": f"question {run}", "by": "session"})
    tell("r2", "agent_completed", {"result": {"n": [1]}, "duration_ms": 0})
    tell("r3", "agent_error", {"code": "c", "message": "m", "by": "agent"})
    history = runs.history(before="r4")
    assert history == (Exchange("question r2", {"n": [1]}), Exchange("question r3", None))
    history[0].answer["n"].append(2)
    assert runs.history(before="r4")[0].answer == {"n": [1]}


def test_memory_of_runs_is_bounded() -> None:
    """S13. Red if ended runs or old exchanges stay for ever."""
    runs = Runs(50)
    for number in range(1_500):
        for type, data in (
            ("agent_started", {"agent": "a", "input": "i", "by": "session"}),
            ("agent_completed", {"result": 1, "duration_ms": 0}),
        ):
            event = Event.make(f"r{number}/{type}", type, f"r{number}", data, max_bytes=10**6, max_depth=8)
            runs.apply(event, Record.of(event, 2 * number + 1, 1))
    assert len(runs.history(before="")) == 50
    assert not runs.ended("r475")
    assert runs.ended("r476")
    assert runs.open == {}
