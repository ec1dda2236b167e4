"""Why a result is there, and the weight of meaning, by mouse and keyboard."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QProgressBar, QWidget

from studio.ui.parts import Theme, ThemeChoice
from studio.ui.search.result_card import Zone
from studio.ui.window.main_window import INGEST, SEARCH
from studio.ui.window.screenshots import until
from tests.gui.fakes import result
from tests.gui.gestures import LEFT, choose, click, menu_of
from tests.gui.opening import with_kb
from tests.gui.qt_loop import on_qt_loop
from tests.gui.search.searching import CONTROL, answered, many, press_zone, searching

# ---------------------------------------------------------------- why


@on_qt_loop
async def test_why_opens_by_click_key_and_menu_and_closes_with_escape(theme: Theme) -> None:
    async with searching(with_kb(), theme) as (window, workspace):
        pane = window.search
        press_zone(window, 1, Zone.WHY)
        assert pane.why.isVisible()
        assert pane.why.accessibleName() == "Why this is result 2"
        assert "Meaning: rank #1" in pane.why.accessibleDescription()
        assert workspace.search.current_row == 1
        bars = [bar.accessibleName() for bar in pane.why.findChildren(QProgressBar)]
        assert bars == ["Meaning, normalised score 1.00", "Words, normalised score 1.00"]
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
        assert not pane.why.isVisible()
        assert pane.box.edit.text() == "loops", "Escape closed the card only"

        pane.focus_query()
        QTest.keyClick(pane.box.edit, Qt.Key.Key_E, CONTROL)
        assert pane.why.isVisible()
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
        assert QApplication.focusWidget() is pane.box.edit, "the keyboard goes back to who had it"

        pane.results.setFocus()
        QTest.keyClicks(pane.results, "?")
        assert pane.why.isVisible()
        press_zone(window, 1, Zone.WHY)
        assert not pane.why.isVisible(), "a second press puts it away"

        choose(menu_of(pane.results, 0), "Why is this here?\tCtrl+E")
        assert pane.why.accessibleName() == "Why this is result 1"
        window.show_pane(INGEST)
        window.show_pane(SEARCH)
        assert not pane.why.isVisible()


@on_qt_loop
async def test_an_explanation_follows_the_selection_and_goes_with_its_result(theme: Theme) -> None:
    services = with_kb()
    async with searching(services, theme) as (window, workspace):
        pane = window.search
        press_zone(window, 0, Zone.WHY)
        where = pane.results.visualRect(workspace.search.results.index(1)).topLeft() + QPoint(30, 30)
        QTest.mouseClick(pane.results.viewport(), LEFT, pos=where)
        assert pane.why.accessibleName() == "Why this is result 2"
        services.search.answers = lambda request: [result(7)]
        workspace.search.run_now()
        await answered(workspace)
        assert not pane.why.isVisible()


def assert_shown_whole(card: QWidget) -> None:
    """Every text of a card stands inside it and is as high as it needs."""
    texts = [text for text in card.findChildren(QLabel) if text.text() and not text.isHidden()]
    assert len(texts) > 12
    for text in texts:
        assert text.isVisible(), text.text()
        assert card.rect().contains(QRect(text.mapTo(card, QPoint(0, 0)), text.size())), text.text()
        assert text.height() >= text.fontMetrics().height(), text.text()


@pytest.mark.parametrize("choice", [ThemeChoice.LIGHT, ThemeChoice.DARK])
@on_qt_loop
async def test_an_explanation_stays_inside_the_pane_and_shows_all_of_itself(theme: Theme, choice: ThemeChoice) -> None:
    services = with_kb()
    services.search.answers = many
    theme.apply(choice)
    async with searching(services, theme) as (window, _):
        pane = window.search
        window.resize(1100, 720)
        for row in (0, 1, 2):
            pane.results.set_current_row(row)
            pane.explain()
            await asyncio.sleep(0)
            assert pane.rect().contains(pane.why.geometry())
            assert_shown_whole(pane.why)
            pane.escape()


# ---------------------------------------------------------------- weight


@on_qt_loop
async def test_the_slider_reorders_under_the_hand_and_the_list_stays_where_it_is(theme: Theme) -> None:
    services = with_kb()
    services.search.answers = many
    services.search.weight = 0.5
    async with searching(services, theme) as (window, workspace):
        pane, search = window.search, workspace.search
        assert pane.weight.auto.isChecked()
        assert pane.weight.slider.value() == 50
        pane.results.set_current_row(14)
        scrolled = pane.results.verticalScrollBar().value()
        assert scrolled > 0
        services.search.asked.clear()
        pane.weight.slider.setFocus()
        QTest.keyClick(pane.weight.slider, Qt.Key.Key_Right)
        await answered(workspace)
        assert [request.weight for request in services.search.asked] == [0.55]
        assert search.current is not None
        assert search.current.chunk_id == "chunk-15"
        assert pane.results.current_row() == 5
        assert pane.results.verticalScrollBar().value() == scrolled
        assert not pane.weight.auto.isChecked()
        assert pane.weight.slider.accessibleDescription() == "55 percent meaning"
        assert workspace.preview.result == search.current

        QTest.mouseClick(pane.weight.auto, LEFT)
        await answered(workspace)
        assert services.search.asked[-1].weight is None
        assert pane.weight.slider.value() == 50
        assert pane.weight.auto.isChecked()


@on_qt_loop
async def test_an_open_explanation_follows_the_slider(theme: Theme) -> None:
    services = with_kb()
    services.search.answers = lambda request: [
        result(1, explanation=replace(result(1).explanation, weight=request.weight or 0.5))
    ]
    async with searching(services, theme) as (window, workspace):
        pane = window.search
        press_zone(window, 0, Zone.WHY)
        assert "share 50%" in pane.why.accessibleDescription()
        pane.weight.slider.setFocus()
        QTest.keyClick(pane.weight.slider, Qt.Key.Key_PageUp)
        await answered(workspace)
        assert pane.why.isVisible()
        assert "share 82%" in pane.why.accessibleDescription()
        assert_shown_whole(pane.why)
        assert QApplication.focusWidget() is pane.weight.slider


@on_qt_loop
async def test_another_order_does_not_load_the_preview_again(theme: Theme, monkeypatch: pytest.MonkeyPatch) -> None:
    services = with_kb()
    async with searching(services, theme) as (window, workspace):
        preview, launch = workspace.preview, workspace.preview.launch
        await until(lambda: preview.content is not None, preview.changed)
        begun: list[str] = []

        def counted(key: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            begun.append(key)
            return launch(key, coroutine)

        monkeypatch.setattr(preview, "launch", counted)
        services.search.answers = lambda request: [result(2), result(1, score=0.1)]
        window.search.weight.slider.setValue(10)
        await answered(workspace)
        assert workspace.search.current_row == 1
        assert preview.result == workspace.search.current
        assert not begun
        window.search.results.set_current_row(0)
        assert begun == ["load"]


@on_qt_loop
async def test_the_slider_is_there_where_both_sides_answer(theme: Theme) -> None:
    async with searching(with_kb(), theme) as (window, workspace):
        assert window.search.weight.isVisible()
        click(window.search, "Vector")
        await answered(workspace)
        assert not window.search.weight.isVisible()


@on_qt_loop
async def test_a_card_with_everything_on_it_keeps_its_parts_apart(theme: Theme) -> None:
    services = with_kb()
    full = replace(result(1), more_in_document=12_345, duplicates=("a",) * 12)
    services.search.answers = lambda request: [full]
    async with searching(services, theme) as (window, _):
        window.resize(1000, 700)
        why = window.search.results.zone_rect(0, Zone.WHY)
        more = window.search.results.zone_rect(0, Zone.MORE)
        assert not why.intersects(more)
        assert more.left() > 0
        assert window.search.results.viewport().rect().contains(why)
