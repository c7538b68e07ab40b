"""The rules on imports that import-linter cannot say; its own contracts stand in `pyproject.toml`.

Everything is read from the sources, so that an import inside a function counts too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("actors", "runtime", "transport")
LINKED = (*LAYERS, "examples")


Import = tuple[str, int, str]
"""A file relative to the repository, a line, and the module named there; a relative one keeps its dots."""


def imports_of(*folders: str) -> Iterator[Import]:
    """Each import in the Python files under these folders."""
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        source = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), source)):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield source, node.lineno, "." * node.level + node.module
            elif isinstance(node, ast.Import | ast.ImportFrom):
                # `from .. import runtime` names modules only behind the `import`, as `import runtime` does.
                dots = "." * getattr(node, "level", 0)
                yield from ((source, node.lineno, dots + alias.name) for alias in node.names)


def leaves_its_folder(source: str, module: str) -> bool:
    """Whether a relative import climbs past the top-level folder that the file lies in."""
    dots = len(module) - len(module.lstrip("."))
    return dots >= len(Path(source).parts)


@pytest.mark.parametrize("folder", LINKED)
def test_every_folder_with_python_files_is_a_package(folder: str) -> None:
    """import-linter passes over a folder without `__init__.py`, and nobody would notice."""
    folders = {path.parent for path in (ROOT / folder).rglob("*.py")}
    assert folders
    assert {path for path in folders if not (path / "__init__.py").exists()} == set()


def test_layers_import_relatively() -> None:
    """An absolute import of callboard gives editors a second name for each file, and so each class twice."""
    own = {"callboard", *LINKED}
    assert [found for found in imports_of(*LAYERS) if found[2].split(".")[0] in own] == []


def test_layers_import_each_other_by_their_public_names() -> None:
    """What a layer offers is in its `__init__.py`; the files behind that may move."""
    assert [
        (source, line, module)
        for source, line, module in imports_of(*LAYERS)
        if leaves_its_folder(source, module) and module.lstrip(".").startswith(tuple(f"{name}." for name in LAYERS))
    ] == []


def test_layers_look_downwards_only() -> None:
    """Annotations too: import-linter does not count what is imported for type checking only."""
    above = {"runtime": {"actors", "transport", "examples"}, "actors": {"transport", "examples"}}
    assert [
        (source, line, module)
        for layer, higher in above.items()
        for source, line, module in imports_of(layer)
        if leaves_its_folder(source, module) and module.lstrip(".").split(".")[0] in higher
    ] == []


def test_examples_work_under_both_of_their_names() -> None:
    """They are `examples.…` here and `callboard.examples.…` in the wheel: own files come relatively."""
    assert [
        (source, line, module)
        for source, line, module in imports_of("examples")
        if module.split(".")[0] in LINKED or module.startswith("callboard.") or leaves_its_folder(source, module)
    ] == []
