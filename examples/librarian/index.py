"""Builds the index of everything that the librarian knows: what there is, under which name, and where it stands.

Sources are read and never imported, but for the C modules of the standard library. Knows nothing of questions, ranking
or agents. Building is plain, blocking work of a few seconds: callers put it in a thread. An index does not change once
it is built (its name cache apart, whose writes repeat each other), so any number of threads may read it.
"""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Iterable

import attrs

from .builtin import C_MODULES, BuiltIn, describe
from .entries import Entry, make_entries
from .names import Names, is_public
from .reading import Source
from .scan import Found, extension_modules, scan_installed, scan_standard_library
from .walking import read_source

__all__ = ["Index", "Statistics", "build_index"]


@attrs.frozen
class Statistics:
    """What was read and what was not.

    Attributes:
        unreadable: files that are no Python of this version (templates are shipped under such names).
        missing: modules of the standard library that were not read: this interpreter was built without them, or they
            are written in C and not safe to import.
        left_out: package to the number of its modules that were over the bounds of `scan_installed`.
    """

    entries: int
    modules: int
    files: int
    unreadable: tuple[str, ...]
    missing: tuple[str, ...]
    left_out: dict[str, int]


@attrs.define(eq=False)
class Index:
    """All entries, found by name.

    Attributes:
        entries: in the order of their names.
    """

    entries: list[Entry]
    statistics: Statistics
    _names: Names
    # Each name to places in `entries`: numbers are nothing to the garbage collector.
    _true: dict[str, int] = attrs.field(factory=dict, init=False)
    _public: dict[str, int] = attrs.field(factory=dict, init=False)
    _lower: dict[str, int] = attrs.field(factory=dict, init=False)
    _last: dict[str, tuple[int, ...]] = attrs.field(factory=dict, init=False)
    _held: dict[str, tuple[int, ...]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        # What programs import most stands first: that is what a name in the wrong case, or without its module, means.
        uses = {e.name: e.uses for e in self.entries if e.kind == "module"}
        uses["builtins"] = sum(uses.values())  # nobody imports it, for everybody has it
        worth = [(-uses.get(e.module, 0), e.name.count("."), e.kind, e.name) for e in self.entries]
        for place in sorted(range(len(worth)), key=worth.__getitem__):
            entry = self.entries[place]
            self._true.setdefault(entry.true_name, place)
            self._public.setdefault(entry.name, place)
            self._lower.setdefault(entry.name.lower(), place)
            holder, _, last = entry.name.rpartition(".")
            self._last[last] = (*self._last.get(last, ()), place)
            self._held[holder] = (*self._held.get(holder, ()), place)

    def find(self, name: str) -> Entry | None:
        """The entry that a program means by a name: its own, an imported or inherited one, or that of a built-in."""
        place = self._public.get(name)
        if place is None:
            true_name = self._names.find(name) or self._names.find(f"builtins.{name}")
            place = self._true.get(true_name or "")
        if place is None and "." in name and (below := self.find_last(name)):
            return below[0]
        place = self._lower.get(name.lower()) if place is None else place
        return None if place is None else self.entries[place]

    def resolve(self, name: str) -> str | None:
        """The full name of what is meant by a name, or by its last part (``lru_cache``); see `find` and `find_last`."""
        entry = self.find(name)
        if entry is not None:
            return entry.name
        # "What is a generator?" does not ask for the module `email.generator`.
        last = [e for e in self.find_last(name) if e.origin != "installed package" and e.kind != "module"]
        return last[0].name if last else None

    def parameters(self, name: str) -> tuple[str, ...]:
        """The parameters of what `resolve` gives; none if there is no such thing."""
        full = self.resolve(name)
        entry = self.find(full) if full is not None else None
        if entry is not None and entry.kind == "class":
            entry = self.find(f"{entry.name}.__init__") or entry
        return entry.parameters if entry is not None else ()

    def find_last(self, name: str) -> list[Entry]:
        """The entries whose name ends so (``lru_cache``; ``urllib.urlopen``, below its package), most used first."""
        package, _, last = name.rpartition(".")
        held = [self.entries[place] for place in self._last.get(last, ())]
        return [e for e in held if e.name.startswith(package + ".")] if package else held

    def members(self, name: str) -> list[Entry]:
        """The public things directly inside a module or class, by name; submodules included."""
        return sorted((self.entries[place] for place in self._held.get(name, ())), key=lambda e: e.name)

    def similar(self, name: str, limit: int = 3) -> list[str]:
        """Existing names that are spelt nearly like this one: in the same place, else under a module spelt so."""
        holder, _, last = name.rpartition(".")
        if holder and (place := self.find(holder)) is not None:
            near = {e.name.rpartition(".")[2] for e in self.members(place.name)}
            return [f"{place.name}.{n}" for n in difflib.get_close_matches(last, sorted(near), limit)]
        top, _, rest = name.partition(".")
        tops = [e.name for e in self.members("")]
        fixed = [".".join(filter(None, [t, rest])) for t in difflib.get_close_matches(top, tops, limit)]
        return [f for f in fixed if self.find(f) is not None]


def build_index() -> Index:
    """Read the standard library and the installed packages. Takes seconds, nearly all of it the interpreter's own."""
    installed, left_out = scan_installed()
    sources, found, unreadable = _read([*scan_standard_library(), *installed])
    built_in = _describe(C_MODULES)
    names = Names(sources, built_in)
    missing = sorted(m for m in sys.stdlib_module_names if is_public(m) and not names.is_module(m))
    entries = make_entries(names, found)
    modules = sum(e.kind == "module" for e in entries)
    statistics = Statistics(len(entries), modules, len(sources), tuple(unreadable), tuple(missing), left_out)
    return Index(entries, statistics, names)


def _read(files: Iterable[Found]) -> tuple[dict[str, Source], dict[str, Found], list[str]]:
    files = list(files)
    available = {f.module for f in files if "." not in f.module} | {*sys.builtin_module_names, *extension_modules()}
    sources: dict[str, Source] = {}
    found: dict[str, Found] = {}
    unreadable: list[str] = []
    for file in files:
        if file.module in sources:
            continue  # the earlier root wins, as on sys.path
        try:
            text = (file.root / file.file).read_bytes()
            source = read_source(text, file.module, is_package=file.is_package, available=frozenset(available))
        except (SyntaxError, ValueError, RecursionError, OSError):
            unreadable.append(file.file)
            continue
        sources[file.module] = source
        found[file.module] = file
    return sources, found, unreadable


def _describe(modules: Iterable[str]) -> dict[str, BuiltIn]:
    described: dict[str, BuiltIn] = {}
    for module in modules:
        # Built without it; or it is deprecated, and warnings are errors here. Its absence is counted by `build_index`.
        with contextlib.suppress(ImportError, Warning):
            described.update((b.name, b) for b in describe(module))
    return described
