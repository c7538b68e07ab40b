"""What English questions about Python look like: names, aspects and places of arguments in a text. Pure.

Knows neither what names exist nor what was said before; `plan` puts the three together.
"""

from __future__ import annotations

import enum
import re

__all__ = ["Aspect", "Wording", "read_wording"]

import attrs


class Aspect(enum.Enum):
    """What somebody wants to know of a named thing."""

    WHAT = "what it does"
    MORE = "its whole documentation"
    ARGUMENTS = "its arguments"
    ARGUMENT = "one of its arguments"
    RETURNS = "what it returns"
    WHERE = "where it is defined"
    SOURCE = "its source"
    EXAMPLE = "an example"
    MEMBERS = "what is in it"


@attrs.frozen
class Wording:
    """A text, taken apart.

    Attributes:
        names: what is written like a name: dotted, called or in backticks; in order, without repeats.
        aspect: what the text asks for, if it says so.
        place: of which argument it speaks, counted from 1; -1 for the last one.
        argument: the argument that it speaks of by name.
        left: the words that are neither names, nor part of what asks for an aspect, nor filling.
        refers: it has a pronoun that may stand for something said before.
        goes_on: it begins like a continuation ("and …").
        module_wanted: it asks for a module rather than for a way to do something.
    """

    names: tuple[str, ...]
    aspect: Aspect | None
    place: int | None
    argument: str | None
    left: tuple[str, ...]
    refers: bool
    goes_on: bool
    module_wanted: bool


_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
# In backticks, before a bracket, or with dots; not inside an address or a path.
_WRITTEN = re.compile(
    rf"`\s*({_NAME})\s*(?:\([^`]*\))?\s*`"
    rf"|(?<![\w./*@:-])({_NAME})\s?\((?:[^()\n]{{0,80}}\))?"
    r"|(?<![\w./*@:-])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?![\w/@:-])"
)
_ORDINALS = {
    **{w: n for n, w in enumerate("first second third fourth fifth sixth seventh eighth ninth tenth".split(), 1)},
    **{w: n for n, w in enumerate("1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th".split(), 1)},
    **{str(n): n for n in range(1, 21)},
    "last": -1,
}
_PARAMETER = r"(?:keyword |positional )?(?:arguments?|parameters?|params?|args?|options?)"
_PLACE = re.compile(rf"\b({'|'.join(_ORDINALS)})(?:\s+(?:one|{_PARAMETER}))?\b")
_NUMBERED = re.compile(rf"\b{_PARAMETER}\s+(?:number |no\.? ?|#)?(\d+)\b")
_NAMED = re.compile(
    rf"`(\w+)` {_PARAMETER}\b|\b{_PARAMETER} (?:called |named )?`(\w+)`|\b{_PARAMETER} (?:called|named) (\w+)\b"
)
# In order of preference; what a pattern matches is taken out of the text.
_ASPECTS = (
    (Aspect.WHERE, r"\bwhere\b|\b(?:which|what) (?:file|line)\b|\bwhich (?:module|package) is (?:it|that|this)\b"),
    (
        Aspect.RETURNS,
        r"\b(?:(?:what|which) (?:type|kind|sort)\b.* )?return(?:s|ed|ing)?\b|\bresult type\b|\bgives? back\b",
    ),
    (Aspect.EXAMPLE, r"\bexamples?\b"),
    (Aspect.SOURCE, r"\bsource(?: code)?\b|\bimplement(?:ation|ed)\b|\b(?:the|its) code\b"),
    (Aspect.ARGUMENTS, rf"\b{_PARAMETER}\b|\bsignature\b"),
    (
        Aspect.MEMBERS,
        r"\b(?:list )?(?:all )?(?:the )?(?:functions|methods|classes|members|contents)\b"
        r"(?=.*\b(?:in|of|does|has|have|there)\b)"
        r"|\bwhat(?: else)?(?: is|'s)(?: there)? in(?:side)?\b|\bcontains?\b",
    ),
    (Aspect.MORE, r"\b(?:more|details?|full|whole|rest|go on|continue)\b"),
)
_FILLING = frozenset(
    "a about all also am an and any are at be but can come comes could default defaults defined definition"
    " deprecated describe did do doc docs docstring documentation document documented does else exactly expect"
    " explain find for from full get give go good got has have he help her hey how i in inside is it it's its"
    " itself know let like librarian live lives located look many may me mean meaning means my name named need"
    " needs now of ok okay on one ones or out part please possible purpose python question quote read remind"
    " say says see she should show so some stand stands take takes tell than thank thanks that that's the their"
    " them then there these they this those to too understand up us use used useful uses using value values"
    " want was way we were what what's whats when where which who why will with work works would you your"
    " accept accepts function functions module modules method methods class classes package packages library"
    " libraries builtin builtins built call called if between difference not by as".split()
)
_PRONOUNS = frozenset("it its it's itself that this they them their these those he she one ones".split())
_GOES_ON = re.compile(r"\s*(?:and|what about|how about)\b", re.IGNORECASE)
_MODULE_WANTED = re.compile(r"\b(?:which|what|a|any) (?:\w+ )?(?:module|package|library)\b", re.IGNORECASE)


def read_wording(text: str) -> Wording:
    """Take a text apart. White space counts as one blank."""
    text = " ".join(text.split())
    names: list[str] = []
    argument: str | None = None
    if named := _NAMED.search(text):
        argument = next(filter(None, named.groups()))
        text = text.replace(named[0], " argument ", 1)
    for match in _WRITTEN.finditer(text):
        name = next(filter(None, match.groups()))
        if name not in names and re.search(r"\w\w|^\w$", name):  # "e.g." and "i.e." are no names
            names.append(name)
    rest = _WRITTEN.sub(" ", text)
    place, rest = _place(rest)
    aspect: Aspect | None = None
    for candidate, pattern in _ASPECTS:
        if re.search(pattern, rest, re.IGNORECASE):
            aspect = aspect or candidate
            rest = re.sub(pattern, " ", rest, flags=re.IGNORECASE)
    words = re.findall(r"\w+(?:'\w+)?", rest)
    return Wording(
        names=tuple(names),
        aspect=aspect,
        place=place,
        argument=argument,
        left=tuple(w for w in words if w.lower() not in _FILLING),
        refers=any(w.lower() in _PRONOUNS for w in words),
        goes_on=bool(_GOES_ON.match(text)),
        module_wanted=bool(_MODULE_WANTED.search(text)),
    )


def _place(text: str) -> tuple[int | None, str]:
    """Which argument a text speaks of, and the text without that."""
    lower = text.lower()
    if numbered := _NUMBERED.search(lower):
        return int(numbered[1]), lower.replace(numbered[0], " ", 1)
    placed = _PLACE.search(lower)
    # "The first line of a file" speaks of no argument; "the second?" and "its last argument" do.
    if placed and (
        re.search(_PARAMETER, placed[0])
        or not re.sub(r"\b(?:and|the|its|one|what|about|is)\b|\W", "", lower.replace(placed[0], "", 1))
    ):
        return _ORDINALS[placed[1]], lower.replace(placed[0], " ", 1)
    return None, text
