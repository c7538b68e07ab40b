"""Decides which things are public, under which name, and makes an `Entry` of each.

Knows what was read (`Names`); nothing of files' contents beyond it, of questions or of ranking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from .builtin import BuiltIn
from .names import Names, is_public
from .reading import Definition, Kind, Source
from .scan import Found, Origin

__all__ = ["Entry", "make_entries"]

# One line of a list on a phone holds about this many characters in two rows.
_MAX_SUMMARY = 160
_NOWHERE = Path()


class Entry(msgspec.Struct, frozen=True, eq=False, gc=False, kw_only=True):
    """One public thing: a module, class, function, method, property or constant.

    Attributes:
        name: the public name that programs use most.
        true_name: the module and name of its definition.
        module: the public name of the module that offers it; of a module, its own.
        root, file: where it stands: `file` is relative to `root`. What is written in C has an empty `file`.
        stands: where in the file, or what the interpreter tells of it.
        doc: its docstring without indentation.
        doc_of: the true name of what it has that docstring from, where its own source has none.
        c_version: what runs in place of it, where its module prefers a version written in C; and its docstring.
        uses: how often the files of other projects import it.
        deprecated: its module warns so on import.
    """

    name: str
    true_name: str
    module: str
    origin: Origin
    root: Path
    file: str
    stands: Definition | BuiltIn
    doc: str
    doc_of: str = ""
    c_version: str = ""
    c_doc: str = ""
    uses: int = 0
    deprecated: bool = False

    @property
    def kind(self) -> Kind:
        """What sort of thing it is."""
        return self.stands.kind

    @property
    def line(self) -> int:
        """The line of its ``def`` or ``class``, counted from 1; 0 for what is written in C."""
        return self.stands.line if isinstance(self.stands, Definition) else 0

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters, without that of the object itself."""
        names = self.stands.parameters
        return names[1:] if self.kind == "method" and names[:1] in (("self",), ("cls",)) else names

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring in one line, cut at 160 characters."""
        paragraph = " ".join(self.doc.partition("\n\n")[0].split())
        return paragraph if len(paragraph) <= _MAX_SUMMARY else paragraph[: _MAX_SUMMARY - 3].rstrip() + "..."


def make_entries(names: Names, found: Mapping[str, Found]) -> list[Entry]:
    """An entry for each public module, each thing that one exports, and the members of exported classes.

    Args:
        names: all that was read.
        found: module to the file that it was read from.
    """
    uses = _count_uses(names.sources.values())
    public = _public_names(names, uses)
    entries: list[Entry] = []
    for true_name, (module, name) in public.items():
        shown = f"{module}.{name}" if name else module
        kind = names.kind(true_name)
        entries.append(_entry(names, found, uses, true_name, shown, shown if kind == "module" else module))
        if kind == "class":
            for member, member_name in names.members(true_name):
                entries.append(_entry(names, found, uses, member_name, f"{shown}.{member}", module))
    return sorted(entries, key=lambda e: e.name)


def _public_names(names: Names, uses: Counter[str]) -> dict[str, tuple[str, str]]:
    """True name to the (module, name in it) that programs write: from where it is imported most."""
    # First the modules themselves: `os` exports the module `posixpath` under the name `path`.
    modules = {module: module for module in names.modules() if is_public(module)}
    exports = {module: list(names.exports(module)) for module in modules}
    for holder, offered in exports.items():
        for name, true_name in offered:
            known = modules.get(true_name)
            if known is not None and uses[f"{holder}.{name}"] > uses[known]:
                modules[true_name] = f"{holder}.{name}"

    def worth(true_name: str, module: str, name: str) -> tuple[bool, bool, int, int, bool, int, str]:
        elsewhere = true_name != f"{module}.{name}"
        renamed = true_name.rpartition(".")[2] != name
        # Nobody imports `builtins`, for everybody has it. And `os` is imported more than `collections.abc`, but nobody
        # imports `Mapping` from there.
        wanted_from = -uses[f"{module}.{name}"]
        return (module != "builtins", renamed, wanted_from, -uses[module], elsewhere, module.count("."), name)

    best = {true_name: (module, "") for true_name, module in modules.items()}
    for holder, offered in exports.items():
        module = modules[holder]
        for name, true_name in offered:
            if names.is_module(true_name):
                continue
            if true_name not in best or worth(true_name, module, name) < worth(true_name, *best[true_name]):
                best[true_name] = (module, name)
    return best


def _count_uses(sources: Iterable[Source]) -> Counter[str]:
    """How many imports name each thing. Those inside one project say nothing about others and do not count."""
    uses: Counter[str] = Counter()
    for source in sources:
        top = source.module.partition(".")[0]
        uses.update(name for name in source.uses if name.partition(".")[0] != top)
    return uses


def _entry(
    names: Names, found: Mapping[str, Found], uses: Counter[str], true_name: str, public: str, module: str
) -> Entry:
    public = public.removeprefix("builtins.")
    held = names.definition(true_name)
    source = held[0] if held else names.sources.get(true_name)
    if source is None:
        built_in = names.built_in[true_name]
        return Entry(
            name=public,
            true_name=true_name,
            module=module,
            origin="built-in",
            root=_NOWHERE,
            file="",
            stands=built_in,
            doc=built_in.doc,
            uses=uses[public],
        )
    stands = held[1] if held else source.itself
    c_version = names.c_version(true_name, module)
    doc, doc_of = (stands.doc, "") if stands.doc else names.borrowed_doc(true_name)
    return Entry(
        name=public,
        true_name=true_name,
        module=module,
        origin=found[source.module].origin,
        root=found[source.module].root,
        file=found[source.module].file,
        stands=stands,
        doc=doc,
        doc_of=doc_of,
        c_version=c_version,
        c_doc=names.built_in[c_version].doc if c_version else "",
        uses=uses[public],
        deprecated=names.is_deprecated(source.module),
    )
