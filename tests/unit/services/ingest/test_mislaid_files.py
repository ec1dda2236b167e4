"""Files that go away, come back and change places, through whole ingests."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain import ALL_REMOVALS, IngestOptions, IngestReport
from studio.errors import NotFound
from studio.services.ingest import plan
from studio.services.ingest.removals import EMPTY, NOT_THERE
from studio.services.jobs import JobQueue
from studio.services.scan import file_state
from tests.unit.services.workbench import Bench, Write

DEFAULT = IngestOptions()
ALLOWED = IngestOptions(allow_removals=ALL_REMOVALS)


async def ingest(bench: Bench, *paths: Path, options: IngestOptions = DEFAULT) -> IngestReport:
    return await bench.ingest.ingest("Toy", paths, options)


def held(report: IngestReport) -> list[tuple[str, int, str]]:
    return [(item.folder, item.count, item.why) for item in report.held_removals]


def numbered(write: Write, count: int, folder: str = "") -> None:
    for number in range(count):
        write(f"{folder}{number}.txt", f"The text with the number {number}.")


async def test_a_folder_that_goes_away_keeps_its_documents_until_somebody_says_so(
    bench: Bench, folder: Path, write: Write
) -> None:
    numbered(write, 4, "box/")
    write("top.txt", "A text at the top.")
    await ingest(bench, folder)
    before = await bench.sound()
    shutil.rmtree(folder / "box")
    write("new.txt", "A text that is new.")
    report = await ingest(bench, folder)
    assert held(report) == [(str(folder / "box"), 4, EMPTY)]
    assert (report.added, report.removed) == (1, 0)
    assert await bench.sound() == before | {"A text that is new."}
    again = await ingest(bench, folder)
    assert (again.generation, held(again)) == (None, held(report)), "nothing is built, and it is said again"
    gone = await ingest(bench, folder / "box")
    assert held(gone) == [(str(folder / "box"), 4, NOT_THERE)]
    with pytest.raises(NotFound, match="nowhere"):
        await ingest(bench, folder / "nowhere", options=ALLOWED)
    report = await ingest(bench, folder / "box", options=ALLOWED)
    assert (report.removed, held(report)) == (4, [])
    assert await bench.sound() == {"A text at the top.", "A text that is new."}


async def test_a_removal_by_name_is_not_asked(bench: Bench, folder: Path, write: Write) -> None:
    numbered(write, 30)
    await ingest(bench, folder)
    report = await bench.ingest.remove("Toy", [str(folder)])
    assert (report.removed, held(report)) == (30, [])


async def test_what_a_job_may_remove_is_written_down_with_it(bench: Bench, folder: Path, write: Write) -> None:
    numbered(write, 4, "box/")
    write("top.txt", "A text at the top.")
    await ingest(bench, folder)
    queue = JobQueue(bench.stores, bench.work)
    for allowed, removed in ((0, 0), (3, 0), (4, 4)):
        await queue.add("Toy", [folder], IngestOptions(allow_removals=allowed))
        shutil.rmtree(folder / "box", ignore_errors=True)  # after it was accepted
        report = await bench.ingest.resume("Toy")
        assert (report.removed, sum(item.count for item in report.held_removals)) == (removed, 4 - removed)


async def test_what_comes_back_is_not_embedded_again(bench: Bench, folder: Path, write: Write) -> None:
    numbered(write, 3, "box/")
    write("top.txt", "A text at the top.")
    write("box/rows.csv", "id,text\n1,The first row.\n2,The second row.\n")
    await ingest(bench, folder)
    shutil.copytree(folder / "box", folder.parent / "kept", copy_function=shutil.copy2)
    shutil.rmtree(folder / "box")
    assert (await ingest(bench, folder, options=ALLOWED)).removed == 5
    write("top.txt", "A text at the top that was changed.")
    await ingest(bench, folder)
    bench.toy.embedded.clear()
    shutil.move(folder.parent / "kept", folder / "other")
    write("other/0.txt", "One that was changed meanwhile.")
    report = await ingest(bench, folder)
    assert (report.added, report.embedded, report.reused) == (5, 1, 4)
    assert bench.toy.embedded == ["One that was changed meanwhile."]
    assert len(await bench.sound()) == 6


@pytest.mark.parametrize("table", ["chunks", "documents"])
async def test_an_archived_generation_that_is_damaged_costs_only_embedding(
    bench: Bench, folder: Path, write: Write, table: str
) -> None:
    write("top.txt", "A text at the top.")
    file = write("a.txt", "The text that comes back.")
    await ingest(bench, folder)
    file.unlink()
    await ingest(bench, folder)
    kb = await bench.library.get("Toy")
    first = await bench.stores.catalog.generation(kb.id, 1)
    versions = bench.stores.paths.kb(kb.id).vectors / f"{table}.lance" / "_versions"
    version = first.chunks_version if table == "chunks" else first.documents_version
    (versions / f"{2**64 - 1 - version}.manifest").unlink()
    write("a.txt", "The text that comes back.")
    report = await ingest(bench, folder)
    assert (report.added, report.embedded) == (1, 1)
    assert "The text that comes back." in await bench.sound()


async def test_files_that_swapped_names_are_cited_with_their_own_text(bench: Bench, folder: Path, write: Write) -> None:
    first, second = write("a.txt", "The text of A."), write("b.txt", "The text of B.")
    for file in (first, second):
        os.utime(file, ns=(5, 5))
    await ingest(bench, folder)
    first.rename(folder / "c.txt")
    second.rename(first)
    (folder / "c.txt").rename(second)
    report = await ingest(bench, folder)
    assert (report.updated, report.embedded) == (2, 0)
    kb = await bench.library.get("Toy")
    async with bench.stores.store(kb.id).reading() as snapshot:
        records = {record.document_id: Path(record.source_path).name for record in await snapshot.tables.documents()}
        texts = {
            chunk.content: records[chunk.document_id]
            for chunk in (await snapshot.tables.chunks(await bench.chunk_ids())).values()
        }
    assert texts == {"The text of A.": "b.txt", "The text of B.": "a.txt"}


async def test_only_what_says_that_it_changed_is_opened(
    bench: Bench, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    hashing = plan.hash_or_none

    async def hashed(path: Path) -> str | None:
        opened.append(path.name)
        return await hashing(path)

    monkeypatch.setattr(plan, "hash_or_none", hashed)
    numbered(write, 3)
    await ingest(bench, folder)
    await ingest(bench, folder)
    assert opened == []
    (folder / "0.txt").chmod(0o600)
    assert (await ingest(bench, folder)).unchanged == 3
    assert opened == ["0.txt"], "ctime is another one now"
    opened.clear()
    await ingest(bench, folder / "1.txt")
    assert opened == ["1.txt"], "a file that is named is read"
    opened.clear()
    write("new.txt", "A text that is new.")
    await ingest(bench, folder)
    opened.clear()
    report = await ingest(bench, folder)
    assert (report.unchanged, opened) == (4, []), "the row was rewritten with the generation"


async def test_rows_without_a_stamp_get_one(
    bench: Bench, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered(write, 3)
    stamp = plan.file_source

    def unstamped(file: plan.ScannedFile, *rest: Sequence[object], **more: object) -> plan.Source:
        return replace_stamp(stamp(file, *rest, **more))  # type: ignore[arg-type]

    def replace_stamp(source: plan.Source) -> plan.Source:
        source.change_stamp = 0
        return source

    with monkeypatch.context() as older:
        older.setattr(plan, "file_source", unstamped)
        await ingest(bench, folder)
    assert {record.change_stamp for record in await bench.library.documents("Toy")} == {0}
    report = await ingest(bench, folder)
    assert (report.generation, report.unchanged) == (None, 3), "a few are hashed every time"
    monkeypatch.setattr(plan, "RESTAMPED_FILES", 3)
    report = await ingest(bench, folder, options=replace(ALLOWED, promote=False))
    assert report.generation is None
    bench.toy.embedded.clear()
    report = await ingest(bench, folder)
    assert (report.generation, report.unchanged, report.embedded, bench.toy.embedded) == (2, 3, 0, [])
    assert 0 not in {record.change_stamp for record in await bench.library.documents("Toy")}
    assert (await ingest(bench, folder)).generation is None
    assert len(await bench.sound()) == 3


async def test_a_drive_that_does_not_answer_takes_no_document_along(
    bench: Bench, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered(write, 3)
    await ingest(bench, folder)
    before = await bench.sound()
    for number in range(3):
        write(f"{number}.txt", f"Another text with the number {number}.")

    def failing(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(plan, "sha256_of", failing)
    report = await ingest(bench, folder)
    assert (report.removed, {item.error for item in report.failed}) == (0, {"unreadable"})
    assert "Check the drive" in report.failed[0].reason
    assert await bench.sound() == before


async def test_an_edit_within_the_tick_of_a_coarse_clock_is_found(
    bench: Bench, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on FAT: the time is a whole second, and neither it nor the size nor the stamp tells of the edit."""
    monkeypatch.setattr(file_state, "change_stamp", lambda status: 7)
    tick = time.time_ns() // 10**9 * 10**9 + 10**9
    file = write("a.txt", "The first text.")
    os.utime(file, ns=(tick, tick))
    await ingest(bench, folder)
    file.write_text("The other text.")
    os.utime(file, ns=(tick, tick))
    assert (await ingest(bench, folder)).updated == 1
    assert await bench.sound() == {"The other text."}
