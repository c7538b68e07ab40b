"""Writes answers: pages that the tools read become light Markdown. Pure.

Every sentence is either quoted from a page, with where it stands, or says what was looked for and what is not there.
Nothing is told that is not on a page. The headline of an answer (``### `name…``) is what a follow-up refers to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .index import Statistics
from .markdown import (
    KINDS,
    MAX_ARGUMENTS,
    MAX_LISTED,
    MAX_QUOTED_LINES,
    beginning,
    examples,
    file_line,
    headline,
    joined,
    listed,
    mention,
    no_arguments,
    parameter_list,
    place,
    quote,
    quoted,
    same,
    starred,
    what_i_know,
    word_list,
)
from .pages import Excerpt, Found, Page

__all__ = [
    "argument",
    "arguments",
    "changed",
    "example",
    "explained",
    "found",
    "members",
    "nothing_found",
    "pieces",
    "returned",
    "sourced",
    "talk",
    "trust",
    "unknown",
    "where",
]

# Chosen on questions that have no answer in any Python documentation: score times coverage of the best module was at
# most 1.8 for nonsense, and from 2 on for questions that have one.
_NOTHING_BELOW, _UNSURE_COVERAGE = 2.5, 0.5


def explained(page: Page, *, whole: bool = False, asked: str = "") -> str:
    """What a thing does: signature, the docstring or its beginning, where it stands, arguments, what is near it."""
    doc = page["doc"][:MAX_QUOTED_LINES] if whole else beginning(page["doc"])
    parts = [headline(page), *same(page, asked), *quoted(page, doc), file_line(page)]
    left = page["doc_lines"] - len(doc)
    if left > 0:
        parts[-1] += f" · {left} more lines of documentation" + ("." if whole else "; ask for more.")
    if page["c_doc"]:
        parts.append(f"`{page['c_version']}` says of itself:\n\n{quote(page['c_doc'])}")
    if page["deprecated"]:
        parts.append(f"Module `{page['module']}` is **deprecated**: importing it warns of its removal.")
    if page["parameters"] and not whole:
        parts.append("**Arguments**\n\n" + parameter_list(page["parameters"]))
    if page["kind"] in ("module", "class") and page["members"]:
        parts.append(listed("In it", page["members"][:MAX_LISTED], page["member_count"]))
    elif page["related"]:
        parts.append(listed("See also", page["related"]))
    return joined(parts)


def arguments(page: Page, *, asked: str = "") -> str:
    """All arguments of a thing, with what its docstring says of each."""
    parts = [headline(page), *same(page, asked)]
    if not page["parameters"]:
        parts.append(no_arguments(page))
        parts += quoted(page, page["doc"][:2])
    else:
        parts.append(parameter_list(page["parameters"]))
        for parameter in page["parameters"][:MAX_ARGUMENTS]:
            said = mention(page["doc"], parameter["name"])
            if said:
                parts.append(f"On `{parameter['name']}`:\n\n{quote(said)}")
    return joined([*parts, file_line(page)])


def argument(page: Page, wanted: int | str, *, asked: str = "") -> str:
    """One argument: `wanted` is its name, or its place counted from 1, or -1 for the last."""
    listed = page["parameters"]
    number = next((n for n, p in enumerate(listed, 1) if p["name"] == wanted), 0)
    if isinstance(wanted, int) and 1 <= abs(wanted) <= len(listed):
        number = wanted if wanted > 0 else len(listed)
    if not number:
        which = f"argument {wanted}" if isinstance(wanted, int) else f"argument `{wanted}`"
        said = f"It has no {which}: there are {len(listed)}." if listed else no_arguments(page)
        names = [parameter_list(listed)] if listed else []
        return joined([headline(page), *same(page, asked), said, *names, file_line(page)])
    parameter = listed[number - 1]
    how = KINDS[parameter["kind"]]
    shown = starred(parameter)
    facts = [f"Argument {number} of {len(listed)} is `{shown}`" + (f", {how}" if how else "")]
    if parameter["annotation"]:
        facts.append(f"it is annotated `{parameter['annotation']}`")
    if parameter["default"]:
        facts.append(f"its default is `{parameter['default']}`")
    elif parameter["kind"] not in ("*", "**"):
        facts.append("it has no default")
    said_of_it = mention(page["doc"], parameter["name"])
    quoted = quote(said_of_it) if said_of_it else "Its docstring does not speak of it by name."
    return joined([headline(page), *same(page, asked), "; ".join(facts) + ".", quoted, file_line(page)])


def returned(page: Page, excerpt: Excerpt | None, *, asked: str = "") -> str:
    """What calling a thing gives: annotation, docstring, and the return statements of its source if it has any."""
    parts = [headline(page), *same(page, asked)]
    if page["kind"] == "class":
        parts.append(f"It is a class: calling it gives a new `{page['name']}`.")
    elif page["kind"] in ("module", "constant"):
        parts.append(f"It is a {page['kind']} and cannot be asked what it returns.")
    if page["returns"]:
        parts.append(f"It is annotated to return `{page['returns']}`.")
    said = _return_said(page["doc"])
    if said:
        parts.append(f"Its docstring says:\n\n{quote(said)}")
    if excerpt is not None and page["kind"] not in ("class", "module", "constant"):
        lines = [f"- line {n}: `{code}`" for n, code in zip(excerpt["return_lines"], excerpt["returns"], strict=True)]
        if lines:
            parts.append("Its source returns here:\n\n" + "\n".join(lines[:MAX_LISTED]))
        else:
            parts.append("Its source has no `return` with a value.")
    elif not said and not page["returns"] and page["kind"] not in ("class", "module", "constant"):
        parts.append("Its documentation does not say, and it is written in C, so there is no source to read here.")
    return joined([*parts, file_line(page)])


def _return_said(doc: list[str]) -> list[str]:
    """What a docstring says of the result. A mere "return" further down is about something else as often as not."""
    first = doc[: doc.index("")] if "" in doc else doc
    says = mention(doc, r"\s*(?:Returns?|Yields?|The return value)", first=True) or mention(doc, "Returns?|Yields?")
    return says or mention(first, "returns?|yields?")


def where(page: Page, *, asked: str = "") -> str:
    """Where a thing is defined."""
    if page["origin"] == "built-in":
        home = page["true_name"].partition(".")[0]
        said = f"It is written in C, in the built-in module `{home}`: there is no Python file to look into."
    else:
        said = f"It is defined in line {page['line']} of `{page['file']}`, in the {place(page)}."
        if page["true_name"] != page["name"]:
            said += f" There its name is `{page['true_name']}`."
    return joined([headline(page), *same(page, asked), said, file_line(page)])


def sourced(page: Page, excerpt: Excerpt | None, *, asked: str = "") -> str:
    """The source text of a thing."""
    if excerpt is None:
        return where(page, asked=asked)
    fence = "````" if "```" in excerpt["code"] else "```"
    shown = f"Lines {excerpt['first']} to {excerpt['last']} of `{excerpt['file']}`"
    if excerpt["last"] < excerpt["end"]:
        shown += f"; it goes on to line {excerpt['end']}"
    code = f"{fence}python\n{excerpt['code']}\n{fence}"
    return joined([headline(page), *same(page, asked), shown + ":", code, file_line(page)])


def example(page: Page, *, asked: str = "") -> str:
    """The interactive examples in a docstring."""
    lines = examples(page["doc"])
    parts = [headline(page), *same(page, asked)]
    if lines:
        parts.append("From its docstring:\n\n```python\n" + "\n".join(lines) + "\n```")
    else:
        parts.append("Its docstring has no interactive example." if page["doc"] else "It has no docstring.")
        parts += quoted(page, beginning(page["doc"])) if page["doc"] else []
    return joined([*parts, file_line(page)])


def members(page: Page, *, asked: str = "") -> str:
    """What is in a module or class."""
    parts = [headline(page), *same(page, asked), *quoted(page, page["doc"][:1])]
    if page["members"]:
        parts.append(listed("In it", page["members"], page["member_count"]))
    else:
        parts.append(f"It is a {page['kind']}; there is nothing public in it.")
    return joined([*parts, file_line(page)])


def trust(result: Found) -> str:
    """How far the best hit of a search may be trusted: ``nothing``, ``unsure`` or ``sure``."""
    best = result["hits"][0] if result["hits"] else None
    if best is None or best["score"] * best["coverage"] < _NOTHING_BELOW:
        return "nothing"
    return "sure" if best["coverage"] >= _UNSURE_COVERAGE else "unsure"


def found(result: Found, page: Page) -> str:
    """What fits a question in plain words best: `page` is the module or the thing in it that was opened."""
    best, others = result["hits"][0], result["hits"][1:]
    if trust(result) == "sure":
        first = f"Module `{best['name']}` fits best."
    else:
        missing = word_list(result["missing"])
        first = f"I am not sure. Module `{best['name']}` comes nearest, but it does not speak of {missing}."
    doc = beginning(page["doc"])
    parts = [first, headline(page), *quoted(page, doc), file_line(page)]
    if page["deprecated"]:
        parts.append(f"Module `{page['module']}` is **deprecated**: importing it warns of its removal.")
    beside = [i for i in best["inside"] if i["name"] != page["name"]]
    if page["kind"] != "module" and best["summary"]:
        parts.insert(1, f"> {best['summary']}")
    if beside:
        parts.append(listed(f"Also in `{best['name']}`", beside))
    near = [h for h in others if h["score"] >= best["score"] / 2]
    if near:
        parts.append(listed("Other modules", near))
    return joined(parts)


def nothing_found(query: str, result: Found, statistics: Statistics) -> str:
    """The honest answer to a question in plain words that nothing fits."""
    parts = ["I found nothing on that in the Python documentation that is installed here, and I do not guess."]
    if not query.isascii():
        parts.append("I understand English; a name such as `json.dumps` works in any language.")
    elif result["hits"]:
        parts.append(f"Nothing that I have speaks of {word_list(result['missing'])} in one place with the rest.")
    return joined([*parts, what_i_know(statistics)])


def unknown(name: str, result: Found, statistics: Statistics) -> str:
    """The honest answer about a name that does not exist."""
    parts = [f"I cannot find `{name}`: neither the standard library nor a package installed here has that name."]
    top = name.partition(".")[0]
    if top in statistics.left_out:
        number = statistics.left_out[top]
        parts = [f"I cannot find `{name}`. I did not read {number} modules of `{top}`: it is too large."]
    elif top in statistics.missing:
        parts = [
            f"I cannot read `{name}`. Module `{top}` belongs to the standard library, but this Python was built without"
            " it, or it is written in C and importing it would do more than make its names."
        ]
    if result["place"]:
        parts.append(f"There is `{result['place']}`, but nothing of that name in it.")
    if result["similar"]:
        parts.append("Spelt nearly like it: " + ", ".join(f"`{n}`" for n in result["similar"]) + ".")
    return joined(parts)


def changed(name: str, reason: str) -> str:
    """The honest answer about a thing whose file is not what it was."""
    return joined([f"I cannot quote `{name}`: {reason}. I read the sources when this node started."])


def talk(about: str, statistics: Statistics) -> str:
    """The answer where there is nothing to look up."""
    first = {
        "greeting": "Hello. I am the librarian.",
        "thanks": "You are welcome.",
        "help": "I am the librarian.",
        "nothing asked": "There was no question in that.",
        "no topic": "I do not know what that refers to: nothing was explained in this conversation yet.",
    }[about]
    if about == "thanks":
        return first
    asks = (
        "What does json.dumps do?",
        "which module parses csv files?",
        "how do I run another program and read its output?",
    )
    then = "After an answer: its second argument? What does it return? Where is it defined? Show me the source."
    return joined([first, what_i_know(statistics), "Ask, for example:\n\n" + "\n".join(f"- {a}" for a in asks), then])


def pieces(text: str) -> Iterator[str]:
    """The pieces in which a text is streamed: lines with the blank lines after them. Joined they are the text."""
    yield from re.findall(r"[^\n]*\n+|[^\n]+\Z", text)
