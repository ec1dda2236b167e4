"""Files are read by processes that are bounded in time and number, and replaced when they fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from studio.documents.pool import ParserPool, attempts
from studio.documents.pool.attempts import Clock
from studio.domain import ParseProgress
from studio.errors import Cancelled, DocumentFault, FailureCode, WorkerDied
from tests.unit.documents.making import check, docx, paragraph, pdf
from tests.unit.documents.reading import events, fault, odd_pool, program, read, rows, told

pytestmark = pytest.mark.own_processes


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    pool = ParserPool(workers=2)
    yield pool
    await pool.close()


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
    # 300,000 nested elements, disguised: quadratic in the HTML library, far beyond the limit given here.
    slow = tmp_path / "slow.html"
    slow.write_text("<div></b>" * 300_000 + "deep")
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


async def test_a_file_whose_worker_was_killed_is_read_again_without_repeating_a_row(tmp_path: Path) -> None:
    path = rows(tmp_path / "t.jsonl", 20_000, size=1000)
    pool = ParserPool(workers=1)
    seen = []
    async for parsed in pool.parse(path):
        seen.append(parsed.row)
        if len(seen) == 1000:
            (pid,) = pool.worker_pids
            os.kill(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    assert seen == list(range(20_000))
    await pool.close()


async def test_a_worker_killed_twice_in_mid_file_fails_that_file_only(tmp_path: Path) -> None:
    path = rows(tmp_path / "t.jsonl", 20_000, size=1000)
    (tmp_path / "next.txt").write_text("next")
    pool = ParserPool(workers=1)
    killed = set()
    count = 0
    with pytest.raises(DocumentFault) as caught:
        async for _ in pool.parse(path):
            count += 1
            (pid,) = pool.worker_pids
            if pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    assert caught.value.code is FailureCode.CRASHED
    assert sys.platform == "win32" or "ended from outside" in str(caught.value)
    assert len(killed) == 2
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


class Time:
    """A clock that stands still but for `pass_`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._moved = asyncio.Event()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            await self._moved.wait()

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self._moved.set()
        self._moved = asyncio.Event()


async def ended(pool: ParserPool) -> None:
    async with asyncio.timeout(60):
        while pool.worker_pids:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


async def test_workers_that_read_nothing_for_long_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    time = Time()
    pool = ParserPool(workers=2, clock=time.clock, sleep=time.sleep)
    pool.end_after(10.0)
    await asyncio.gather(read(pool, tmp_path / "a.txt"), read(pool, tmp_path / "a.txt"))
    pids = set(pool.worker_pids)
    time.pass_(9.0)
    await read(pool, tmp_path / "a.txt")  # from now on 10 seconds
    time.pass_(9.0)
    await read(pool, tmp_path / "a.txt")
    assert set(pool.worker_pids) == pids
    time.pass_(10.0)
    await ended(pool)
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).is_running() for pid in pids)
    await read(pool, tmp_path / "a.txt")  # a new one, which ends as well
    assert len(pool.worker_pids) == 1
    time.pass_(10.0)
    await ended(pool)
    await pool.close()


async def test_how_long_workers_may_be_idle_can_be_changed_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    time = Time()
    pool = ParserPool(workers=1, clock=time.clock, sleep=time.sleep)
    await read(pool, tmp_path / "a.txt")
    time.pass_(1_000_000.0)
    await read(pool, tmp_path / "a.txt")  # unless it is said, they are kept
    (pid,) = pool.worker_pids
    pool.end_after(1000.0)
    time.pass_(100.0)
    pool.end_after(0.0)
    time.pass_(2000.0)
    await read(pool, tmp_path / "a.txt")
    assert pool.worker_pids == (pid,)
    pool.end_after(1000.0)
    pool.end_after(10.0)
    time.pass_(10.0)
    await ended(pool)
    await pool.close()


async def test_a_file_beyond_the_memory_limit_fails_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "big.json"  # read as a whole
    path.write_text(json.dumps([{"text": f"row {i} " + "word " * 20} for i in range(500_000)]))
    (tmp_path / "next.txt").write_text("next")
    pool = ParserPool(workers=1, memory_limit_bytes=64 << 20)
    # Windows has no limit on address space; there the limit on the length of a text may be the first to be met.
    expected = {FailureCode.OUT_OF_MEMORY, *({FailureCode.TOO_LARGE} if sys.platform == "win32" else ())}
    assert (await fault(pool, path)).code in expected
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


async def test_passwords_reach_the_parser_and_no_further(tmp_path: Path) -> None:
    pool = odd_pool()
    path = program(tmp_path / "a.txt", "passwords")
    assert told(await events(pool, path, ("geheim", "größe"))) == ["geheim größe"]
    (pid,) = pool.worker_pids
    assert "geheim" not in " ".join(psutil.Process(pid).cmdline())
    assert told(await events(pool, path)) == ["none"]  # the next file does not know them
    await pool.close()


async def test_signs_of_life_and_failed_parts_are_passed_on_in_order(tmp_path: Path) -> None:
    pool = odd_pool()
    seen = await events(pool, program(tmp_path / "a.txt", "one", "pages 3", "fail x", "two"))
    assert told(seen) == ["one", "x: corrupt", "two"]
    pages = [(event.done, event.total) for event in seen if isinstance(event, ParseProgress)]
    assert pages == [(1, 3), (2, 3), (3, 3)]
    await pool.close()


async def test_a_file_may_take_longer_than_the_limit_while_it_gives_signs_of_life(tmp_path: Path) -> None:
    pool = odd_pool(time_limit_s=1.0)
    await events(pool, program(tmp_path / "warm.txt", "up"))
    assert told(await events(pool, program(tmp_path / "a.txt", "pages 12", "done"))) == ["done"]  # 1.8 s
    await pool.close()


async def test_each_page_earns_time_and_not_all_of_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = odd_pool(time_limit_s=1.0)
    await events(pool, program(tmp_path / "warm.txt", "up"))
    monkeypatch.setattr(attempts, "CEILING", 1.2)
    assert told(await events(pool, program(tmp_path / "a.txt", "pages 12", "done"))) == ["done"]
    monkeypatch.setattr(attempts, "CEILING", 0.3)
    late = await fault(pool, program(tmp_path / "b.txt", "pages 400"))
    assert late.code is FailureCode.TIMED_OUT
    assert "took longer than" in str(late)
    await pool.close()


def test_a_file_cannot_go_on_for_ever_by_giving_signs_of_life() -> None:
    clock = Clock(10.0)
    assert clock.patience_s == 10.0
    clock._spent_s = 195.0
    assert clock.patience_s == 5.0
    clock.advance(20)  # pages done earn more: two limits for twenty
    assert clock.patience_s == 10.0
    clock._spent_s = 220.0
    assert clock.patience_s == 0.0
    assert clock.complaint == "took longer than 220 seconds"
    clock.restart()
    assert clock.patience_s == 10.0
    assert clock.complaint == "made no progress for 10 seconds"
