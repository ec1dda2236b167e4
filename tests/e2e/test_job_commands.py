"""The commands around jobs as scripts see them, with programs that are killed."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from studio.index.files import try_lock
from studio.paths import DataPaths
from tests.helpers.command import Program

Write = Callable[[str, str], Path]
FILES = 12

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a kill that nothing can catch is tried on POSIX")


@contextmanager
def somebody_writes(program: Program, kb_id: str) -> Iterator[None]:
    """As if another program were at work on the knowledge base."""
    lock = try_lock(DataPaths(program.data_dir).kb(kb_id).writer_lock, shared=False)
    assert lock is not None
    with lock:
        yield


@pytest.fixture
def texts(write: Write, folder: Path) -> Path:
    for n in range(FILES):
        write(f"{n}.txt", f"Document {n} speaks of subject {n}. It does so in two sentences.")
    return folder


@pytest.fixture
def interrupted(program: Program, texts: Path) -> dict[str, Any]:
    """A job whose program was killed when nearly everything was done."""
    program.ok("kb", "create", "Notes")
    program.killed("seal.tables", "ingest", "Notes", texts)
    (job,) = program.ok("jobs", "list", "Notes")
    return dict(job)


def test_a_killed_queue_goes_on_and_repeats_nothing(program: Program, texts: Path, interrupted: dict[str, Any]) -> None:
    assert (interrupted["state"], interrupted["live"], interrupted["kb"]) == ("running", False, "Notes")
    assert "interrupted" in program.run("jobs", "list").out
    program.killed("seal.flushed", "jobs", "run")
    (ended,) = program.ok("jobs", "run")
    assert (ended["id"], ended["state"]) == (interrupted["id"], "done")
    assert ended["report"]["added"] == FILES
    # What was embedded before a checkpoint counts in the report of the job as a whole: that this run had nothing left
    # to embed shows in its stages.
    assert "embed" not in ended["report"]["stages"]
    assert program.ok("jobs", "list") == []
    (listed,) = program.ok("jobs", "list", "--all")
    assert (listed["state"], listed["files_done"]) == ("done", FILES)
    assert program.ok("doctor")["ok"]
    program.ok("kb", "create", "Undisturbed")
    program.ok("ingest", "Undisturbed", texts)
    counts = [program.ok("kb", "info", name) for name in ("Notes", "Undisturbed")]
    assert (counts[0]["documents"], counts[0]["chunks"]) == (counts[1]["documents"], counts[1]["chunks"])


def test_what_a_dead_program_left_is_paused_resumed_and_cancelled_at_once(
    program: Program, interrupted: dict[str, Any]
) -> None:
    job = interrupted["id"]
    assert program.ok("jobs", "pause", job)["state"] == "paused"
    assert program.ok("jobs", "run") == []
    outcome = program.run("jobs", "resume", job)
    assert "rag-studio jobs run" in outcome.out and "rag-studio ingest Notes --resume" in outcome.out
    assert program.ok("jobs", "show", job)["state"] == "queued"
    assert program.ok("jobs", "cancel", job)["state"] == "cancelled"
    assert program.ok("jobs", "list") == []
    assert {item["state"] for item in program.ok("generations", "Notes")} == {"failed"}
    assert program.ok("doctor")["ok"]
    refused = program.run("--json", "jobs", "pause", job)
    assert (refused.code, refused.json["error"]["type"]) == (1, "Conflict")
    (again,) = [program.ok("jobs", "retry", job)]
    assert (again["state"], again["paths"]) == ("queued", interrupted["paths"])


def test_a_live_program_is_asked(program: Program, interrupted: dict[str, Any]) -> None:
    job = interrupted["id"]
    with somebody_writes(program, interrupted["kb_id"]):
        asked = program.ok("jobs", "pause", job)
        assert (asked["state"], asked["wish"], asked["live"]) == ("running", "pause", True)
        assert "asked to pause" in program.run("jobs", "list").out
        assert program.ok("jobs", "resume", job)["wish"] == ""
        assert program.ok("jobs", "cancel", job)["wish"] == "cancel"
    assert [item["state"] for item in program.ok("jobs", "run")] == ["cancelled"]


def test_jobs_are_shown_moved_and_tried_again(program: Program, texts: Path) -> None:
    with zipfile.ZipFile(texts / "papers.zip", "w") as archive:
        archive.writestr("fine.txt", "A fine paper on the song of whales.")
        archive.writestr("torn.pdf", b"%PDF-1.7 torn")
    (texts / "bad.pdf").write_bytes(b"%PDF-1.7 bad")
    program.ok("kb", "create", "Notes")
    outcome = program.run("--json", "ingest", "Notes", texts)
    assert outcome.code == 3
    job = outcome.json["job_id"]
    shown = program.ok("jobs", "show", job)
    assert (shown["states"]["indexed"], shown["states"]["failed"]) == (FILES + 1, 2)
    assert len(shown["files"]) == FILES + 3
    failed = program.ok("jobs", "show", job, "--failed")["files"]
    assert {Path(file["path"]).name for file in failed} == {"bad.pdf", "torn.pdf"}
    assert all(file["error"] == "corrupt" and file["reason"] for file in failed)
    text = program.run("jobs", "show", job).out
    assert "Could not be indexed:" in text and failed[0]["reason"] in text
    first, second = program.ok("jobs", "retry", job), program.ok("jobs", "retry", job)
    assert {Path(path).name for path in first["paths"]} == {"bad.pdf", "papers.zip"}
    program.ok("jobs", "move", second["id"], "--before", first["id"])
    assert [item["id"] for item in program.ok("jobs", "list")] == [second["id"], first["id"]]
    (texts / "bad.pdf").unlink()
    program.ok("jobs", "cancel", second["id"])
    assert program.run("jobs", "run").code == 1
    (ended,) = [item for item in program.ok("jobs", "list", "--all") if item["id"] == first["id"]]
    assert ended["state"] == "failed" and "bad.pdf" in ended["error"]
    unknown = program.run("--json", "jobs", "show", "nothing")
    assert (unknown.code, unknown.json["error"]["type"]) == (1, "NotFound")
