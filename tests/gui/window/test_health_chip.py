"""The chip in the status bar that shows when searching needs attention, and the report behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton

from studio.domain import AnnIndex
from studio.services.health import HealthReport
from studio.services.health.report import Finding, KbHealth, Latency, Level, Recall
from studio.ui.parts import Theme
from studio.ui.settings import HealthDialog
from studio.ui.window.screenshots import until
from studio.ui.window.status_bar import StatusBar
from studio.viewmodels import status
from studio.ways_out import Tune
from tests.gui.opening import opened, searched, with_kb
from tests.gui.qt_loop import on_qt_loop

SLOW = Finding("One in twenty searches of “Compilers” takes more than 350 ms.", str(Tune("Compilers")))
KB = KbHealth(
    kb_id="kb1", name="Compilers", level=Level.GOOD, findings=(), index=AnnIndex.IVF_RQ,
    latency=Latency(40, 20.0, 35.0, 60.0), sides={}, recent_searches=40, error_rate=0.0, degraded_rate=0.0,
    recall=Recall(0.981, 30, "searches"), freshness=None,
)  # fmt: skip
GOOD = HealthReport(Level.GOOD, KB.latency, (KB,))
SICK = HealthReport(Level.ATTENTION, KB.latency, (replace(KB, level=Level.ATTENTION, findings=(SLOW,)),))


def chip(bar: StatusBar) -> QPushButton:
    (found,) = bar.findChildren(QPushButton, "warnchip")
    return found


@on_qt_loop
async def test_a_chip_appears_only_while_attention_is_needed(theme: Theme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HEALTH_INTERVAL_S", 0.0)
    services = with_kb()
    services.health.answer = GOOD
    async with opened(services) as (workspace, complaints):
        bar = StatusBar(workspace.status, theme)
        bar.show()
        workspace.library.select("kb1")
        for report, shown in ((GOOD, False), (SICK, True), (GOOD, False)):
            services.health.answer = report
            before = len(services.health.measured)
            workspace.search.set_query(f"loops {before}")
            workspace.search.run_now()
            await until(lambda before=before: len(services.health.measured) > before, workspace.status.health_changed)
            assert chip(bar).isVisible() is shown
        services.health.answer = SICK
        workspace.search.run_now()
        await until(lambda: chip(bar).isVisible(), workspace.status.health_changed)
        assert chip(bar).text() == "Search needs attention" == chip(bar).accessibleName()
        assert chip(bar).toolTip() == SLOW.message == chip(bar).accessibleDescription()
        image = chip(bar).grab().toImage()
        assert image.pixelColor(image.width() // 2, 3) == QColor(theme.color("warnsoft")), "amber"
        assert not any(services.health.measured), "nothing is measured beside searches"
        assert complaints == []
        bar.close()


@on_qt_loop
async def test_the_chip_opens_the_report_which_is_then_measured(theme: Theme) -> None:
    services = with_kb()
    services.health.answer = SICK
    async with opened(services) as (workspace, _):
        bar = StatusBar(workspace.status, theme)
        bar.show()
        workspace.status.look_at_health()
        await until(lambda: chip(bar).isVisible(), workspace.status.health_changed)
        services.health.answer = GOOD
        QTest.mouseClick(chip(bar), Qt.MouseButton.LeftButton)
        (dialog,) = bar.findChildren(HealthDialog)
        shown = dialog.text.toPlainText()
        assert "Searching needs attention." in shown
        assert f"{SLOW.message} “New generation” under “Generations” makes its vector index anew." in shown
        await until(lambda: "good health" in dialog.text.toPlainText(), workspace.status.health_changed)
        assert "0.981 of the ten nearest" in dialog.text.toPlainText()
        assert services.health.measured == [False, True]
        dialog.reject()
        bar.close()


@on_qt_loop
async def test_many_searches_cause_one_look() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        workspace.library.select("kb1")
        for number in range(5):
            workspace.search.set_query(f"loops {number}")
            workspace.search.run_now()
            await searched(workspace)
        await until(lambda: bool(services.health.measured), workspace.status.health_changed)
        workspace.search.set_query("again")
        workspace.search.run_now()
        await searched(workspace)
        assert services.health.measured == [False], "the next one waits for its turn"
