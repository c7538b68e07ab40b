"""The librarian's tools: `search`, `open` and `source`. Each does its work anew on the files as they are now.

Plain, blocking functions that give JSON data, so that an agent can call them in a thread and show what they gave. They
know the index and the files; nothing of questions, answers or agents.
"""

from __future__ import annotations

import ast
import difflib
import textwrap
import tokenize
from typing import TypedDict

from .entries import Entry
from .index import Index
from .reading import Definition
from .search import ModuleHit, Search
from .words import stem, words

__all__ = ["Excerpt", "Found", "HitData", "Inside", "Page", "Parameter", "SourceChanged", "Tools"]

# A page quotes from the docstring and a person asks for more; the longest (a module's) has 900 lines.
_MAX_DOC_LINES = 200
_MAX_SOURCE_LINES, _MAX_RETURN = 80, 100
_MAX_HITS, _MAX_INSIDE = 4, 4
_MAX_MEMBERS, _MAX_RELATED = 40, 4


class SourceChanged(Exception):
    """A file is no longer what the index was built from: it was edited, moved or removed since the node started."""


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

    `missing` are the words of the query that the best hit does not speak of. Where a name does not exist, `place` is what
    it was looked for in, or empty if that does not exist either, and `similar` are names that are spelt nearly so.
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

    `signature` begins with its name. `doc` are lines of the docstring without indentation, `doc_lines` how many there are in
    all. `decorated` is the line of its first decorator, or 0. `code` is the header of a constant, else empty.
    """

    name: str
    true_name: str
    kind: str
    signature: str
    parameters: list[Parameter]
    returns: str
    doc: list[str]
    doc_lines: int
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


class Tools:
    """All tools over one index."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._search = Search(index)

    def search_name(self, name: str) -> Found:
        """What a name means, best first; if nothing, names spelt nearly like it."""
        exact = self.index.find(name)
        named = [exact] if exact is not None else []
        if "." not in name:
            named += [e for e in self.index.find_last(name) if e is not exact]
        hits = [_hit(e, 1.0, 1.0, []) for e in named[:_MAX_HITS]]
        if hits:
            return Found(hits=hits, missing=[], place="", similar=[])
        place = self.index.find(name.rpartition(".")[0])
        return Found(hits=[], missing=[], place=place.name if place else "", similar=self.index.similar(name))

    def search_words(self, query: str) -> Found:
        """The modules that fit plain words best, with what fits best inside each."""
        found = self._search.modules(query)[:_MAX_HITS]
        hits = [_module_hit(hit) for hit in found]
        spoken = {stem(word): word for word in words(query)}
        missing = [spoken.get(term, term) for term in found[0].missing] if found else []
        return Found(hits=hits, missing=missing, place="", similar=[])

    def open(self, name: str) -> Page:
        """Read what the source says about a thing.

        Raises:
            KeyError: there is no such thing.
            SourceChanged: its file is no longer what was indexed.
        """
        entry = self._entry(name)
        module = self.index.find(entry.module)
        members = [e for e in self.index.members(entry.name) if not e.name.rpartition(".")[2].startswith("_")]
        members = [e for e in members if e.kind != "constant"] or members
        # What is imported most stands first; then the order of the file, which is its author's.
        members.sort(key=lambda e: (e.kind == "module", -e.uses, e.line, e.name))
        page = Page(
            name=entry.name,
            true_name=entry.true_name,
            kind=entry.kind,
            signature=entry.name,
            parameters=[],
            returns="",
            doc=[],
            doc_lines=0,
            origin=entry.origin,
            module=entry.module,
            module_summary=module.summary if module is not None else "",
            file=entry.file,
            line=entry.line,
            decorated=0,
            deprecated=entry.deprecated,
            code="",
            members=[_inside(e) for e in members[:_MAX_MEMBERS]],
            member_count=len(members),
            related=self._related(entry),
        )
        if isinstance(entry.stands, Definition):
            self._read(entry, entry.stands, page)
        else:
            doc = entry.stands.doc
            page["code"] = entry.stands.value
            _sign(page, entry.stands.signature, method=entry.kind == "method")
            _quote(page, doc)
        return page

    def source(self, name: str) -> Excerpt:
        """The source text of a thing, cut after 80 lines.

        Raises:
            KeyError: there is no such thing, or it is written in C.
            SourceChanged: its file is no longer what was indexed.
        """
        entry = self._entry(name)
        if not isinstance(entry.stands, Definition):
            raise KeyError(f"{entry.name} is written in C and has no Python source")
        lines = _lines(entry)
        stands = entry.stands
        first, end = stands.first_line, stands.end_line
        last = min(end, first + _MAX_SOURCE_LINES - 1)
        returns = _returns(_parse(entry, lines[first - 1 : end])) if entry.kind != "module" else []
        above = first - (2 if lines[first - 1][:1] in (" ", "\t") else 1)  # an indented text is parsed with a line before it
        return Excerpt(
            name=entry.name,
            file=entry.file,
            first=first,
            last=last,
            end=end,
            code="\n".join(lines[first - 1 : last]),
            returns=[textwrap.shorten(ast.unparse(node), _MAX_RETURN, placeholder=" …") for node in returns],
            return_lines=[above + node.lineno for node in returns],
        )

    def _entry(self, name: str) -> Entry:
        entry = self.index.find(name)
        if entry is None:
            raise KeyError(f"there is no {name}; `search` gives the names that exist")
        return entry

    def _related(self, entry: Entry) -> list[Inside]:
        """Neighbours with a name like this one's, then things of the same name elsewhere in the standard library."""
        holder, _, last = entry.name.rpartition(".")
        beside = {e.name.rpartition(".")[2]: e for e in self.index.members(holder) if e.kind not in ("constant", "module")}
        beside.pop(last, None)
        near = [beside[name] for name in difflib.get_close_matches(last, sorted(beside), _MAX_RELATED, cutoff=0.5)]
        elsewhere = [e for e in self.index.find_last(last) if e.true_name != entry.true_name]
        wanted = [e for e in elsewhere if e.origin != "installed package" and e.kind == entry.kind != "method"]
        public = [e for e in (*near, *wanted[:2]) if not e.name.rpartition(".")[2].startswith("_")]
        return [_inside(e) for e in public[:_MAX_RELATED]]

    def _read(self, entry: Entry, stands: Definition, page: Page) -> None:
        lines = _lines(entry)
        if entry.kind == "constant":
            page["code"] = "\n".join(lines[stands.line - 1 : min(stands.end_line, stands.line + 7)])
            return
        if entry.kind == "module":
            body = _parse(entry, lines[: stands.doc_end]).body
            holder: ast.AST | None = ast.Module(body=body, type_ignores=[])
        else:
            header = _parse(entry, _header(lines, stands)).body
            while header and isinstance(header[0], ast.If):  # a method is read inside an `if 1:`
                header = header[0].body
            holder = header[0] if header else None
        named = getattr(holder, "name", stands.name.rpartition(".")[2])
        if named != stands.name.rpartition(".")[2] or holder is None:
            raise SourceChanged(f"{entry.file} has {named!r} in line {stands.line}, not {stands.name!r}, any more")
        page["decorated"] = stands.first_line if stands.first_line < stands.line else 0
        if isinstance(holder, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = holder.args
            result = f" -> {ast.unparse(holder.returns)}" if holder.returns else ""
            if entry.kind != "property":
                _sign(page, f"({ast.unparse(arguments)}){result}", method=entry.kind == "method")
        elif isinstance(holder, ast.ClassDef):
            maker = self.index.find(f"{entry.name}.__init__")
            if maker is not None and isinstance(maker.stands, Definition) and maker.origin == entry.origin:
                made = self.open(maker.name)
                page["signature"] = entry.name + made["signature"][len(maker.name) :].partition(" -> ")[0]
                page["parameters"] = made["parameters"]
        if isinstance(holder, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _quote(page, ast.get_docstring(holder) or "")


def _inside(entry: Entry) -> Inside:
    return Inside(name=entry.name, kind=entry.kind, summary=entry.summary)


def _hit(entry: Entry, score: float, coverage: float, inside: list[Inside]) -> HitData:
    return HitData(
        name=entry.name,
        kind=entry.kind,
        summary=entry.summary,
        score=round(score, 2),
        coverage=round(coverage, 2),
        file=entry.file,
        line=entry.line,
        inside=inside,
    )


def _module_hit(hit: ModuleHit) -> HitData:
    return _hit(hit.entry, hit.score, hit.coverage, [_inside(h.entry) for h in hit.inside[:_MAX_INSIDE]])


def _lines(entry: Entry) -> list[str]:
    try:
        with tokenize.open(entry.root / entry.file) as file:
            return file.read().split("\n")
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise SourceChanged(f"{entry.file} cannot be read any more: {error}") from error


def _header(lines: list[str], stands: Definition) -> list[str]:
    """The lines from ``def`` or ``class`` to the end of the docstring, or up to the body, as a whole statement."""
    if stands.doc_end:
        return lines[stands.line - 1 : stands.doc_end]
    header = lines[stands.line - 1 : stands.body_line]
    header[-1] = header[-1].encode()[: stands.body_column].decode() + "..."
    return header


def _parse(entry: Entry, lines: list[str]) -> ast.Module:
    text = "\n".join(lines)
    if lines and lines[0][:1] in (" ", "\t"):
        text = "if 1:\n" + text  # what is indented is a body
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise SourceChanged(f"{entry.file} reads differently around line {entry.line} than it did: {error}") from error


def _returns(tree: ast.Module) -> list[ast.Return]:
    """The ``return`` statements with a value in a function, but for those of functions inside it."""
    found: list[ast.Return] = []
    stack: list[tuple[ast.AST, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            depth += 1
        if depth > 1:
            continue
        if isinstance(node, ast.Return) and node.value is not None:
            found.append(node)
        stack.extend((child, depth) for child in ast.iter_child_nodes(node))
    return sorted(found, key=lambda node: node.lineno)


def _quote(page: Page, doc: str) -> None:
    lines = doc.rstrip().splitlines()
    page["doc"], page["doc_lines"] = lines[:_MAX_DOC_LINES], len(lines)


def _sign(page: Page, signature: str, *, method: bool) -> None:
    """Put a signature such as ``(self, a, *, b=1) -> str`` into a page, without the object itself."""
    try:
        tree = ast.parse(f"def f{signature}: ...").body[0]
    except SyntaxError:
        tree = None  # a C function may have defaults that are no Python, such as <unrepresentable>
    if not signature or not isinstance(tree, ast.FunctionDef):
        page["signature"] = page["name"] + signature
        return
    spec = tree.args
    for group in (spec.posonlyargs, spec.args):
        if method and group and group[0].arg in ("self", "cls"):
            del group[0]
            break
        if group:
            break
    page["returns"] = ast.unparse(tree.returns) if tree.returns else ""
    page["signature"] = f"{page['name']}({ast.unparse(spec)})" + (f" -> {page['returns']}" if page["returns"] else "")
    page["parameters"] = _parameters(spec)


def _parameters(spec: ast.arguments) -> list[Parameter]:
    def parameter(argument: ast.arg, kind: str, default: ast.expr | None) -> Parameter:
        return Parameter(
            name=argument.arg,
            kind=kind,
            default=ast.unparse(default) if default is not None else "",
            annotation=ast.unparse(argument.annotation) if argument.annotation else "",
        )

    ordered = [*((a, "positional") for a in spec.posonlyargs), *((a, "either") for a in spec.args)]
    defaults = [*([None] * (len(ordered) - len(spec.defaults))), *spec.defaults]
    found = [parameter(a, kind, d) for (a, kind), d in zip(ordered, defaults, strict=True)]
    if spec.vararg:
        found.append(parameter(spec.vararg, "*", None))
    found += [parameter(a, "keyword", d) for a, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)]
    if spec.kwarg:
        found.append(parameter(spec.kwarg, "**", None))
    return found
