"""Each package says what belongs in it, and is used through its public face alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

FOREIGN = {"lancedb": "studio.index.vectors", "lance": "studio.index.vectors", "tantivy": "studio.index.keywords"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted((ROOT / "studio").rglob("*.py"))}
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py" and name.count(".") > 1]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of the project; a name that is a module itself counts as one."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in MODULES and not is_shown(node.module, alias.name) else node.module
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def is_shown(package: str, name: str) -> bool:
    path = MODULES.get(package)
    return path is not None and package in PACKAGES and name in face_of(path)


def face_of(path: Path) -> set[str]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def inside(module: str) -> str:
    """The package whose private module this is, "" for none."""
    package = module.rpartition(".")[0]
    return package if package in PACKAGES and module not in PACKAGES else ""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_belongs_in_it_and_shows_a_face(package: str) -> None:
    path = MODULES[package]
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    assert "Belongs here:" in text
    assert "Does not:" in text
    assert face_of(path)


def test_a_package_is_used_through_its_face() -> None:
    behind = [
        f"{name}:{line} imports {module}"
        for name, path in MODULES.items()
        for line, module in imported(path)
        if (package := inside(module)) and name != package and not name.startswith(f"{package}.")
    ]
    assert behind == []


def test_foreign_libraries_are_not_imported_by_name_elsewhere() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and any(
            isinstance(part, ast.Name | ast.Attribute) and "import_module" in ast.dump(part)
            for part in (node.func, *node.args)
        )
        for argument in node.args
        if isinstance(argument, ast.Constant)
        and (package := FOREIGN.get(str(argument.value).partition(".")[0]))
        and not name.startswith(package)
    ]
    assert found == []
