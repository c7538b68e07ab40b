"""Every law that is held is named by a property test: by a comment of its id, such as ``# A4``, on or right above it.

A property test draws its cases: a function under Hypothesis' `@given`, or a state machine. Everything is read from
the sources, so that a law cannot be "tested" by a mention in passing.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

OF_ACTORS = ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A11", "A12")
# On one node.
OF_SESSIONS = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13")

# The laws that tests hold today.
HELD = (*OF_ACTORS, *OF_SESSIONS)

LAWS = (*(f"A{n}" for n in range(1, 13)), *(f"S{n}" for n in range(1, 14)))

# A docstring may begin with the laws: ``# S4 # S5.``
LEADING = re.compile(r"\A(?:# [AS]\d+[ .]*)+")
ID = re.compile(r"\b[AS]\d+\b")


def comments(source: str) -> dict[int, str]:
    """The lines that are nothing but a comment or end with one, and what it says."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def is_property_test(node: ast.stmt) -> bool:
    """A test function under `@given`, or the test case of a state machine (``TestX = Machine.TestCase``)."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            calls = [decorator.func for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
            return name.startswith("test_") and any(ast.unparse(call).split(".")[-1] == "given" for call in calls)
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Attribute(attr="TestCase")):
            return name.startswith("Test")
    return False


def first_line(node: ast.stmt) -> int:
    """Where it begins, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def last_line(node: ast.stmt) -> int:
    """Where its sentence ends: the docstring's last line, else the line of its name."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
        return node.body[0].end_lineno or node.lineno
    return node.lineno


def sentence(node: ast.stmt) -> str:
    """What a test says of itself."""
    return ast.get_docstring(node) or "" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ""


def laws_named(source: str) -> Iterator[str]:
    """The laws that the property tests of a source name."""
    said = comments(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and is_property_test(node):
            line = first_line(node)
            above = line - 1
            while above in said:
                yield from ID.findall(said[above])
                above -= 1
            for own in range(line, last_line(node) + 1):
                yield from ID.findall(said.get(own, ""))
            yield from ID.findall(" ".join(LEADING.findall(sentence(node))))


def test_the_page_of_laws_has_each_law_once() -> None:
    """A1 to A12 and S1 to S13, in this order, each the bold beginning of a paragraph of its own."""
    page = (ROOT / "docs" / "laws.md").read_text(encoding="utf-8")
    assert re.findall(r"^\*\*([AS]\d+) [^*]+\.\*\* \S", page, flags=re.MULTILINE) == list(LAWS)


def test_every_law_that_is_held_has_a_property_test() -> None:
    """Who takes away the last test of a law is told here."""
    named = {
        law for path in (ROOT / "tests").rglob("test_*.py") for law in laws_named(path.read_text(encoding="utf-8"))
    }
    assert {*HELD, *OF_ACTORS, *OF_SESSIONS} <= set(LAWS)
    assert set(HELD) - named == set()
    assert named - set(LAWS) == set()


@pytest.mark.parametrize(
    "source, laws",
    [
        ("# A1\n@given(x=st.integers())\ndef test_x(x): ...", ["A1"]),
        (
            "# A1, and so S2\n# A3\n@settings(max_examples=3)\n@hypothesis.given(1)\nasync def test_x(): ...",
            ["A3", "A1", "S2"],
        ),
        ("@given(1)  # A1\ndef test_x(): ...  # S3", ["A1", "S3"]),
        ("# S4\nTestMachine = Machine.TestCase", ["S4"]),
        ("class TestX:\n    # A2\n    @given(1)\n    def test_x(self): ...", ["A2"]),
        ("# A1\ndef test_x(): ...", []),
        ("# A1\n\n@given(1)\ndef test_x(): ...", []),
        ("# A1\n@given(1)\ndef helper(): ...", []),
        ("@given(1)\ndef test_x():\n    # A1\n    ...", []),
        ("# A1\n@pytest.mark.parametrize('given', [1])\ndef test_x(given): ...", []),
    ],
)
def test_what_counts_as_naming_a_law(source: str, laws: list[str]) -> None:
    """Comments on or right above a property test; not those of other tests, nor those inside."""
    assert list(laws_named(source)) == laws
