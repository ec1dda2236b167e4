"""No module of the window shows text past `studio.ui.parts.plain_text`, or hands the desktop something to open."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

PLACES = [*(ROOT / "studio/ui").rglob("*.py"), *(ROOT / "studio/viewmodels").rglob("*.py"), ROOT / "studio/app.py"]

GUESSING_WIDGETS = {
    "QErrorMessage",
    "QInputDialog",
    "QLabel",
    "QMessageBox",
    "QProgressDialog",
    "QStaticText",
    "QSystemTrayIcon",
    "QTextBrowser",
    "QTextDocument",
    "QTextEdit",
    "QToolTip",
    "QWhatsThis",
    "QWizardPage",
}
"""They take a text that looks like HTML for HTML, or show nothing else."""
GUESSING_CALLS = {
    "appendHtml",
    "insertHtml",
    "setDetailedText",
    "setHtml",
    "setInformativeText",
    "setMarkdown",
    "setOpenExternalLinks",
    "setStatusTip",
    "setTextFormat",
    "setToolTip",
    "setWhatsThis",
}
ALLOWED = {
    "studio/ui/parts/plain_text.py": GUESSING_WIDGETS | GUESSING_CALLS,
    "studio/ui/search/opening.py": {"openUrl"},
    "studio/ui/parts/reveal_file.py": {"openUrl"},
}


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_constant(node: ast.expr) -> bool:
    """A literal, or one that is translated."""
    if isinstance(node, ast.Call) and name_of(node.func) == "tr":
        return all(is_constant(argument) for argument in node.args)
    return isinstance(node, ast.Constant)


def faults(source: str) -> Iterator[tuple[int, str]]:
    """(line, what is used) of everything that could take text for markup, or open an address."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield from ((node.lineno, name) for base in node.bases if (name := name_of(base)) in GUESSING_WIDGETS)
        elif isinstance(node, ast.Call):
            name, owner = name_of(node.func), getattr(node.func, "value", None)
            if name in GUESSING_WIDGETS or (isinstance(owner, ast.expr) and name_of(owner) in GUESSING_WIDGETS):
                if name != "ExtraSelection":  # a range of a text, with its colours
                    yield node.lineno, name
            elif name in GUESSING_CALLS and not all(is_constant(argument) for argument in node.args):
                yield node.lineno, name
        if isinstance(node, ast.Attribute) and node.attr == "openUrl":
            yield node.lineno, "openUrl"
        if isinstance(node, ast.Attribute) and node.attr == "ToolTipRole" and "literal_tip" not in source:
            yield node.lineno, "ToolTipRole"


@pytest.mark.parametrize("path", PLACES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_shown_and_files_are_opened_in_one_place_only(path: Path) -> None:
    allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), set())
    found = [f"line {line}: {name}" for line, name in faults(path.read_text("utf-8")) if name not in allowed]
    assert not found, f"use studio.ui.parts.plain_text or studio.ui.search.opening in {path}: {'; '.join(found)}"


@pytest.mark.parametrize(
    "line",
    [
        "QLabel(title)",
        "QtWidgets.QLabel()",
        "class Mine(QLabel): pass",
        "row.setToolTip(path)",
        "row.setToolTip(self.tr('In {0}').format(path))",
        "row.setToolTip(f'{path}')",
        "QMessageBox.warning(self, 'RAG Studio', path)",
        "QToolTip.showText(place, title)",
        "view.setHtml(text)",
        "link.clicked.connect(QDesktopServices.openUrl)",
        "item.setData(title, Qt.ItemDataRole.ToolTipRole)",
    ],
)
def test_the_rule_sees(line: str) -> None:
    assert list(faults(line))


@pytest.mark.parametrize("line", ["row.setToolTip('Close')", "row.setToolTip(self.tr('Close'))", "set_tip(row, path)"])
def test_the_rule_lets_pass(line: str) -> None:
    assert not list(faults(line))
