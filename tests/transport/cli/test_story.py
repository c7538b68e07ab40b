"""What a session says, as lines: in order, told apart by run, and never a word that a terminal obeys."""

import random
import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from callboard.transport.cli.story import DIRECTION, LONG_CHARS, Line, Story, clean
from callboard.transport.cli.terminal import LiveScreen
from callboard.transport.client import Gap, Reset, WireRecord


def record(type: str, run: str | None = "r1", **data: Any) -> WireRecord:
    """A record of that type."""
    return WireRecord(seq=1, id="i", type=type, run=run, at=0, data=data)


def told(story: Story, *records: WireRecord) -> list[tuple[str, str]]:
    """Label and text of the lines that are complete."""
    return [(line.label, line.text) for item in records for line in story.tell(item)]


def test_a_run_from_its_beginning_to_its_end() -> None:
    """Who speaks is said once; pieces become lines at their ends."""
    story = Story()
    lines = told(
        story,
        record("agent_started", agent="a", input="What is 2+2?\nAnd why?", by="session"),
        record("agent_thinking", text="easy"),
        record("tool_executing", call="c", tool="add", arguments={"a": 2, "b": 2}),
        record("tool_completed", call="c", tool="add", ok=True, result=4, duration_ms=3),
        record("agent_delta", text="It is "),
        record("agent_delta", text="4.\nBecau"),
        record("agent_delta", text="se."),
        record("agent_completed", result="…", duration_ms=12),
    )
    assert lines == [
        ("you", "What is 2+2?"),
        ("", "And why?"),
        ("", "easy"),
        ("tool", 'add {"a": 2, "b": 2}'),
        ("", "add done in 3 ms: 4"),
        ("agent", "It is 4."),
        ("", "Because."),
        ("", "completed in 12 ms"),
    ]
    assert story.ended == {"r1": "agent_completed"}
    assert story.newest_run is None


def test_runs_that_go_on_at_the_same_time_are_told_apart() -> None:
    """By a number, as long as there are several; each keeps the line that it is writing."""
    story = Story()
    lines = told(
        story,
        record("agent_started", input="one"),
        record("agent_started", "r2", input="two"),
        record("agent_delta", text="first "),
        record("agent_delta", "r2", text="second "),
    )
    assert lines == [("you", "one"), ("", ""), ("you #2", "two")]
    assert story.partial() == [Line("agent #1", "first "), Line("agent #2", "second ")]
    assert story.newest_run == "r2"
    assert told(story, record("agent_delta", text="line\n")) == [("agent #1", "first line")]
    assert told(story, record("agent_cancelled", "r2", by="user", reason="x")) == [
        ("agent #2", "second "),
        ("#2", "cancelled"),
    ]
    assert story.newest_run == "r1"
    assert told(story, record("agent_delta", text="last\n")) == [("agent", "last")]


def test_an_answer_that_was_not_written_piece_by_piece_is_shown() -> None:
    """From the terminal event; one that was is not shown twice."""
    story = Story()
    started = record("agent_started", input="hi")
    assert told(story, started, record("agent_completed", result="hello", duration_ms=1))[1:] == [
        ("agent", "hello"),
        ("", "completed in 1 ms"),
    ]


def test_what_goes_wrong_is_said() -> None:
    """Errors, tools that fail, gaps, and another history, in which nothing is open any more."""
    story = Story()
    told(story, record("agent_started", input="hi"))
    failed = record("tool_completed", call="c", tool="t", ok=False, result="no", duration_ms=1)
    assert told(story, failed) == [("tool", 't failed in 1 ms: "no"')]
    assert story.tell(Gap(from_seq=3, to_seq=5, reason="retention"))[0].text == "3 records cannot be had: retention"
    assert "begins anew" in story.tell(Reset("e", 1))[0].text
    assert story.newest_run is None
    told(story, record("agent_started", "r2", input="hi"))
    assert told(story, record("agent_error", "r2", code="deadline", message="late", by="supervisor")) == [
        ("", "deadline: late")
    ]


def test_events_that_it_does_not_know_are_shown_too() -> None:
    """Of a run, and of none; data of any shape."""
    story = Story()
    assert told(story, record("x.note", None, a=1)) == [("", 'x.note {"a": 1}')]
    assert told(story, record("x.more", a=[1])) == [("", 'x.more {"a": [1]}')]
    odd = WireRecord(seq=1, id="i", type="agent_thinking", run="r1", at=0, data=[1, 2])
    assert told(story, odd) == [("", "None")]


def test_long_values_are_cut() -> None:
    """The records have all of it."""
    (line,) = Story().tell(record("tool_executing", tool="t", arguments={"a": "x" * 10_000}))
    assert len(line.text) < 120
    assert line.text.endswith("…")


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    """It is cut at a space; nothing of it is lost."""
    story, text = Story(), "word " * 5_000
    lines = [line.text for line in story.tell(record("agent_delta", text=text))]
    assert max(map(len, lines)) <= LONG_CHARS
    rest = "".join(line.text for line in story.partial())
    assert " ".join([*lines, rest]).split() == text.split()


def test_runs_that_ended_are_not_remembered_for_ever() -> None:
    """A terminal that stays open for weeks."""
    story = Story()
    for number in range(1_500):
        story.tell(record("agent_started", f"r{number}", input="hi"))
        story.tell(record("agent_completed", f"r{number}", result="", duration_ms=1))
    assert len(story.ended) == 1_000
    assert "r1499" in story.ended


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b\x9b\x07\x08\r\n\t\x7f\u202e\u2028\ud800")))
def test_no_terminal_obeys_what_is_shown(text: str) -> None:
    """Neither escape sequences, nor controls of eight bits, nor those of direction; a line stays a line."""
    for character in clean(text):
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert character not in DIRECTION


@given(
    st.lists(
        st.builds(
            lambda type, run, value: WireRecord(seq=1, id="i", type=type, run=run, at=0, data=value),
            st.sampled_from(["agent_started", "agent_delta", "agent_thinking", "tool_executing", "tool_completed"])
            | st.sampled_from(["agent_completed", "agent_error", "agent_cancelled", "x.a\x1b[0m"]),
            st.sampled_from([None, "r1", "r2"]),
            st.dictionaries(
                st.sampled_from(
                    ["text", "input", "tool", "ok", "result", "duration_ms", "code", "message", "arguments"]
                ),
                st.none() | st.integers() | st.text() | st.lists(st.text(max_size=3), max_size=2),
            )
            | st.none()
            | st.text(),
        )
    )
)
def test_whatever_comes_is_shown_harmlessly(records: list[WireRecord]) -> None:
    """Any data in any event, whatever service wrote it."""
    story = Story()
    for item in records:
        for line in [*story.tell(item), *story.partial()]:
            assert "\x1b" not in line.text + line.label
            assert "\n" not in line.text + line.label


@given(st.lists(st.text(alphabet="ab  é漢🙂\n", max_size=40)), st.integers(min_value=12, max_value=60))
def test_what_is_written_on_a_terminal_is_what_was_said(pieces: list[str], width: int) -> None:
    """However it is cut into rows, no word is lost or repeated."""
    screen = LiveScreen(Console(width=width, force_terminal=True, file=None), None)
    story, shown = Story(screen.fold), []
    for piece in pieces:
        shown += [line.text for line in story.tell(record("agent_delta", text=piece))]
    shown += [line.text for line in story.partial()]
    assert "".join("".join(shown).split()) == "".join("".join(pieces).split())


def test_numbers_stay_with_their_runs() -> None:
    """In any order of events."""
    story, chance = Story(), random.Random(1)
    for number in range(1, 4):
        story.tell(record("agent_started", f"r{number}", input="hi"))
    for _ in range(50):
        number = chance.randint(1, 3)
        (line,) = story.tell(record("x.step", f"r{number}"))
        assert line.label in ("", f"#{number}")
