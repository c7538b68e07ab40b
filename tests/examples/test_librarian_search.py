"""Plain words find the right module; nonsense finds nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.examples.librarian import answers
from callboard.examples.librarian.bm25 import Bm25
from callboard.examples.librarian.words import alternatives, keywords, kin, stem, terms, words
from tests.examples.library import tools

QUESTIONS: dict[str, Any] = json.loads((Path(__file__).parent / "questions.json").read_text(encoding="utf-8"))


def places(kind: str) -> dict[str, int]:
    """Each question to the place of the first module that is right, counted from 1; 99 if none is listed."""
    found = {}
    for case in QUESTIONS[kind]:
        listed = [hit["name"] for hit in tools().search_words(" ".join(keywords(case["question"])))["hits"]]
        found[case["question"]] = next((n for n, name in enumerate(listed, 1) if name in case["modules"]), 99)
    return found


def test_twenty_everyday_questions_find_their_module() -> None:
    """The right module is the answer; one may come second, since docstrings differ from one Python to the next."""
    found = places("asked")
    assert len(found) == 20
    late = {question: place for question, place in found.items() if place > 1}
    assert len(late) <= 1, late
    assert max(found.values()) <= 2, late


def test_ten_questions_that_were_held_out_mostly_find_theirs() -> None:
    """Eight of ten are answered by the right module, though nothing was adjusted to them."""
    found = places("held_out")
    assert len(found) == 10
    assert sum(place == 1 for place in found.values()) >= 8, found


@pytest.mark.parametrize("question", [*QUESTIONS["unanswerable"], *QUESTIONS["unanswerable_held_out"]])
def test_what_is_not_about_python_finds_nothing(question: str) -> None:
    """The best hit is too weak to be called an answer."""
    result = tools().search_words(" ".join(keywords(question)))
    assert answers.trust(result) == "nothing", result["hits"][:1]


def test_a_search_is_the_same_each_time() -> None:
    """Scores, order and all."""
    assert tools().search_words("copy folder") == tools().search_words("copy folder")


def test_what_is_missing_is_said_in_the_words_of_the_question() -> None:
    """Not as stems."""
    assert tools().search_words("json frobnicating")["missing"] == ["frobnicating"]


@pytest.mark.parametrize(
    "these, meet",
    [
        (("copy", "copies", "copied", "copying"), True),
        (("compress", "compressed", "compression"), True),
        (("parse", "parsing", "parser", "parsed"), True),
        (("running", "run", "runs"), True),
        (("file", "files"), True),
        (("class", "classes"), True),
        (("process", "processes"), True),
        (("string", "strip"), False),
        (("status", "state"), False),
    ],
)
def test_endings_do_not_keep_words_apart(these: tuple[str, ...], meet: bool) -> None:
    """And different words stay different."""
    assert (len({stem(word) for word in these}) == 1) is meet


@given(st.text(max_size=200))
def test_stemming_any_text_is_stable(text: str) -> None:
    """A term is not empty, and the terms of the keywords are the terms of the text."""
    assert all(terms(text))
    assert terms(" ".join(keywords(text))) == terms(text)


def test_identifiers_are_split_and_filling_is_dropped() -> None:
    """At underscores and humps; letters beyond ASCII belong to words."""
    assert words("HTMLParser get_close_matches2 Übermaß") == [
        "html",
        "parser",
        "get",
        "close",
        "matches",
        "2",
        "übermaß",
    ]
    assert keywords("how do I run another program") == ["run", "another", "program"]


def test_kinship_is_mutual_and_never_with_oneself() -> None:
    """If one word may stand for another, so may the other for the one, at the same share."""
    for word in ("folder", "remember", "delete", "run", "show"):
        assert kin(word)
        for other, share in alternatives(stem(word)).items():
            assert other != stem(word)
            assert alternatives(other)[stem(word)] == share


DOCUMENTS = st.lists(
    st.dictionaries(st.sampled_from(["aa", "bb", "cc", "dd"]), st.floats(0.5, 5.0), max_size=4), min_size=1, max_size=8
)


@given(DOCUMENTS, st.lists(st.sampled_from(["aa", "bb", "cc", "ee"]), max_size=4), st.floats(0.0, 1.0))
def test_scores_are_those_of_the_formula(
    documents: list[dict[str, float]], query: list[str], length_share: float
) -> None:
    """BM25 as it stands in the book, computed document by document, and the share of the query that each speaks of."""
    matches = Bm25(documents, length_share=length_share).match(query)
    wanted = list(dict.fromkeys(query))
    holding = {term: sum(term in document for document in documents) for term in wanted}
    rarity = {t: math.log(1 + (len(documents) - n + 0.5) / (n + 0.5)) for t, n in holding.items()}
    mean = sum(sum(d.values()) for d in documents) / len(documents) or 1.0
    for number, document in enumerate(documents):
        norm = 2.0 * (1 - length_share + length_share * sum(document.values()) / mean)
        met = [term for term in wanted if term in document]
        if not met:
            assert number not in matches.scores
            continue
        score = sum(rarity[t] * document[t] * 3.0 / (document[t] + norm) for t in met)
        assert matches.scores[number] == pytest.approx(score, rel=1e-5)
        share = sum(rarity[t] for t in met) / sum(rarity.values())
        assert matches.coverage[matches.spoken[number]] == pytest.approx(share)
        assert matches.missing(number) == tuple(t for t in wanted if t not in document)
