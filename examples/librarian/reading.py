"""What one Python source file defines, imports and offers, read from its text and never by importing it.

Knows the syntax of Python and nothing else: no search, no agent, no other module than the one it is given.
"""

from __future__ import annotations

import ast
import inspect
from typing import Literal, TypeAlias

import attrs
import msgspec

__all__ = ["Definition", "Kind", "Source", "docstring"]

Kind: TypeAlias = Literal["module", "class", "function", "method", "property", "constant"]


# There are tens of thousands of these, and none is part of a cycle: the garbage collector need not look at them. As
# ordinary objects they made each full collection of the node take 0.1 s.
class Definition(msgspec.Struct, frozen=True, gc=False):
    """One named thing in a source file. Lines count from 1, columns are bytes from 0.

    Attributes:
        name: its name inside the module, such as ``Path.read_text``; of the module itself empty.
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
    """What one file says. Names are local to it, expressions are source text.

    Attributes:
        itself: the module as a definition: all of the file, its docstring at the top.
        definitions: name to definition, methods as ``Class.method``.
        imports: name to the dotted name that it stands for.
        stars: the modules of ``from … import *``, in order.
        import_lines: the line of each of those imports, under the name or the module; of two of one name the first.
        spares: definitions that count only if something else fails (an ``except ImportError``) or is not so.
        aliases: name to the name assigned to it (``insort`` to ``insort_right``).
        doubtful: the aliases that hold only under a condition which reading does not settle.
        instances: name to what was called to make its value (``_inst`` to ``Random``).
        spreads: expressions whose attributes are all made names of the module (``globals().update(…)``).
        borrowed: function to where its docstring is taken from (``wraps``, ``f.__doc__ = g.__doc__``).
        made: function to a docstring that is put together on import.
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
    import_lines: dict[str, int] = attrs.Factory(dict)
    spares: set[str] = attrs.Factory(set)
    aliases: dict[str, str] = attrs.Factory(dict)
    doubtful: set[str] = attrs.Factory(set)
    instances: dict[str, str] = attrs.Factory(dict)
    spreads: list[str] = attrs.Factory(list)
    borrowed: dict[str, str] = attrs.Factory(dict)
    made: dict[str, str] = attrs.Factory(dict)
    exported: set[str] | None = None
    open_ended: bool = False
    deprecated: bool = False
    uses: list[str] = attrs.Factory(list)


def docstring(body: list[ast.stmt]) -> tuple[str, int]:
    """The docstring at the beginning of a body without its indentation, and its last line; else ``("", 0)``."""
    match body:
        case [ast.Expr(value=ast.Constant(value=str(doc)), end_lineno=int(end)), *_]:
            return inspect.cleandoc(doc).rstrip(), end
    return "", 0
