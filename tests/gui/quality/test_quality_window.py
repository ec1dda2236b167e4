"""The Quality pane by mouse and keyboard, over services that answer on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QFileDialog, QLabel, QLineEdit, QMenu

from studio.domain import SavedQuery, SearchMode
from studio.errors import NotFound
from studio.services.quality import Setting
from studio.ui.parts import Theme, ThemeChoice
from studio.ui.quality.pane import MEASUREMENTS, QUERIES
from studio.ui.quality.plot import QualityPlot
from studio.ui.window import MainWindow
from studio.ui.window.main_window import QUALITY, SEARCH
from studio.ui.window.screenshots import until
from studio.viewmodels.quality import Choice, Point, QualityViewModel
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices
from tests.gui.gestures import LEFT, buttons, choose, click, dialog_of, menu_of, texts, window_over, with_generations
from tests.gui.opening import searched
from tests.gui.qt_loop import on_qt_loop


def with_queries(judged: int = 12) -> FakeServices:
    services = with_generations()
    services.quality.judging.items = [
        SavedQuery(number, f"query {number}", f"query {number} of loops", {"document-1": 1, "document-9": 0}, 0)
        for number in range(1, judged + 1)
    ]
    services.quality.judging.items.append(SavedQuery(99, "unjudged", "nobody judged this", {}, 0))
    return services


@asynccontextmanager
async def shown(services: FakeServices, theme: Theme) -> AsyncIterator[tuple[MainWindow, Workspace]]:
    async with window_over(services, theme) as (window, workspace):
        QTest.keyClick(window, Qt.Key.Key_4, Qt.KeyboardModifier.ControlModifier)
        assert window.pane == QUALITY
        model = workspace.quality
        await until(lambda: len(model.queries.items) == len(services.quality.judging.items), model.changed)
        yield window, workspace


async def ran(window: MainWindow, model: QualityViewModel) -> None:
    click(window.quality, "Run")
    await until(lambda: model.report_ab is not None and not model.running, model.changed)


def by_mode(setting: Setting) -> Sequence[float]:
    """Vector answers every query better than hybrid, keyword nearly as well."""
    if setting.mode is SearchMode.VECTOR:
        return [0.5 + number / 50 for number in range(1, 13)]
    if setting.mode is SearchMode.KEYWORD:
        return [0.5 + (number % 2 - 0.5) / 10 for number in range(12)]
    return [0.5] * 12


# ---------------------------------------------------------------- measuring


@on_qt_loop
async def test_a_run_fills_table_plot_and_comparison(theme: Theme) -> None:
    services = with_queries()
    services.quality.answer = by_mode
    async with shown(services, theme) as (window, workspace):
        model, page = workspace.quality, window.quality.measurements
        assert not page.plot.isVisible()
        await ran(window, model)
        assert [setting.name for setting in services.quality.ran[0]] == ["hybrid", "vector", "keyword"]
        assert services.quality.stored == [True]
        rows = model.measured.items
        assert [(row.name, row.values[0], row.side, row.best) for row in rows] == [
            ("hybrid", ("0.500", "0.400 – 0.600"), "A", False),
            ("vector", ("0.630", "0.530 – 0.730"), "B", True),
            ("keyword", ("0.500", "0.400 – 0.600"), "", False),
        ]
        said = page.list.model().data(page.list.model().index(1, 0), Qt.ItemDataRole.AccessibleTextRole)
        assert said.startswith("B: vector; nDCG 0.630, 0.530 – 0.730; Recall 0.630")
        assert said.endswith("p50 3.1, p95 5.0, p99 140")
        assert page.verdict.text().startswith("B (vector) finds more than A (hybrid): +0.130 nDCG@10 [+0.")
        assert page.verdict.text().endswith("p < 0.001")
        assert page.plot.isVisible()
        assert "vector (B): 0.630, from 0.530 to 0.730" in page.plot.accessibleDescription()
        assert not page.curve.isVisible()
        # The third setting takes the place of B; what is clicked twice is taken out.
        where = page.list.visualRect(page.list.model().index(2, 0)).center()
        QTest.mouseClick(page.list.viewport(), LEFT, pos=where)
        await until(lambda: model.report_ab is not None and model.report_ab.b == "keyword", model.changed)
        assert page.verdict.text().startswith("No difference can be shown between A (hybrid) and B (keyword): 0.000")
        QTest.keyClick(page.list, Qt.Key.Key_Return)
        assert model.sides == ("hybrid",)
        assert page.verdict.text() == "Click two settings to compare them."
        choose(menu_of(page.list, 1), "Compare as A")
        await until(lambda: model.report_ab is not None, model.changed)
        assert model.sides == ("vector", "hybrid")
        assert page.verdict.text().startswith("B (hybrid) finds less than A (vector): −0.130 nDCG@10 [−0.")


@on_qt_loop
async def test_what_is_compared_is_ticked_in_menus_that_stay_open(theme: Theme) -> None:
    services = with_queries()
    async with shown(services, theme) as (window, workspace):
        bar, model = window.quality.measurements.bar, workspace.quality
        click(bar, "Mode: hybrid, vector, keyword")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        for name in ("Vector", "Keyword", "Hybrid"):  # the last one that is left stays
            choose(menu, name)
            assert menu.isVisible()
        menu.close()
        click(bar, "Weight: automatic")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        for name in ("0", "0.5", "1", "Automatic"):
            choose(menu, name)
        menu.close()
        assert bar.weights.text() == "Weight: 0, 0.5, 1"
        click(bar, "Generation: active")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        assert texts(menu.actions()) == ["The active one", "Generation 4", "Generation 3", "Generation 1"]
        menu.close()
        model.choose(Choice((SearchMode.HYBRID,), weights=(0.0, 0.5, 1.0)))
        services.quality.answer = lambda setting: [0.3 + 0.2 * (setting.weight or 0)] * 12
        await ran(window, model)
        page = window.quality.measurements
        assert page.curve.isVisible()
        described = page.curve.accessibleDescription()
        assert described.startswith("share of the vector side 0 (A): 0.300, from 0.200 to 0.400")
        assert "share of the vector side 1 (B): 0.500" in described


@on_qt_loop
async def test_a_run_shows_how_far_it_is_and_can_be_given_up(theme: Theme) -> None:
    services = with_queries()
    services.quality.gate = asyncio.Event()
    async with shown(services, theme) as (window, workspace):
        model = workspace.quality
        click(window.quality, "Run")
        await until(lambda: model.progress == (5, 36), model.progressed)
        assert "5 of 36 searches" in [label.text() for label in window.quality.findChildren(QLabel)]
        assert "Run" not in buttons(window.quality)
        click(window.quality, "Cancel")
        assert not model.running
        assert "Run" in buttons(window.quality)
        assert model.evaluation is None
        services.quality.gate.set()
        await ran(window, model)
        assert services.quality.cancelled == 1


@on_qt_loop
async def test_earlier_runs_are_shown_again_and_forgotten(theme: Theme) -> None:
    services = with_queries()
    async with shown(services, theme) as (window, workspace):
        model, bar = workspace.quality, window.quality.measurements.bar
        await ran(window, model)
        model.choose(Choice((SearchMode.KEYWORD, SearchMode.VECTOR)))
        await ran(window, model)
        assert [run.id for run in model.runs] == [2, 1]
        click(bar, "Earlier runs")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        first = texts(menu.actions())[1]
        assert "12 queries · best: hybrid 0.500" in first
        choose(menu, first)
        await until(lambda: model.evaluation is not None and model.evaluation.id == 1, model.changed)
        click(bar, "Earlier runs")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        choose(menu, "Forget the one shown…")
        click(dialog_of(QDialog), "Forget")
        await until(lambda: [run.id for run in model.runs] == [2], model.changed)
        await until(lambda: model.evaluation is not None and model.evaluation.id == 2, model.changed)


@on_qt_loop
async def test_a_query_that_gained_is_searched_by_double_click(theme: Theme) -> None:
    services = with_queries()
    services.quality.answer = by_mode
    async with shown(services, theme) as (window, workspace):
        await ran(window, workspace.quality)
        moves = window.quality.measurements.moves
        assert [row.change for row in workspace.quality.moves.items][:2] == ["+0.240", "+0.220"]
        where = moves.visualRect(moves.model().index(0, 0)).center()
        QTest.mouseClick(moves.viewport(), LEFT, pos=where)
        QTest.mouseDClick(moves.viewport(), LEFT, pos=where)
        assert window.pane == SEARCH
        assert window.search.box.edit.text() == "query 11"
        await searched(workspace)


# ---------------------------------------------------------------- saved queries


@on_qt_loop
async def test_queries_are_added_renamed_deleted(theme: Theme) -> None:
    services = with_queries(2)
    async with shown(services, theme) as (window, workspace):
        model, page = workspace.quality, window.quality.saved
        click(window.quality, "Saved queries  3")
        said = [model.queries.data(model.queries.index(row)) for row in range(3)]
        assert said[0] == "query 1 of loops, 1 relevant, 1 not"
        assert said[2] == "unjudged: nobody judged this, nothing relevant yet"
        assert not buttons(page)["Rename…"].isEnabled()
        click(page, "Add…")
        dialog = dialog_of(QDialog)
        QTest.keyClicks(dialog.findChild(QLineEdit), "new one")
        QTest.keyClick(dialog, Qt.Key.Key_Return)
        await until(lambda: len(model.queries.items) == 4, model.changed)
        page.list.set_current_row(3)
        click(page, "Rename…")
        dialog = dialog_of(QDialog)
        QTest.keyClicks(dialog.findChild(QLineEdit), "Fine")
        QTest.keyClick(dialog, Qt.Key.Key_Return)
        await until(lambda: model.queries.items[3].title == "Fine: new one", model.changed)
        page.list.set_current_row(0)
        click(page, "Delete…")
        click(dialog_of(QDialog), "Delete")
        await until(lambda: len(model.queries.items) == 3, model.changed)
        page.list.set_current_row(0)
        QTest.keyClick(page.list, Qt.Key.Key_Return)
        assert (window.pane, window.search.box.edit.text()) == (SEARCH, "query 2 of loops")
        await searched(workspace)


@on_qt_loop
async def test_collections_come_from_files_and_go_to_a_folder(theme: Theme, tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text("")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("")
    services = with_queries(0)
    services.quality.judging.items = []
    async with shown(services, theme) as (window, workspace):
        model = workspace.quality
        assert {"Go to search", "Import queries and judgments…"} <= set(buttons(window.quality))
        click(window.quality, "Import queries and judgments…")
        dialog_of(QFileDialog).fileSelected.emit(str(tmp_path / "queries.jsonl"))
        second = [dialog for dialog in window.findChildren(QFileDialog) if "qrels" in dialog.windowTitle()]
        assert Path(second[0].directory().path()) == tmp_path / "qrels"
        second[0].fileSelected.emit(str(tmp_path / "qrels" / "test.tsv"))
        for dialog in window.findChildren(QFileDialog):
            dialog.close()
        await until(lambda: len(model.queries.items) == 1, model.changed)
        await until(lambda: bool(window.toast.message), model.done)
        assert window.toast.message == "Imported 1 query with 1 judgment. 2 judgments of other queries left out."
        window.quality.show_page(QUERIES)
        click(window.quality.saved, "Export…")
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        choose(menu, "TREC (topics, qrels)…")
        dialog_of(QFileDialog).fileSelected.emit(str(tmp_path))
        dialog_of(QFileDialog).close()
        await until(lambda: "Wrote" in window.toast.message, model.done)
        assert services.quality.judging.asked == [
            ("load", (tmp_path / "queries.jsonl", tmp_path / "qrels" / "test.tsv")),
            ("trec", tmp_path),
        ]


@on_qt_loop
async def test_nothing_is_changed_while_the_store_is_read_only(theme: Theme) -> None:
    services = with_queries()
    services.library.read_only = "The folder is read-only."
    async with shown(services, theme) as (window, workspace):
        await ran(window, workspace.quality)
        assert services.quality.stored == [False]
        window.quality.show_page(QUERIES)
        window.quality.saved.list.set_current_row(0)
        found = buttons(window.quality.saved)
        for name in ("Add…", "Rename…", "Delete…", "Import…"):
            assert (found[name].isEnabled(), found[name].toolTip()) == (False, "The folder is read-only."), name
        assert found["Export…"].isEnabled()
        window.quality.show_page(MEASUREMENTS)


@on_qt_loop
async def test_all_sources_have_no_judgments_of_their_own(theme: Theme) -> None:
    async with shown(with_queries(), theme) as (window, workspace):
        workspace.library.select(None)
        await until(lambda: not workspace.quality.queries.items, workspace.quality.changed)
        assert "Run" not in buttons(window.quality)


# ---------------------------------------------------------------- judging while searching


@on_qt_loop
async def test_marking_a_result_grows_the_judgments_and_can_be_undone(theme: Theme) -> None:
    services = with_queries(2)
    async with shown(services, theme) as (window, workspace):
        model, judging = workspace.quality, services.quality.judging
        window.search_for("nested loops")
        await searched(workspace)
        control = Qt.KeyboardModifier.ControlModifier
        QTest.keyClick(window.search, Qt.Key.Key_D, control)
        await until(lambda: bool(window.toast.message), model.judged)
        assert window.toast.message == "Marked relevant · 3 judged queries"
        assert judging.items[-1].judgments == {"document-1": 1}
        QTest.keyClick(window.search, Qt.Key.Key_D, control | Qt.KeyboardModifier.ShiftModifier)
        await until(lambda: "not" in window.toast.message, model.judged)
        assert window.toast.message == "Marked not relevant · 2 judged queries"
        click(window.toast, "Undo")
        await until(lambda: judging.items[-1].judgments == {"document-1": 1}, model.done)
        assert workspace.search.results.data(workspace.search.results.index(0)).count("Marked relevant") == 1
        judging.error = NotFound("The document is gone.")
        window.search.judge(0)
        await until(lambda: window.toast.message == "The document is gone.", workspace.failed)
        assert "Marked relevant" in workspace.search.results.data(workspace.search.results.index(0))


@on_qt_loop
async def test_results_found_again_show_what_they_were_judged(theme: Theme) -> None:
    services = with_queries(1)
    async with shown(services, theme) as (window, workspace):
        window.search_for("query 1 of loops")
        await searched(workspace)
        results = workspace.search.results
        await until(lambda: "Marked relevant" in results.data(results.index(0)), results.dataChanged)
        assert "Marked" not in results.data(results.index(1))


# ---------------------------------------------------------------- the plots


@pytest.mark.parametrize("choice", [ThemeChoice.LIGHT, ThemeChoice.DARK])
def test_plots_are_painted_in_the_colours_of_the_theme(theme: Theme, choice: ThemeChoice) -> None:
    theme.apply(choice)
    plot = QualityPlot(theme)
    plot.resize(400, 200)
    for points in ([Point("a", 0.5, 0.4, 0.6, "A"), Point("b", 0.7, 0.7, 0.7)], [Point("one", 1.0, 1.0, 1.0, "B")]):
        plot.show_points("Title", points)
        image = plot.grab().toImage()
        accent = theme.color("accent").rgb()
        found = [QPoint(x, y) for x in range(400) for y in range(200) if image.pixel(x, y) == accent]
        assert len(found) > 20
        assert all(point.x() > 40 for point in found)
    plot.show_points("Title", [])
    assert plot.accessibleDescription() == ""
    plot.deleteLater()
