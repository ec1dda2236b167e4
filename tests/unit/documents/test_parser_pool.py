from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from making import check, docx, paragraph, pdf

from studio.documents.parser_pool import ParserPool
from studio.domain import ParsedDocument
from studio.errors import Cancelled, DocumentFault, FailureCode, WorkerDied


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    pool = ParserPool(workers=2)
    yield pool
    await pool.close()


async def read(pool: ParserPool, path: Path) -> list[ParsedDocument]:
    return [parsed async for parsed in pool.parse(path)]


async def fault(pool: ParserPool, path: Path) -> DocumentFault:
    with pytest.raises(DocumentFault) as caught:
        await read(pool, path)
    return caught.value


def rows(path: Path, count: int, size: int = 100) -> Path:
    with path.open("w", encoding="utf-8") as stream:
        for i in range(count):
            stream.write(json.dumps({"_id": f"d{i}", "text": f"row {i} " + "x" * size}) + "\n")
    return path


async def test_documents_arrive_whole_over_the_pipe(pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "ünï 😀.md"
    path.write_text("# Größe 😀\n\nErster Satz. Zweiter Satz.\n\n## 你好\n\n世界。", encoding="utf-8")
    (parsed,) = await read(pool, path)
    check(parsed)
    assert parsed.title == "Größe 😀"
    assert [span.anchor for span in parsed.spans] == ["Größe 😀", "Größe 😀 › 你好"]
    assert parsed.text.endswith("世界。")


async def test_several_formats_with_one_worker_process(tmp_path: Path) -> None:
    pool = ParserPool(workers=1)
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "b.pdf").write_bytes(pdf([["Page text"]]))
    docx(tmp_path / "c.docx", paragraph("Word text"))
    texts = []
    pids = set()
    for name in ("a.txt", "b.pdf", "c.docx"):
        texts += [parsed.text for parsed in await read(pool, tmp_path / name)]
        pids.update(pool.worker_pids)
    assert texts == ["plain", "Page text", "Word text"]
    assert len(pids) == 1
    await pool.close()
    assert pool.worker_pids == ()


async def test_a_large_table_streams_in_order(pool: ParserPool, tmp_path: Path) -> None:
    path = rows(tmp_path / "t.jsonl", 5000)
    seen = [(parsed.row, parsed.external_id) async for parsed in pool.parse(path)]
    assert seen == [(i, f"d{i}") for i in range(5000)]


async def test_a_bad_line_fails_the_file_after_the_good_rows(pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text":"one"}\nnot json\n{"text":"two"}\n')
    texts = []
    with pytest.raises(DocumentFault) as caught:
        async for parsed in pool.parse(path):
            texts.append(parsed.text)
    assert texts == ["one", "two"]
    assert caught.value.code is FailureCode.CORRUPT
    assert "line 2" in str(caught.value)


async def test_what_is_no_file_is_refused_without_opening_it(pool: ParserPool, tmp_path: Path) -> None:
    assert (await fault(pool, tmp_path / "gone.txt")).code is FailureCode.VANISHED
    assert (await fault(pool, tmp_path / ("n" * 300))).code is FailureCode.VANISHED
    folder = await fault(pool, tmp_path)
    assert folder.code is FailureCode.UNSUPPORTED
    assert "folder" in str(folder)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.txt")  # opening it for reading would wait for ever
        assert (await fault(pool, tmp_path / "pipe.txt")).code is FailureCode.UNSUPPORTED
    assert pool.worker_pids == ()


async def test_a_file_that_takes_too_long_is_stopped_and_the_pool_goes_on(tmp_path: Path) -> None:
    # 300,000 nested elements: quadratic in the HTML library, far beyond the limit given here.
    slow = tmp_path / "slow.html"
    slow.write_text("<div>" * 300_000 + "deep")
    (tmp_path / "next.txt").write_text("next")
    pool = ParserPool(workers=1, time_limit_s=2.0)
    await read(pool, tmp_path / "next.txt")
    (first,) = pool.worker_pids
    late = await fault(pool, slow)
    assert late.code is FailureCode.TIMED_OUT
    assert "2 seconds" in str(late)
    assert [parsed.text for parsed in await read(pool, tmp_path / "next.txt")] == ["next"]
    assert first not in pool.worker_pids
    await pool.close()


async def test_a_slow_consumer_is_not_taken_for_a_slow_file(tmp_path: Path) -> None:
    path = rows(tmp_path / "t.jsonl", 3000, size=3000)  # more than pipe and buffers hold
    pool = ParserPool(workers=1, time_limit_s=2.0)
    count = 0
    async for _ in pool.parse(path):
        count += 1
        if count == 1:
            await asyncio.sleep(2.5)  # longer than the limit; the worker waits at the full pipe meanwhile
    assert count == 3000
    await pool.close()


async def test_a_worker_killed_in_mid_file_fails_that_file_only(tmp_path: Path) -> None:
    path = rows(tmp_path / "t.jsonl", 20_000, size=1000)
    (tmp_path / "next.txt").write_text("next")
    pool = ParserPool(workers=1)
    count = 0
    with pytest.raises(DocumentFault) as caught:
        async for _ in pool.parse(path):
            count += 1
            if count == 1:
                (pid,) = pool.worker_pids
                os.kill(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    assert caught.value.code is FailureCode.CRASHED
    assert 0 < count < 20_000
    assert [parsed.text for parsed in await read(pool, tmp_path / "next.txt")] == ["next"]
    await pool.close()


async def test_a_worker_that_died_while_idle_is_replaced_silently(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    pool = ParserPool(workers=1)
    await read(pool, tmp_path / "a.txt")
    (pid,) = pool.worker_pids
    os.kill(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    assert [parsed.text for parsed in await read(pool, tmp_path / "a.txt")] == ["text"]
    assert pid not in pool.worker_pids
    await pool.close()


async def test_a_consumer_that_leaves_early_leaves_a_working_pool(tmp_path: Path) -> None:
    path = rows(tmp_path / "t.jsonl", 20_000, size=1000)
    (tmp_path / "next.txt").write_text("next")
    pool = ParserPool(workers=1)
    async with contextlib.aclosing(pool.parse(path)) as documents:
        async for _ in documents:
            break
    assert pool.worker_pids == ()  # it was in the middle of the file
    assert [parsed.text for parsed in await read(pool, tmp_path / "next.txt")] == ["next"]
    await pool.close()


async def test_a_cancelled_consumer_leaves_a_working_pool(tmp_path: Path) -> None:
    path = rows(tmp_path / "t.jsonl", 20_000, size=1000)
    (tmp_path / "next.txt").write_text("next")
    pool = ParserPool(workers=1)
    started = asyncio.Event()

    async def consume() -> None:
        async with contextlib.aclosing(pool.parse(path)) as documents:
            async for _ in documents:
                started.set()
                await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(consume())
        await started.wait()
        task.cancel()
    assert [parsed.text for parsed in await read(pool, tmp_path / "next.txt")] == ["next"]
    await pool.close()


async def test_workers_are_shared_and_bounded(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.txt").write_text(f"text {i}")
    pool = ParserPool(workers=2)
    most = 0

    async def one(i: int) -> str:
        nonlocal most
        (parsed,) = await read(pool, tmp_path / f"{i}.txt")
        most = max(most, len(pool.worker_pids))
        return parsed.text

    assert await asyncio.gather(*(one(i) for i in range(12))) == [f"text {i}" for i in range(12)]
    assert most == 2
    await pool.close()


async def test_a_worker_is_replaced_after_its_share_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    pool = ParserPool(workers=1, files_per_worker=2)
    pids = []
    for _ in range(3):
        async for _parsed in pool.parse(tmp_path / "a.txt"):
            pids.append(pool.worker_pids[0])
    assert pids[0] == pids[1] != pids[2]
    await pool.close()


async def test_a_file_beyond_the_memory_limit_fails_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.write_bytes(b"word " * 20_000_000)
    (tmp_path / "next.txt").write_text("next")
    pool = ParserPool(workers=1, memory_limit_bytes=64 << 20)
    # Windows has no such limit; there the limit on the length of a text is the next in line.
    expected = FailureCode.TOO_LARGE if sys.platform == "win32" else FailureCode.OUT_OF_MEMORY
    assert (await fault(pool, path)).code is expected
    assert [parsed.text for parsed in await read(pool, tmp_path / "next.txt")] == ["next"]
    await pool.close()


async def test_closing_stops_what_is_being_read(tmp_path: Path) -> None:
    path = rows(tmp_path / "t.jsonl", 20_000, size=1000)
    pool = ParserPool(workers=1)
    with pytest.raises(Cancelled):
        async for _ in pool.parse(path):
            await pool.close()
    with pytest.raises(Cancelled):
        await read(pool, path)
    await pool.close()


async def test_a_worker_that_cannot_start_is_not_the_files_fault(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    pool = ParserPool(workers=1, worker_module="studio.documents.there_is_no_such_module")
    with pytest.raises(WorkerDied, match="cannot be started"):
        await read(pool, tmp_path / "a.txt")
    await pool.close()


def test_a_pool_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ParserPool(workers=0)
