"""Describes the parts of the standard library that are written in C and so have no source to read.

They are the only modules that the librarian imports, and only those named here: each is part of CPython, and importing
it does nothing but make its names (no thread, no terminal mode, no file, no warning). Everything else is read as text.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import types

import msgspec

from .reading import Kind

__all__ = ["C_MODULES", "BuiltIn", "describe"]

C_MODULES = tuple(
    "array atexit audioop binascii builtins cmath errno faulthandler fcntl gc grp itertools marshal math mmap"
    " nis posix pwd pyexpat resource select spwd sys syslog termios time unicodedata zlib _abc _bisect _blake2"
    " _bz2 _codecs _collections _contextvars _csv _ctypes _curses _datetime _decimal _functools _hashlib _heapq"
    " _imp _io _json _locale _lsprof _lzma _opcode _operator _pickle _queue _random _signal _socket _sqlite3"
    " _ssl _stat _statistics _string _struct _symtable _thread _tracemalloc _warnings _weakref _zoneinfo".split()
)

_NO_INHERITED_DOC = (type, object)


class BuiltIn(msgspec.Struct, frozen=True, gc=False):
    """A thing that lives in C.

    Attributes:
        name: its full name, such as ``builtins.str.split``.
        signature: as far as the interpreter knows it, such as ``(sep=None, maxsplit=-1)``; else empty.
        doc: its docstring without indentation.
        value: of a constant, its ``repr``.
    """

    name: str
    kind: Kind
    signature: str = ""
    doc: str = ""
    value: str = ""
    parameters: tuple[str, ...] = ()


def describe(module: str) -> list[BuiltIn]:
    """Import one of `C_MODULES` and describe it, its public names and the members of its classes; itself first.

    Raises:
        ValueError: `module` is not one of `C_MODULES`.
        ImportError: this interpreter was built without it.
    """
    if module not in C_MODULES:
        raise ValueError(f"{module!r} is not among the modules that may be imported: {', '.join(C_MODULES)}")
    loaded = importlib.import_module(module)
    found = [BuiltIn(module, "module", doc=_doc(loaded))]
    for name, value in sorted(vars(loaded).items()):
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        full = f"{module}.{name}"
        if isinstance(value, type):
            found.append(_described(full, "class", value))
            for member, held in sorted(vars(value).items()):
                if callable(held) or inspect.isdatadescriptor(held) or isinstance(held, classmethod | staticmethod):
                    kind: Kind = "property" if inspect.isdatadescriptor(held) else "method"
                    found.append(_described(f"{full}.{member}", kind, held))
        elif callable(value):
            found.append(_described(full, "function", value))
        else:
            found.append(BuiltIn(full, "constant", value=_shown(value)))
    return found


def _doc(value: object) -> str:
    doc = getattr(value, "__doc__", None)
    if not isinstance(doc, str) or (not isinstance(value, type) and doc in (t.__doc__ for t in _NO_INHERITED_DOC)):
        return ""
    return inspect.cleandoc(doc)


def _described(name: str, kind: Kind, value: object) -> BuiltIn:
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, NameError, AttributeError):
        # Not every C function carries its signature, and a default may be a name that exists only later (`ACS_VLINE`).
        # The first line of the docstring then often has it.
        return BuiltIn(name, kind, doc=_doc(value))
    return BuiltIn(name, kind, str(signature), _doc(value), parameters=tuple(signature.parameters))


def _shown(value: object) -> str:
    if isinstance(value, bool | int | float | str | bytes | tuple | None):
        shown = repr(value)
        return shown if len(shown) <= 80 else shown[:77] + "..."
    return f"an instance of {type(value).__name__}"
