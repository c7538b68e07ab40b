"""Writes answers: pages that the tools read become light Markdown. Pure.

Every sentence is either quoted from a page, with where it stands, or says what was looked for and what is not there.
Nothing is told that is not on a page. The headline of an answer (``### `name…``) is what a follow-up refers to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .index import Statistics
from .tools import Excerpt, Found, HitData, Inside, Page, Parameter

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

# A docstring of this length is read at a glance, the rest on demand; "tell me more" gives at most the second number.
_QUOTED_LINES, _MAX_QUOTED_LINES = 10, 80
_MAX_HEADLINE = 120
_MAX_LISTED, _MAX_ARGUMENTS = 6, 20
# Chosen on questions that have no answer in any Python documentation: score times coverage of the best module was at most
# 1.8 for nonsense, and from 2 on for questions that have one.
_NOTHING_BELOW, _UNSURE_COVERAGE = 2.5, 0.5

_KINDS = {"positional": "positional only", "either": "", "*": "any number more", "keyword": "by keyword only", "**": "any other keywords"}


def explained(page: Page, *, whole: bool = False, asked: str = "") -> str:
    """What a thing does: signature, the beginning of its docstring (or all of it), where it stands, arguments, related."""
    doc = page["doc"][:_MAX_QUOTED_LINES] if whole else _beginning(page["doc"])
    parts = [_headline(page), *_same(page, asked), *_quoted(page, doc), _file(page)]
    left = page["doc_lines"] - len(doc)
    if left > 0:
        parts[-1] += f" · {left} more lines of documentation" + ("." if whole else "; ask for more.")
    if page["deprecated"]:
        parts.append(f"Module `{page['module']}` is **deprecated**: importing it warns of its removal.")
    if page["parameters"] and not whole:
        parts.append("**Arguments**\n\n" + _parameter_list(page["parameters"]))
    if page["kind"] in ("module", "class") and page["members"]:
        parts.append(_listed("In it", page["members"][:_MAX_LISTED], page["member_count"]))
    elif page["related"]:
        parts.append(_listed("See also", page["related"]))
    return _joined(parts)


def arguments(page: Page, *, asked: str = "") -> str:
    """All arguments of a thing, with what its docstring says of each."""
    parts = [_headline(page), *_same(page, asked)]
    if not page["parameters"]:
        parts.append(_no_arguments(page))
        parts += _quoted(page, page["doc"][:2])
    else:
        parts.append(_parameter_list(page["parameters"]))
        for parameter in page["parameters"][:_MAX_ARGUMENTS]:
            said = _mention(page["doc"], parameter["name"])
            if said:
                parts.append(f"On `{parameter['name']}`:\n\n{_quote(said)}")
    return _joined([*parts, _file(page)])


def argument(page: Page, wanted: int | str, *, asked: str = "") -> str:
    """One argument: `wanted` is its name, or its place counted from 1, or -1 for the last."""
    listed = page["parameters"]
    number = next((n for n, p in enumerate(listed, 1) if p["name"] == wanted), 0)
    if isinstance(wanted, int) and 1 <= abs(wanted) <= len(listed):
        number = wanted if wanted > 0 else len(listed)
    if not number:
        which = f"argument {wanted}" if isinstance(wanted, int) else f"argument `{wanted}`"
        said = f"It has no {which}: there are {len(listed)}." if listed else _no_arguments(page)
        names = [_parameter_list(listed)] if listed else []
        return _joined([_headline(page), *_same(page, asked), said, *names, _file(page)])
    parameter = listed[number - 1]
    how = _KINDS[parameter["kind"]]
    shown = _starred(parameter)
    facts = [f"Argument {number} of {len(listed)} is `{shown}`" + (f", {how}" if how else "")]
    if parameter["annotation"]:
        facts.append(f"it is annotated `{parameter['annotation']}`")
    if parameter["default"]:
        facts.append(f"its default is `{parameter['default']}`")
    elif parameter["kind"] not in ("*", "**"):
        facts.append("it has no default")
    said_of_it = _mention(page["doc"], parameter["name"])
    quoted = _quote(said_of_it) if said_of_it else "Its docstring does not speak of it by name."
    return _joined([_headline(page), *_same(page, asked), "; ".join(facts) + ".", quoted, _file(page)])


def returned(page: Page, excerpt: Excerpt | None, *, asked: str = "") -> str:
    """What calling a thing gives: annotation, docstring, and the return statements of its source if it has any."""
    parts = [_headline(page), *_same(page, asked)]
    if page["kind"] == "class":
        parts.append(f"It is a class: calling it gives a new `{page['name']}`.")
    elif page["kind"] in ("module", "constant"):
        parts.append(f"It is {_a(page)} and cannot be asked what it returns.")
    if page["returns"]:
        parts.append(f"It is annotated to return `{page['returns']}`.")
    said = _mention(page["doc"], r"\s*(?:Returns?|Yields?)", first=True) or _mention(page["doc"], "returns?|yields?")
    if said:
        parts.append(f"Its docstring says:\n\n{_quote(said)}")
    if excerpt is not None and page["kind"] not in ("class", "module", "constant"):
        lines = [f"- line {n}: `{code}`" for n, code in zip(excerpt["return_lines"], excerpt["returns"], strict=True)]
        if lines:
            parts.append("Its source returns here:\n\n" + "\n".join(lines[:_MAX_LISTED]))
        else:
            parts.append("Its source has no `return` with a value.")
    elif not said and not page["returns"] and page["kind"] not in ("class", "module", "constant"):
        parts.append("Its documentation does not say, and it is written in C, so there is no source to read here.")
    return _joined([*parts, _file(page)])


def where(page: Page, *, asked: str = "") -> str:
    """Where a thing is defined."""
    if page["origin"] == "built-in":
        home = page["true_name"].partition(".")[0]
        said = f"It is written in C, in the built-in module `{home}`: there is no Python file to look into."
    else:
        said = f"It is defined in line {page['line']} of `{page['file']}`, in the {_place(page)}."
        if page["true_name"] != page["name"]:
            said += f" There its name is `{page['true_name']}`."
    return _joined([_headline(page), *_same(page, asked), said, _file(page)])


def sourced(page: Page, excerpt: Excerpt | None, *, asked: str = "") -> str:
    """The source text of a thing."""
    if excerpt is None:
        return where(page, asked=asked)
    fence = "````" if "```" in excerpt["code"] else "```"
    shown = f"Lines {excerpt['first']} to {excerpt['last']} of `{excerpt['file']}`"
    if excerpt["last"] < excerpt["end"]:
        shown += f"; it goes on to line {excerpt['end']}"
    code = f"{fence}python\n{excerpt['code']}\n{fence}"
    return _joined([_headline(page), *_same(page, asked), shown + ":", code, _file(page)])


def example(page: Page, *, asked: str = "") -> str:
    """The interactive examples in a docstring."""
    lines = _examples(page["doc"])
    parts = [_headline(page), *_same(page, asked)]
    if lines:
        parts.append("From its docstring:\n\n```python\n" + "\n".join(lines) + "\n```")
    else:
        parts.append("Its docstring has no interactive example." if page["doc"] else "It has no docstring.")
        parts += _quoted(page, _beginning(page["doc"])) if page["doc"] else []
    return _joined([*parts, _file(page)])


def members(page: Page, *, asked: str = "") -> str:
    """What is in a module or class."""
    parts = [_headline(page), *_same(page, asked), *_quoted(page, page["doc"][:1])]
    if page["members"]:
        parts.append(_listed("In it", page["members"], page["member_count"]))
    else:
        parts.append(f"It is {_a(page)}; there is nothing public in it.")
    return _joined([*parts, _file(page)])


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
        first = f"I am not sure. Module `{best['name']}` comes nearest, but it does not speak of {_words(result['missing'])}."
    doc = _beginning(page["doc"])
    parts = [first, _headline(page), *_quoted(page, doc), _file(page)]
    if page["deprecated"]:
        parts.append(f"Module `{page['module']}` is **deprecated**: importing it warns of its removal.")
    beside = [i for i in best["inside"] if i["name"] != page["name"]]
    if page["kind"] != "module" and best["summary"]:
        parts.insert(1, f"> {best['summary']}")
    if beside:
        parts.append(_listed(f"Also in `{best['name']}`", beside))
    near = [h for h in others if h["score"] >= best["score"] / 2]
    if near:
        parts.append(_listed("Other modules", near))
    return _joined(parts)


def nothing_found(query: str, result: Found, statistics: Statistics) -> str:
    """The honest answer to a question in plain words that nothing fits."""
    parts = ["I found nothing on that in the Python documentation that is installed here, and I do not guess."]
    if not query.isascii():
        parts.append("I understand English; a name such as `json.dumps` works in any language.")
    elif result["hits"]:
        parts.append(f"Nothing that I have speaks of {_words(result['missing'])} in one place with the rest.")
    return _joined([*parts, _what_i_know(statistics)])


def unknown(name: str, result: Found, statistics: Statistics) -> str:
    """The honest answer about a name that does not exist."""
    parts = [f"I cannot find `{name}`: neither the standard library nor a package installed here has that name."]
    top = name.partition(".")[0]
    if top in statistics.left_out:
        parts = [f"I cannot find `{name}`. I did not read {statistics.left_out[top]} modules of `{top}`: it is too large."]
    if result["place"]:
        parts.append(f"There is `{result['place']}`, but nothing of that name in it.")
    if result["similar"]:
        parts.append("Spelt nearly like it: " + ", ".join(f"`{n}`" for n in result["similar"]) + ".")
    return _joined(parts)


def changed(name: str, reason: str) -> str:
    """The honest answer about a thing whose file is not what it was."""
    return _joined([f"I cannot quote `{name}`: {reason}. I read the sources when this node started."])


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
    return _joined([first, _what_i_know(statistics), "Ask, for example:\n\n" + "\n".join(f"- {a}" for a in asks), then])


def pieces(text: str) -> Iterator[str]:
    """A text in the pieces in which it is streamed: lines, with the blank lines that follow them. Joined they are it."""
    yield from re.findall(r"[^\n]*\n+|[^\n]+\Z", text)


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(page: Page) -> str:
    signature = page["signature"]
    if len(signature) > _MAX_HEADLINE:
        signature = signature[:_MAX_HEADLINE].rpartition(",")[0] + ", …)"
    kind = "" if page["kind"] in ("function", "method") else f" ({'constant' if page['kind'] == 'data' else page['kind']})"
    return f"### `{signature}`{kind}"


def _same(page: Page, asked: str) -> list[str]:
    return [f"`{asked}` is another name of it."] if asked and asked.lower() != page["name"].lower() and "." in asked else []


def _quoted(page: Page, lines: Sequence[str]) -> list[str]:
    """The lines of a docstring; for a thing without one, that there is none, and its value if it is a constant."""
    if lines:
        return [_quote(lines)]
    if page["code"]:
        return [f"It has no docstring. It is set to:\n\n```python\n{page['code']}\n```"]
    return ["It has no docstring."]


def _quote(lines: Sequence[str]) -> str:
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _beginning(doc: Sequence[str]) -> list[str]:
    """The first lines of a docstring, up to an example, and not cut inside a paragraph if that can be."""
    example = next((n for n, line in enumerate(doc) if line.lstrip().startswith(">>>") and n > 0), len(doc))
    lines = list(doc[: min(example, _QUOTED_LINES)])
    if len(lines) < len(doc) and doc[len(lines)].strip() and "" in lines[1:]:
        lines = lines[: len(lines) - 1 - lines[::-1].index("")]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _mention(doc: Sequence[str], word: str, *, first: bool = False) -> list[str]:
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


def _examples(doc: Sequence[str]) -> list[str]:
    """The doctest blocks of a docstring, each with its output."""
    lines: list[str] = []
    inside = False
    for line in doc:
        inside = line.lstrip().startswith(">>>") or (inside and bool(line.strip()))
        if inside:
            lines.append(line)
    return lines[:_MAX_QUOTED_LINES]


def _starred(parameter: Parameter) -> str:
    return (parameter["kind"] if parameter["kind"] in ("*", "**") else "") + parameter["name"]


def _parameter_list(parameters: Sequence[Parameter]) -> str:
    lines = []
    for number, parameter in enumerate(parameters[:_MAX_ARGUMENTS], 1):
        default = f" = `{parameter['default']}`" if parameter["default"] else ""
        how = f", {_KINDS[parameter['kind']]}" if _KINDS[parameter["kind"]] else ""
        lines.append(f"{number}. `{_starred(parameter)}`{default}{how}")
    if len(parameters) > _MAX_ARGUMENTS:
        lines.append(f"{_MAX_ARGUMENTS + 1}. … and {len(parameters) - _MAX_ARGUMENTS} more")
    return "\n".join(lines)


def _no_arguments(page: Page) -> str:
    if page["kind"] in ("module", "constant", "property"):
        return f"It is {_a(page)} and takes no arguments."
    if page["origin"] == "built-in" and "(" not in page["signature"]:
        return "It is written in C, and the interpreter does not tell its arguments."
    return "It takes no arguments."


def _listed(title: str, things: Sequence[Inside | HitData], count: int = 0) -> str:
    lines = [f"- `{t['name']}`" + (f": {t['summary']}" if t["summary"] else "") for t in things]
    if count > len(things):
        lines.append(f"- … and {count - len(things)} more")
    return f"**{title}**\n\n" + "\n".join(lines)


def _file(page: Page) -> str:
    if page["origin"] == "built-in":
        return f"File: built-in module `{page['true_name'].partition('.')[0]}`"
    decorated = f", decorated from line {page['decorated']}" if page["decorated"] else ""
    return f"File: `{page['file']}:{page['line']}` ({_place(page)}{decorated})"


def _place(page: Page) -> str:
    return "standard library" if page["origin"] == "standard library" else f"installed package `{page['file'].partition('/')[0]}`"


def _a(page: Page) -> str:
    return {"module": "a module", "constant": "a constant", "class": "a class", "property": "a property"}.get(page["kind"], f"a {page['kind']}")


def _words(missing: Sequence[str]) -> str:
    return ", ".join(f"“{word}”" for word in missing[:_MAX_LISTED]) or "all of it"


def _what_i_know(statistics: Statistics) -> str:
    return (
        "I answer questions about Python from the documentation of its standard library and of the packages installed here: "
        f"{statistics.entries:,} names in {statistics.modules:,} modules, each quoted with file and line."
    )
