"""Finds the source files of the standard library and of the installed packages. Opens none of them but path files.

What is left out is counted, never hidden: tests and copies of other projects inside a package, and of very large
packages the modules that lie deepest, because the first question should be answered within seconds.
"""

from __future__ import annotations

import re
import site
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

__all__ = [
    "Found",
    "Origin",
    "extension_modules",
    "installed_roots",
    "scan_installed",
    "scan_standard_library",
    "standard_library_root",
]

Origin: TypeAlias = Literal["standard library", "installed package", "built-in"]

# Neither documentation nor interface: test suites, other projects' code under a second name, other roots.
_NOT_LIBRARY = frozenset(
    "test tests _tests idle_test testing_data __pycache__ site-packages dist-packages lib-dynload _vendor"
    " vendor _bundled".split()
)
# mypy, Pygments, Playwright and setuptools are 1.5 to 4.5 MB each, and nearly all of it lies below their interface.
_MAX_PACKAGE_BYTES = 1024 * 1024
# About two seconds of reading.
_MAX_INSTALLED_BYTES = 10 * 1024 * 1024
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)


@attrs.frozen
class Found:
    """One source file: `path` is `root` / `file`, `module` what it is imported as."""

    module: str
    root: Path
    file: str
    origin: Origin
    size_bytes: int
    is_package: bool


def standard_library_root() -> Path:
    """The folder that the paths of the standard library are given from."""
    return Path(sysconfig.get_path("stdlib"))


def installed_roots() -> list[Path]:
    """The folders of installed packages, and those that editable installations point at, without repeats."""
    folders = [Path(p) for p in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages())]
    roots: dict[Path, None] = {}
    for folder in folders:
        if folder.is_dir():
            roots[folder] = None
            for pth in sorted(folder.glob("*.pth")):
                for line in pth.read_text(encoding="utf-8", errors="replace").splitlines():
                    # A line that begins with "import" is a program (site.addpackage), and nothing here runs those.
                    if line.strip() and not line.startswith(("import ", "import\t", "#")):
                        target = folder / line.strip()
                        if target.is_dir():
                            roots[target] = None
    return list(roots)


def extension_modules() -> set[str]:
    """The modules of the standard library that are shared libraries of their own, such as ``_ssl``; none is loaded."""
    folders = [Path(sysconfig.get_path(kind)) / "lib-dynload" for kind in ("stdlib", "platstdlib")]
    return {item.name.partition(".")[0] for folder in folders if folder.is_dir() for item in folder.iterdir()}


def scan_standard_library() -> list[Found]:
    """Every source file of the standard library but its tests."""
    return list(_walk(standard_library_root(), "standard library"))


def scan_installed() -> tuple[list[Found], dict[str, int]]:
    """The source files of installed packages, shallow ones first, and how many of which package were left out."""
    packages: dict[str, list[Found]] = {}
    for root in installed_roots():
        for found in _walk(root, "installed package"):
            packages.setdefault(found.module.partition(".")[0], []).append(found)
    taken: list[Found] = []
    left_out: dict[str, int] = {}
    total = 0
    # Small packages first: one giant must not keep twenty others out.
    for package, files in sorted(packages.items(), key=lambda item: (sum(f.size_bytes for f in item[1]), item[0])):
        room = min(_MAX_PACKAGE_BYTES, _MAX_INSTALLED_BYTES - total)
        for found in sorted(files, key=lambda f: (f.module.count("."), f.module)):
            if found.size_bytes <= room:
                room -= found.size_bytes
                total += found.size_bytes
                taken.append(found)
            else:
                left_out[package] = left_out.get(package, 0) + 1
    return taken, left_out


def _walk(root: Path, origin: Origin) -> Iterator[Found]:
    def folder(path: Path, prefix: str) -> Iterator[Found]:
        for item in sorted(path.iterdir()):
            name = item.name.removesuffix(".py")
            if name in _NOT_LIBRARY or not _IDENTIFIER.match(name):
                continue
            if item.suffix == ".py" and name not in ("__init__", "__main__"):
                yield Found(prefix + name, root, item.relative_to(root).as_posix(), origin, item.stat().st_size, False)
            elif (init := item / "__init__.py").is_file():
                file = init.relative_to(root).as_posix()
                yield Found(prefix + name, root, file, origin, init.stat().st_size, True)
                yield from folder(item, prefix + name + ".")

    return folder(root, "")
