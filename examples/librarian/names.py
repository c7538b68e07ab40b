"""Follows names through imports, aliases and base classes to their definitions: on what was read, not on what runs.

Knows the sources and the C modules; nothing of documentation or search. The *true name* of a thing is its module and
its name there (``posixpath.join``); a *public name* is one that a program may write (``os.path.join``).

Where a thing exists in Python and in C (``heapq.heappush``), the Python one is its definition, for that has a file and
a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from .builtin import BuiltIn
from .reading import Definition, Kind, Source

__all__ = ["Names", "is_public"]


def is_public(name: str) -> bool:
    """Whether no part of a dotted name is private."""
    return not name.startswith("_") and "._" not in name


@attrs.define(eq=False)
class Names:
    """All names of the sources and of the C modules, resolved on demand.

    Attributes:
        sources: module to what was read of it.
        built_in: full name to its description, C modules included.
    """

    sources: Mapping[str, Source]
    built_in: Mapping[str, BuiltIn]
    _held: dict[str, list[str]] = attrs.field(factory=dict, init=False)  # submodules, C members
    _known: dict[str, str | None] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for name in (*self.sources, *self.built_in):
            holder, _, last = name.rpartition(".")
            self._held.setdefault(holder, []).append(last)

    def modules(self) -> list[str]:
        """The names of all modules, private ones too."""
        c_modules = (b.name for b in self.built_in.values() if b.kind == "module")
        return list(dict.fromkeys([*self.sources, *c_modules]))

    def is_module(self, name: str) -> bool:
        """Whether this is the name of a module, as the module itself gives it."""
        return name in self.sources or (name in self.built_in and self.built_in[name].kind == "module")

    def find(self, dotted: str, path: frozenset[str] = frozenset()) -> str | None:
        """The true name of what a program means by `dotted`; None where there is no such thing.

        Args:
            dotted: the name.
            path: the names on whose way this one is met; a circle of imports ends there.
        """
        if dotted in self._known:
            return self._known[dotted]
        if dotted in path:
            return None
        parts = dotted.split(".")
        found: str | None = None
        for cut in range(len(parts), 0, -1):
            module = ".".join(parts[:cut])
            if self.is_module(module):
                found = self._within(module, parts[cut:], path | {dotted}) if parts[cut:] else module
                break
        if found is not None or not path:  # what is not found inside a circle may be found from elsewhere
            self._known[dotted] = found
        return found

    def definition(self, true_name: str) -> tuple[Source, Definition] | None:
        """The definition behind a true name; None for a module and for what is written in C."""
        if self.is_module(true_name):
            return None  # also where its package sets the same name to None if importing it failed
        parts = true_name.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            source = self.sources.get(".".join(parts[:cut]))
            if source is not None:
                definition = source.definitions.get(".".join(parts[cut:]))
                return (source, definition) if definition else None
        return None

    def c_version(self, true_name: str, module: str) -> str:
        """The C function or class that runs in place of a Python one; empty where there is none.

        Args:
            true_name: that of the Python one.
            module: the public module that offers it, which may choose between the two (``decimal`` does).
        """
        held = self.definition(true_name)
        if held is None:
            return ""
        name, _, member = held[1].name.partition(".")
        outer = held[0].definitions[name]
        for source in filter(None, (held[0], self.sources.get(module))):
            here = source is held[0]
            for bound, target in ((name, source.imports.get(name, "")), *((s, f"{s}.{name}") for s in source.stars)):
                # A definition after the import wins over it, as the wrappers in `signal` do.
                wins = not here or name in source.spares or source.import_lines.get(bound, 0) > outer.line
                full = f"{target}.{member}" if member else target
                if wins and full in self.built_in:
                    return full
        return ""

    def borrowed_doc(self, true_name: str) -> tuple[str, str]:
        """The docstring that a Python function or class without its own has when it runs, and whose it is.

        Its own again if its module puts the text together on import.
        """
        held = self.definition(true_name)
        if held is None:
            return "", ""
        source, definition = held
        if definition.name in source.made:
            return source.made[definition.name], true_name
        expression = source.borrowed.get(definition.name)
        lender = self.find(f"{source.module}.{expression}") if expression else self.c_version(true_name, "")
        if not lender or lender == true_name:
            return "", ""
        lent = self.definition(lender)
        return (lent[1].doc if lent else self.built_in[lender].doc if lender in self.built_in else ""), lender

    def is_deprecated(self, module: str) -> bool:
        """Whether importing a module warns of its end; so does everything inside a deprecated package."""
        parts = module.split(".")
        above = (self.sources.get(".".join(parts[:n])) for n in range(1, len(parts) + 1))
        return any(source is not None and source.deprecated for source in above)

    def kind(self, true_name: str) -> Kind | None:
        """What a true name stands for; None where there is no such thing."""
        if self.is_module(true_name):
            return "module"
        if true_name in self.built_in:
            return self.built_in[true_name].kind
        held = self.definition(true_name)
        return held[1].kind if held else None

    def exports(self, module: str) -> Iterator[tuple[str, str]]:
        """The public names of a module and the true name of each."""
        for name in sorted(self._export_list(module, frozenset())):
            true_name = self.find(f"{module}.{name}")
            if true_name is not None:
                yield name, true_name

    def members(self, true_name: str) -> Iterator[tuple[str, str]]:
        """The own members of a class (not the inherited ones) and the true name of each."""
        if true_name in self.built_in:
            yield from ((name, f"{true_name}.{name}") for name in self._held.get(true_name, ()))
        elif held := self.definition(true_name):
            source, definition = held
            prefix = definition.name + "."
            for name, member in source.definitions.items():
                if name.startswith(prefix) and "." not in name[len(prefix) :] and member.kind != "constant":
                    yield name[len(prefix) :], f"{source.module}.{name}"

    def _export_list(self, module: str, path: frozenset[str]) -> set[str]:
        source = self.sources.get(module)
        if source is None:
            return set(self._held.get(module, ()))
        if source.exported is not None and not source.open_ended:
            return source.exported
        offered = {name for name in source.definitions if "." not in name} | (source.exported or set())
        for star in source.stars:
            if star not in path and self.is_module(star):
                offered |= self._export_list(star, path | {module})
        for spread in source.spreads:
            offered |= self._all_members(self._instance_of(f"{module}.{spread}", frozenset()))
        # Without `__all__` an import is a tool, not an offer; but for what comes from the module's own private part.
        top = module.partition(".")[0]
        for name, target in source.imports.items():
            own = source.is_package and target.startswith(top + ".")
            if own or target.startswith("_"):
                offered.add(name)
        return {name for name in offered if not name.startswith("_")}

    def _all_members(self, true_name: str | None) -> set[str]:
        held = self.definition(true_name) if true_name else None
        if true_name is None or held is None:
            return set()
        source, definition = held
        bases = (self.find(f"{source.module}.{base}") for base in definition.bases)
        return {name for name, _ in self.members(true_name)}.union(*(self._all_members(base) for base in bases))

    def _instance_of(self, dotted: str, path: frozenset[str]) -> str | None:
        """The class of which the value of a name is an instance, if it was made by calling one."""
        held = self.definition(self.find(dotted, path) or "")
        maker = held[0].instances.get(held[1].name) if held else None
        made_by = self.find(f"{held[0].module}.{maker}", path) if held and maker else None
        return made_by if made_by is not None and self.kind(made_by) == "class" else None

    def _within(self, module: str, parts: list[str], path: frozenset[str]) -> str | None:
        source = self.sources.get(module)
        if source is None:
            full = ".".join([module, *parts])
            return full if full in self.built_in else None
        local = ".".join(parts)
        here = source.definitions.get(local)
        if here is not None and here.kind != "constant":
            return f"{module}.{local}"
        found = next((f for c in self._candidates(source, parts, path) if (f := self.find(c, path)) is not None), None)
        return found or (f"{module}.{local}" if here is not None else None)

    def _candidates(self, source: Source, parts: list[str], path: frozenset[str]) -> Iterator[str]:
        """What a name that is not defined here may stand for, best first."""
        module, head, rest = source.module, parts[0], parts[1:]
        held = source.definitions.get(head)
        if rest and held is not None and held.kind == "class":
            # Not the class's own: an alias in its body, or inherited.
            if alias := source.aliases.get(".".join(parts)):
                yield f"{module}.{alias}"
            for base in held.bases:
                yield ".".join([module, base.partition("[")[0], *rest])
                yield ".".join(["builtins", base.partition("[")[0], *rest])
        if rest and (made_by := self._instance_of(f"{module}.{head}", path)):
            yield ".".join([made_by, *rest])
        alias = source.aliases.get(head)
        if alias is not None and head not in source.doubtful:
            yield ".".join([module, alias, *rest])
        if head in source.imports:
            yield ".".join([source.imports[head], *rest])
        if held is None or head in source.doubtful:
            yield from _python_first([".".join([star, *parts]) for star in source.stars], self.built_in)
        if alias is not None:
            yield ".".join([module, alias, *rest])
            yield ".".join(["builtins", alias, *rest])
        for spread in source.spreads:
            if made_by := self._instance_of(f"{module}.{spread}", path):
                yield ".".join([made_by, *parts])
        if held is None and source.exported and head in source.exported:
            yield from self._promised(source, parts)

    def _promised(self, source: Source, parts: list[str]) -> Iterator[str]:
        """Where a name of ``__all__`` may come from that nothing binds: it is made on import or on first use."""
        for name in self._held.get(source.module, ()):
            below = self.sources.get(f"{source.module}.{name}")
            if below is not None and parts[0] in below.definitions:
                yield ".".join([below.module, *parts])  # as concurrent.futures does, by `__getattr__`
        for target in source.imports.values():
            for name in self._held.get(target, ()) if target.startswith("_") else ():
                if name.endswith("_" + parts[0]):
                    yield ".".join([target, name, *parts[1:]])  # as hashlib does: `sha256` is `_hashlib.openssl_sha256`


def _python_first(candidates: Iterable[str], built_in: Mapping[str, BuiltIn]) -> list[str]:
    return sorted(candidates, key=lambda name: name in built_in)
