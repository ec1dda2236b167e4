"""Filters, order, likes, citations and judgments in the search pane, by mouse and keyboard."""

from __future__ import annotations

import asyncio
from datetime import date

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QDateEdit, QDialog, QMenu

from studio.services.library import TagCount
from studio.services.search import VerificationStatus
from studio.ui.parts import Theme
from studio.ui.search.result_card import Zone
from studio.ui.window.main_window import INGEST, SEARCH
from studio.ui.window.screenshots import until
from studio.viewmodels.search import periods
from tests.gui.fakes import result
from tests.gui.gestures import LEFT, choose, click, dialog_of, menu_of
from tests.gui.opening import with_kb
from tests.gui.qt_loop import on_qt_loop
from tests.gui.search.searching import CONTROL, SHIFT, answered, chips, names, open_submenu, press_zone, searching

# ---------------------------------------------------------------- filters and view


@on_qt_loop
async def test_filters_are_chosen_in_the_menu_and_taken_away_as_chips(theme: Theme) -> None:
    services = with_kb()
    services.tags.items = [TagCount("jit", 2, 0)]
    async with searching(services, theme) as (window, workspace):
        search = workspace.search
        await until(lambda: bool(search.choices.tags), search.choices_changed)
        choose(open_submenu("Filters", window, "Tag"), "jit (2)")
        await answered(workspace)
        choose(open_submenu("Filters", window, "Similarity"), "Close matches only (0.4 or more)")
        await answered(workspace)
        assert services.search.asked[-1].filters == (("tag", "jit"),)
        assert services.search.asked[-1].minimum_similarity == 0.4
        assert chips(window) == ["tag: jit", "similarity ≥ 0.4"]
        click(window.search.chips, "Remove: tag: jit")
        await answered(workspace)
        assert chips(window) == ["similarity ≥ 0.4"]
        assert not services.search.asked[-1].filters
        choose(open_submenu("Filters", window, "Date"), "Past month")
        await answered(workspace)
        assert chips(window)[0] == "Past month"
        click(window.search, "Filters")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        choose(menu, "Clear all filters")
        await answered(workspace)
        assert not chips(window)
        assert not window.search.chips.isVisible()


@on_qt_loop
async def test_two_dates_are_asked_for(theme: Theme) -> None:
    services = with_kb()
    async with searching(services, theme) as (window, workspace):
        choose(open_submenu("Filters", window, "Date"), "Between two dates…")
        dialog = dialog_of(QDialog)
        after, _ = dialog.findChildren(QCheckBox)
        day, other = dialog.findChildren(QDateEdit)
        assert not day.isEnabled()
        QTest.keyClick(after, Qt.Key.Key_Space)
        day.setDate(day.date().addYears(-3))
        assert not other.isEnabled()
        chosen = day.date().toString(Qt.DateFormat.ISODate)
        click(dialog, "Apply")
        await answered(workspace)
        assert services.search.asked[-1].filters == (("after", chosen),)
        assert chips(window) == [f"after {chosen}"]


@on_qt_loop
async def test_grouping_shows_what_stands_behind_a_document_and_leads_to_it(theme: Theme) -> None:
    services = with_kb()
    services.search.answers = lambda request: (
        [result(1), result(8)] if request.filters else [result(1, more_in_document=3), result(2, duplicates=("a", "b"))]
    )
    services.search.total = 6
    async with searching(services, theme) as (window, workspace):
        click(window.search, "View")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        texts = ["Group by document", "Fold near-identical passages", "Diverse results"]
        assert names(menu.actions()) == texts
        assert [action.isChecked() for action in menu.actions()] == [False, True, False]
        choose(menu, "Group by document")
        await answered(workspace)
        assert services.search.asked[-1].group
        assert window.search.summary.text() == "2 documents · 6 passages · 31 ms"
        assert "3 more in this document." in workspace.search.results.index(0).data(Qt.ItemDataRole.AccessibleTextRole)
        assert "+2 near-identical." in workspace.search.results.index(1).data(Qt.ItemDataRole.AccessibleTextRole)
        assert window.search.results.zone_rect(1, Zone.MORE).isEmpty()

        press_zone(window, 0, Zone.MORE)
        await answered(workspace)
        assert services.search.asked[-1].filters == (("document", "document-1"),)
        assert not services.search.asked[-1].group
        assert chips(window) == ["In: Title 1"]
        window.activateWindow()  # without a window manager a menu that closes leaves no window active
        await asyncio.sleep(0)
        QTest.keyClick(window.search.box.edit, Qt.Key.Key_Escape)
        await answered(workspace)
        assert not chips(window)
        assert services.search.asked[-1].group


# ---------------------------------------------------------------- likes, help, citations, judgments


@on_qt_loop
async def test_similar_passages_stand_as_a_chip_in_the_box_until_escape(theme: Theme) -> None:
    services = with_kb()
    async with searching(services, theme) as (window, workspace):
        box = window.search.box
        for leave in ("escape", "chip", "backspace"):
            QTest.keyClick(box.edit, Qt.Key.Key_F, CONTROL | SHIFT)
            await answered(workspace)
            assert services.search.asked[-1].similar_to == "chunk-1"
            assert box.similar.isVisible()
            assert box.similar.text() == "Similar to: Title 1"
            assert box.edit.text() == ""
            if leave == "escape":
                QTest.keyClick(box.edit, Qt.Key.Key_Escape)
            elif leave == "chip":
                QTest.mouseClick(box.similar, LEFT)
            else:
                QTest.keyClick(box.edit, Qt.Key.Key_Backspace)
            await answered(workspace)
            assert not box.similar.isVisible()
            assert box.edit.text() == "loops"
            assert services.search.asked[-1].query == "loops"
        QTest.keyClick(box.edit, Qt.Key.Key_F, CONTROL | SHIFT)
        await answered(workspace)
        QTest.keyClicks(box.edit, "heap")
        workspace.search.run_now()
        await answered(workspace)
        assert services.search.asked[-1].query == "heap"
        assert box.edit.text() == "heap"
        assert not box.similar.isVisible()


@on_qt_loop
async def test_help_lists_the_query_syntax(theme: Theme) -> None:
    async with searching(with_kb(), theme) as (window, _):
        click(window.search.box, "What can be typed here")
        said = window.search.help.accessibleDescription()
        for part in ('"trace tree"', "-garbage", "OR", "title:", "type:", "path:", "tag:", "after:", "before:"):
            assert part in said
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Escape)
        assert not window.search.help.isVisible()
        assert window.search.box.edit.text() == "loops"


@on_qt_loop
async def test_citations_are_copied_in_every_style_and_verified(theme: Theme) -> None:
    services = with_kb()
    async with searching(services, theme) as (window, workspace):
        for style, sign in (("Plain text", "“Title 2”"), ("Markdown", "[Title 2]("), ("BibTeX", "@misc{")):
            menu = menu_of(window.search.results, 1)
            styles = next(action.menu() for action in menu.actions() if action.text() == "Copy citation as")
            assert isinstance(styles, QMenu)
            next(action for action in styles.actions() if action.text() == style).trigger()
            menu.close()
            assert QGuiApplication.clipboard().text().startswith(sign)
            assert window.toast.message == "Citation copied"
        choose(menu_of(window.search.results, 1), "Verify citation")
        await until(lambda: window.toast.message.startswith("Same."), workspace.citing.confirmed)
        assert "“Title 2”" in services.citing.asked[-1]
        services.citing.status = VerificationStatus.CHANGED
        services.citing.detail = "The file does not hold the passage any more."
        choose(menu_of(window.search.results, 1), "Verify citation")
        await until(lambda: window.toast.message == "Changed.", workspace.citing.doubted)


@on_qt_loop
async def test_results_are_marked_relevant_by_key_and_by_menu(theme: Theme) -> None:
    services = with_kb()
    async with searching(services, theme) as (window, workspace):
        heard: list[tuple[str, str, int]] = []
        workspace.search.judged.connect(lambda query, item, grade: heard.append((query, item.chunk_id, grade)))
        before = window.search.results.grab().toImage()
        QTest.keyClick(window.search.box.edit, Qt.Key.Key_D, CONTROL)
        assert window.search.results.grab().toImage() != before, "a star"
        choose(menu_of(window.search.results, 1), "Mark not relevant\tCtrl+Shift+D")
        assert heard == [("loops", "chunk-1", 1), ("loops", "chunk-2", 0)]
        assert window.search.box.edit.text() == "loops", "Ctrl+D deletes nothing in the box"
        window.show_pane(INGEST)
        QTest.keyClick(window, Qt.Key.Key_D, CONTROL)
        assert len(heard) == 2
        services.library.read_only = services.library.still_read_only = "The disk is write-protected."
        workspace.library.try_writing()
        await until(lambda: bool(workspace.library.read_only), workspace.library.writability_changed)
        window.show_pane(SEARCH)
        QTest.keyClick(window.search.box.edit, Qt.Key.Key_D, CONTROL)
        assert len(heard) == 2
        menu = menu_of(window.search.results, 0)
        marks = [action for action in menu.actions() if action.text().startswith("Mark")]
        assert [action.isEnabled() for action in marks] == [False, False]
        menu.close()


@on_qt_loop
async def test_notes_of_the_answer_stand_above_the_results(theme: Theme) -> None:
    services = with_kb()
    services.search.notes = ("The reranker failed; the order is that of the fusion.",)
    async with searching(services, theme) as (window, _):
        assert window.search.notes.isVisible()
        assert window.search.notes.accessibleName() == services.search.notes[0]
        assert not window.search.banner.isVisible()


def test_periods_begin_before_today() -> None:
    assert dict(periods(date(2026, 1, 5))) == {
        "Past week": "2025-12-29",
        "Past month": "2025-12-06",
        "Past year": "2025-01-05",
    }


@on_qt_loop
async def test_a_reranker_is_chosen_where_there_is_one(theme: Theme) -> None:
    services = with_kb()
    services.search.reranker, services.search.rerankers_there = "set", ["set", "other"]
    async with searching(services, theme) as (window, workspace):
        click(window.search, "View")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        submenu = menu.actions()[-1].menu()
        assert isinstance(submenu, QMenu)
        assert names(submenu.actions()) == ["No reranker", "set", "other"]
        assert [action.isChecked() for action in submenu.actions()] == [False, True, False]
        assert services.search.asked[-1].reranker == ""
        submenu.actions()[0].trigger()
        menu.close()
        await answered(workspace)
        assert services.search.asked[-1].reranker == "none"
