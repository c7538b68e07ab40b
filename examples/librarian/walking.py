"""Walks through a source file the way an import would, and notes in a `Source` what it binds.

The walk follows the statements that run at import (``if``, ``try``, ``with`` and class bodies) and leaves function
bodies alone, for what stands there has no public name. Which of two definitions of one name counts is decided as the
interpreter would, as far as the text tells: the later of two in a row; in ``if``/``else`` and ``try``/``except`` the
first branch that is not known to be dead.
"""

from __future__ import annotations

import ast
import inspect
from typing import TypeAlias

import attrs

from .conditions import imports_work, truth
from .parsing import parse_source
from .reading import Definition, Kind, Source, docstring

__all__ = ["read_source"]

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def read_source(text: bytes, module: str, *, is_package: bool, available: frozenset[str]) -> Source:
    """Read the bytes of one file (its coding line is honoured).

    Args:
        text: the file.
        module: the dotted name under which it would be imported.
        is_package: the file is an ``__init__.py``.
        available: the top-level modules that exist here; a ``try`` that begins by importing another one fails.

    Raises:
        SyntaxError, ValueError, RecursionError: the file cannot be read as Python.
    """
    tree = parse_source(text)
    doc, doc_end = docstring(tree.body)
    begin = tree.body[0].lineno if tree.body else 1
    itself = Definition("", "module", 1, 1, begin, 0, doc_end, text.count(b"\n") + 1, doc)
    source = Source(module, is_package, itself)
    _Walk(source, available).statements(tree.body, prefix="", weak=False)
    return source


@attrs.frozen
class _Walk:
    source: Source
    available: frozenset[str]
    literals: dict[str, ast.expr] = attrs.Factory(dict)

    def statements(self, body: list[ast.stmt], *, prefix: str, weak: bool) -> None:
        """Note what these statements bind; `weak` ones do not replace what is known already."""
        for node in body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._function(node, prefix, weak)
                case ast.ClassDef():
                    self._class(node, prefix, weak)
                case ast.If(test=test, body=then, orelse=other):
                    holds = truth(test)
                    if holds is not False:
                        self.statements(then, prefix=prefix, weak=weak or holds is None)
                    if holds is not True:
                        self.statements(other, prefix=prefix, weak=weak or holds is None)
                case ast.Try(body=tried, handlers=handlers, orelse=other, finalbody=last):
                    works = imports_work(tried, self.available)
                    if works:
                        self.statements(tried + other, prefix=prefix, weak=weak)
                    for handler in handlers:
                        self.statements(handler.body, prefix=prefix, weak=weak or works)
                    self.statements(last, prefix=prefix, weak=weak)
                case ast.With(body=inner):
                    self.statements(inner, prefix=prefix, weak=weak)
                case ast.Import():
                    self._import(node, prefix)
                case ast.ImportFrom():
                    self._import_from(node, prefix)
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._assign(target, value, node, prefix, weak)
                case ast.AnnAssign(target=assigned, value=ast.expr() as value):
                    self._assign(assigned, value, node, prefix, weak)
                case ast.AugAssign(target=ast.Name(id="__all__"), value=value) if not prefix:
                    self._export(value)
                case ast.Expr(value=ast.Call() as call) if not prefix:
                    self._call(call)

    def _put(self, definition: Definition, weak: bool) -> None:
        if weak and definition.name in self.source.definitions:
            return
        self.source.definitions[definition.name] = definition
        (self.source.spares.add if weak else self.source.spares.discard)(definition.name)

    def _function(self, node: _Function, prefix: str, weak: bool) -> None:
        kind: Kind = "method" if prefix else "function"
        for decorator in node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ("setter", "deleter"):
                return  # the getter carries the documentation
            if name in ("property", "cached_property"):
                kind = "property"
            elif name.endswith("wraps") and isinstance(decorator, ast.Call) and len(decorator.args) == 1:
                self.source.borrowed[prefix + node.name] = ast.unparse(decorator.args[0])
            weak = weak or name == "overload"
        spec = node.args
        listed = (*spec.posonlyargs, *spec.args, *filter(None, [spec.vararg]), *spec.kwonlyargs)
        parameters = tuple(a.arg for a in (*listed, *filter(None, [spec.kwarg])))
        self._put(_definition(node, prefix, kind, parameters=parameters), weak)

    def _class(self, node: ast.ClassDef, prefix: str, weak: bool) -> None:
        definition = _definition(node, prefix, "class", bases=tuple(ast.unparse(b) for b in node.bases))
        if weak and definition.name in self.source.definitions:
            return
        self._put(definition, weak)
        self.statements(node.body, prefix=definition.name + ".", weak=False)

    def _import(self, node: ast.Import, prefix: str) -> None:
        for alias in node.names:
            self.source.uses.append(alias.name)
            if not prefix:
                target = alias.name if alias.asname else alias.name.partition(".")[0]
                self.source.imports.setdefault(alias.asname or target, target)

    def _import_from(self, node: ast.ImportFrom, prefix: str) -> None:
        base = node.module or ""
        if node.level:
            parts = self.source.module.split(".")
            kept = parts[: len(parts) - node.level + (1 if self.source.is_package else 0)]
            base = ".".join([*kept, *filter(None, [base])])
        self.source.uses.append(base)
        for alias in node.names:
            if alias.name == "*":
                self.source.stars.append(base)
                self.source.import_lines.setdefault(base, node.lineno)
            else:
                self.source.uses.append(f"{base}.{alias.name}")
                if not prefix:
                    bound = alias.asname or alias.name
                    self.source.imports.setdefault(bound, f"{base}.{alias.name}")
                    self.source.import_lines.setdefault(bound, node.lineno)

    def _assign(self, target: ast.expr, value: ast.expr, node: ast.stmt, prefix: str, weak: bool) -> None:
        match target, value:
            case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
                for one, its in zip(names, values, strict=True):
                    self._assign(one, its, node, prefix, weak)
            case ast.Attribute(value=ast.Name(id=name), attr="__doc__"), _ if not prefix:
                self._document(name, value)
            case ast.Name(id="__all__"), _ if not prefix:
                self._export(value)
            case ast.Name(id=name), _:
                self._bind(prefix + name, value, node, prefix, weak)

    def _bind(self, name: str, value: ast.expr, node: ast.stmt, prefix: str, weak: bool) -> None:
        source = self.source
        match value:
            case ast.Call(func=ast.Name() | ast.Attribute() as maker):
                source.instances.setdefault(name, ast.unparse(maker))
            case ast.Name() | ast.Attribute():
                if name not in source.aliases and weak:
                    source.doubtful.add(name)
                source.aliases.setdefault(name, prefix + ast.unparse(value))
            case ast.List() | ast.Tuple() | ast.BinOp() | ast.Constant():
                self.literals[name] = value
        known = source.definitions.get(name)
        if known is None or (known.kind == "constant" and not weak):
            end = node.end_lineno or node.lineno
            self._put(Definition(name, "constant", node.lineno, node.lineno, node.lineno, 0, 0, end), weak)

    def _document(self, name: str, value: ast.expr) -> None:
        """``NAME.__doc__ = value``."""
        match value:
            case ast.Attribute(value=other, attr="__doc__"):
                self.source.borrowed[name] = ast.unparse(other)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=template), attr="format"), args=[], keywords=words):
                text = self._literal(ast.Name(id=template))
                filled = {word.arg: self._literal(word.value) for word in words if word.arg}
                if isinstance(text, str) and None not in filled.values() and len(filled) == len(words):
                    self.source.made[name] = inspect.cleandoc(text.format(**filled))

    def _literal(self, value: ast.expr) -> object:
        """The value of a constant, or of a name that was set to one; else None."""
        if isinstance(value, ast.Name):
            value = self.literals.get(value.id, value)
        return value.value if isinstance(value, ast.Constant) else None

    def _export(self, value: ast.expr) -> None:
        exported = self.source.exported = self.source.exported or set()
        match value:
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                for item in items:
                    if isinstance(item, ast.Constant) and isinstance(item.value, str):
                        exported.add(item.value)
                    else:
                        self.source.open_ended = True
            case ast.BinOp(left=left, right=right):
                self._export(left)
                self._export(right)
            case ast.Name(id=name) if name in self.literals and name != "__all__":
                self._export(self.literals.pop(name))  # taken out: a list may be made from itself
            case _:
                self.source.open_ended = True

    def _call(self, call: ast.Call) -> None:
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="__all__"), attr="extend"), args=[names]):
                self._export(names)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="__all__"), attr="append"), args=names):
                self._export(ast.List(elts=names))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="warnings"), attr="_deprecated" | "warn"), args=said):
                warned = " ".join(map(ast.unparse, said))
                self.source.deprecated |= "__name__" in warned or "DeprecationWarning" in warned
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id="globals")), attr="update"), args=[values]
            ):
                for node in ast.walk(values):
                    match node:
                        case ast.Call(func=ast.Name(id="getattr"), args=[holder, ast.Name()]):
                            self.source.spreads.append(ast.unparse(holder))


def _definition(
    node: _Function | ast.ClassDef,
    prefix: str,
    kind: Kind,
    *,
    parameters: tuple[str, ...] = (),
    bases: tuple[str, ...] = (),
) -> Definition:
    doc, doc_end = docstring(node.body)
    first = node.body[0]
    # A decorator stands in the column of its `def`, on an earlier line.
    decorators = getattr(first, "decorator_list", [])
    return Definition(
        name=prefix + node.name,
        kind=kind,
        line=node.lineno,
        first_line=min([node.lineno, *(d.lineno for d in node.decorator_list)]),
        body_line=decorators[0].lineno if decorators else first.lineno,
        body_column=first.col_offset,
        doc_end=doc_end,
        end_line=node.end_lineno or node.lineno,
        doc=doc,
        parameters=parameters,
        bases=bases,
    )
