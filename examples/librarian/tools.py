"""The librarian's tools: `search`, `open` and `source`. Each does its work anew on the files as they are now.

Plain, blocking functions that give JSON data, so that an agent can call them in a thread and show what they gave. They
know the index and the files; nothing of questions, answers or agents.
"""

from __future__ import annotations

import ast
import difflib
import textwrap

from .entries import Entry
from .index import Index
from .opening import definition_at, is_indented, parameters, parse, read_lines, returns, split_signature
from .pages import Excerpt, Found, HitData, Inside, Page
from .reading import Definition
from .search import ModuleHit, Search
from .words import stem, words

__all__ = ["Tools"]

# A page quotes from the docstring and a person asks for more; the longest (a module's) has 900 lines.
_MAX_DOC_LINES = 200
_MAX_SOURCE_LINES, _MAX_RETURN = 80, 100
_MAX_HITS, _MAX_INSIDE = 4, 4
_MAX_MEMBERS, _MAX_RELATED = 40, 4


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
            doc_of="",
            c_version=entry.c_version,
            c_doc=[],
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
            page["code"] = entry.stands.value
            _sign(page, entry.stands.signature, method=entry.kind == "method")
            _quote(page, entry.doc)
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
        lines = read_lines(entry)
        stands = entry.stands
        if entry.kind != "constant":
            definition_at(entry, stands, lines)
        first, end = stands.first_line, stands.end_line
        last = min(end, first + _MAX_SOURCE_LINES - 1)
        text = lines[first - 1 : end]
        ends = returns(parse(entry, text)) if entry.kind != "module" else []
        above = first - (2 if is_indented(text) else 1)
        return Excerpt(
            name=entry.name,
            file=entry.file,
            first=first,
            last=last,
            end=end,
            code="\n".join(lines[first - 1 : last]),
            returns=[textwrap.shorten(ast.unparse(node), _MAX_RETURN, placeholder=" …") for node in ends],
            return_lines=[above + node.lineno for node in ends],
        )

    def _entry(self, name: str) -> Entry:
        entry = self.index.find(name)
        if entry is None:
            raise KeyError(f"there is no {name}; `search` gives the names that exist")
        return entry

    def _related(self, entry: Entry) -> list[Inside]:
        """Neighbours with a name like this one's, then things of the same name elsewhere in the standard library."""
        holder, _, last = entry.name.rpartition(".")
        beside = {
            e.name.rpartition(".")[2]: e for e in self.index.members(holder) if e.kind not in ("constant", "module")
        }
        beside.pop(last, None)
        near = [beside[name] for name in difflib.get_close_matches(last, sorted(beside), _MAX_RELATED, cutoff=0.5)]
        elsewhere = [e for e in self.index.find_last(last) if e.true_name != entry.true_name]
        wanted = [e for e in elsewhere if e.origin != "installed package" and e.kind == entry.kind != "method"]
        public = [e for e in (*near, *wanted[:2]) if not e.name.rpartition(".")[2].startswith("_")]
        return [_inside(e) for e in public[:_MAX_RELATED]]

    def _read(self, entry: Entry, stands: Definition, page: Page) -> None:
        lines = read_lines(entry)
        if entry.kind == "constant":
            page["code"] = "\n".join(lines[stands.line - 1 : min(stands.end_line, stands.line + 7)])
            return
        holder = definition_at(entry, stands, lines)
        page["decorated"] = stands.first_line if stands.first_line < stands.line else 0
        if isinstance(holder, ast.FunctionDef | ast.AsyncFunctionDef) and entry.kind != "property":
            result = f" -> {ast.unparse(holder.returns)}" if holder.returns else ""
            _sign(page, f"({ast.unparse(holder.args)}){result}", method=entry.kind == "method")
        elif isinstance(holder, ast.ClassDef):
            maker = self.index.find(f"{entry.name}.__init__")
            if maker is not None and isinstance(maker.stands, Definition) and maker.origin == entry.origin:
                made = self.open(maker.name)
                page["signature"] = entry.name + made["signature"][len(maker.name) :].partition(" -> ")[0]
                page["parameters"] = made["parameters"]
        _quote(page, ast.get_docstring(holder) or entry.doc)
        page["doc_of"] = entry.doc_of
        if entry.c_doc.partition("\n")[0] != "".join(page["doc"][:1]):
            page["c_doc"] = entry.c_doc.partition("\n\n")[0].splitlines()


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


def _quote(page: Page, doc: str) -> None:
    lines = doc.rstrip().split("\n") if doc.strip() else []
    page["doc"], page["doc_lines"] = lines[:_MAX_DOC_LINES], len(lines)


def _sign(page: Page, signature: str, *, method: bool) -> None:
    """Put a signature such as ``(self, a, *, b=1) -> str`` into a page, without the object itself."""
    split = split_signature(signature, method=method)
    if split is None:
        page["signature"] = page["name"] + signature
        return
    spec, page["returns"] = split
    page["signature"] = f"{page['name']}({ast.unparse(spec)})" + (f" -> {page['returns']}" if page["returns"] else "")
    page["parameters"] = parameters(spec)
