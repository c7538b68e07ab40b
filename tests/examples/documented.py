"""Lists every documented public function of the standard library that has a Python source, as JSON.

A program of its own, for it imports all modules; it asks the interpreter (`inspect`) and knows nothing of the
librarian. Each is ``[full name, first line of the docstring, file, line]``; the line is that of the first decorator,
if there is one.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# Easter eggs, a demo and an editor that open windows or browsers; and test code.
LEFT_OUT = {"antigravity", "this", "turtledemo", "idlelib", "test", "tests", "idle_test", "lib2to3"}
ROOT = Path(sysconfig.get_path("stdlib")).resolve()


def modules() -> Iterator[ModuleType]:
    """Every public module that can be imported here."""
    names = sorted(sys.stdlib_module_names - LEFT_OUT)
    for name in names:
        if name.startswith("_"):
            continue
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            yield module
            for found in pkgutil.iter_modules(getattr(module, "__path__", ()), name + "."):
                last = found.name.rpartition(".")[2]
                if (
                    last.startswith("_")
                    or last in LEFT_OUT
                    or ROOT not in Path(module.__file__ or "").resolve().parents
                ):
                    continue
                with contextlib.suppress(ImportError):
                    names.append(found.name)


def functions(module: ModuleType) -> Iterator[tuple[str, str, str, int]]:
    """The documented functions that a module offers."""
    offered = getattr(module, "__all__", None)
    for name in offered or [name for name in vars(module) if not name.startswith("_")]:
        function = getattr(module, name, None)
        if not inspect.isfunction(function) or (offered is None and function.__module__ != module.__name__):
            continue
        doc = inspect.getdoc(function)
        with contextlib.suppress(OSError, TypeError, ValueError):  # made on import, from text: there is no source
            original = inspect.unwrap(function)
            path = Path(inspect.getsourcefile(original) or "").resolve().relative_to(ROOT)
            if doc:
                line = inspect.getsourcelines(original)[1]
                yield f"{module.__name__}.{name}", doc.splitlines()[0].rstrip(), path.as_posix(), line


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):
        listed = [function for module in modules() for function in functions(module)]
    json.dump(listed, sys.stdout)
