"""The index of the real standard library and packages: what it holds stands where it says, under the names it gives."""

from __future__ import annotations

import ast
import json
import random
import re
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

from callboard.examples.librarian import answers
from callboard.examples.librarian.plan import Explain
from callboard.examples.librarian.scan import standard_library_root
from callboard.examples.librarian.wording import Aspect
from tests.examples.library import build_cpu_seconds, plan, tools

FOLDER = Path(__file__).parent
# Two to five seconds on machines that people use; the bound is for a busy one.
MAX_BUILD_CPU_SECONDS = 30


@cache
def documented() -> list[tuple[str, str, str, int]]:
    """All documented public functions of the standard library, by the interpreter's own account."""
    program = [sys.executable, "-I", "-W", "ignore", str(FOLDER / "documented.py")]
    done = subprocess.run(program, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=100)
    return [tuple(function) for function in json.loads(done.stdout)]


@cache
def text_of(path: Path) -> list[str]:
    """The lines of a file."""
    with tokenize.open(path) as file:
        return file.read().split("\n")


@cache
def texts_in(path: Path) -> str:
    """All string literals of a file, as the interpreter reads them: escapes resolved, tabs as blanks."""
    tree = ast.parse(path.read_bytes())
    found = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return "\n".join(found).expandtabs()


def test_the_index_is_built_within_seconds() -> None:
    """It holds the standard library, the C modules and the packages."""
    index = tools().index
    assert build_cpu_seconds() < MAX_BUILD_CPU_SECONDS
    assert {e.origin for e in index.entries} == {"standard library", "built-in", "installed package"}
    assert index.statistics.modules == len([e for e in index.entries if e.kind == "module"])
    assert index.statistics.entries == len(index.entries) > 10_000


def test_every_entry_stands_where_it_says() -> None:
    """For all functions, classes and methods of the standard library the line named has that `def` or `class`."""
    checked = 0
    for entry in tools().index.entries:
        if entry.origin == "standard library" and entry.kind in ("function", "class", "method", "property"):
            line = text_of(entry.root / entry.file)[entry.line - 1]
            last = entry.true_name.rpartition(".")[2]
            assert re.match(rf"\s*(?:async\s+def|def|class)\s+{re.escape(last)}\b", line), (entry.name, line)
            checked += 1
    assert checked > 5_000


def test_every_entry_is_found_by_its_name() -> None:
    """A name means what is listed under it."""
    index = tools().index
    lost = [e.name for e in index.entries if (found := index.find(e.name)) is None or found.name != e.name]
    assert lost == []


@pytest.mark.parametrize(
    "asked, name, place",
    [
        ("json.dumps", "json.dumps", "json/__init__.py"),
        ("asyncio.run", "asyncio.run", "asyncio/runners.py"),
        ("posixpath.join", "os.path.join", "posixpath.py"),
        ("random.randint", "random.randint", "random.py"),
        ("bisect.insort", "bisect.insort_right", "bisect.py"),
        ("pathlib.Path.with_suffix", "pathlib.PurePath.with_suffix", None),
        ("decimal.Decimal", "decimal.Decimal", "_pydecimal.py"),
        ("csv.reader", "csv.reader", ""),
        ("collections.abc.Mapping", "collections.abc.Mapping", "_collections_abc.py"),
        (
            "concurrent.futures.ThreadPoolExecutor",
            "concurrent.futures.ThreadPoolExecutor",
            "concurrent/futures/thread.py",
        ),
        ("multiprocessing.Pool", "multiprocessing.Pool", "multiprocessing/context.py"),
        ("hashlib.sha256", "hashlib.sha256", ""),
        ("str.split", "str.split", ""),
        ("builtins.len", "len", ""),
        ("JSON.Dumps", "json.dumps", "json/__init__.py"),
        ("h11.Connection", "h11.Connection", "h11/_connection.py"),
    ],
)
def test_names_that_programs_write_are_understood(asked: str, name: str, place: str | None) -> None:
    """Re-exports, aliases, inherited members, built-ins, and the wrong case."""
    entry = tools().index.find(asked)
    assert entry is not None
    assert entry.name == name
    assert place is None or entry.file == place


def test_names_that_do_not_exist_are_not_found() -> None:
    """Names spelt nearly alike are offered, only where they exist."""
    index = tools().index
    assert index.find("json.dunps") is None
    assert index.similar("json.dunps")[0] == "json.dumps"
    assert index.similar("jsom.dumps") == ["json.dumps"]
    assert index.find("nosuchmodule.func") is None
    assert index.similar("nosuchmodule.func") == []


def test_nothing_is_imported_but_the_listed_c_modules() -> None:
    """After building, no module is loaded that was not before, but for parts of the standard library written in C."""
    program = (
        "import sys, json, os\n"
        "from callboard.examples.librarian.index import build_index\n"
        "before = set(sys.modules)\n"
        "index = build_index()\n"
        "new = sorted(set(sys.modules) - before)\n"
        "print(json.dumps([len(index.entries), new]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=100)
    entries, new = json.loads(done.stdout)
    assert entries > 10_000
    tops = {name.partition(".")[0] for name in new}
    # What the interpreter was built with is asked of a module whose name depends on the machine.
    assert {top for top in tops - sys.stdlib_module_names if not top.startswith("_sysconfigdata")} == set()
    assert len(new) < 60
    assert "antigravity" not in new


@pytest.mark.parametrize("seed", [1, 22, 333])
def test_a_hundred_functions_are_quoted_as_they_are_written(seed: int) -> None:
    """Of 100 documented functions drawn by seed each answer quotes the docstring's first line, file and line truly.

    Every line that an answer quotes is looked for in the file that it names, unless the answer says that the
    function has its docstring from somewhere else.
    """
    root = standard_library_root()
    for name, first_line, file, line in random.Random(seed).sample(documented(), 100):
        assert plan(f"What does {name} do?") == Explain((name,), Aspect.WHAT)
        page = tools().open(tools().search_name(name)["hits"][0]["name"])
        answer = answers.explained(page, asked=name)
        assert f"> {first_line}".rstrip() in answer.splitlines(), answer
        assert f"File: `{file}:{page['line']}` (standard library" in answer
        assert line in (page["line"], page["decorated"])
        if not page["doc_of"]:
            own = answer.partition("File: ")[0]
            for quoted in re.findall(r"^> (.*)$", own, re.MULTILINE):
                assert quoted.strip() in texts_in(root / file), (name, quoted)
