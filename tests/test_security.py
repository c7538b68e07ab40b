"""What SECURITY.md says is held by tests that exist; and what it says of the code as a whole."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from joserfc._rfc7518.jws_algs import HMACAlgModel

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)

# Pickled is what passes between a process and the worker that it has started itself.
UNPICKLES = {"runtime/process_actor.py", "runtime/process_child.py"}
# What makes code or objects of bytes.
MODULES = {"dill", "marshal", "pickle", "shelve", "xml", "yaml"}
CALLS = {"compile", "eval", "exec"}
# What is never compared character by character.
SECRETS = {"secret", "signature", "ticket", "token"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The files of the node, with their trees."""
    for layer in ("runtime", "actors", "transport"):
        for path in (ROOT / layer).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_the_list_has_all_lines() -> None:
    """Twenty-five, in order, each with tests."""
    assert [int(number) for number, *_ in ROWS] == list(range(1, 26))


@pytest.mark.parametrize("line, held", [(line, held) for _, line, _, held in ROWS], ids=[row[0] for row in ROWS])
def test_each_line_is_held_by_tests_that_exist(line: str, held: str) -> None:
    """Who takes away or renames a test that holds a line is told here."""
    named = re.findall(r"`([^`]+)`", held)
    assert named, line
    for name in named:
        file, _, test = name.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        if file.endswith(".py"):
            functions = [
                node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            assert test in {function.name for function in functions}, name


def test_the_page_is_linked() -> None:
    """It is found from where people begin."""
    assert "](SECURITY.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_nothing_that_came_over_a_network_is_unpickled_or_run() -> None:
    """No file but those of worker processes knows pickle, and none makes code of text."""
    found: set[str] = set()
    for name, tree in sources():
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if MODULES & {module.partition(".")[0] for module in modules}:
                found.add(name)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in CALLS, name
    assert found == UNPICKLES


def test_no_line_of_the_log_is_made_of_what_an_exception_says() -> None:
    """Its words go through one place, which is off; but for `Actor.start()`, whose log lines are pykka's."""
    found = {
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ((node.func.attr == "exception" and ast.unparse(node.func.value) == "logger") or _has_exc_info(node))
    }
    assert found == {"runtime/started.py", "runtime/tracebacks.py"}


def _has_exc_info(call: ast.Call) -> bool:
    return any(keyword.arg == "exc_info" for keyword in call.keywords)


def test_signatures_are_compared_in_constant_time() -> None:
    """By the library; a ticket is looked up by its hash, which tells nothing of how much of it was right."""
    assert "hmac.compare_digest(sig, v_sig)" in inspect.getsource(HMACAlgModel.verify)
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                compared = {_name(side) for side in (node.left, *node.comparators)}
                assert not compared & SECRETS, (name, ast.unparse(node))


def _name(side: ast.expr) -> str:
    return side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
