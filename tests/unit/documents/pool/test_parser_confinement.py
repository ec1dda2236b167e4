"""Parser workers reach the files of their job and no others; real parsing works all the same."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from studio.confinement import landlock, seccomp
from studio.documents.pool import ParserPool
from studio.documents.pool.scope import Scopes, Wish
from studio.domain import ParsedDocument
from studio.errors import DocumentFault, FailureCode
from tests.unit.documents.parsers.scans import scanned_pdf

pytestmark = pytest.mark.own_processes

needs_both = pytest.mark.skipif(
    sys.platform != "linux" or landlock.version() < 6 or not seccomp.available(),
    reason="The kernel has no landlock of version 6 or no seccomp.",
)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "a.txt").write_text("here")
    (tmp_path / "docs" / "deep" / "b.txt").write_text("below")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.txt").write_text("besides")
    return tmp_path / "docs"


async def texts(pool: ParserPool, path: Path, *roots: Path) -> list[str]:
    return [event.text async for event in pool.parse(path, roots=roots) if isinstance(event, ParsedDocument)]


@needs_both
async def test_a_worker_serves_one_job_and_each_thread_of_it_is_confined(docs: Path) -> None:
    other = docs.parent / "data" / "b.txt"
    (docs / "link.txt").symlink_to(other)
    pool = ParserPool(1)
    try:
        assert await texts(pool, docs / "a.txt", docs) == ["here"]
        (pid,) = pool.worker_pids
        tasks = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        assert all("Seccomp:\t2\n" in status and "NoNewPrivs:\t1\n" in status for status in tasks)
        assert await texts(pool, docs / "deep" / "b.txt", docs) == ["below"]
        assert pool.worker_pids == (pid,)
        assert await texts(pool, docs / "link.txt", docs) == ["besides"]  # by a worker that may open it
        assert len(pool.worker_pids) == 1 and pid not in pool.worker_pids
    finally:
        await pool.close()


@needs_both
async def test_what_is_swapped_for_a_link_into_a_private_folder_is_not_read(docs: Path, monkeypatch) -> None:
    """Between the look at the file and its reading. No permission is missing, and none is said to be."""
    path, wish = docs / "a.txt", Scopes.wish

    def swapped(self: Scopes, path: Path, roots: Sequence[Path], program: str | None) -> Wish:
        found = wish(self, path, roots, program)
        path.unlink()
        path.symlink_to(docs.parent / "data" / "b.txt")
        return found

    monkeypatch.setattr(Scopes, "wish", swapped)
    found: list[object] = []
    for confined in (True, False):
        path.unlink()
        path.write_text("here")
        pool = ParserPool(1, private=[docs.parent / "data"], confined=confined)
        try:
            found.append(await texts(pool, path, docs.parent))
        except DocumentFault as fault:
            found.append(fault.code)
        finally:
            await pool.close()
    assert found == [FailureCode.UNSUPPORTED, ["besides"]]


@needs_both
async def test_text_is_recognised_inside(tmp_path: Path) -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("Tesseract is not installed, so it cannot be run inside.")
    path = scanned_pdf(tmp_path / "a.pdf", [None], picture_of="Whales sing in the deep sea")
    pool = ParserPool(1, environment={"RAG_STUDIO_OCR": "auto"})
    try:
        assert "hales" in (await texts(pool, path))[0]
    finally:
        await pool.close()


@needs_both
def test_a_worker_of_another_job_reads_no_file_of_this_one(docs: Path) -> None:
    scopes = Scopes([docs.parent / "data"], confined=True)
    job = scopes.wish(docs / "a.txt", [docs.parent], None)
    scope = scopes.scope(job)
    assert scope.fits(job) and scope.fits(scopes.wish(docs / "deep" / "b.txt", [docs.parent], None))
    assert not scope.fits(scopes.wish(docs / "a.txt", [docs], None)), "it can open more than this job is about"
    assert not scope.fits(scopes.wish(docs / "a.txt", [docs.parent], "/usr/bin/tesseract"))
    assert not scope.fits(scopes.wish(docs.parent / "data" / "b.txt", [docs.parent], None))


async def test_without_landlock_a_worker_reads_as_before(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    scopes = Scopes([], confined=True)
    scope = scopes.scope(scopes.wish(docs / "a.txt", [docs], None))
    assert scope.allowed("own") is None
    assert scope.fits(scopes.wish(docs.parent / "data" / "b.txt", [], None))
