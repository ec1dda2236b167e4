"""What a fatal file or member costs: itself; and what a file that needs much memory gets."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import psutil
import pytest

from studio.documents.pool import process as parser_process
from studio.domain import ParsedDocument, ParserEvent
from studio.errors import DocumentFault, FailureCode
from tests.unit.documents.making import archive
from tests.unit.documents.reading import events, fault, odd_pool, program, told

pytestmark = pytest.mark.own_processes


async def test_members_that_hang_or_kill_the_worker_do_not_cost_the_archive(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.zip",
        {"1.txt": "one", "2.txt": "fail part\nhang", "3.txt": "three", "4.txt": "die", "5.txt": "five"},
    )
    pool = odd_pool(time_limit_s=2.0)
    seen = await events(pool, path)
    assert told(seen) == ["one", "2.txt/part: corrupt", "2.txt: timed_out", "three", "4.txt: crashed", "five"]
    documents = [event for event in seen if isinstance(event, ParsedDocument)]
    assert [(parsed.row, parsed.external_id) for parsed in documents] == [
        (0, "1.txt"), (1, "3.txt"), (2, "5.txt")
    ]  # fmt: skip
    assert len(pool.worker_pids) == 1
    await pool.close()


async def test_a_fatal_member_of_an_archive_within_an_archive_is_passed_over(tmp_path: Path) -> None:
    inner = archive(tmp_path / "inner.zip", {"a.txt": "a", "b.txt": "die", "c.txt": "c"})
    path = archive(tmp_path / "outer.zip", {"0.txt": "0", "in.zip": inner.read_bytes(), "9.txt": "9"})
    pool = odd_pool()
    assert told(await events(pool, path)) == ["0", "a", "in.zip/b.txt: crashed", "c", "9"]
    await pool.close()


async def test_an_archive_that_is_fatal_again_and_again_is_given_up(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {f"{i}.txt": "die" for i in range(9)} | {"z.txt": "last"})
    pool = odd_pool()
    seen: list[ParserEvent] = []
    with pytest.raises(DocumentFault, match=r"the last is “5\.txt”") as caught:
        async for event in pool.parse(path):
            seen.append(event)
    assert told(seen) == [f"{i}.txt: crashed" for i in range(5)]
    assert caught.value.code is FailureCode.CRASHED
    await pool.close()


async def test_a_member_that_was_fatal_once_is_read_again_without_repeating_its_rows(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = archive(tmp_path / "a.zip", {"1.txt": f"one\ntwo\nonce {mark}\nthree", "2.txt": "four"})
    pool = odd_pool(environment={"BATCH": "1"})
    seen = await events(pool, path)
    assert told(seen) == ["one", "two", "three", "four"]
    assert [event.row for event in seen if isinstance(event, ParsedDocument)] == [0, 1, 2, 3]
    await pool.close()


async def test_a_file_that_needs_more_memory_is_read_again_alone(tmp_path: Path) -> None:
    environment = {"HOLD": "0.6", "BATCH": "1"}
    pool = odd_pool(workers=2, memory_mib=400, usual_memory_bytes=60 << 20, environment=environment)
    big = program(tmp_path / "big.txt", "first", "take 200", "big")
    small = program(tmp_path / "small.txt", "small")
    alongside: list[int] = []
    done = asyncio.Event()

    async def read_big() -> list[ParserEvent]:
        seen = []
        async for event in pool.parse(big):
            seen.append(event)
            alongside.append(len(pool.worker_pids))
        done.set()
        return seen

    async def read_small() -> None:
        while not done.is_set():
            assert told(await events(pool, small)) == ["small"]

    await events(pool, small)
    seen, _ = await asyncio.gather(read_big(), read_small())
    assert told(seen) == ["first", "big"]
    assert alongside[-1] == 1
    await pool.close()


async def test_an_archive_needs_to_be_alone_for_its_largest_members_only(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.zip", {"1.txt": "one", "2.txt": "first\ntake 200\nbig", "3.txt": "three", "4.txt": "4"}
    )
    pool = odd_pool(workers=1, memory_mib=400, usual_memory_bytes=60 << 20, environment={"BATCH": "1"})
    seen, limits = [], []
    async for event in pool.parse(path):
        if isinstance(event, ParsedDocument):
            seen.append((event.row, event.text))
            limits += [worker.memory_limit_bytes >> 20 for worker in pool._live]
    assert seen == [(0, "one"), (1, "first"), (2, "big"), (3, "three"), (4, "4")]
    assert limits == [60, 60, 400, 60, 60]
    await pool.close()


async def test_memory_beyond_the_limit_is_noticed_wherever_it_is_held(tmp_path: Path) -> None:
    before = psutil.Process().children(recursive=True)
    pool = odd_pool(memory_mib=100, environment={"HOLD": "600", "BATCH": "1"})
    for line in ("take 150", "child 200"):  # the first fits into its address space, the second is another program's
        path = program(tmp_path / "a.txt", "first", line)
        seen: list[ParserEvent] = []
        with pytest.raises(DocumentFault) as caught:
            async for event in pool.parse(path):
                seen.append(event)
        assert caught.value.code is FailureCode.OUT_OF_MEMORY
        assert told(seen) == ["first"]
    await pool.close()
    assert set(psutil.Process().children(recursive=True)) <= set(before)


async def test_a_worker_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pool = odd_pool(time_limit_s=2.0)
    assert told(await events(pool, program(tmp_path / "a.txt", "litter", "done"))) == ["done"]
    (folder,) = tmp_path.glob("rag-studio-parser-*")
    assert list(folder.rglob("left"))
    await fault(pool, program(tmp_path / "b.txt", "litter", "hang"))
    assert not folder.exists()
    await pool.close()
    assert not list(tmp_path.glob("rag-studio-parser-*"))


def test_what_workers_of_a_killed_program_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = next(pid for pid in range(2**22 - 1, 0, -1) if not psutil.pid_exists(pid))
    old, own, other = (tmp_path / f"rag-studio-parser-{name}" for name in (f"{gone}-a", f"{os.getpid()}-b", "x"))
    for folder in (old, own, other):
        folder.mkdir()
        (folder / "left").touch()
    parser_process.remove_leftovers()
    assert [folder.exists() for folder in (old, own, other)] == [False, True, True]
