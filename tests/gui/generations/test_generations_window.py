"""What can be done with generations in the window, by mouse and keyboard, over services that answer on demand."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QDialog, QLineEdit, QListView

from studio.domain import GenerationState, PinnedQuery, Retention
from studio.index.upkeep import GcReport, Kept
from studio.ui.generations.cleanup_dialog import CleanupDialog
from studio.ui.generations.compare_dialog import CompareDialog
from studio.ui.generations.gate_dialog import GateDialog
from studio.ui.ingest import WatchedDialog
from studio.ui.parts import Theme
from studio.ui.window.screenshots import until
from tests.gui.fakes import generation
from tests.gui.gestures import HELD, LEFT, buttons, choose, click, dialog_of, menu_of, shown, texts, with_generations
from tests.gui.qt_loop import on_qt_loop

# ---------------------------------------------------------------- the list


@on_qt_loop
async def test_back_and_forward_in_one_step(theme: Theme) -> None:
    services = with_generations()
    async with shown(services, theme) as (window, workspace):
        pane, model = window.generations, workspace.generations
        click(pane, "Roll back")
        await until(lambda: model.active is not None and model.active.number == 3, model.changed)
        # The fake has no order of its own: it goes to the newest archived one, which only "forward" names here.
        pane.list.set_current_row(2)
        assert "Roll back to 2" in buttons(pane)
        click(pane, "Roll back to 2")
        await until(lambda: model.active is not None and model.active.number == 2, model.changed)
        assert window.toast.message == "Generation 2 answers searches now."
        pane.list.set_current_row(1)
        click(pane, "Go forward to 3")
        await until(lambda: model.active is not None and model.active.number == 3, model.changed)
        assert services.maintenance.asked == [("rollback", None), ("rollback", 2), ("promote", 3)]
        assert not any(name.startswith("Go forward") for name in buttons(pane)), "nothing newer is left"


@on_qt_loop
async def test_a_held_generation_is_promoted_only_after_one_question(theme: Theme) -> None:
    services = with_generations()
    async with shown(services, theme) as (window, workspace):
        pane = window.generations
        pane.list.set_current_row(0)
        click(pane, "Promote")
        dialog = dialog_of(QDialog)
        assert "“loops” does not find a.pdf" in dialog.accessibleDescription()
        click(dialog, "Cancel")
        assert not services.maintenance.asked
        click(pane, "Promote")
        click(dialog_of(QDialog), "Promote anyway")
        await until(lambda: bool(services.maintenance.asked), workspace.generations.changed)
        assert services.maintenance.asked == [("force", 4)]


@on_qt_loop
async def test_a_promotion_the_gate_refuses_only_now_asks_too(theme: Theme) -> None:
    services = with_generations()
    services.maintenance.items[0] = generation(4, GenerationState.READY)
    services.maintenance.refusal = HELD
    async with shown(services, theme) as (window, workspace):
        window.generations.list.set_current_row(0)
        click(window.generations, "Promote")
        await until(lambda: QApplication.activeModalWidget() is not None, workspace.generations.held_back)
        click(dialog_of(QDialog), "Promote anyway")
        await until(lambda: len(services.maintenance.asked) == 2, workspace.generations.changed)
        assert services.maintenance.asked == [("promote", 4), ("force", 4)]


@on_qt_loop
async def test_each_row_offers_what_fits_its_state(theme: Theme) -> None:
    async with shown(with_generations(), theme) as (window, _):
        view = window.generations.list
        common = ["Compare with the active one…", "Export…", "Edit note…"]
        for row, expected in enumerate((
            ["Promote", "Try the pinned queries on it…", *common],
            ["Go forward to this", *common],
            common[1:],
            ["Roll back to this", *common],
        )):  # fmt: skip
            menu = menu_of(view, row)
            assert texts(menu.actions()) == expected
            menu.close()


@on_qt_loop
async def test_a_held_row_is_taller_and_gives_the_place_back(theme: Theme) -> None:
    services = with_generations()
    async with shown(services, theme) as (window, workspace):
        view, model = window.generations.list, workspace.generations
        heights = [view.visualRect(view.model().index(row, 0)).height() for row in range(4)]
        assert heights[0] > heights[1] == heights[2] == heights[3]
        model.promote(4, force=True)
        await until(lambda: model.rows.items[0].chip == "active", model.changed)
        assert view.visualRect(view.model().index(0, 0)).height() == heights[1]


@on_qt_loop
async def test_a_note_is_edited(theme: Theme) -> None:
    services = with_generations()
    async with shown(services, theme) as (window, workspace):
        choose(menu_of(window.generations.list, 2), "Edit note…")
        dialog = dialog_of(QDialog)
        QTest.keyClicks(dialog.findChild(QLineEdit), "before the move")
        QTest.keyClick(dialog.findChild(QLineEdit), Qt.Key.Key_Return)
        model = workspace.generations
        await until(lambda: model.rows.items[2].note == "before the move", model.changed)


# ---------------------------------------------------------------- comparing


@on_qt_loop
async def test_the_comparison_stays_beside_the_window(theme: Theme) -> None:
    services = with_generations()
    async with shown(services, theme) as (window, workspace):
        choose(menu_of(window.generations.list, 3), "Compare with the active one…")
        assert QApplication.activeModalWidget() is None, "searching goes on beside it"
        dialog = window.findChild(CompareDialog)
        assert dialog.isVisible()
        model = workspace.compare
        await until(lambda: not model.busy, model.changed)
        click(dialog, "1 removed")
        assert [row.name for row in model.documents.items] == ["Old"]
        click(dialog, "1 removed")
        assert len(model.documents.items) == 5
        click(dialog, "Queries")
        assert not dialog.ask.isEnabled()
        QTest.mouseClick(dialog.queries.viewport(), LEFT)
        QTest.keyClicks(dialog.queries, "nested loops")
        QTest.keyClick(dialog.queries, Qt.Key.Key_Tab)
        assert not dialog.queries.hasFocus(), "the keyboard gets out of the box"
        click(dialog, "Compare")
        await until(lambda: bool(model.hits.items), model.changed)
        assert services.compare.asked == [(1, 2, ()), (1, 2, ("nested loops",))]
        # Another pair: the same dialog takes it over.
        choose(menu_of(window.generations.list, 1), "Compare with the active one…")
        await until(lambda: not model.busy, model.changed)
        assert len(window.findChildren(CompareDialog)) == 1
        assert model.title.endswith("2 → 3")
        click(dialog, "Close")
        assert not dialog.isVisible()


# ---------------------------------------------------------------- cleaning up


@on_qt_loop
async def test_cleaning_up_states_its_cost_and_tells_the_result(theme: Theme) -> None:
    services = with_generations()
    services.maintenance.collected = GcReport(["Compilers/1"], [Kept("Compilers", 2, "active")], 3_200_000, [])
    async with shown(services, theme) as (window, workspace):
        click(window.generations, "Clean up…")
        dialog, model = dialog_of(CleanupDialog), workspace.cleanup
        await until(lambda: not model.busy, model.changed)
        assert not dialog.last.isEnabled(), "the program's default is in force"
        click(dialog, "Own policy")
        QTest.keyClick(dialog.last, Qt.Key.Key_Up)
        assert not dialog.clean_up.isEnabled(), "what an unsaved policy deletes is not known"
        click(dialog, "Save policy")
        await until(lambda: not model.busy, model.changed)
        assert services.library.bases[0].retention == Retention(keep_archived=4)
        click(dialog, "Clean up now")
        await until(lambda: window.toast.message != "", model.done)
        assert window.toast.message == "3.2 MB freed."
        assert not dialog.clean_up.isEnabled()
        click(dialog, "Close")


# ---------------------------------------------------------------- pinned queries


@on_qt_loop
async def test_pinned_queries_are_added_tried_and_removed(theme: Theme) -> None:
    services = with_generations()
    services.gate.items = [PinnedQuery(1, "inline caches", ("/papers/caches.md",), 10)]
    services.gate.passing = {"inline caches"}
    async with shown(services, theme) as (window, workspace):
        click(window.generations, "Pinned queries…")
        dialog, model = dialog_of(GateDialog), workspace.gate
        await until(lambda: bool(model.rows.items), model.changed)
        assert not dialog.add.isEnabled()
        QTest.keyClicks(dialog.query, "nested loops")
        QTest.keyClicks(dialog.document, "loops.pdf")
        QTest.keyClick(dialog.document, Qt.Key.Key_Return)
        await until(lambda: len(model.rows.items) == 2, model.changed)
        assert dialog.query.text() == ""
        assert services.gate.items[1].must_find == ("loops.pdf",)
        click(dialog, "Check now")
        await until(lambda: model.rows.items[0].passed is True, model.changed)
        assert model.rows.items[1].passed is False
        dialog.list.set_current_row(1)
        click(dialog, "Remove")
        assert len(model.rows.items) == 2, "it is asked first"
        click(dialog_of(QDialog), "Unpin")
        await until(lambda: len(model.rows.items) == 1, model.changed)
        assert not dialog.remove.isEnabled(), "nothing is selected any more"
        click(dialog, "Close")


@on_qt_loop
async def test_the_pins_are_tried_on_a_generation_that_is_held(theme: Theme) -> None:
    services = with_generations()
    async with shown(services, theme) as (window, workspace):
        choose(menu_of(window.generations.list, 0), "Try the pinned queries on it…")
        await until(lambda: bool(services.gate.checked), workspace.gate.changed)
        assert services.gate.checked == [4]
        click(dialog_of(GateDialog), "Close")


@on_qt_loop
async def test_a_result_is_pinned_from_the_search(theme: Theme) -> None:
    services = with_generations()
    async with shown(services, theme) as (window, workspace):
        window.search.focus_query()
        QTest.keyClick(window, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(window.search.box.edit, "nested loops")
        await until(lambda: bool(workspace.search.results.items), workspace.search.results_changed)
        choose(menu_of(window.search.results, 1), "Pin: this query must find this document")
        await until(lambda: bool(services.gate.items), workspace.gate.done)
        assert services.gate.items == [PinnedQuery(1, "nested loops", ("/nowhere/file2.md",), 10)]
        assert window.toast.message == "Pinned: “nested loops” must find Title 2."


# ---------------------------------------------------------------- assistive technology


@on_qt_loop
async def test_every_control_of_the_dialogs_has_a_name_and_takes_the_keyboard(theme: Theme) -> None:
    async with shown(with_generations(), theme) as (window, workspace):
        window.generations.open_pins()
        window.generations.open_clean_up()
        window.generations.compare_with_active(1)
        for model in (workspace.cleanup, workspace.compare):
            await until(lambda model=model: not model.busy, model.changed)
        window.show_watched(workspace.library.knowledge_bases[0])
        await until(lambda: workspace.watched.is_loaded, workspace.watched.changed)
        dialogs = [window.findChild(kind) for kind in (GateDialog, CleanupDialog, CompareDialog, WatchedDialog)]
        for dialog in dialogs:
            for button in dialog.findChildren(QAbstractButton):
                assert button.accessibleName() or button.text().strip(), (dialog, button)
                # The arrow keys go on from the chosen one of several.
                beside = button.group() is not None and button.group().exclusive() and not button.isChecked()
                assert beside or button.focusPolicy() & Qt.FocusPolicy.TabFocus, button.text()
            for view in dialog.findChildren(QListView):
                assert view.accessibleName()
            for field in dialog.findChildren(QLineEdit):
                if field.objectName() != "qt_spinbox_lineedit":
                    assert field.accessibleName(), dialog
        for dialog in reversed(dialogs):
            QTest.keyClick(dialog, Qt.Key.Key_Escape)
            assert not dialog.isVisible(), dialog
