"""What is asked becomes the right plan, in a conversation too; what is answered is true and can be followed."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard import Exchange
from callboard.examples.librarian import answers
from callboard.examples.librarian.entries import make_entries
from callboard.examples.librarian.index import Index, Statistics
from callboard.examples.librarian.names import Names
from callboard.examples.librarian.opening import SourceChanged
from callboard.examples.librarian.plan import Explain, Find, Plan, Talk
from callboard.examples.librarian.scan import Found
from callboard.examples.librarian.tools import Tools
from callboard.examples.librarian.walking import read_source
from callboard.examples.librarian.wording import Aspect
from tests.examples.library import exchanges, plan, tools

WHAT, MORE, ARGUMENTS, ARGUMENT = Aspect.WHAT, Aspect.MORE, Aspect.ARGUMENTS, Aspect.ARGUMENT
RETURNS, WHERE, SOURCE, EXAMPLE, MEMBERS = Aspect.RETURNS, Aspect.WHERE, Aspect.SOURCE, Aspect.EXAMPLE, Aspect.MEMBERS


def explained(name: str) -> str:
    """The answer to what a thing does."""
    return answers.explained(tools().open(name))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("What does json.dumps do?", Explain(("json.dumps",))),
        ("explain textwrap.shorten", Explain(("textwrap.shorten",))),
        ("json.dumps", Explain(("json.dumps",))),
        ("json dumps", Explain(("json.dumps",))),
        ("what does dumps in json do?", Explain(("json.dumps",))),
        ("how does functools.lru_cache work?", Explain(("functools.lru_cache",))),
        ("what is lru_cache", Explain(("lru_cache",))),
        ("how do I use `subprocess.run`?", Explain(("subprocess.run",))),
        ("what does print do", Explain(("print",))),
        ("explain list", Explain(("list",))),
        ("what is time", Explain(("time",))),
        ("What does math.log do?", Explain(("math.log",))),
        ("Was macht json.dumps?", Explain(("json.dumps",))),
        ("difference between os.remove and os.unlink", Explain(("os.remove", "os.unlink"))),
        ("what arguments does open take", Explain(("open",), ARGUMENTS)),
        ("what is the first argument of str.split?", Explain(("str.split",), ARGUMENT, 1)),
        ("what is the third parameter of open()", Explain(("open",), ARGUMENT, 3)),
        ("what does the indent argument of json.dumps do?", Explain(("json.dumps",), ARGUMENT, "indent")),
        ("what is `indent` argument of json.dumps?", Explain(("json.dumps",), ARGUMENT, "indent")),
        ("what does str.split return?", Explain(("str.split",), RETURNS)),
        ("where is bisect.insort defined?", Explain(("bisect.insort",), WHERE)),
        ("show me the source of inspect.getsource", Explain(("inspect.getsource",), SOURCE)),
        ("asyncio.gather example", Explain(("asyncio.gather",), EXAMPLE)),
        ("what functions are in textwrap?", Explain(("textwrap",), MEMBERS)),
        ("tell me more about json.dumps", Explain(("json.dumps",), MORE)),
        ("what does json.frobnicate do", Explain(("json.frobnicate",))),
        ("what does nosuchmodule.func do", Explain(("nosuchmodule.func",))),
        ("What does no_such_thing do?", Explain(("no_such_thing",))),
        ("which module parses csv files?", Find("which module parses csv files?", module_wanted=True)),
        ("read a config.ini file", Find("read a config.ini file")),
        ("parse the options on the command line", Find("parse the options on the command line")),
        ("show me the weather", Find("show me the weather")),
        ("what is recursion", Find("what is recursion")),
        ("what is a generator", Find("what is a generator")),
        ("なにができますか", Find("なにができますか")),
        ("hi", Talk("greeting")),
        ("Hello there!", Talk("greeting")),
        ("thanks a lot!", Talk("thanks")),
        ("what can you do?", Talk("help")),
        ("???", Talk("nothing asked")),
        ("", Talk("nothing asked")),
        ("\n\t 🙂", Talk("nothing asked")),
        ("And its second argument?", Talk("no topic")),
        ("show me the source", Talk("no topic")),
    ],
)
def test_questions_become_plans(text: str, expected: Plan) -> None:
    """Names with aspects are explained, plain words are searched, and nothing is made of nothing."""
    assert plan(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("And its second argument?", Explain(("json.dumps",), ARGUMENT, 2, follows=True)),
        ("the last one?", Explain(("json.dumps",), ARGUMENT, -1, follows=True)),
        ("what is argument 3?", Explain(("json.dumps",), ARGUMENT, 3, follows=True)),
        ("and the `indent` argument?", Explain(("json.dumps",), ARGUMENT, "indent", follows=True)),
        ("what about indent?", Explain(("json.dumps",), ARGUMENT, "indent", follows=True)),
        ("what's the default of sort_keys?", Explain(("json.dumps",), ARGUMENT, "sort_keys", follows=True)),
        ("what does it return?", Explain(("json.dumps",), RETURNS, follows=True)),
        ("What type does it return?", Explain(("json.dumps",), RETURNS, follows=True)),
        ("where is it defined?", Explain(("json.dumps",), WHERE, follows=True)),
        ("in which file is that?", Explain(("json.dumps",), WHERE, follows=True)),
        ("show me the source", Explain(("json.dumps",), SOURCE, follows=True)),
        ("tell me more", Explain(("json.dumps",), MORE, follows=True)),
        ("an example please", Explain(("json.dumps",), EXAMPLE, follows=True)),
        ("which arguments does it take?", Explain(("json.dumps",), ARGUMENTS, follows=True)),
        ("explain it", Explain(("json.dumps",), WHAT, follows=True)),
        ("And json.loads?", Explain(("json.loads",))),
        ("And where is json.load defined?", Explain(("json.load",), WHERE)),
        ("what is time", Explain(("time",))),
        ("how do I break a long text", Find("how do I break a long text")),
    ],
)
def test_follow_ups_are_answered_from_the_conversation(text: str, expected: Plan) -> None:
    """Pronouns and bare aspects go back to what was explained; a new subject stays one."""
    history = exchanges(("What does json.dumps do?", explained("json.dumps")))
    assert plan(text, history) == expected


def test_a_bare_name_after_and_asks_the_same_of_it() -> None:
    """After "what does X return?", "and Y?" asks what Y returns."""
    history = exchanges(("what does json.dumps return?", explained("json.dumps")))
    assert plan("and json.loads?", history) == Explain(("json.loads",), RETURNS)


def test_small_talk_and_failed_runs_do_not_lose_the_thread() -> None:
    """What was spoken of last is found behind answers without a topic; a run that failed still had a question."""
    topic = ("What does json.dumps do?", explained("json.dumps"))
    other = ("compute", {"not": "a text"})
    assert plan("its source?", exchanges(topic, ("thanks", "You are welcome."), other)) == Explain(
        ("json.dumps",), SOURCE, follows=True
    )
    assert plan("its source?", exchanges(topic, ("explain textwrap.wrap", None))) == Explain(
        ("textwrap.wrap",), SOURCE, follows=True
    )


def test_the_topic_of_a_search_is_what_it_showed() -> None:
    """After an answer to plain words, "it" is the thing whose docstring was quoted."""
    result = tools().search_words("compare two texts and show differences")
    shown = result["hits"][0]["inside"][0]["name"]
    history = exchanges(("compare two texts", answers.found(result, tools().open(shown))))
    assert plan("where is it defined?", history) == Explain((shown,), WHERE, follows=True)


def test_any_answer_can_be_followed() -> None:
    """For 300 things drawn by seed the headline of their answer leads back to them."""
    entries = [e for e in tools().index.entries if not e.name.rpartition(".")[2].startswith("_")]
    for entry in random.Random(7).sample(entries, 300):
        answer = explained(entry.name)
        assert plan("where is it defined?", [Exchange("?", answer)]) == Explain((entry.name,), WHERE, follows=True)


@given(st.text(max_size=3_000))
def test_any_text_has_a_plan(text: str) -> None:
    """Whatever somebody types, there is something to do about it."""
    made = plan(text)
    assert isinstance(made, Explain | Find | Talk)
    if isinstance(made, Explain):
        assert 1 <= len(made.names) <= 3


@given(st.text(alphabet="ab .\n", max_size=200))
def test_pieces_joined_are_the_text(text: str) -> None:
    """Streaming loses and adds nothing, and no piece is empty."""
    streamed = list(answers.pieces(text))
    assert "".join(streamed) == text
    assert all(streamed)


def test_an_argument_is_described_by_its_own_declaration() -> None:
    """Place, name, default, kind, and the sentence of the docstring that speaks of it."""
    page = tools().open("json.dumps")
    answer = answers.argument(page, 2)
    assert "Argument 2 of 11 is `skipkeys`, by keyword only; its default is `False`." in answer
    assert "> If ``skipkeys`` is true then ``dict`` keys that are not basic types" in answer.splitlines()
    assert "Argument 11 of 11 is `**kw`" in answers.argument(page, -1)
    assert answers.argument(page, "skipkeys") == answer
    assert "It has no argument 12: there are 11." in answers.argument(page, 12)
    assert "It has no argument `colour`" in answers.argument(page, "colour")
    assert "is a module and takes no arguments" in answers.argument(tools().open("json"), 1)


def test_methods_do_not_count_the_object_itself() -> None:
    """The first argument of `str.split` is the one that a caller gives first; classes have those of their maker."""
    assert "Argument 1 of 2 is `sep`; its default is `None`." in answers.argument(tools().open("str.split"), 1)
    assert "Argument 1 of 6 is `group`" in answers.argument(tools().open("threading.Thread"), 1)


def test_what_is_returned_is_read_from_the_source() -> None:
    """The lines of the return statements, as they are in the file; functions inside do not count."""
    page, excerpt = tools().open("textwrap.shorten"), tools().source("textwrap.shorten")
    answer = answers.returned(page, excerpt)
    assert excerpt["file"] == "textwrap.py"
    assert len(excerpt["returns"]) == 1
    for number, code in zip(excerpt["return_lines"], excerpt["returns"], strict=True):
        assert f"- line {number}: `{code}`" in answer
        assert excerpt["code"].split("\n")[number - excerpt["first"]].strip().startswith(code[:10])


def test_source_is_shown_as_it_stands() -> None:
    """With the lines that are shown, and that it goes on if it does."""
    excerpt = tools().source("json.dumps")
    answer = answers.sourced(tools().open("json.dumps"), excerpt)
    assert f"```python\n{excerpt['code']}\n```" in answer
    long = answers.sourced(tools().open("subprocess.Popen"), tools().source("subprocess.Popen"))
    assert re.search(r"Lines (\d+) to (\d+) of `subprocess.py`; it goes on to line \d+:", long)
    in_c = answers.sourced(tools().open("math.sqrt"), None)
    assert "It is written in C, in the built-in module `math`" in in_c


def test_what_runs_instead_is_said() -> None:
    """A Python function that is replaced by one in C is quoted from its file, and the other one is named."""
    answer = explained("heapq.heapify")
    assert "the interpreter runs `_heapq.heapify`, written in C, in its place" in answer
    assert "written in C" not in explained("signal.signal")
    assert "This docstring is that of `_signal.signal`." in explained("signal.signal")


def test_what_does_not_exist_is_said_so() -> None:
    """Nothing is invented; existing names that are near are named, and modules that were not read are admitted."""
    statistics = tools().index.statistics
    answer = answers.unknown("json.dunps", tools().search_name("json.dunps"), statistics)
    assert answer.startswith("I cannot find `json.dunps`")
    assert "There is `json`, but nothing of that name in it." in answer
    assert "`json.dumps`" in answer
    unread = next(iter(statistics.missing))
    assert "belongs to the standard library, but" in answers.unknown(unread, tools().search_name(unread), statistics)
    nothing = tools().search_words("capital France")
    assert answers.nothing_found("the capital of France", nothing, statistics).startswith("I found nothing on that")


def test_another_name_of_a_thing_is_said_to_be_one() -> None:
    """Who asks for an alias learns its proper name."""
    answer = answers.explained(tools().open("bisect.insort"), asked="bisect.insort")
    assert answer.startswith("### `bisect.insort_right(")
    assert "`bisect.insort` is another name of it." in answer


def test_tool_results_are_small_json() -> None:
    """For 300 things drawn by seed: plain JSON data of at most 32 KiB, and the same again when decoded."""
    for entry in random.Random(8).sample(tools().index.entries, 300):
        page = tools().open(entry.name)
        encoded = json.dumps(page, allow_nan=False)
        assert json.loads(encoded) == page
        assert len(encoded) < 32_768, entry.name


def own_tools(folder: Path, text: str) -> Tools:
    """Tools over one module `sample` in a folder."""
    path = folder / "sample.py"
    path.write_text(text, encoding="utf-8")
    source = read_source(text.encode(), "sample", is_package=False, available=frozenset())
    found = {"sample": Found("sample", folder, "sample.py", "installed package", len(text), False)}
    names = Names({"sample": source}, {})
    return Tools(Index(make_entries(names, found), Statistics(0, 0, 1, (), (), {}), names))


SAMPLE = 'class A:\n    def m(self, x=1):\n        """Say x."""\n        return f(x)\n\n\nasync def f(x): return x\n'


def test_pages_are_read_from_the_file_as_it_is(tmp_path: Path) -> None:
    """Signatures with and without docstring, of one line and of many."""
    own = own_tools(tmp_path, SAMPLE)
    assert (own.open("sample.A.m")["signature"], own.open("sample.A.m")["doc"]) == ("sample.A.m(x=1)", ["Say x."])
    assert (own.open("sample.f")["signature"], own.open("sample.f")["doc"]) == ("sample.f(x)", [])
    assert own.source("sample.A.m")["return_lines"] == [4]
    assert own.source("sample.f")["return_lines"] == [7]


@pytest.mark.parametrize(
    "text", ["", "x = 1\n" * 20, "class A:\n    def n(self, x=1):\n        '''Say x.'''\n", "((\n" * 9]
)
def test_a_file_that_has_changed_is_not_quoted(tmp_path: Path, text: str) -> None:
    """It raises rather than quote what stands in those lines now."""
    own = own_tools(tmp_path, SAMPLE)
    (tmp_path / "sample.py").write_text(text, encoding="utf-8")
    with pytest.raises(SourceChanged, match=r"sample\.py"):
        own.open("sample.A.m")


def test_a_file_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    """An installation that was upgraded under a running node."""
    own = own_tools(tmp_path, SAMPLE)
    (tmp_path / "sample.py").unlink()
    with pytest.raises(SourceChanged, match="cannot be read any more"):
        own.source("sample.f")
