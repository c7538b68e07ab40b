"""Decides what to do about a question: it and the conversation before it become a plan. Pure: no tools, no I/O.

What a text says is `wording`'s affair, what names exist is asked of `Known`. A plan is one of

* `Explain`: an aspect of named things. The names stand in the question or, in a follow-up, in an earlier answer;
* `Find`: words that describe what somebody wants to do;
* `Talk`: nothing to look up.

A question that names nothing is a follow-up only if nothing is left of it once pronouns, aspects and filling words are
taken away: "show me the source" is one, "show me the weather" is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import attrs

from .wording import Aspect, Wording, read_wording

__all__ = ["Earlier", "Explain", "Find", "Known", "Plan", "Talk", "make_plan"]

# What is asked stands at the beginning, longer texts are pasted logs; things explained at once; how far "it" reaches.
_MAX_CHARACTERS, _MAX_NAMES, _MAX_BACK = 2000, 3, 20
# "json dumps", "os path join": so many words at most may be one name.
_MAX_JOINED = 4


@attrs.frozen
class Explain:
    """Explain named things.

    Attributes:
        names: as they were written; not all of them need to exist.
        argument: with `Aspect.ARGUMENT` its name, or its place counted from 1, or -1 for the last.
        follows: the name was taken from the conversation.
    """

    names: tuple[str, ...]
    aspect: Aspect = Aspect.WHAT
    argument: int | str | None = None
    follows: bool = False


@attrs.frozen
class Find:
    """Find what fits these words; `module_wanted` if it was asked which module does."""

    words: str
    module_wanted: bool = False


@attrs.frozen
class Talk:
    """Answer without looking anything up."""

    about: Literal["greeting", "thanks", "help", "nothing asked", "no topic"]


Plan: TypeAlias = Explain | Find | Talk


class Known(Protocol):
    """What a plan has to know of the names that exist."""

    def resolve(self, name: str) -> str | None:
        """The full name of what is meant by a name, or by its last part (``lru_cache``)."""

    def parameters(self, name: str) -> Sequence[str]:
        """The parameters of a thing; none if it is not known."""


class Earlier(Protocol):
    """An earlier question, and its answer or None."""

    @property
    def text(self) -> str:
        """What the user wrote."""

    @property
    def answer(self) -> object:
        """What the run gave."""


_TALK = tuple(
    (re.compile(pattern + r"[\s!?.,:;)(-]*\Z", re.IGNORECASE), talk)
    for pattern, talk in (
        (
            r"(?:hi|hello|hey|hallo|hola|bonjour|ciao|servus|moin|greetings|good (?:morning|afternoon|evening|day))"
            r"(?:[\s,]+(?:there|you|all|librarian|dear librarian))?",
            Talk("greeting"),
        ),
        (r"(?:many )?(?:thanks?|thank you|thx|danke|merci|cheers|bye|goodbye)(?:[\s,]+[\w']+){0,4}", Talk("thanks")),
        (
            r"(?:please )?help(?: me)?|what (?:can|could) (?:you|i) (?:do|ask)(?: you)?(?: for me| here)?|who are you"
            r"|what are you|what do you (?:do|know)|how do you work",
            Talk("help"),
        ),
    )
)
# "config.ini" and "example.com" are not looked for, nor missed, as names; a name that exists is one (`math.log`).
_FILE_ENDINGS = frozenset(
    "bat c cfg com csv doc gz html ini jpg js json log md net org pdf png py sh tar toml txt xml yaml yml zip".split()
)
_HEADLINE = re.compile(r"^#{1,4} `([A-Za-z_][\w.]*)", re.MULTILINE)


def make_plan(text: str, history: Sequence[Earlier], known: Known) -> Plan:
    """What to do about a question.

    Args:
        text: the question; its first 2,000 characters are read.
        history: earlier exchanges, oldest first.
        known: the names that exist.
    """
    text = text[:_MAX_CHARACTERS].strip()
    if not re.search(r"\w", text):
        return Talk("nothing asked")
    for pattern, talk in _TALK:
        if pattern.match(text):
            return talk
    wording = read_wording(text)
    names, left = _names(wording, known)
    if names and (wording.names or not _means_argument(wording, history, known)):
        return _explain(names, left, wording, history, known)
    return _follow(wording, history[-_MAX_BACK:], known) or Find(text, wording.module_wanted)


def _means_argument(wording: Wording, history: Sequence[Earlier], known: Known) -> bool:
    """Whether the one word left is an argument of what was spoken of last, rather than a name of its own."""
    if len(wording.left) != 1:
        return False
    word = wording.left[0]
    topic = _topic(history[-_MAX_BACK:], known)
    # "What is time?" asks for the module, even after something with an argument `time`; "what about time?" does not.
    return topic is not None and word in known.parameters(topic) and (wording.goes_on or known.resolve(word) != word)


def _names(wording: Wording, known: Known) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The things that a question is about, and the words left beside them."""
    left = wording.left
    names = tuple(
        name
        for name in wording.names
        # What does not exist is worth saying if it is all that was asked for, or has its place in a module that does.
        if known.resolve(name) or (not _is_file(name) and (not left or known.resolve(name.rpartition(".")[0])))
    )
    if any(known.resolve(name) for name in names):
        names = tuple(name for name in names if "." in name or known.resolve(name))
    if names or not left:
        return names[:_MAX_NAMES], left
    if len(left) == 1 and (known.resolve(left[0]) or "_" in left[0].strip("_")):
        return left, ()
    if len(left) <= _MAX_JOINED:
        for joined in (".".join(left), ".".join(reversed(left))):
            if known.resolve(joined):
                return (joined,), ()
    return (), left


def _is_file(name: str) -> bool:
    return name.rpartition(".")[2] in _FILE_ENDINGS


def _explain(
    names: tuple[str, ...], left: tuple[str, ...], wording: Wording, history: Sequence[Earlier], known: Known
) -> Explain:
    argument = _argument(wording, left, known.parameters(names[0])) if len(names) == 1 else None
    if argument is not None:
        return Explain(names, Aspect.ARGUMENT, argument)
    aspect = wording.aspect
    if aspect is None and wording.goes_on and history:
        # "And json.loads?" asks of it what was asked before.
        before = make_plan(history[-1].text, history[-_MAX_BACK:-1], known)
        if isinstance(before, Explain) and before.aspect is not Aspect.ARGUMENT:
            aspect = before.aspect
    return Explain(names, aspect or Aspect.WHAT)


def _follow(wording: Wording, history: Sequence[Earlier], known: Known) -> Plan | None:
    """The plan for a question about what was spoken of last; None if it is not about that."""
    topic = _topic(history, known)
    argument = _argument(wording, wording.left, known.parameters(topic) if topic else ())
    if wording.left and not (isinstance(argument, str) and len(wording.left) == 1):
        return None
    if wording.aspect is None and argument is None and not wording.refers:
        return Talk("help")
    if topic is None:
        return Talk("no topic")
    if argument is not None:
        return Explain((topic,), Aspect.ARGUMENT, argument, follows=True)
    return Explain((topic,), wording.aspect or Aspect.WHAT, follows=True)


def _argument(wording: Wording, left: tuple[str, ...], parameters: Sequence[str]) -> int | str | None:
    if wording.argument is not None or wording.place is not None:
        return wording.argument or wording.place
    return left[0] if len(left) == 1 and left[0] in parameters else None


def _topic(history: Sequence[Earlier], known: Known) -> str | None:
    """What was spoken of last: the headline of the last answer that has one, else what its question named."""
    for exchange in reversed(history):
        if isinstance(exchange.answer, str):
            for name in _HEADLINE.findall(exchange.answer):
                if known.resolve(name):
                    return str(name)
        elif exchange.answer is None:
            names, _ = _names(read_wording(exchange.text[:_MAX_CHARACTERS]), known)
            for name in names:
                if known.resolve(name):
                    return name
    return None
