"""What happens to a job when embedding misbehaves. The embedder is a stand-in for the port; all else is real."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from studio.documents.parsers import plain
from studio.domain import (
    DocumentParser,
    DocumentStatus,
    IngestOptions,
    ParserEvent,
)
from studio.errors import DocumentFault, FailureCode, WorkerDied
from studio.index.catalog import Catalog
from studio.services.ingest import plan, writer
from studio.services.scan import sha256_of
from tests.unit.documents.parsers.scans import scanned_pdf
from tests.unit.services.workbench import MODEL, Bench, Write


async def test_a_text_without_a_vector_fails_its_document_only(bench: Bench, folder: Path, write: Write) -> None:
    for n in range(5):
        write(f"{n}.txt", f"good text number {n}")
    write("bad.txt", "this is poison for the model")
    report = await bench.ingest.ingest("Toy", [folder])
    assert (report.added, [item.error for item in report.failed]) == (5, ["bad_vector"])
    assert await bench.sound() == {f"good text number {n}" for n in range(5)}
    assert (await bench.statuses())["bad.txt"] is DocumentStatus.FAILED


async def test_a_long_document_that_fails_late_leaves_no_chunk(bench: Bench, folder: Path, write: Write) -> None:
    write("good.txt", "good text")
    lines = [f"Line {n} of a long document with some more words in it, enough for a chunk.\n\n" for n in range(300)]
    lines[290] = "And here is the poison that no model can swallow, in a chunk of its own.\n\n"
    write("long.txt", "".join(lines))
    report = await bench.ingest.ingest("Toy", [folder])
    assert [Path(item.path).name for item in report.failed] == ["long.txt"]
    assert await bench.sound() == {"good text"}


async def test_a_row_that_fails_leaves_the_others(bench: Bench, folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "RECORDS_HELD_PER_FILE", 10)
    rows = [f'{{"_id": "r{n}", "text": "row number {n}"}}\n' for n in range(60)]
    rows[55] = '{"_id": "r55", "text": "row of poison"}\n'
    rows.append("this line is not JSON\n")
    table = folder / "rows.jsonl"
    table.write_text("".join(rows))
    report = await bench.ingest.ingest("Toy", [folder])
    assert report.added == 59
    assert [Path(item.path).name for item in report.failed] == ["rows.jsonl"]
    assert await bench.sound() == {f"row number {n}" for n in range(60) if n != 55}
    again = await bench.ingest.ingest("Toy", [folder])
    assert (again.generation, again.unchanged, len(again.failed)) == (None, 59, 1)
    table.write_text("".join(rows[:55] + rows[56:-1]))
    mended = await bench.ingest.ingest("Toy", [folder])
    assert (mended.unchanged, mended.failed) == (59, ())
    assert DocumentStatus.FAILED not in (await bench.statuses()).values()


async def test_rows_written_before_a_crash_are_taken_back(bench: Bench, folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "RECORDS_HELD_PER_FILE", 10)
    table = folder / "rows.jsonl"
    table.write_text("".join(f'{{"_id": "r{n}", "text": "row number {n}"}}\n' for n in range(30)))
    (folder / "other.jsonl").write_text('{"_id": "x", "text": "another file"}\n')
    parse = bench.work._parser.parse

    async def crash_at_the_end(
        path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()
    ) -> AsyncIterator[ParserEvent]:
        async for parsed in parse(path):
            yield parsed
        if path == table:
            raise DocumentFault(FailureCode.CRASHED, "The process that read this file ended.")

    monkeypatch.setattr(bench.work._parser, "parse", crash_at_the_end)
    report = await bench.ingest.ingest("Toy", [folder])
    assert [Path(item.path).name for item in report.failed] == ["rows.jsonl"]
    assert await bench.sound() == {"another file"}
    assert await bench.statuses() == {"rows.jsonl": DocumentStatus.FAILED, "other.jsonl": DocumentStatus.INDEXED}


async def test_a_crash_in_a_changed_table_keeps_its_rows_of_before(bench: Bench, folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "RECORDS_HELD_PER_FILE", 10)
    table = folder / "rows.jsonl"

    def put(word: str) -> None:
        table.write_text("".join(f'{{"_id": "r{n}", "text": "{word} number {n}"}}\n' for n in range(30)))

    put("row")
    await bench.ingest.ingest("Toy", [folder])
    put("changed row")
    parse = bench.work._parser.parse

    async def crash_at_the_end(
        path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()
    ) -> AsyncIterator[ParserEvent]:
        async for parsed in parse(path):
            yield parsed
        raise DocumentFault(FailureCode.CRASHED, "The process that read this file ended.")

    with monkeypatch.context() as patch:
        patch.setattr(bench.work._parser, "parse", crash_at_the_end)
        report = await bench.ingest.ingest("Toy", [folder])
    assert ([item.error for item in report.failed], report.unchanged) == (["crashed"], 30)
    assert await bench.sound() == {f"row number {n}" for n in range(30)}
    assert (await bench.ingest.ingest("Toy", [folder])).updated == 30
    assert await bench.sound() == {f"changed row number {n}" for n in range(30)}


async def test_an_archive_that_ends_its_workers_keeps_the_files_read_before(
    bench: Bench, folder: Path, monkeypatch
) -> None:
    archive = folder / "notes.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for n in range(3):
            made.writestr(f"{n}.txt", f"note number {n}")
    parse = bench.work._parser.parse

    async def crash_at_the_end(
        path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()
    ) -> AsyncIterator[ParserEvent]:
        async for parsed in parse(path):
            yield parsed
        raise DocumentFault(FailureCode.CRASHED, "The process that read this file ended.")

    monkeypatch.setattr(bench.work._parser, "parse", crash_at_the_end)
    report = await bench.ingest.ingest("Toy", [folder])
    assert (report.added, [(Path(item.path).name, item.error) for item in report.failed]) == (
        3, [("notes.zip", "crashed")],
    )  # fmt: skip
    assert await bench.sound() == {f"note number {n}" for n in range(3)}


async def test_an_archive_of_which_nothing_can_be_read_says_why(bench: Bench, folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as made:
        for n in range(3):
            made.writestr(f"{n}.pdf", b"%PDF-1.7 and no more")
    (failed,) = (await bench.ingest.ingest("Toy", [folder])).failed
    assert failed.error == "corrupt"
    assert "None of the 3 files in it can be read. Of each is said: This PDF file is damaged" in failed.reason
    with zipfile.ZipFile(folder / "a.zip", "a") as made:
        made.writestr("empty.txt", b"")
    (failed,) = (await bench.ingest.ingest("Toy", [folder])).failed
    assert failed.error == "no_text"
    assert "None of the 4 files in it can be read. Of 3 is said: This PDF file is damaged" in failed.reason


async def test_a_file_that_is_far_too_large_is_told_before_it_is_hashed(
    bench: Bench, folder: Path, write: Write, monkeypatch
) -> None:
    write("small.txt", "a small text")
    with (folder / "huge.txt").open("wb") as huge:
        huge.write(b"plain words and more of them\n" * 100_000)
        huge.truncate(2 << 30)  # sparse: takes no room on the disk
    hashed = []
    monkeypatch.setattr(plan, "sha256_of", lambda path: hashed.append(path.name) or sha256_of(path))
    report = await bench.ingest.ingest("Toy", [folder])
    assert [(Path(item.path).name, item.error) for item in report.failed] == [("huge.txt", "too_large")]
    assert hashed == ["small.txt"]
    assert await bench.sound() == {"a small text"}


async def test_a_scan_is_tried_again_once_its_text_can_be_recognised(bench: Bench, folder: Path, monkeypatch) -> None:
    scanned_pdf(folder / "scan.pdf", [None])
    parser, read = bench.work._parser, []
    parse = parser.parse

    def noted(path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()) -> AsyncIterator[ParserEvent]:
        read.append(path.name)
        return parse(path, passwords=passwords)

    monkeypatch.setattr(parser, "parse", noted)
    for able, times in ((False, 1), (False, 1), (True, 2)):
        monkeypatch.setattr(parser, "recognises_text", lambda able=able: able)
        report = await bench.ingest.ingest("Toy", [folder])
        assert ([item.error for item in report.failed], read) == (["needs_ocr"], ["scan.pdf"] * times)


async def test_a_worker_that_dies_for_good_fails_the_job_not_the_store(
    bench: Bench, folder: Path, write: Write
) -> None:
    write("0.txt", "good text")
    await bench.ingest.ingest("Toy", [folder])
    for n in range(1, 8):
        write(f"{n}.txt", f"more text {n}")
    bench.toy.dead = True
    with pytest.raises(WorkerDied, match="ended"):
        await bench.ingest.ingest("Toy", [folder])
    assert await bench.sound() == {"good text"}
    bench.toy.dead = False
    assert (await bench.ingest.ingest("Toy", [folder])).added == 7


async def test_a_crash_on_a_changed_file_keeps_what_was_indexed(bench: Bench, folder: Path, write: Write) -> None:
    write("a.txt", "the old text")
    write("b.txt", "another text")
    await bench.ingest.ingest("Toy", [folder])
    write("a.txt", "this will kill the process")
    write("b.txt", "another text, changed")
    report = await bench.ingest.ingest("Toy", [folder])
    assert [(Path(item.path).name, item.error) for item in report.failed] == [("a.txt", "crashed")]
    assert await bench.sound() == {"the old text", "another text, changed"}
    write("a.txt", "harmless again")
    assert (await bench.ingest.ingest("Toy", [folder])).updated == 1
    assert await bench.sound() == {"harmless again", "another text, changed"}


async def test_copies_in_one_job_are_embedded_once(bench: Bench, folder: Path, write: Write) -> None:
    for n in range(4):
        write(f"{n}.txt", "the very same text")
    report = await bench.ingest.ingest("Toy", [folder])
    assert report.added == 4
    assert bench.toy.embedded == ["the very same text"]
    assert await bench.sound() == {"the very same text"}
    (folder / "0.txt").unlink()
    (folder / "1.txt").unlink()
    await bench.ingest.ingest("Toy", [folder])
    assert await bench.sound() == {"the very same text"}


class ReadTogether:
    """A parser that hands out the documents of two files at the same moment."""

    def __init__(self, parser: DocumentParser) -> None:
        self._parser = parser
        self._both = asyncio.Barrier(2)

    def recognises_text(self) -> bool:
        return self._parser.recognises_text()

    async def parse(
        self, path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()
    ) -> AsyncIterator[ParserEvent]:
        documents = [document async for document in self._parser.parse(path, passwords=passwords, roots=roots)]
        await self._both.wait()
        for document in documents:
            yield document

    async def close(self) -> None:
        await self._parser.close()


async def test_copies_read_at_the_same_moment_are_embedded_once(bench: Bench, folder: Path, write: Write) -> None:
    write("a.txt", "the very same text")
    write("b.txt", "the very same text")
    bench.work._parser = ReadTogether(bench.work._parser)
    report = await bench.ingest.ingest("Toy", [folder], IngestOptions(jobs=2))
    assert (report.added, report.chunks_added) == (2, 1)
    assert bench.toy.embedded == ["the very same text"]
    assert await bench.sound() == {"the very same text"}


async def test_repeated_rows_keep_apart(bench: Bench, folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"_id": "same", "text": "first"}\n{"_id": "same", "text": "second"}\n' * 2)
    report = await bench.ingest.ingest("Toy", [folder])
    assert (report.added, report.failed) == (4, ())
    assert await bench.sound() == {"first", "second"}
    assert (await bench.ingest.ingest("Toy", [folder])).unchanged == 4


async def test_removing_everything_leaves_an_empty_generation(bench: Bench, folder: Path, write: Write) -> None:
    write("a.txt", "some text")
    await bench.ingest.ingest("Toy", [folder])
    (folder / "a.txt").unlink()
    report = await bench.ingest.ingest("Toy", [folder], IngestOptions(allow_removals=1))
    assert (report.removed, report.generation) == (1, 2)
    assert await bench.sound() == set()


async def test_a_rebuild_without_stored_texts_reads_the_file_or_fails_alone(
    bench: Bench, folder: Path, write: Write
) -> None:
    write("gone.txt", "first text")
    write("there.txt", "second text")
    write("b.md", "third text")
    await bench.ingest.ingest("Toy", [folder])
    kb = await bench.library.get("Toy")
    for stored in bench.stores.paths.kb(kb.id).texts.glob("*.text"):
        stored.unlink()
    (folder / "gone.txt").unlink()
    report = await bench.ingest.rebuild("Toy")
    assert report.generation == 2
    assert {Path(item.path).name for item in report.failed} == {"gone.txt"}
    assert await bench.sound() == {"second text", "third text"}


async def test_a_cancellation_during_promotion_leaves_a_whole_generation(
    bench: Bench, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.txt", "the first text")
    await bench.ingest.ingest("Toy", [folder])
    write("a.txt", "the second text")
    promote, transaction = bench.stores.catalog.promote, Catalog.transaction
    reached, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def held(catalog: Catalog) -> AbstractContextManager[sqlite3.Connection]:
        loop.call_soon_threadsafe(reached.set)
        go_on.wait(30)
        return transaction(catalog)

    async def slow(kb_id: str, number: int, **how: int | None) -> object:
        monkeypatch.setattr(Catalog, "transaction", held)
        return await promote(kb_id, number, **how)

    monkeypatch.setattr(bench.stores.catalog, "promote", slow)
    job = loop.create_task(bench.ingest.ingest("Toy", [folder]))
    async with asyncio.timeout(60):
        await reached.wait()
    job.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert await bench.sound() == {"the second text"}


async def test_a_build_that_became_active_is_never_discarded(bench: Bench, folder: Path, write: Write) -> None:
    write("a.txt", "some text")
    report = await bench.ingest.ingest("Toy", [folder])
    kb = await bench.library.get("Toy")
    await bench.stores.store(kb.id).discard(report.generation, "too late")
    assert await bench.sound() == {"some text"}


async def test_another_model_rebuilds_everything_before_adding(bench: Bench, folder: Path, write: Write) -> None:
    write("a.txt", "the first text")
    await bench.ingest.ingest("Toy", [folder])
    kb = await bench.library.get("Toy")
    bench.toy.model = replace(MODEL, name="other", sha256="d" * 64)
    settings = replace(kb.settings, model="other")
    await bench.stores.catalog.update_settings(kb.id, settings)
    write("b.txt", "the second text")
    report = await bench.ingest.ingest("Toy", [folder])
    assert (report.added, report.unchanged, report.generation) == (1, 1, 3)
    assert await bench.sound() == {"the first text", "the second text"}
    generations = await bench.stores.catalog.generations(kb.id)
    tables = {item.number: (item.chunks_table, item.model.name) for item in generations if item.model}
    assert tables == {1: ("chunks", "toy"), 2: ("chunks_dddddddd", "other"), 3: ("chunks_dddddddd", "other")}


async def test_a_long_log_that_grows_costs_its_last_part(bench: Bench, folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(plain, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(plain, "PART_CHARS", 400)

    async def here(
        path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()
    ) -> AsyncIterator[ParserEvent]:
        for document in plain.parse(path):
            yield document

    monkeypatch.setattr(bench.work._parser, "parse", here)
    log = folder / "long.log"
    lines = [f"line number {n} of a log\n" for n in range(80)]
    log.write_text("".join(lines))
    first = await bench.ingest.ingest("Toy", [folder])
    assert first.added == len(list(plain.parse(log)))
    with log.open("a") as end:
        end.write("one more line\n")
    bench.toy.embedded.clear()
    grown = await bench.ingest.ingest("Toy", [folder])
    assert (grown.added, grown.updated, grown.unchanged, grown.removed) == (0, 1, first.added - 1, 0)
    assert "one more line" in bench.toy.embedded[-1] and len(bench.toy.embedded) <= 2
    assert "".join(sorted(await bench.sound())).count("line number") == 80
    rebuilt = await bench.ingest.rebuild("Toy")
    assert len(await bench.library.documents("Toy")) == first.added and rebuilt.promoted
    assert "".join(sorted(await bench.sound())).count("line number") == 80
