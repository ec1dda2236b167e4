"""What is dropped is looked at first: small things begin by themselves, the rest asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain import HeldRemovals, Preflight, SkippedFiles
from studio.errors import StorageFault
from studio.services.preflight import NEEDS_OCR, NEEDS_PASSWORD
from studio.ui.window.screenshots import until
from tests.gui.ingest.fake_queue import preflight
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop

BIG = preflight(
    files=512, bytes=148_000_000, new=80, changed=40, unchanged=392, removed=3, chunks=14_100, seconds=360.0,
    disk_bytes=90_000_000, skipped=(SkippedFiles("hidden or system files", 14, ("/papers/.git",)),),
)  # fmt: skip


@on_qt_loop
async def test_a_small_drop_begins_by_itself_and_says_what_was_found() -> None:
    services = with_kb()
    services.preflight.gate = asyncio.Event()
    async with opened(services) as (workspace, complaints):
        look = workspace.preflight
        workspace.take([Path("/papers/a.pdf"), Path("/papers/b.pdf")])
        assert look.looking
        assert look.looking_at == "Looking at a.pdf and 1 more…"
        notes = []
        look.changed.connect(lambda: notes.append(look.note))
        services.preflight.gate.set()
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked == [("kb1", (Path("/papers/a.pdf"), Path("/papers/b.pdf")))]
        assert "3 files, 48 kB · about 12 passages" in notes
        assert look.offer is None
        assert not look.note, "it is of no interest once the job has ended"
        assert not complaints


@on_qt_loop
async def test_a_large_drop_asks_and_a_second_one_joins_it() -> None:
    services = with_kb()
    services.preflight.found = BIG
    async with opened(services) as (workspace, _):
        look = workspace.preflight
        workspace.take([Path("/papers")])
        await until(lambda: look.asking, look.changed)
        assert look.title == "Add 512 files to “Compilers”?"
        assert look.facts == [
            ("Files", "512 · 148 MB"),
            ("Passages", "about 14,000"),
            ("Time", "about 6 min"),
            ("Disk", "90 MB of 80 GB free"),
            ("Peak memory", "600 MB"),
        ]
        assert look.news == "Only new and changed: 120 · 392 indexed already · 3 no longer there, will be removed"
        assert (look.skipped, look.skipped_names) == (
            "Skipped: 14 hidden or system files",
            "hidden or system files:\n/papers/.git",
        )
        assert look.warnings == []
        assert not services.queue.asked
        services.preflight.found = replace(BIG, removed=0, held_removals=(HeldRemovals("/papers/box", 36, "Gone."),))
        workspace.take([Path("/notes"), Path("/papers")])
        assert look.looking
        await until(lambda: look.asking, look.changed)
        assert look.news.endswith(" · 36 no longer there, will be kept")
        assert services.preflight.asked[-1] == ("kb1", (Path("/papers"), Path("/notes")))
        look.accept()
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked == [("kb1", (Path("/papers"), Path("/notes")))]
        assert look.offer is None


@on_qt_loop
async def test_files_for_another_knowledge_base_wait_for_their_own_answer() -> None:
    services = with_kb()
    services.library.add("Databases")
    services.preflight.found = BIG
    async with opened(services) as (workspace, _):
        look = workspace.preflight
        workspace.library.select("kb1")
        workspace.take([Path("/papers")])
        workspace.library.select("kb2")
        workspace.take([Path("/tables")])
        await until(lambda: look.asking, look.changed)
        assert "“Compilers”" in look.title
        look.dismiss()
        await until(lambda: look.asking, look.changed)
        assert "“Databases”" in look.title
        workspace.library.select("kb1")
        look.accept()
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert services.queue.asked == [("kb2", (Path("/tables"),))]


@pytest.mark.parametrize(
    "found",
    [
        preflight(files=21),
        preflight(seconds=30.0),
        preflight(complete=False),
        preflight(skipped=(SkippedFiles(f"{NEEDS_OCR} (of 3 looked into)", 1, ("/papers/scan.pdf",)),)),
        preflight(disk_bytes=2_000_000, free_disk_bytes=1_000_000),
    ],
    ids=["many files", "long", "cut short", "needs OCR", "disk too full"],
)
@on_qt_loop
async def test_what_is_not_small_or_has_a_warning_asks(found: Preflight) -> None:
    services = with_kb()
    services.preflight.found = found
    async with opened(services) as (workspace, _):
        workspace.take([Path("/papers")])
        await until(lambda: workspace.preflight.asking, workspace.preflight.changed)
        assert not services.queue.asked


@on_qt_loop
async def test_a_look_that_fails_says_why_and_leaves_the_choice() -> None:
    services = with_kb()
    services.preflight.found = StorageFault("The disk is gone.", way_out="Plug it in.")
    async with opened(services) as (workspace, complaints):
        look = workspace.preflight
        workspace.take([Path("/papers")])
        await until(lambda: look.asking, look.changed)
        assert look.warnings == ["The disk is gone. Plug it in."]
        look.accept()
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert not complaints


@on_qt_loop
async def test_leaving_ends_the_look() -> None:
    services = with_kb()
    services.preflight.gate = asyncio.Event()
    async with opened(services) as (workspace, _):
        workspace.take([Path("/papers")])
        workspace.preflight.dismiss()
        services.preflight.gate.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not workspace.preflight.looking
        assert not services.queue.asked


@on_qt_loop
async def test_a_password_is_tried_in_the_look_and_in_the_job() -> None:
    services = with_kb()
    services.preflight.found = preflight(skipped=(SkippedFiles(NEEDS_PASSWORD, 1, ("/papers/locked.pdf",)),))
    async with opened(services) as (workspace, _):
        look = workspace.preflight
        workspace.take([Path("/papers")])
        await until(lambda: look.asking, look.changed)
        assert look.needs_password
        services.preflight.found = preflight()
        look.unlock("swordfish")
        await until(lambda: bool(services.queue.asked) and not workspace.ingest.running, workspace.ingest.changed)
        assert services.preflight.passwords == [(), ("swordfish",)]
        assert services.queue.passwords == [("swordfish",)]
