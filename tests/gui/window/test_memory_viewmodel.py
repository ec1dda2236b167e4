"""The memory in words: each level's sentence, the parts and their places, and settings that take effect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain import IngestProgress, IngestReport, IngestStage, JobState, ProgressSink
from studio.memory import GIB, PAUSE_INGEST, SMALLER_BATCHES, Holding, Level
from studio.services.jobs.queue import JobProgress
from studio.ui.window.screenshots import until
from studio.viewmodels import memory
from studio.viewmodels.memory import MemoryViewModel, Part
from studio.viewmodels.text import component
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, held, result
from tests.gui.ingest.fake_queue import report
from tests.gui.ingest.ingesting import with_jobs
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop

MB = 1_000_000
REASON = "The program uses 3.80 GB of its budget of 4.00 GB."
APPLICATION = Holding("application", 300 * MB, 100 * MB)
MODEL = Holding("model bge-small", 40 * MB, 60 * MB)
CACHE = Holding("vector index cache", 200 * MB)
FILES = Holding("files of the knowledge bases", cached=760 * MB)


async def read(services: FakeServices, workspace: Workspace, *holdings: Holding, **changes: object) -> MemoryViewModel:
    """Let the memory be so, and wait until the view-model knows."""
    reading = held(*holdings, **changes)
    services.memory.tell(reading)
    await until(lambda: workspace.memory._reading is reading, workspace.memory.changed)
    return workspace.memory


@on_qt_loop
async def test_each_level_says_its_sentence_and_takes_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_INTERVAL_S", 3600.0)
    services = with_kb()
    async with opened(services) as (workspace, complaints):
        model = await read(services, workspace, APPLICATION)
        assert (model.level, model.sentence, model.pause) == (Level.NORMAL, "", "")
        assert model.state == "There is enough memory."
        assert model.tip == "Memory in use, of the budget\nProgram: 400 MB"
        sentence = SMALLER_BATCHES.sentence
        await read(services, workspace, APPLICATION, level=Level.ELEVATED, sentence=sentence, reason=REASON)
        assert model.state == f"{sentence} {REASON}"
        assert model.pause == "", "ingest goes on"
        sentence = PAUSE_INGEST.sentence
        await read(services, workspace, APPLICATION, level=Level.CRITICAL, sentence=sentence, reason=REASON)
        assert model.pause == f"Ingest paused: memory is short. Search still works. {REASON}"
        assert model.tip.splitlines()[:2] == [sentence, REASON]
        await read(services, workspace, APPLICATION)
        assert (model.level, model.sentence, model.pause) == (Level.NORMAL, "", "")
        assert complaints == []
    assert services.memory.listeners == []


@on_qt_loop
async def test_parts_are_told_apart_by_kind_and_keep_their_places_while_shown() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        model = await read(services, workspace, CACHE, APPLICATION, FILES, Holding("parsers"))
        model.set_shown(True)
        assert [part.name for part in model.parts] == ["Program", "Vector index cache", "Files of the knowledge bases"]
        assert [part.amount for part in model.parts] == ["400 MB", "200 MB", "760 MB"]
        assert [part.detail for part in model.parts] == [
            "300 MB of its own · 100 MB mapped from files",
            "200 MB of its own",
            "760 MB cached by the system, not counted",
        ]
        larger = Holding("vector index cache", 900 * MB)
        await read(services, workspace, MODEL, larger, APPLICATION)
        names = ["Program", "Vector index cache", "Files of the knowledge bases", "Model bge-small"]
        assert [part.name for part in model.parts] == names, "nothing jumps"
        assert model.parts[1].amount == "900 MB"
        assert model.parts[2] == Part("Files of the knowledge bases"), "what is gone holds its place"
        assert model.parts[2].detail == "nothing"
        model.set_shown(False)
        model.set_shown(True)
        assert [part.name for part in model.parts] == ["Vector index cache", "Program", "Model bge-small"]


@on_qt_loop
async def test_why_ingest_waits_is_said_once_in_the_status_bar() -> None:
    services = with_jobs(JobState.RUNNING)
    begun = asyncio.Event()

    async def script(kb: str, paths: Sequence[Path], sink: ProgressSink) -> IngestReport:
        begun.set()
        await asyncio.Event().wait()
        return report(kb)

    services.queue.script = script
    async with opened(services) as (workspace, _):
        await begun.wait()
        for paused, activity in ((PAUSE_INGEST.sentence, "Ingest paused, 25%"), ("", "Ingesting 6 files, 25%")):
            level = Level.CRITICAL if paused else Level.NORMAL
            await read(services, workspace, APPLICATION, level=level, sentence=paused)
            services.queue.tell(JobProgress(IngestProgress("job1", "kb1", IngestStage.INDEXING, 8, 2, paused=paused)))
            await until(lambda activity=activity: workspace.status.activity == activity, workspace.status.changed)


@on_qt_loop
async def test_settings_of_the_memory_take_effect_at_once() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        settings = workspace.settings
        assert (settings.memory_ceiling, settings.automatic_budget) == (16 * GIB, 8 * GIB)
        services.memory.budget.ceiling = 1_200_000_000
        assert settings.automatic_budget == GIB, "at least 1 GiB"
        await until(lambda: bool(workspace.memory.text), workspace.memory.changed)
        services.memory.reading = held(APPLICATION, budget=2 * GIB)
        settings.set_memory("memory_budget_mib", 2048)
        await until(lambda: bool(services.memory_care.read), settings.memory_changed)
        assert services.memory_care.read == [("2048", "15")], "saved before it is read"
        await until(lambda: workspace.memory.budget_bytes == 2 * GIB, workspace.memory.changed)
        settings.set_memory("model_idle_minutes", 0)
        await until(lambda: services.memory_care.read[-1] == ("2048", "0"), settings.memory_changed)


@on_qt_loop
async def test_the_preview_is_in_the_ledger_while_the_window_is_open(tmp_path: Path) -> None:
    services = with_kb()
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF-1.4" + bytes(50_000))
    cited = replace(result(1).citation, source_path=str(path), page_number=1, version="")
    async with opened(services) as (workspace, _):
        preview = services.memory.sources["preview"]
        assert preview() == 0
        workspace.preview.show(result(1, citation=cited))
        await until(lambda: workspace.preview.content is not None, workspace.preview.changed)
        assert preview() == 2 * path.stat().st_size, "read once, and copied for the page on screen"
    assert services.memory.sources == {}


def test_parts_have_names_for_people() -> None:
    assert [component(name) for name in ("application", "parsers", "model bge-small")] == [
        "Program", "Reading files", "Model bge-small",
    ]  # fmt: skip
