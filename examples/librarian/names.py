"""Follows names through imports, aliases and base classes to where they are defined, on what was read and not on what runs.

Knows the sources and the C modules; nothing of documentation or search. The *true name* of a thing is its module and
its name there (``posixpath.join``); a *public name* is one that a program may write (``os.path.join``).
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
        parts = true_name.split(".")
        if self.is_module(true_name):
            return None  # also where its package sets the same name to None if importing it failed
        for cut in range(len(parts) - 1, 0, -1):
            source = self.sources.get(".".join(parts[:cut]))
            if source is not None:
                definition = source.definitions.get(".".join(parts[cut:]))
                return (source, definition) if definition else None
        return None

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
        starred = (
            name
            for star in source.stars
            if star not in path and self.is_module(star)
            for name in self._export_list(star, path | {module})
        )
        if source.exported is not None:
            return source.exported | set(starred) if source.open_ended else source.exported
        offered = {name for name in source.definitions if "." not in name} | set(starred)
        # Without `__all__` an import is a tool, not an offer; but for what comes from the module's own private part.
        top = module.partition(".")[0]
        for name, target in source.imports.items():
            own = source.is_package and target.startswith(top + ".")
            if own or target.startswith("_"):
                offered.add(name)
        return {name for name in offered if not name.startswith("_")}

    def _within(self, module: str, parts: list[str], path: frozenset[str]) -> str | None:
        source = self.sources.get(module)
        if source is None:
            full = ".".join([module, *parts])
            return full if full in self.built_in else None
        local = ".".join(parts)
        here = source.definitions.get(local)
        if here is not None and here.kind != "constant":
            return f"{module}.{local}"
        head, rest = parts[0], parts[1:]
        candidates: list[str] = []
        if rest and (held := source.definitions.get(head)) is not None and held.kind == "class":
            # Not the class's own: an alias in its body, or inherited.
            if local in source.aliases:
                candidates.append(f"{module}.{source.aliases[local]}")
            candidates += [".".join([module, base.partition("[")[0], *rest]) for base in held.bases]
            candidates += [".".join([base.partition("[")[0], *rest]) for base in held.bases]
        if head in source.aliases:
            target = source.aliases[head]
            candidates += [".".join([module, target, *rest]), ".".join(["builtins", target, *rest])]
        if rest and head in source.instances:
            made_by = self.find(f"{module}.{source.instances[head]}", path)
            if made_by is not None and self.kind(made_by) == "class":
                candidates.append(".".join([made_by, *rest]))
        if head in source.imports:
            candidates.append(".".join([source.imports[head], *rest]))
        if here is None:
            candidates += [".".join([star, *parts]) for star in source.stars]
        if not candidates and source.exported and head in source.exported:
            # Promised but made on first access (`__getattr__`, as in concurrent.futures): a submodule has it.
            submodules = (f"{module}.{name}" for name in self._held.get(module, ()))
            candidates = [".".join([m, *parts]) for m in submodules if head in self.sources[m].definitions]
        found = self._best(candidates, path)
        return found or (f"{module}.{local}" if here is not None else None)

    def _best(self, candidates: Iterable[str], path: frozenset[str]) -> str | None:
        """The first that exists, but what can be read before what is written in C: it has a file and a line."""
        found = [name for c in candidates if (name := self.find(c, path)) is not None]
        return next((n for n in found if n not in self.built_in), found[0] if found else None)
