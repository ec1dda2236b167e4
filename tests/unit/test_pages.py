"""What ARCHITECTURE.md, CONTRIBUTING.md and the other pages say of the tree is so."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers import ROOT

ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
PACKAGES = [
    ".".join(path.parent.relative_to(ROOT / "studio").parts)
    for path in sorted((ROOT / "studio").rglob("__init__.py"))
    if path.parent != ROOT / "studio"
]
LAYERS = ("ui", "viewmodels", "services", "index", "embedding", "documents")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_architecture_is_read_in_one_sitting_and_speaks_of_packages() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 200
    assert re.findall(r"\S+\.py\b", ARCHITECTURE) == []


def test_contributing_is_one_page() -> None:
    assert len(CONTRIBUTING.splitlines()) <= 60


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_on_the_page(package: str) -> None:
    layer, _, concern = package.partition(".")
    paragraph = next(text for text in ARCHITECTURE.split("**[studio/") if text.startswith(f"{layer}]"))
    assert not concern or f"`{concern}`" in paragraph


def test_every_package_that_is_named_is_there() -> None:
    named = set(re.findall(rf"`((?:{'|'.join(LAYERS)})\.\w+)`", ARCHITECTURE))
    assert len(named) > 15
    assert sorted(name for name in named if name not in PACKAGES) == []


def test_every_single_module_is_on_the_page() -> None:
    modules = {path.stem for path in (ROOT / "studio").glob("*.py")} - {"__init__"}
    assert sorted(name for name in modules if f"`{name}`" not in ARCHITECTURE and f"{name}:" not in ARCHITECTURE) == []


def test_a_word_is_explained_once() -> None:
    table = ARCHITECTURE[ARCHITECTURE.index("| word |") : ARCHITECTURE.index("## The way of a dropped file")]
    words = [word for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:] for word in cell.split(", ")]
    assert len(words) > 20
    assert len(words) == len(set(words))


def test_what_contributing_names_in_code_is_there() -> None:
    named = re.findall(r"`(\w+)` in its `__init__`", CONTRIBUTING)
    assert named == ["PARSERS"]
    assert hasattr(import_module("studio.documents.parsers"), "PARSERS")
    for module in re.findall(r"`(detect|arguments|dispatch|output)\.py`", CONTRIBUTING):
        assert find_spec(f"studio.documents.parsers.{module}") or find_spec(f"studio.cli.{module}")
    targets = set(re.findall(r"`make (\w+)", CONTRIBUTING))
    rules = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert targets
    assert targets <= rules


def test_each_foreign_library_is_imported_where_contributing_says() -> None:
    paragraph = CONTRIBUTING[CONTRIBUTING.index("## Upgrading a foreign library") :]
    for library, package in (
        ("lancedb", "studio/index/vectors"),
        ("tantivy", "studio/index/keywords"),
        ("llama_cpp", "studio/embedding/worker"),
        ("qasync", "studio/ui/window"),
    ):
        assert f"({package})" in paragraph
        importing = {
            path.parent.relative_to(ROOT).as_posix()
            for path in (ROOT / "studio").rglob("*.py")
            if re.search(rf"^\s*(from|import) {library}\b", path.read_text("utf-8"), re.MULTILINE)
        }
        assert importing == {package}
