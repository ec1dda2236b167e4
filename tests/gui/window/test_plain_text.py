"""Markup in titles, names, paths and queries is shown letter by letter, and nothing it names is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QAbstractItemModel
from PySide6.QtGui import QAction, QPixmap, Qt, QTextDocument
from PySide6.QtWidgets import QAbstractItemView, QLabel, QPushButton, QWidget

from studio.ui.parts import Banner, ElidedLabel, PlainLabel, Theme, forbid, label, message_box, set_tip
from studio.viewmodels.text import literal_tip
from tests.gui.fakes import FakeServices, result
from tests.gui.qt_loop import on_qt_loop
from tests.gui.search.searching import searching


class Loading(QTextDocument):
    """HTML as a tool tip or a label shows it; `asked` are the resources it names."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.setHtml(html)
        self.size()  # lays it out

    def loadResource(self, kind: int, name: Any) -> Any:
        self.asked.append(name.toString())
        return QPixmap()


def seen(tip: str) -> str:
    """What a person reads of a tool tip; nothing may be loaded for it."""
    if not Qt.mightBeRichText(tip):
        return tip
    document = Loading(tip)
    assert not document.asked
    return document.toPlainText()


MARKUP = [
    '<img src="/tmp/secret.png">',
    "<img src=//host/share/x.png>",
    '<a href="http://host/">click</a>',
    "a & b <b>bold</b>\n  second   line",
    "<p>&lt;img src=x&gt;</p>",
    "&lt;b&gt;",
    "<?xml version='1.0'?><img src=x>",
    "<style>@import 'x'</style>",
    "1 < 2 > 1",
    "plain",
]


@pytest.mark.parametrize("text", MARKUP)
def test_tool_tips_are_literal(qapp: object, text: str) -> None:
    assert seen(literal_tip(text)) == text
    for target in (QPushButton(), QAction()):
        set_tip(target, text)
        assert seen(target.toolTip()) == text


def test_without_it_a_picture_would_be_loaded(qapp: object) -> None:
    assert Qt.mightBeRichText(MARKUP[0])
    assert Loading(MARKUP[0]).asked == ["/tmp/secret.png"]


@pytest.mark.parametrize("text", MARKUP)
def test_labels_and_boxes_are_literal(qapp: object, theme: Theme, text: str) -> None:
    banner, elided, box = Banner(theme), ElidedLabel("title"), message_box("RAG Studio", text)
    banner.show_text(text)
    elided.setText(text)
    assert box.textFormat() == Qt.TextFormat.PlainText
    shown = [label(text), PlainLabel(text), elided, *banner.findChildren(QLabel)]
    assert {item.textFormat() for item in shown} == {Qt.TextFormat.PlainText}
    assert seen(elided.toolTip()) == text
    banner.hide()


def test_a_reason_comes_and_goes_and_the_tip_before_it_stays(qapp: object) -> None:
    button = QPushButton()
    set_tip(button, MARKUP[0])
    for _ in range(2):
        forbid(MARKUP[3], button)
        assert seen(button.toolTip()) == MARKUP[3]
        forbid("", button)
        assert seen(button.toolTip()) == MARKUP[0]


@on_qt_loop
async def test_nothing_in_a_window_full_of_markup_is_taken_for_it(theme: Theme, tmp_path: Path) -> None:
    hostile = f'<img src="{tmp_path}/x.png">'
    services = FakeServices()
    services.library.add(hostile)
    found = result(1)
    citation = replace(found.citation, title=hostile, source_path=f"/{hostile}/{hostile}.md", anchor=hostile)
    services.search.answer = lambda _: [replace(found, citation=citation, kb_name=hostile, snippet=hostile)]
    async with searching(services, theme) as (window, _):
        window.toast.alert(hostile, hostile, lambda: None)
        window.search.results.set_current_row(0)
        labels = window.findChildren(QLabel)
        assert any(hostile in item.text() for item in labels)
        assert {item.textFormat() for item in labels} == {Qt.TextFormat.PlainText}
        for widget in window.findChildren(QWidget):
            seen(widget.toolTip())
        for view in window.findChildren(QAbstractItemView):
            for tip in tips(view.model()):
                seen(tip)


def tips(model: QAbstractItemModel | None) -> list[str]:
    """The tool tips of all rows."""
    if model is None:
        return []
    return [str(model.index(row, 0).data(Qt.ItemDataRole.ToolTipRole) or "") for row in range(model.rowCount())]
