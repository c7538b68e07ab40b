"""The building blocks of answers in light Markdown. Pure; knows pages and hits, not questions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .index import Statistics
from .pages import HitData, Inside, Page, Parameter

__all__ = [
    "KINDS",
    "MAX_ARGUMENTS",
    "MAX_LISTED",
    "MAX_QUOTED_LINES",
    "beginning",
    "examples",
    "file_line",
    "headline",
    "joined",
    "listed",
    "mention",
    "no_arguments",
    "parameter_list",
    "place",
    "quote",
    "quoted",
    "same",
    "starred",
    "what_i_know",
    "word_list",
]

# A docstring of this length is read at a glance, the rest on demand; "tell me more" gives at most the second number.
_QUOTED_LINES, MAX_QUOTED_LINES = 10, 80
# Two lines of a heading on a phone, about.
_MAX_HEADLINE = 120
MAX_LISTED, MAX_ARGUMENTS = 6, 20

KINDS = {
    "positional": "positional only",
    "either": "",
    "*": "any number more",
    "keyword": "by keyword only",
    "**": "any other keywords",
}
"""How a parameter of each kind is given, in words."""


def joined(parts: Sequence[str]) -> str:
    """The parts that are not empty, a blank line between them."""
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(page: Page) -> str:
    """The signature of a thing as a heading. A follow-up finds its topic by it."""
    signature = page["signature"]
    if len(signature) > _MAX_HEADLINE:
        # Whole arguments only, and the name in any case: a first argument may not end within the bound.
        kept = signature[:_MAX_HEADLINE].rpartition(",")[0]
        signature = f"{kept}, …)" if "(" in kept else signature.partition("(")[0] + "(…)"
    kind = "" if page["kind"] in ("function", "method") else f" ({page['kind']})"
    return f"### `{signature}`{kind}"


def same(page: Page, asked: str) -> list[str]:
    """That the full name which was asked for is another name of the thing, if it is."""
    other = "." in asked and asked.lower() != page["name"].lower()
    return [f"`{asked}` is another name of it."] if other else []


def quoted(page: Page, lines: Sequence[str]) -> list[str]:
    """The lines of a docstring; for a thing without one, that there is none, and its value if it is a constant."""
    if lines:
        lent = f"This docstring is that of `{page['doc_of']}`." if page["doc_of"] else ""
        made = "Its module puts this docstring together when it is imported."
        return [quote(lines), made if page["doc_of"] == page["true_name"] else lent]
    if page["code"]:
        return [f"It has no docstring. It is set to:\n\n```python\n{page['code']}\n```"]
    return ["It has no docstring."]


def quote(lines: Sequence[str]) -> str:
    """Lines as a block quotation, each as it is."""
    return "\n".join(f"> {line}".rstrip() for line in lines)


def beginning(doc: Sequence[str]) -> list[str]:
    """The first lines of a docstring, up to an example, and not cut inside a paragraph if that can be."""
    example = next((n for n, line in enumerate(doc) if line.lstrip().startswith(">>>") and n > 0), len(doc))
    lines = list(doc[: min(example, _QUOTED_LINES)])
    if len(lines) < len(doc) and doc[len(lines)].strip() and "" in lines[1:]:
        lines = lines[: len(lines) - 1 - lines[::-1].index("")]
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].strip() in ("Example:", "Examples:")):
        lines.pop()
    return lines


def mention(doc: Sequence[str], word: str, *, first: bool = False) -> list[str]:
    """The lines of the sentence in which a docstring first speaks of a word, or begins a line with it."""
    spoken = re.compile(("^" if first else r"(?<![\w.])") + rf"(?:{word})\b")
    at = next((n for n, line in enumerate(doc) if spoken.search(line)), None)
    if at is None:
        return []
    begin = at
    while begin > 0 and doc[begin - 1].strip() and not doc[begin - 1].rstrip().endswith((".", ":", ";")):
        begin -= 1
    last = at
    while last + 1 < len(doc) and doc[last + 1].strip() and not doc[last].rstrip().endswith((".", ";")):
        last += 1
    return list(doc[max(begin, at - 4) : min(last, at + 5) + 1])


def examples(doc: Sequence[str]) -> list[str]:
    """The doctest blocks of a docstring, each with its output."""
    lines: list[str] = []
    inside = False
    for line in doc:
        inside = line.lstrip().startswith(">>>") or (inside and bool(line.strip()))
        if inside:
            lines.append(line)
    return lines[:MAX_QUOTED_LINES]


def starred(parameter: Parameter) -> str:
    """The name of a parameter as it is declared."""
    return (parameter["kind"] if parameter["kind"] in ("*", "**") else "") + parameter["name"]


def parameter_list(parameters: Sequence[Parameter]) -> str:
    """A numbered list of parameters."""
    lines = []
    for number, parameter in enumerate(parameters[:MAX_ARGUMENTS], 1):
        default = f" = `{parameter['default']}`" if parameter["default"] else ""
        how = f", {KINDS[parameter['kind']]}" if KINDS[parameter["kind"]] else ""
        lines.append(f"{number}. `{starred(parameter)}`{default}{how}")
    if len(parameters) > MAX_ARGUMENTS:
        lines.append(f"{MAX_ARGUMENTS + 1}. … and {len(parameters) - MAX_ARGUMENTS} more")
    return "\n".join(lines)


def no_arguments(page: Page) -> str:
    """Why no arguments of a thing can be listed."""
    if page["kind"] in ("module", "constant", "property"):
        return f"It is a {page['kind']} and takes no arguments."
    if page["origin"] == "built-in" and "(" not in page["signature"]:
        return "It is written in C, and the interpreter does not tell its arguments."
    return "It takes no arguments."


def listed(title: str, things: Sequence[Inside | HitData], count: int = 0) -> str:
    """Things with their summaries under a title; `count` of them exist, if that is more than are given."""
    lines = [f"- `{t['name']}`" + (f": {t['summary']}" if t["summary"] else "") for t in things]
    if count > len(things):
        lines.append(f"- … and {count - len(things)} more")
    return f"**{title}**\n\n" + "\n".join(lines)


def file_line(page: Page) -> str:
    """Where a thing stands: ``File: `json/__init__.py:183` (standard library)``."""
    if page["origin"] == "built-in":
        return f"File: built-in module `{page['true_name'].partition('.')[0]}`"
    decorated = f", decorated from line {page['decorated']}" if page["decorated"] else ""
    runs = f"; the interpreter runs `{page['c_version']}`, written in C, in its place" if page["c_version"] else ""
    return f"File: `{page['file']}:{page['line']}` ({place(page)}{decorated}{runs})"


def place(page: Page) -> str:
    """What the file of a thing belongs to."""
    package = page["file"].partition("/")[0]
    return "standard library" if page["origin"] == "standard library" else f"installed package `{package}`"


def word_list(missing: Sequence[str]) -> str:
    """Words in quotation marks."""
    return ", ".join(f"“{word}”" for word in missing[:MAX_LISTED]) or "all of it"


def what_i_know(statistics: Statistics) -> str:
    """What answers are made from, in numbers."""
    return (
        "I answer questions about Python from the documentation of its standard library and of the packages installed"
        f" here: {statistics.entries:,} names in {statistics.modules:,} modules, each quoted with file and line."
    )
