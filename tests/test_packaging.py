"""What gets installed: the public names, one version, a wheel that holds all of it and nothing generic."""

import ast
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import callboard

ROOT = Path(__file__).parent.parent
LINKED = ("actors", "examples", "runtime", "transport")
PUBLIC_PACKAGES = ("callboard", "callboard.actors", "callboard.runtime", "callboard.transport")

BUILD = """
import sys
from setuptools import build_meta
build_meta.build_wheel(sys.argv[1])
"""


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The paths in a wheel built from a copy of this tree: a build would take in files left by an older one."""
    copy, out = tmp_path_factory.mktemp("copy") / "tree", tmp_path_factory.mktemp("wheel")
    copy.mkdir()
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*LINKED, "src"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=left_out)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=copy, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def public_names(package: ModuleType) -> set[str]:
    """Names of a package that do not start with an underscore and are not modules."""
    return {
        name for name, value in vars(package).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }


@pytest.mark.parametrize("name", PUBLIC_PACKAGES)
def test_each_package_offers_exactly_the_names_in_its_all(name: str) -> None:
    """Every name in `__all__` is there, once, and no other name is public (ruff keeps the list sorted)."""
    package = importlib.import_module(name)
    offered = package.__all__
    assert len(offered) == len(set(offered))
    assert {offer for offer in offered if not hasattr(package, offer)} == set()
    assert public_names(package) - set(offered) == set()


def test_type_checkers_see_the_names_that_are_fetched_when_asked_for() -> None:
    """What `callboard` imports for them is its `__all__`; an unknown name is an error for everybody."""
    source = ast.parse((ROOT / "src" / "callboard" / "__init__.py").read_text(encoding="utf-8"))
    told = [
        alias.asname or alias.name
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(["__version__", *told]) == sorted(callboard.__all__)
    assert set(callboard.__all__) <= set(dir(callboard))
    name = "Actress"
    with pytest.raises(AttributeError, match="module 'callboard' has no attribute 'Actress'"):
        getattr(callboard, name)


def test_the_runtime_alone_loads_nothing_above_it() -> None:
    """Nor does a name of a lower layer. It would be as many objects again for the garbage collector to look at."""
    code = "import sys, callboard.runtime, callboard; callboard.Actor; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "callboard.runtime" in loaded
    assert {name for name in loaded if name.startswith(("callboard.actors", "callboard.transport", "apsw"))} == set()


def test_every_module_is_importable_and_none_under_a_generic_name() -> None:
    """`import runtime` would work from the repository's root and give each class twice: nobody does."""
    found = [module.name for module in pkgutil.walk_packages(callboard.__path__, "callboard.")]
    for name in found:
        if not name.endswith(".__main__"):
            importlib.import_module(name)
    assert {f"callboard.{name}" for name in LINKED} <= set(found)
    assert {"actors", "runtime", "transport"} & set(sys.modules) == set()


def test_the_version_is_the_one_on_top_of_the_changelog() -> None:
    """A release cannot forget its entry in the changelog."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)[0] == callboard.__version__


def test_the_wheel_installs_callboard_and_nothing_else(wheel_names: set[str]) -> None:
    """No generic name lands at the top of anybody's site-packages."""
    metadata = f"callboard-{callboard.__version__}.dist-info"
    assert {name.partition("/")[0] for name in wheel_names} == {"callboard", metadata}
    assert f"{metadata}/licenses/LICENSE" in wheel_names


def test_the_wheel_holds_every_file_of_the_packages(wheel_names: set[str]) -> None:
    """A folder behind a link, or a file type not declared as package data, would be missing there only."""
    package = ROOT / "src" / "callboard"
    expected = {f"callboard/{path.name}" for path in package.iterdir() if path.is_file()}
    for folder in (ROOT / name for name in LINKED):
        expected |= {
            f"callboard/{path.relative_to(ROOT).as_posix()}"
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    assert {name for name in wheel_names if name.startswith("callboard/")} == expected
