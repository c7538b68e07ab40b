"""What the tools give: plain JSON data with names for its parts. Knows nothing but that."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["Excerpt", "Found", "HitData", "Inside", "Page", "Parameter"]


class Inside(TypedDict):
    """Something inside a module that was found, or a member of what was opened."""

    name: str
    kind: str
    summary: str


class HitData(Inside):
    """What a search found. `file` is relative to its root, and empty for what is written in C; `line` then is 0."""

    score: float
    coverage: float
    file: str
    line: int
    inside: list[Inside]


class Found(TypedDict):
    """The result of `search`.

    `missing` are the words of the query that the best hit does not speak of. Where a name does not exist, `place` is
    what it was looked for in, or empty if that does not exist either, and `similar` are names that are spelt nearly so.
    """

    hits: list[HitData]
    missing: list[str]
    place: str
    similar: list[str]


class Parameter(TypedDict):
    """One parameter: `kind` is ``positional``, ``either``, ``*``, ``keyword`` or ``**``; the texts may be empty."""

    name: str
    kind: str
    default: str
    annotation: str


class Page(TypedDict):
    """The result of `open`: what stands about a thing in its own source.

    `signature` begins with its name. `doc` are lines of the docstring without indentation, `doc_lines` how many there
    are in all, `doc_of` whose docstring it is if not its own. `decorated` is the line of its first decorator, or 0.
    `c_version` is what runs in place of this Python version, `c_doc` the first paragraph of its docstring if that
    begins differently. `code` is how a constant is set, else empty.
    """

    name: str
    true_name: str
    kind: str
    signature: str
    parameters: list[Parameter]
    returns: str
    doc: list[str]
    doc_lines: int
    doc_of: str
    c_version: str
    c_doc: list[str]
    origin: str
    module: str
    module_summary: str
    file: str
    line: int
    decorated: int
    deprecated: bool
    code: str
    members: list[Inside]
    member_count: int
    related: list[Inside]


class Excerpt(TypedDict):
    """The result of `source`: lines `first` to `last` of a file, and the ``return`` statements among all its lines."""

    name: str
    file: str
    first: int
    last: int
    end: int
    code: str
    returns: list[str]
    return_lines: list[int]
