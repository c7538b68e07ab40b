"""Reads the part of a source file in which one thing is defined, as the file is now. I/O is `read_lines` only."""

from __future__ import annotations

import ast
import tokenize

from .entries import Entry
from .pages import Parameter
from .parsing import parse_source
from .reading import Definition

__all__ = [
    "SourceChanged",
    "definition_at",
    "is_indented",
    "parameters",
    "parse",
    "read_lines",
    "returns",
    "split_signature",
]


class SourceChanged(Exception):
    """A file is no longer what the index was built from: it was edited, moved or removed since the node started."""


def read_lines(entry: Entry) -> list[str]:
    """The lines of the file of an entry, numbered as the compiler numbers them, the first at 0.

    Raises:
        SourceChanged: the file is gone, or no text in its encoding.
    """
    try:
        with tokenize.open(entry.root / entry.file) as file:
            return file.read().split("\n")
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise SourceChanged(f"{entry.file} cannot be read any more: {error}") from error


def definition_at(
    entry: Entry, stands: Definition, lines: list[str]
) -> ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef:
    """The definition of an entry in the lines of its file: its header and its docstring, without the rest of its body.

    Raises:
        SourceChanged: something else stands there.
    """
    if entry.kind == "module":
        return ast.Module(body=parse(entry, lines[: stands.doc_end]).body, type_ignores=[])
    name = stands.name.rpartition(".")[2]
    body = parse(entry, _header(lines, stands)).body
    if body and isinstance(body[0], ast.If) and is_indented(lines[stands.line - 1 :]):
        body = body[0].body
    match body:
        case [(ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef()) as found, *_] if found.name == name:
            return found
    raise SourceChanged(f"line {stands.line} of {entry.file} does not define {stands.name!r} any more")


def _header(lines: list[str], stands: Definition) -> list[str]:
    """The lines from ``def`` or ``class`` to the end of the docstring, or up to the body, as a whole statement."""
    if stands.doc_end:
        return lines[stands.line - 1 : stands.doc_end]
    *header, last = lines[stands.line - 1 : stands.body_line] or [""]
    return [*header, last.encode()[: stands.body_column].decode(errors="replace") + "..."]


def parse(entry: Entry, lines: list[str]) -> ast.Module:
    """Lines of an entry's file as a tree; lines of a body that is indented come inside an ``if 1:`` of one line.

    Raises:
        SourceChanged: they cannot be read as Python, so they are not the ones that were indexed.
    """
    text = "\n".join(lines)
    if is_indented(lines):
        text = "if 1:\n" + text
    try:
        return parse_source(text)
    except (SyntaxError, ValueError) as error:
        raise SourceChanged(f"{entry.file} reads differently around line {entry.line} than it did: {error}") from error


def is_indented(lines: list[str]) -> bool:
    """Whether these lines begin inside something, as those of a method do."""
    return bool(lines) and lines[0][:1] in (" ", "\t")


def returns(tree: ast.Module) -> list[ast.Return]:
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


def split_signature(signature: str, *, method: bool) -> tuple[ast.arguments, str] | None:
    """The parameters and the return annotation of a text such as ``(self, a, *, b=1) -> str``; None if it is none.

    Args:
        signature: the text.
        method: drop the object itself.
    """
    try:
        tree = parse_source(f"def f{signature}: ...").body[0]
    except SyntaxError:
        return None  # a C function may have defaults that are no Python, such as <unrepresentable>
    if not signature or not isinstance(tree, ast.FunctionDef):
        return None
    spec = tree.args
    first = next((group for group in (spec.posonlyargs, spec.args) if group), None)
    if method and first and first[0].arg in ("self", "cls"):
        del first[0]
    return spec, ast.unparse(tree.returns) if tree.returns else ""


def parameters(spec: ast.arguments) -> list[Parameter]:
    """The parameters of a function in the order in which they are declared."""

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
