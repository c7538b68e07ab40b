"""One source file is read as an import would understand it, without being imported."""

from __future__ import annotations

import ast
import sys

import pytest

from callboard.examples.librarian.builtin import C_MODULES, BuiltIn, describe
from callboard.examples.librarian.conditions import truth
from callboard.examples.librarian.names import Names
from callboard.examples.librarian.reading import Source
from callboard.examples.librarian.walking import read_source

AVAILABLE = frozenset(("os", "sys", "_here"))


def read(text: str, module: str = "sample", *, is_package: bool = False) -> Source:
    """What a file with this text says."""
    return read_source(text.encode(), module, is_package=is_package, available=AVAILABLE)


def docs(text: str) -> dict[str, str]:
    """The docstrings of what a text defines."""
    return {name: d.doc for name, d in read(text).definitions.items() if d.kind != "constant"}


@pytest.mark.parametrize(
    "text, doc",
    [
        ("def f(): 'one'\ndef f(): 'two'", "two"),
        ("import sys\nif sys.platform == 'no such platform':\n def f(): 'one'\nelse:\n def f(): 'two'", "two"),
        ("if unknown():\n def f(): 'one'\nelse:\n def f(): 'two'", "one"),
        ("def f(): 'one'\nif unknown():\n def f(): 'two'", "one"),
        ("if unknown():\n def f(): 'one'\ndef f(): 'two'", "two"),
        ("try:\n import _missing\nexcept ImportError:\n def f(): 'one'\nelse:\n def f(): 'two'", "one"),
        ("try:\n import _here\nexcept ImportError:\n def f(): 'one'\nelse:\n def f(): 'two'", "two"),
        ("try:\n from _missing import x\n def f(): 'one'\nexcept ImportError:\n def f(): 'two'", "two"),
        ("with open('x'):\n def f(): 'one'", "one"),
        ("from typing import overload\n@overload\ndef f(): 'one'\ndef f(): 'two'", "two"),
    ],
)
def test_of_two_definitions_the_one_that_would_run_counts(text: str, doc: str) -> None:
    """The later of two in a row; of two branches the one that is not known to be dead."""
    assert docs(text) == {"f": doc}


def test_methods_properties_and_nested_classes_have_dotted_names() -> None:
    """A setter does not replace the documented getter."""
    text = (
        "class A:\n class B:\n  def m(self, x, *y, z, **k): 'deep'\n @property\n def p(self): 'got'\n"
        " @p.setter\n def p(self, v): 'set'"
    )
    source = read(text)
    assert {n: d.kind for n, d in source.definitions.items()} == {
        "A": "class",
        "A.B": "class",
        "A.B.m": "method",
        "A.p": "property",
    }
    assert source.definitions["A.B.m"].parameters == ("self", "x", "y", "z", "k")
    assert source.definitions["A.p"].doc == "got"


def test_lines_are_those_of_the_file() -> None:
    """The line of `def`, of the first decorator, of the body, of the docstring's end and of the last statement."""
    text = "\n@one\n@two(\n 3)\ndef f(\n a,\n):\n  '''A\n\n  B'''\n  return a\n"
    found = read(text).definitions["f"]
    assert (found.first_line, found.line, found.body_line, found.doc_end, found.end_line) == (2, 5, 8, 10, 11)
    assert found.doc == "A\n\nB"


@pytest.mark.parametrize(
    "text, exported, open_ended",
    [
        ("x = 1", None, False),
        ("__all__ = ['a', 'b']", {"a", "b"}, False),
        ("__all__ = ('a',)\n__all__ += ['b']", {"a", "b"}, False),
        ("__all__ = ['a']\n__all__.extend(['b'])\n__all__.append('c')", {"a", "b", "c"}, False),
        ("names = ('a', 'b')\n__all__ = names + ('c',)", {"a", "b", "c"}, False),
        ("__all__ = ['a'] + other.__all__", {"a"}, True),
        ("__all__ = [n for n in dir() if n]", set(), True),
    ],
)
def test_all_is_read_as_far_as_it_is_written_out(text: str, exported: set[str] | None, open_ended: bool) -> None:
    """What only running would tell is not guessed, but it is known that there is more."""
    source = read(text)
    assert (source.exported, source.open_ended) == (exported, open_ended)


def test_relative_imports_become_absolute() -> None:
    """In a package the first dot is the package itself, in a module the package that holds it."""
    assert read("from .b import c\nfrom .. import d", "p.q.a").imports == {"c": "p.q.b.c", "d": "p.d"}
    assert read("from .b import c", "p.q", is_package=True).imports == {"c": "p.q.b.c"}


def test_docstrings_that_are_lent_or_made_on_import_are_found() -> None:
    """`wraps`, `f.__doc__ = g.__doc__` and a filled template, as the standard library uses them."""
    source = read(
        "TEXT = 'Do {what}.'\n@wraps(other.f)\ndef a(): ...\ndef b(): ...\nb.__doc__ = other.g.__doc__\n"
        "def c(): ...\nc.__doc__ = TEXT.format(what='it')"
    )
    assert source.borrowed == {"a": "other.f", "b": "other.g"}
    assert source.made == {"c": "Do it."}


def test_a_deprecated_module_is_known_by_its_warning() -> None:
    """Only a warning on import counts, not one inside a function."""
    assert read("import warnings\nwarnings._deprecated(__name__, remove=(3, 13))").deprecated
    assert read("import warnings\nwarnings.warn('no more', DeprecationWarning)").deprecated
    assert not read("import warnings\ndef f(): warnings.warn('no more', DeprecationWarning)").deprecated


def test_the_coding_line_is_honoured() -> None:
    """A file in Latin-1 says so in its first line."""
    text = "# coding: latin-1\ndef f(): 'caf\u00e9'".encode("latin-1")
    assert read_source(text, "m", is_package=False, available=AVAILABLE).definitions["f"].doc == "caf\u00e9"


@pytest.mark.parametrize(
    "condition, holds",
    [
        (f"sys.platform == {sys.platform!r}", True),
        ("_sys.platform != 'no such platform'", True),
        ("os.name == 'no such system' or sys.version_info >= (3, 11)", True),
        ("unknown and sys.version_info < (3,)", False),
        ("unknown or sys.version_info < (3,)", None),
        ("not (sys.version_info > (3,))", False),
        ("__name__ == '__main__'", False),
        ("unknown", None),
        ("platform == 'no such platform'", None),
    ],
)
def test_conditions_are_settled_only_where_they_can_be(condition: str, holds: bool | None) -> None:
    """Platform and version are facts; everything else is open."""
    assert truth(ast.parse(condition, mode="eval").body) is holds


def names(**texts: str) -> Names:
    """The names of some modules, with a C module `_c` beside them."""
    built_in = {
        "_c": BuiltIn("_c", "module"),
        "_c.fast": BuiltIn("_c.fast", "function", doc="fast, in C"),
        "_c.only": BuiltIn("_c.only", "function", doc="only in C"),
        "_c.made_thing": BuiltIn("_c.made_thing", "function", doc="made"),
    }
    return Names({name: read(text, name) for name, text in texts.items()}, built_in)


def test_names_are_followed_to_their_definitions() -> None:
    """Through imports, aliases, stars, instances and base classes."""
    known = names(
        a="class Base:\n def m(self): ...\nclass Sub(Base): ...\n_one = Sub()\nshort = _one.m\nagain = Sub\n",
        b="from a import *\nfrom a import short as brief\nimport a as other",
    )
    for name, true_name in {
        "a.Sub.m": "a.Base.m",
        "a.short": "a.Base.m",
        "a.again.m": "a.Base.m",
        "b.brief": "a.Base.m",
        "b.Sub": "a.Sub",
        "b.other.Sub.m": "a.Base.m",
        "b": "b",
    }.items():
        assert known.find(name) == true_name, name
    assert known.find("a.Sub.nothing") is None
    assert known.find("nothing.at.all") is None


def test_a_circle_of_imports_ends() -> None:
    """Two modules that import a name from each other do not have it."""
    assert names(a="from b import x", b="from a import x").find("a.x") is None


def test_a_python_definition_comes_before_its_c_version() -> None:
    """The Python one has file and line; which C function runs in its place is known, unless it is only wrapped."""
    known = names(
        after="def fast(): ...\nfrom _c import *",
        before="from _c import *\ndef fast(): ...",
        chooses="from _c import *\nfrom after import *",
    )
    assert known.find("after.fast") == known.find("chooses.fast") == "after.fast"
    assert known.find("after.only") == "_c.only"
    assert known.c_version("after.fast", "after") == "_c.fast"
    assert known.c_version("before.fast", "before") == ""
    assert known.borrowed_doc("after.fast") == ("fast, in C", "_c.fast")


def test_promised_names_are_found_where_they_are_made() -> None:
    """A name of `__all__` that nothing binds comes from a C module that is imported, as those of `hashlib` do."""
    known = names(a="import _c\n__all__ = ['thing', 'ghost']")
    assert known.find("a.thing") == "_c.made_thing"
    assert known.find("a.ghost") is None


def test_c_modules_are_described_without_their_private_names() -> None:
    """Functions, classes and their members, with signature where the interpreter knows it."""
    found = {b.name: b for b in describe("math")}
    assert found["math"].kind == "module"
    assert (found["math.sqrt"].signature, found["math.sqrt"].parameters) == ("(x, /)", ("x",))
    assert found["math.pi"].value == "3.141592653589793"
    assert not [name for name in found if name.startswith("math._")]


def test_only_listed_modules_are_ever_imported() -> None:
    """Importing anything else could run anything."""
    assert "antigravity" not in C_MODULES
    with pytest.raises(ValueError, match="'antigravity' is not among"):
        describe("antigravity")
