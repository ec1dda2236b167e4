from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.cli.ways_out import typed
from studio.domain import (
    DocumentStatus,
    FileState,
    GenerationState,
    IngestOptions,
    IngestProgress,
    IngestStage,
    JobKind,
    JobState,
    KbSettings,
    SearchMode,
    SearchRequest,
)
from studio.errors import Cancelled, InvalidRequest, ModelFault, NotFound
from tests.helpers.toy import contents_of

Write = Callable[[str, str], Path]


@pytest.fixture
async def kb(services: Services) -> str:
    return (await services.library.create("Notes")).id


async def texts(services: Services, kb: str, query: str = "whale piano volcano") -> set[str]:
    response = await services.search.search(SearchRequest((kb,), query, SearchMode.VECTOR, limit=50))
    return {result.content for result in response.results}


async def paths(services: Services, kb: str) -> set[str]:
    return {Path(record.source_path).name for record in await services.library.documents(kb)}


async def test_a_folder_becomes_a_searchable_generation(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    write("a.md", "# Whales\n\nWhales sing long songs in the deep ocean.")
    write("deep/b.txt", "Pianos have strings and hammers.")
    report = await services.ingest.ingest(kb, [folder])
    assert (report.added, report.updated, report.unchanged, report.removed) == (2, 0, 0, 0)
    assert (report.generation, report.promoted, report.failed) == (1, True, ())
    assert report.embedded == report.chunks_added == 2
    response = await services.search.search(SearchRequest((kb,), "songs of whales"))
    best = response.results[0]
    assert best.citation.title == "Whales"
    assert best.citation.anchor == "Whales"
    assert "deep ocean" in best.content
    stored = await services.search.document_text(kb, 1, best.document_id)
    assert stored.text[best.citation.char_start : best.citation.char_end] == best.content


async def test_the_second_ingest_embeds_nothing_and_builds_nothing(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    write("a.txt", "Whales sing.")
    await services.ingest.ingest(kb, [folder])
    report = await services.ingest.ingest(kb, [folder])
    assert (report.generation, report.unchanged, report.embedded, report.chunks_added) == (None, 1, 0, 0)
    assert len(await services.maintenance.generations(kb)) == 1


async def test_a_touched_file_is_hashed_not_embedded(services: Services, kb: str, folder: Path, write: Write) -> None:
    file = write("a.txt", "Whales sing.")
    await services.ingest.ingest(kb, [folder])
    os.utime(file, ns=(1, 1))
    report = await services.ingest.ingest(kb, [folder])
    assert (report.generation, report.unchanged, report.embedded) == (None, 1, 0)


async def test_changes_removals_and_additions_make_one_generation(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    write("stay.txt", "Whales sing.")
    write("change.txt", "Pianos play.")
    gone = write("gone.txt", "Volcanoes erupt.")
    await services.ingest.ingest(kb, [folder])
    write("change.txt", "Pianos fall silent.")
    write("new.txt", "Glaciers melt.")
    gone.unlink()
    report = await services.ingest.ingest(kb, [folder])
    assert (report.added, report.updated, report.unchanged, report.removed) == (1, 1, 1, 1)
    assert await texts(services, kb) == {"Whales sing.", "Pianos fall silent.", "Glaciers melt."}
    assert await paths(services, kb) == {"stay.txt", "change.txt", "new.txt"}


async def test_a_changed_file_embeds_only_the_chunks_that_changed(
    services: Services, folder: Path, write: Write
) -> None:
    kb = (await services.library.create("Small", KbSettings(chunk_tokens=16, chunk_overlap=0))).id
    parts = [f"Paragraph number {n} speaks about subject {n} and about nothing else at all.\n\n" for n in range(8)]
    write("a.txt", "".join(parts))
    first = await services.ingest.ingest(kb, [folder])
    parts[-1] = "The last paragraph was rewritten and speaks of volcanoes now.\n\n"
    write("a.txt", "".join(parts))
    second = await services.ingest.ingest(kb, [folder])
    assert second.updated == 1
    assert second.reused >= first.chunks_added - 2
    assert 1 <= second.embedded <= 2
    assert second.embedded + second.reused == second.chunks_added


async def test_a_moved_or_copied_file_is_not_embedded_again(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    file = write("a.txt", "Whales sing.")
    await services.ingest.ingest(kb, [folder])
    file.rename(folder / "b.txt")
    moved = await services.ingest.ingest(kb, [folder])
    assert (moved.added, moved.removed, moved.embedded) == (1, 1, 0)
    write("c.txt", "Whales sing.")
    copied = await services.ingest.ingest(kb, [folder])
    assert (copied.added, copied.embedded) == (1, 0)
    (folder / "b.txt").unlink()
    await services.ingest.ingest(kb, [folder])
    assert await paths(services, kb) == {"c.txt"}
    assert await texts(services, kb) == {"Whales sing."}


async def test_rows_of_a_table_are_documents_of_their_own(services: Services, kb: str, folder: Path) -> None:
    table = folder / "rows.jsonl"
    rows = [{"_id": f"r{n}", "title": f"Row {n}", "text": f"This row is about subject {n}."} for n in range(4)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = await services.ingest.ingest(kb, [table])
    assert (first.added, first.embedded) == (4, 4)
    rows[1]["text"] = "This row is about volcanoes."
    del rows[3]
    rows.append({"_id": "r9", "title": "Row 9", "text": "This row is new."})
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    second = await services.ingest.ingest(kb, [table])
    assert (second.added, second.updated, second.unchanged, second.removed) == (1, 1, 2, 1)
    assert second.embedded == 2
    records = await services.library.documents(kb)
    assert sorted(record.external_id for record in records) == ["r0", "r1", "r2", "r9"]
    for record in records:
        stored = await services.search.document_text(kb, 2, record.document_id)
        assert record.title in stored.text


async def test_one_row_can_be_removed(services: Services, kb: str, folder: Path) -> None:
    table = folder / "rows.jsonl"
    table.write_text("".join(json.dumps({"_id": f"r{n}", "text": f"subject {n}"}) + "\n" for n in range(3)))
    await services.ingest.ingest(kb, [table])
    report = await services.ingest.remove(kb, ["r1"])
    assert report.removed == 1
    assert {record.external_id for record in await services.library.documents(kb)} == {"r0", "r2"}
    assert await texts(services, kb) == {"subject 0", "subject 2"}


async def test_a_bad_file_fails_alone_and_is_listed(services: Services, kb: str, folder: Path, write: Write) -> None:
    write("good.txt", "Whales sing.")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 and then nothing that makes sense")
    (folder / "empty.txt").write_bytes(b"")
    report = await services.ingest.ingest(kb, [folder])
    assert report.added == 1
    failed = {Path(item.path).name: item for item in report.failed}
    assert set(failed) == {"bad.pdf", "empty.txt"}
    assert failed["empty.txt"].error == "empty"
    assert all(len(item.reason) > 15 and Path(item.path).is_absolute() for item in report.failed)
    rows = {Path(item.source_path).name: item for item in await services.library.documents(kb)}
    assert rows["bad.pdf"].status is DocumentStatus.FAILED
    again = await services.ingest.ingest(kb, [folder])
    assert (again.generation, again.unchanged) == (None, 1)
    assert {item.path for item in again.failed} == {item.path for item in report.failed}


async def test_a_failed_file_is_tried_again_when_named_or_changed(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    write("good.txt", "Whales sing.")
    bad = folder / "doc.txt"
    bad.write_bytes(b"")
    await services.ingest.ingest(kb, [folder])
    named = await services.ingest.ingest(kb, [bad])
    assert (named.generation, len(named.failed)) == (None, 1)
    bad.write_text("Now there is text about volcanoes.")
    mended = await services.ingest.ingest(kb, [folder])
    assert (mended.added, mended.failed) == (1, ())
    assert all(item.status is DocumentStatus.INDEXED for item in await services.library.documents(kb))


async def test_a_file_that_becomes_unreadable_leaves_results(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    file = write("a.txt", "Whales sing.")
    write("b.txt", "Pianos play.")
    await services.ingest.ingest(kb, [folder])
    file.write_bytes(b"")
    report = await services.ingest.ingest(kb, [folder])
    assert report.removed == 1
    assert await texts(services, kb) == {"Pianos play."}


async def test_include_exclude_and_recursion(services: Services, kb: str, folder: Path, write: Write) -> None:
    write("a.txt", "one")
    write("b.md", "two")
    write("sub/c.txt", "three")
    write(".hidden.txt", "four")
    await services.ingest.ingest(kb, [folder], IngestOptions(include=("*.txt",), recursive=False))
    assert await paths(services, kb) == {"a.txt"}
    await services.ingest.ingest(kb, [folder], IngestOptions(exclude=("sub",)))
    assert await paths(services, kb) == {"a.txt", "b.md"}
    await services.ingest.ingest(kb, [folder])
    assert await paths(services, kb) == {"a.txt", "b.md", "c.txt"}


async def test_without_promotion_the_generation_waits(services: Services, kb: str, folder: Path, write: Write) -> None:
    write("a.txt", "Whales sing.")
    report = await services.ingest.ingest(kb, [folder], IngestOptions(promote=False))
    assert (report.generation, report.promoted) == (1, False)
    (generation,) = await services.maintenance.generations(kb)
    assert generation.state is GenerationState.READY
    assert (await services.library.get(kb)).active_generation is None
    await services.maintenance.promote(kb, 1)
    assert await texts(services, kb) == {"Whales sing."}


async def test_removal_by_path_folder_and_id(services: Services, kb: str, folder: Path, write: Write) -> None:
    first = write("a.txt", "Whales sing.")
    write("sub/b.txt", "Pianos play.")
    write("c.txt", "Volcanoes erupt.")
    await services.ingest.ingest(kb, [folder])
    ids = {Path(item.source_path).name: item.document_id for item in await services.library.documents(kb)}
    await services.ingest.remove(kb, [str(first), str(folder / "sub")])
    assert await paths(services, kb) == {"c.txt"}
    with pytest.raises(NotFound, match="no document"):
        await services.ingest.remove(kb, [ids["a.txt"]])
    await services.ingest.remove(kb, [ids["c.txt"]])
    assert await services.library.documents(kb) == []
    response = await services.search.search(SearchRequest((kb,), "volcanoes"))
    assert response.results == ()


async def test_cancelling_keeps_the_active_generation(services: Services, kb: str, folder: Path, write: Write) -> None:
    write("a.txt", "Whales sing.")
    await services.ingest.ingest(kb, [folder])
    for n in range(30):
        write(f"more{n}.txt", f"Volcano number {n}. " * 60)
    begun = asyncio.Event()

    def watch(progress: IngestProgress) -> None:
        if any(item.state is FileState.EMBEDDING for item in progress.changed):
            begun.set()

    task = asyncio.get_running_loop().create_task(services.ingest.ingest(kb, [folder], progress=watch))
    await begun.wait()
    (job,) = await services.queue.jobs()
    await services.queue.cancel(job.id)
    with pytest.raises(Cancelled):
        await task
    assert await texts(services, kb) == {"Whales sing."}
    states = [item.state for item in await services.maintenance.generations(kb)]
    assert states == [GenerationState.FAILED, GenerationState.ACTIVE]
    report = await services.ingest.ingest(kb, [folder])
    assert report.added == 30


async def test_progress_tells_every_file_and_stage(services: Services, kb: str, folder: Path, write: Write) -> None:
    for n in range(3):
        write(f"{n}.txt", f"Text number {n}.")
    (folder / "bad.docx").write_bytes(b"PK\x03\x04 and then nothing")
    seen: list[IngestProgress] = []
    await services.ingest.ingest(kb, [folder], progress=seen.append)
    stages = list(dict.fromkeys(item.stage for item in seen))
    assert stages == [
        IngestStage.SCANNING, IngestStage.INDEXING, IngestStage.SEALING, IngestStage.PROMOTING, IngestStage.DONE,
    ]  # fmt: skip
    last = {file.path: file for item in seen for file in item.changed}
    assert {Path(path).name: file.state.value for path, file in last.items()} == {
        "0.txt": "indexed", "1.txt": "indexed", "2.txt": "indexed", "bad.docx": "failed",
    }  # fmt: skip
    assert (seen[-1].files_total, seen[-1].files_done, seen[-1].files_failed, seen[-1].chunks_done) == (4, 4, 1, 3)


async def test_changed_settings_rebuild_before_adding(services: Services, folder: Path, write: Write) -> None:
    kb = (await services.library.create("Long", KbSettings(chunk_tokens=200, chunk_overlap=0))).id
    write("a.txt", " ".join(f"Sentence number {n} stands here." for n in range(40)))
    first = await services.ingest.ingest(kb, [folder])
    stores = services.library._stores
    settings = KbSettings(chunk_tokens=32, chunk_overlap=0)
    await stores.catalog.update_settings(kb, settings)
    report = await services.ingest.rebuild(kb)
    assert report.chunks_added > first.chunks_added * 3
    active = (await services.maintenance.generations(kb))[0]
    assert (active.state, active.settings) == (GenerationState.ACTIVE, settings)
    await services.maintenance.rollback(kb)
    assert (await services.library.get(kb)).chunks == first.chunks_added


async def test_a_long_word_without_spaces_is_still_indexed(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    write("a.txt", "x1y2z3" * 4000)
    report = await services.ingest.ingest(kb, [folder])
    assert report.failed == ()
    async with services.library._stores.store(kb).reading() as snapshot:
        contents = [content for _, _, content in await contents_of(snapshot.tables)]
    embedder = await services.ingest._work._builder._embedders.embedder("all-MiniLM-L6-v2")
    assert max(await embedder.count_tokens(contents)) <= 240


async def test_bad_requests_name_the_trouble(services: Services, kb: str, folder: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        await services.ingest.ingest(kb, [folder / "nowhere"])
    with pytest.raises(InvalidRequest, match="Nothing to ingest"):
        await services.ingest.ingest(kb, [])
    with pytest.raises(NotFound, match="no knowledge base"):
        await services.ingest.ingest("Nobody", [folder])
    with pytest.raises(NotFound, match="empty"):
        await services.ingest.rebuild(kb)
    with pytest.raises(NotFound, match="no unfinished job"):
        await services.ingest.resume(kb)


async def test_a_missing_model_is_said_and_leaves_nothing(services: Services, folder: Path, write: Write) -> None:
    kb = (await services.library.create("Odd", KbSettings(model="no-such-model"))).id
    write("a.txt", "Whales sing.")
    with pytest.raises(ModelFault, match="no-such-model") as caught:
        await services.ingest.ingest(kb, [folder])
    assert "model install" in typed(caught.value.way_out)
    assert await services.maintenance.generations(kb) == []


async def test_two_jobs_on_one_knowledge_base_do_not_mix(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    write("a.txt", "Whales sing.")
    waiting = asyncio.Event()
    with await services.library._stores.store(kb).lock_for_writing("Notes"):
        job = await services.queue.add(kb, [folder])
        task = asyncio.get_running_loop().create_task(services.queue.run(job, lambda _: waiting.set()))
        await waiting.wait()
        assert (await services.queue.job(job.id)).state is JobState.QUEUED
    assert (await task).added == 1


async def test_an_unfinished_job_can_be_resumed(services: Services, kb: str, folder: Path, write: Write) -> None:
    write("a.txt", "Whales sing.")
    write("b.md", "Pianos play.")
    stores = services.library._stores
    options = {"recursive": True, "include": ["*.txt"], "exclude": [], "promote": True, "jobs": 1}
    await stores.catalog.jobs.create(kb, JobKind.INGEST, [str(folder)], options)
    report = await services.ingest.resume(kb)
    assert report.added == 1
    assert await paths(services, kb) == {"a.txt"}
    with pytest.raises(NotFound):
        await services.ingest.resume(kb)


async def test_a_job_knows_its_files_wherever_it_goes_on(
    services: Services, kb: str, folder: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.txt", "A text about whales.")
    monkeypatch.chdir(folder)
    report = await services.ingest.ingest(kb, [Path()])
    monkeypatch.chdir(tmp_path)
    job = await services.queue.job(report.job_id)
    assert job.paths == (str(folder),)
    monkeypatch.chdir(folder)
    removal = await services.ingest.remove(kb, ["a.txt"])
    assert (await services.queue.job(removal.job_id)).paths == (str(folder / "a.txt"),)


async def test_what_was_left_out_is_told(services: Services, kb: str, folder: Path, write: Write) -> None:
    write("a.txt", "A text about whales.")
    write(".secret.txt", "hidden")
    write("b.log", "ignored")
    write(".ragignore", "*.log\n")
    report = await services.ingest.ingest(kb, [folder])
    assert report.added == 1
    assert {(item.reason, item.count) for item in report.skipped} == {
        ("hidden or system files", 1), ("ignored by .ragignore", 1),
    }  # fmt: skip
    assert (await services.ingest.ingest(kb, [folder])).skipped == report.skipped
