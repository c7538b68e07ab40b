"""Settles the conditions that decide what a source file defines, as far as its text and this machine tell.

Pure but for the two facts that it knows of the machine: its platform and its version of Python.
"""

from __future__ import annotations

import ast
import operator
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["imports_work", "truth"]

_FACTS = {"sys.platform": sys.platform, "os.name": os.name, "__name__": "not run as a program"}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def truth(test: ast.expr) -> bool | None:
    """What a condition comes to on this machine; None where only running the program would tell."""
    match test:
        case ast.BoolOp(op=op, values=values):
            parts = [truth(value) for value in values]
            decisive = isinstance(op, ast.Or)  # one true part decides an `or`, one false part an `and`
            if decisive in parts:
                return decisive
            return None if None in parts else not decisive
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = truth(operand)
            return None if inner is None else not inner
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as op], comparators=[ast.Constant(value=value)]):
            fact = _FACTS.get(ast.unparse(left).lstrip("_") if not isinstance(left, ast.Name) else ast.unparse(left))
            return None if fact is None else (fact == value) is isinstance(op, ast.Eq)
        case ast.Compare(
            left=ast.Attribute(attr="version_info") as left, ops=[op], comparators=[ast.Tuple() as version]
        ):
            compare = _ORDER.get(type(op))
            if compare and ast.unparse(left) == "sys.version_info" and _is_literal(version):
                return compare(sys.version_info, ast.literal_eval(version))
    return None


def imports_work(body: list[ast.stmt], available: frozenset[str]) -> bool:
    """Whether the import at the beginning of a ``try`` finds its module.

    Args:
        body: the statements of the ``try``.
        available: the top-level modules that exist here.
    """
    match body:
        case [ast.Import(names=names), *_]:
            return all(alias.name.partition(".")[0] in available for alias in names)
        case [ast.ImportFrom(module=str(module), level=0), *_]:
            return module.partition(".")[0] in available
    return True


def _is_literal(version: ast.Tuple) -> bool:
    return all(isinstance(element, ast.Constant) for element in version.elts)
