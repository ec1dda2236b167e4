"""The memory in the window, with mouse and keyboard: gauge, ledger, the sentence of each level, settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from studio.bootstrap import open_services
from studio.memory import PAUSE_INGEST, SMALLER_BATCHES, SMALLER_CACHES, Holding, Level
from studio.ui.parts import Theme, ThemeChoice
from studio.ui.settings import MemoryGauge, MemoryPopover, SettingsDialog
from studio.ui.window import MainWindow
from studio.ui.window.main_window import INGEST
from studio.ui.window.screenshots import until
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, held
from tests.gui.gestures import click, dialog_of, opened_window, window_over
from tests.gui.opening import with_kb
from tests.gui.qt_loop import on_qt_loop

MB = 1_000_000
PARTS = (
    Holding("application", 300 * MB, 100 * MB),
    Holding("model bge-small", 40 * MB, 60 * MB),
    Holding("vector index cache", 200 * MB),
    Holding("files of the knowledge bases", cached=760 * MB),
)
REASON = "The computer has 310 MB of its 16.0 GB of memory left."
LEVELS = (
    (Level.ELEVATED, SMALLER_BATCHES.sentence, "warn"),
    (Level.ELEVATED, SMALLER_CACHES.sentence, "warn"),
    (Level.CRITICAL, PAUSE_INGEST.sentence, "bad"),
    (Level.NORMAL, "", "accent"),
)


async def read(services: FakeServices, workspace: Workspace, *holdings: Holding, **changes: object) -> None:
    """Let the memory be so, and wait until the window knows."""
    reading = held(*holdings, **changes)
    services.memory.tell(reading)
    await until(lambda: workspace.memory._reading is reading, workspace.memory.changed)


def bar_color(gauge: MemoryGauge) -> QColor:
    """The colour of the beginning of the gauge's bar."""
    image = gauge.grab().toImage()
    return image.pixelColor(round((gauge.width() - 65) * image.devicePixelRatio()), image.height() // 2)


def lines(popover: MemoryPopover) -> list[str]:
    """Names and sizes of the ledger, from top to bottom."""
    found = [child for child in popover.findChildren(QLabel) if child.isVisible() and child.toolTip()]
    rows: dict[int, list[QLabel]] = {}
    for child in found:
        rows.setdefault(child.geometry().center().y(), []).append(child)
    return [
        " ".join(child.text() for child in sorted(row, key=lambda child: child.x())) for _, row in sorted(rows.items())
    ]


def bars(popover: MemoryPopover) -> dict[str, QWidget]:
    """The bars of the ledger by the name of their part."""
    named = [child for child in popover.findChildren(QWidget) if ": " in child.accessibleName()]
    return {child.accessibleName().split(":")[0]: child for child in named}


@on_qt_loop
async def test_the_gauge_opens_the_ledger_with_mouse_and_keyboard(theme: Theme) -> None:
    services = with_kb()
    services.memory.reading = held(*PARTS)
    async with window_over(services, theme) as (window, workspace):
        window.activateWindow()
        gauge, popover = window.status.gauge, window.memory
        await until(gauge.isVisible, workspace.memory.changed)
        assert gauge.text() == "0.70 of 4.0 GB"
        assert gauge.accessibleName() == "Memory use: 0.70 of 4.0 GB"
        assert gauge.accessibleDescription() == "There is enough memory."
        assert "Program: 400 MB" in gauge.toolTip()
        QTest.mouseClick(gauge, Qt.MouseButton.LeftButton)
        assert popover.isVisible()
        assert popover.geometry().bottom() < gauge.mapTo(popover.parentWidget(), QPoint(0, 0)).y(), "above the gauge"
        assert lines(popover) == [
            "Program 400 MB",
            "Vector index cache 200 MB",
            "Model bge-small 100 MB",
            "Files of the knowledge bases 760 MB",
        ]
        assert "Program: 300 MB of its own · 100 MB mapped from files." in popover.accessibleDescription()
        QTest.mouseClick(gauge, Qt.MouseButton.LeftButton)
        assert not popover.isVisible(), "a second click puts it away"
        gauge.setFocus()
        QTest.keyClick(gauge, Qt.Key.Key_Space)
        assert popover.isVisible()
        assert QApplication.focusWidget() is popover
        QTest.keyClick(popover, Qt.Key.Key_Escape)
        assert not popover.isVisible()
        assert QApplication.focusWidget() is gauge, "the keyboard goes back"


@on_qt_loop
async def test_the_gauge_is_reached_with_tab(theme: Theme) -> None:
    services = with_kb()
    async with window_over(services, theme) as (window, workspace):
        window.activateWindow()
        await until(window.status.gauge.isVisible, workspace.memory.changed)
        for _ in range(60):
            QTest.keyClick(window, Qt.Key.Key_Tab)
            if QApplication.focusWidget() is window.status.gauge:
                return
    pytest.fail("Tab never came to the gauge")


@on_qt_loop
async def test_the_ledger_follows_and_nothing_jumps(theme: Theme) -> None:
    services = with_kb()
    services.memory.reading = held(*PARTS)
    async with window_over(services, theme) as (window, workspace):
        popover = window.memory
        await until(lambda: bool(workspace.memory.text), workspace.memory.changed)
        popover.open()
        place = bars(popover)["Model bge-small"].geometry()
        bottom = popover.geometry().bottom()
        await read(services, workspace, Holding("model bge-small", 900 * MB), PARTS[0], Holding("parsers", 30 * MB))
        assert bars(popover)["Model bge-small"].geometry() == place
        assert popover.geometry().bottom() == bottom, "it grows upwards"
        assert lines(popover) == [
            "Program 400 MB",
            "Vector index cache 0 B",
            "Model bge-small 900 MB",
            "Files of the knowledge bases 0 B",
            "Reading files 30 MB",
        ]
        popover.leave()
        popover.open()
        assert [line.rsplit(" ", 2)[0] for line in lines(popover)] == [
            "Model bge-small", "Program", "Reading files",
        ]  # fmt: skip
        window.resize(window.width() + 80, window.height() + 60)
        await until(lambda: popover.geometry().right() > 0, workspace.memory.changed)
        gauge = window.status.gauge
        assert popover.geometry().bottom() < gauge.mapTo(popover.parentWidget(), QPoint(0, 0)).y()


def pixels(bar: QWidget, *places: float) -> list[QColor]:
    """Colours along the middle of a bar, at places from 0 to 1."""
    image = bar.grab().toImage()
    return [image.pixelColor(round((image.width() - 1) * place), image.height() // 2) for place in places]


@on_qt_loop
async def test_bars_tell_kinds_apart_and_there_is_a_budget_line(theme: Theme) -> None:
    services = with_kb()
    parts = (Holding("application", 500 * MB, 500 * MB), Holding("files", cached=1000 * MB))
    services.memory.reading = held(*parts, budget=2_000_000_000)
    async with window_over(services, theme) as (window, workspace):
        await until(lambda: bool(workspace.memory.text), workspace.memory.changed)
        for choice in (ThemeChoice.LIGHT, ThemeChoice.DARK):
            theme.apply(choice)
            window.memory.open()
            track, accent = theme.color("border"), theme.color("accent")
            own, mapped, free = pixels(bars(window.memory)["In use"], 0.1, 0.35, 0.75)
            assert (own, free) == (accent, track), "up to half of the budget, the files of the page cache left out"
            assert mapped not in (own, free)
            assert pixels(bars(window.memory)["Program"], 0.1, 0.9) == [own, mapped]
            cached, still_cached = pixels(bars(window.memory)["Files"], 0.1, 0.9)
            assert cached == still_cached
            assert cached not in (own, mapped, free)
            over = Holding("application", 4_000_000_000)
            await read(services, workspace, over, budget=2_000_000_000)
            bar = bars(window.memory)["In use"]
            image = bar.grab().toImage()
            line = [image.pixelColor(round(image.width() / 2) + step, 1) for step in (-2, -1, 0, 1)]
            assert theme.color("muted") in line, "the budget ends in the middle of the bar"
            await read(services, workspace, *parts, budget=2_000_000_000)
            window.memory.leave()


@on_qt_loop
async def test_each_level_has_its_colour_and_sentence_and_ends_by_itself(theme: Theme) -> None:
    services = with_kb()
    async with window_over(services, theme) as (window, workspace):
        window.show_pane(INGEST)
        status, paused, popover = window.status, window.ingest.paused, window.memory
        for choice in (ThemeChoice.LIGHT, ThemeChoice.DARK):
            theme.apply(choice)
            popover.open()
            for level, sentence, color in LEVELS:
                reason = REASON if sentence else ""
                await read(services, workspace, *PARTS, level=level, sentence=sentence, reason=reason)
                assert status.notice.text() == sentence
                assert status.notice.toolTip() == (f"{sentence} {REASON}" if sentence else "")
                assert bar_color(status.gauge) == theme.color(color), (level, choice)
                shown = status.notice.palette().color(status.notice.foregroundRole())
                assert not sentence or shown == theme.color(color)
                said = [child.text() for child in popover.findChildren(QLabel) if child.isVisible()]
                assert (
                    f"{sentence} {REASON}" if sentence else "0.70 of 4.0 GB in use. There is enough memory."
                ) in said
                assert paused.isVisible() is (sentence == PAUSE_INGEST.sentence)
                if paused.isVisible():
                    assert paused.accessibleName() == f"{sentence} {REASON}"
            popover.leave()


@on_qt_loop
async def test_the_ingest_pane_leads_to_the_ledger(theme: Theme) -> None:
    services = with_kb()
    async with window_over(services, theme) as (window, workspace):
        window.show_pane(INGEST)
        await read(services, workspace, *PARTS, level=Level.CRITICAL, sentence=PAUSE_INGEST.sentence, reason=REASON)
        click(window.ingest, "Show memory")
        assert window.memory.isVisible()
        QTest.keyClick(window.memory, Qt.Key.Key_Escape)
        assert not window.memory.isVisible()
        assert window.pane == INGEST, "Escape closes only the ledger"


async def settings_of(window: MainWindow, workspace: Workspace) -> SettingsDialog:
    """The settings, reached through the ledger."""
    await until(lambda: bool(workspace.memory.text), workspace.memory.changed)
    window.memory.open()
    click(window.memory, "Memory settings…")
    assert not window.memory.isVisible()
    dialog = dialog_of(SettingsDialog)
    dialog.activateWindow()
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    await until(dialog.isActiveWindow, application.focusWindowChanged)
    return dialog


@on_qt_loop
async def test_the_budget_is_set_and_taken_back(theme: Theme) -> None:
    services = with_kb()
    async with window_over(services, theme) as (window, workspace):
        dialog = await settings_of(window, workspace)
        field, care = dialog.budget.limit, services.memory_care
        assert dialog.budget.is_automatic
        assert not field.isEnabled()
        assert field.value() == 8192, "where the choice begins"
        assert field.accessibleDescription() == "8.6 GB: half of the 17 GB of this computer, at least 1 GiB."
        click(dialog, "Memory budget of at most")
        assert field.isEnabled()
        await until(lambda: care.read == [("8192", "15")], workspace.settings.memory_changed)
        field.setFocus()
        field.selectAll()
        QTest.keyClicks(field, "2048")
        assert len(care.read) == 1, "not before it is typed"
        QTest.keyClick(field, Qt.Key.Key_Tab)
        await until(lambda: care.read[1:] == [("2048", "15")], workspace.settings.memory_changed)
        assert field.accessibleDescription() == "2.1 GB of the 17 GB of this computer."
        field.setFocus()
        QTest.keyClick(field, Qt.Key.Key_Up)
        await until(lambda: care.read[2:] == [("2304", "15")], workspace.settings.memory_changed)
        field.selectAll()
        QTest.keyClicks(field, "16")
        QTest.keyClick(field, Qt.Key.Key_Tab)
        await until(lambda: care.read[3:] == [("512", "15")], workspace.settings.memory_changed)
        click(dialog, "Automatic memory budget")
        await until(lambda: care.read[4:] == [("0", "15")], workspace.settings.memory_changed)
        dialog.reject()


@on_qt_loop
async def test_the_budget_keeps_to_the_machine(theme: Theme) -> None:
    services = with_kb()
    services.memory.budget.ceiling = 1200 << 20
    services.config.values["memory_budget_mib"] = "700"
    async with window_over(services, theme) as (window, workspace):
        dialog = await settings_of(window, workspace)
        field = dialog.budget.limit
        assert not dialog.budget.is_automatic
        assert (field.minimum(), field.value(), field.maximum()) == (512, 700, 1200)
        assert field.toolTip() == "From 512 to 1,200 MiB"
        field.setFocus()
        QTest.keyClick(field, Qt.Key.Key_PageUp)
        budget = services.config.values
        await until(lambda: budget["memory_budget_mib"] == "1200", workspace.settings.memory_changed)
        click(dialog, "Automatic memory budget")
        assert field.accessibleDescription() == "1.1 GB: half of the 1.3 GB of this computer, at least 1 GiB."
        await until(lambda: services.memory_care.read[-1] == ("0", "15"), workspace.settings.memory_changed)
        dialog.reject()


@on_qt_loop
async def test_what_is_set_in_the_window_holds_in_the_program_at_once(theme: Theme, tmp_path: Path) -> None:
    async with open_services(tmp_path / "data") as services, opened_window(services, theme) as (window, workspace):
        before = services.memory.budget.total
        dialog = await settings_of(window, workspace)
        click(dialog, "Memory budget of at most")
        dialog.budget.limit.setFocus()
        dialog.budget.limit.stepBy(-1)
        await until(
            lambda: services.memory.budget.total == dialog.budget.limit.value() << 20, workspace.settings.memory_changed
        )
        assert services.memory.budget.total < before
        await until(lambda: workspace.memory.budget_bytes == services.memory.budget.total, workspace.memory.changed)
        click(dialog, "Automatic memory budget")
        await until(lambda: services.memory.budget.total == before, workspace.settings.memory_changed)
        dialog.reject()


@on_qt_loop
async def test_the_idle_time_is_set_and_never_is_one(theme: Theme) -> None:
    services = with_kb()
    async with window_over(services, theme) as (window, workspace):
        dialog = await settings_of(window, workspace)
        field = dialog.idle.minutes
        assert field.text() == "15 minutes"
        field.setFocus()
        field.selectAll()
        QTest.keyClicks(field, "0")
        QTest.keyClick(field, Qt.Key.Key_Tab)
        await until(lambda: services.memory_care.read == [("0", "0")], workspace.settings.memory_changed)
        assert field.text() == "Never"
        dialog.reject()
