"""Reads one Python source file into its definitions, without ever importing it.

Knows the syntax of Python and nothing else: no search, no agent, no other module than the one it is given. The walk
follows the statements that run at import (``if``, ``try``, ``with`` and class bodies) and leaves function bodies alone,
for what stands there is no public name.

Which of two definitions of one name counts is decided as the interpreter would, as far as the text tells: the later of
two in a row; in ``if``/``else`` and ``try``/``except`` the first branch that is not known to be dead.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
from typing import Literal, TypeAlias

import attrs

__all__ = ["Definition", "Kind", "Source", "read_source"]

Kind: TypeAlias = Literal["module", "class", "function", "method", "property", "constant"]

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_HELD_NAMES = (ast.Name, ast.Attribute)


@attrs.frozen
class Definition:
    """One named thing in a source file. Lines count from 1, columns are bytes from 0.

    Attributes:
        name: its name inside the module, such as ``Path.read_text``.
        line: where ``def`` or ``class`` stands.
        first_line: the same, or that of its first decorator.
        body_line, body_column: where the body begins; what lies before is the header.
        doc_end: the last line of its docstring, 0 where it has none.
        end_line: its last line.
        doc: the docstring without its indentation.
        parameters: the names of its parameters, ``self`` included.
        bases: of a class, the expressions in its brackets.
    """

    name: str
    kind: Kind
    line: int
    first_line: int
    body_line: int
    body_column: int
    doc_end: int
    end_line: int
    doc: str = ""
    parameters: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()


@attrs.define(eq=False)
class Source:
    """What one file defines, imports and offers.

    Attributes:
        module: its dotted name.
        itself: the module as a definition: all of the file, its docstring at the top.
        definitions: local name to definition, methods as ``Class.method``.
        imports: local name to the dotted name that it stands for.
        stars: the modules of ``from … import *``, in order.
        aliases: local name to the name assigned to it (``insort`` to ``insort_right``).
        instances: local name to what was called to make its value (``_inst`` to ``Random``).
        exported: the names of ``__all__``; None where the file has none.
        open_ended: ``__all__`` has parts that only running the file would tell.
        deprecated: importing the module warns of its deprecation.
        uses: every dotted name imported at import time, once for each statement.
    """

    module: str
    is_package: bool
    itself: Definition
    definitions: dict[str, Definition] = attrs.Factory(dict)
    imports: dict[str, str] = attrs.Factory(dict)
    stars: list[str] = attrs.Factory(list)
    aliases: dict[str, str] = attrs.Factory(dict)
    instances: dict[str, str] = attrs.Factory(dict)
    exported: set[str] | None = None
    open_ended: bool = False
    deprecated: bool = False
    uses: list[str] = attrs.Factory(list)


def read_source(text: bytes, module: str, *, is_package: bool, available: frozenset[str]) -> Source:
    """Read the bytes of one file (its coding line is honoured).

    Args:
        text: the file.
        module: the dotted name under which it would be imported.
        is_package: the file is an ``__init__.py``.
        available: the top-level modules that exist here; a ``try`` that begins by importing another one is taken to fail.

    Raises:
        SyntaxError, ValueError, RecursionError: the file cannot be read as Python.
    """
    tree = ast.parse(text)
    doc, doc_end = _docstring(tree.body)
    begin = tree.body[0].lineno if tree.body else 1
    itself = Definition("", "module", 1, 1, begin, 0, doc_end, text.count(b"\n") + 1, doc)
    source = Source(module, is_package, itself)
    _Walk(source, available).statements(tree.body, prefix="", weak=False)
    return source


def _docstring(body: list[ast.stmt]) -> tuple[str, int]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str(doc)), end_lineno=int(end)), *_]:
            return inspect.cleandoc(doc), end
    return "", 0


@attrs.frozen
class _Walk:
    source: Source
    available: frozenset[str]

    def statements(self, body: list[ast.stmt], *, prefix: str, weak: bool) -> None:
        """Note what these statements define; `weak` ones do not replace what is known already."""
        for node in body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._function(node, prefix, weak)
                case ast.ClassDef():
                    self._class(node, prefix, weak)
                case ast.If(test=test, body=then, orelse=other):
                    truth = _truth(test)
                    if truth is not False:
                        self.statements(then, prefix=prefix, weak=weak or truth is None)
                    if truth is not True:
                        self.statements(other, prefix=prefix, weak=weak or truth is None)
                case ast.Try(body=tried, handlers=handlers, orelse=other, finalbody=last):
                    works = self._imports_work(tried)
                    if works:
                        self.statements(tried + other, prefix=prefix, weak=weak)
                    for handler in handlers:
                        self.statements(handler.body, prefix=prefix, weak=weak or works)
                    self.statements(last, prefix=prefix, weak=weak)
                case ast.With(body=inner):
                    self.statements(inner, prefix=prefix, weak=weak)
                case ast.Import(names=names):
                    for alias in names:
                        self.source.uses.append(alias.name)
                        if not prefix:
                            target: str = alias.name if alias.asname else alias.name.partition(".")[0]
                            self.source.imports.setdefault(alias.asname or target, target)
                case ast.ImportFrom():
                    self._import_from(node, prefix)
                case ast.Assign(targets=targets, value=value):
                    for assigned in targets:
                        self._assign(assigned, value, node, prefix, weak)
                case ast.AnnAssign(target=assigned, value=ast.expr() as value):
                    self._assign(assigned, value, node, prefix, weak)
                case ast.AugAssign(target=ast.Name(id="__all__"), value=value) if not prefix:
                    self._export(value)
                case ast.Expr(value=ast.Call() as call) if not prefix:
                    self._call(call)

    def _put(self, definition: Definition, weak: bool) -> None:
        if not (weak and definition.name in self.source.definitions):
            self.source.definitions[definition.name] = definition

    def _function(self, node: _Function, prefix: str, weak: bool) -> None:
        kind: Kind = "method" if prefix else "function"
        for decorator in node.decorator_list:
            name = decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
            if name in ("setter", "deleter"):
                return  # the getter carries the documentation
            if name in ("property", "cached_property"):
                kind = "property"
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
            else:
                self.source.uses.append(f"{base}.{alias.name}")
                if not prefix:
                    self.source.imports.setdefault(alias.asname or alias.name, f"{base}.{alias.name}")

    def _assign(self, target: ast.expr, value: ast.expr, node: ast.stmt, prefix: str, weak: bool) -> None:
        if not isinstance(target, ast.Name):
            return
        name = prefix + target.id
        if name == "__all__":
            self.source.exported = self.source.exported or set()
            self._export(value)
            return
        if isinstance(value, ast.Call) and isinstance(value.func, _HELD_NAMES):
            self.source.instances.setdefault(name, ast.unparse(value.func))
        elif isinstance(value, _HELD_NAMES):
            self.source.aliases.setdefault(name, prefix + ast.unparse(value))
        end = node.end_lineno or node.lineno
        data = Definition(name, "constant", node.lineno, node.lineno, node.lineno, node.col_offset, 0, end)
        if name not in self.source.definitions or (self.source.definitions[name].kind == "constant" and not weak):
            self._put(data, weak)

    def _export(self, value: ast.expr) -> None:
        exported = self.source.exported = self.source.exported or set()
        match value:
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                for item in items:
                    match item:
                        case ast.Constant(value=str(name)):
                            exported.add(name)
                        case _:
                            self.source.open_ended = True
            case ast.BinOp(left=left, right=right):
                self._export(left)
                self._export(right)
            case _:
                self.source.open_ended = True

    def _call(self, call: ast.Call) -> None:
        match call.func:
            case ast.Attribute(value=ast.Name(id="__all__"), attr="extend"):
                self._export(call.args[0])
            case ast.Attribute(value=ast.Name(id="__all__"), attr="append"):
                self._export(ast.List(elts=call.args))
            case ast.Attribute(value=ast.Name(id="warnings"), attr="_deprecated" | "warn"):
                warned = " ".join(ast.unparse(a) for a in call.args)
                self.source.deprecated |= "__name__" in warned or "DeprecationWarning" in warned

    def _imports_work(self, body: list[ast.stmt]) -> bool:
        match body:
            case [ast.Import(names=names), *_]:
                return all(alias.name.partition(".")[0] in self.available for alias in names)
            case [ast.ImportFrom(module=str(module), level=0), *_]:
                return module.partition(".")[0] in self.available
        return True


def _definition(
    node: _Function | ast.ClassDef,
    prefix: str,
    kind: Kind,
    *,
    parameters: tuple[str, ...] = (),
    bases: tuple[str, ...] = (),
) -> Definition:
    doc, doc_end = _docstring(node.body)
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


def _truth(test: ast.expr) -> bool | None:
    """What a condition comes to on this machine; None when only running it would tell."""
    match test:
        case ast.Compare(left=left, ops=[op], comparators=[ast.Constant(value=str(value))]):
            known = {"sys.platform": sys.platform, "os.name": os.name, "__name__": ""}.get(ast.unparse(left))
            if known is not None and isinstance(op, ast.Eq | ast.NotEq):
                return (known == value) is isinstance(op, ast.Eq)
        case ast.Compare(left=ast.Attribute(value=ast.Name(id="sys"), attr="version_info"), ops=[op]):
            match test.comparators:
                case [ast.Tuple(elts=elements)] if all(isinstance(e, ast.Constant) for e in elements):
                    wanted = tuple(ast.literal_eval(e) for e in elements)
                    if isinstance(op, ast.GtE):
                        return sys.version_info[: len(wanted)] >= wanted
                    if isinstance(op, ast.Lt):
                        return sys.version_info[: len(wanted)] < wanted
    return None
