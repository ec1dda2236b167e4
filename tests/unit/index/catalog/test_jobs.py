"""Jobs in the catalog: order, files, wishes, and what is kept of those that ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.domain import FileProgress, FileState, JobKind, JobState, KbSettings
from studio.errors import Conflict, NotFound
from studio.index.catalog import Catalog
from studio.index.catalog.jobs import ENDED_KEPT, Jobs


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(tmp_path / "catalog.sqlite3")
    yield made
    made.close()


@pytest.fixture
def kb_id(catalog: Catalog) -> str:
    return catalog.create_kb("Notes", KbSettings()).id


@pytest.fixture
def jobs(catalog: Catalog, kb_id: str) -> Jobs:
    return catalog.jobs


def queued(jobs: Jobs, kb_id: str, *paths: str) -> str:
    return jobs.create(kb_id, JobKind.INGEST, paths, {"include": [], "exclude": []})


def order(jobs: Jobs) -> list[str]:
    return [job.id for job in jobs.open()]


def test_a_job_survives_a_restart(jobs: Jobs, kb_id: str, catalog: Catalog) -> None:
    job_id = queued(jobs, kb_id, "/a", "/b\udcff")
    jobs.add_files(job_id, ["/a/1", "/a/2"])
    jobs.record(job_id, 3, "checkpoint", [FileProgress("/a/1", FileState.INDEXED, chunks_total=7)])
    jobs.wish(job_id, "pause")
    again = Catalog(catalog.path)
    found = again.jobs.get(job_id)
    assert (found.state, found.paths, found.generation, found.wish) == (
        JobState.QUEUED, ("/a", "/b\udcff"), 3, "pause",
    )  # fmt: skip
    assert (found.files_total, found.files_done, found.files_failed) == (2, 1, 0)
    assert again.jobs.checkpoint_of(job_id) == "checkpoint"
    assert again.jobs.suspended(kb_id) == {3: "checkpoint"}
    assert [(file.path, file.state, file.chunks_total) for file in again.jobs.files(job_id)] == [
        ("/a/1", FileState.INDEXED, 7), ("/a/2", FileState.WAITING, 0),
    ]  # fmt: skip
    again.close()


def test_jobs_are_moved_before_one_another_or_last(jobs: Jobs, kb_id: str) -> None:
    a, b, c, d = (queued(jobs, kb_id) for _ in range(4))
    jobs.finish(a, JobState.DONE)
    jobs.move(d, b)
    assert order(jobs) == [d, b, c]
    jobs.move(d, None)
    assert order(jobs) == [b, c, d]
    jobs.move(c, c)
    assert order(jobs) == [b, c, d]
    e = queued(jobs, kb_id)
    assert order(jobs) == [b, c, d, e]
    for first, second in ((a, b), (b, a), ("none", b)):
        with pytest.raises(Conflict, match="not in the queue"):
            jobs.move(first, second)
    assert order(jobs) == [b, c, d, e]


def test_a_wish_ends_with_the_state_it_was_for(jobs: Jobs, kb_id: str) -> None:
    job_id = queued(jobs, kb_id)
    assert jobs.asked_of(job_id) == ""
    jobs.wish(job_id, "pause")
    assert jobs.asked_of(job_id) == "pause"
    jobs.set_state(job_id, JobState.PAUSED, error="The disk is full.")
    assert (jobs.get(job_id).wish, jobs.get(job_id).error) == ("", "The disk is full.")
    jobs.set_state(job_id, JobState.RUNNING)
    assert jobs.get(job_id).error == ""
    assert jobs.asked_of("deleted with its knowledge base") == "cancel"


def test_a_job_begins_only_as_it_was_seen(jobs: Jobs, kb_id: str) -> None:
    job_id = queued(jobs, kb_id)
    seen = jobs.get(job_id)
    jobs.wish(job_id, "pause")
    assert not jobs.begin(seen) and jobs.get(job_id).wish == "pause"
    jobs.set_state(job_id, JobState.PAUSED, error="The disk is full.")
    assert not jobs.begin(seen) and jobs.get(job_id).state is JobState.PAUSED
    assert jobs.begin(jobs.get(job_id))
    assert (jobs.get(job_id).state, jobs.get(job_id).error) == (JobState.RUNNING, "")
    jobs.finish(job_id, JobState.CANCELLED)
    assert not jobs.begin(seen)
    assert jobs.get(job_id).state is JobState.CANCELLED


def test_an_ended_job_holds_no_build(jobs: Jobs, kb_id: str) -> None:
    job_id = queued(jobs, kb_id)
    jobs.record(job_id, 1, "checkpoint", [])
    jobs.finish(job_id, JobState.CANCELLED)
    assert jobs.suspended(kb_id) == {} and jobs.checkpoint_of(job_id) == ""
    assert order(jobs) == []
    assert [job.state for job in jobs.ended(kb_id)] == [JobState.CANCELLED]
    with pytest.raises(NotFound, match="nothing"):
        jobs.get("nothing")


def test_failed_files_are_listed_with_their_reasons(jobs: Jobs, kb_id: str) -> None:
    job_id = queued(jobs, kb_id)
    jobs.add_files(job_id, ["/b", "/a\udcff", "/lone\ud800"])
    failed = FileProgress("/a\udcff", FileState.FAILED, error="corrupt", reason="It is torn.")
    jobs.update_files(job_id, [failed, FileProgress("/b", FileState.INDEXED)])
    (found,) = jobs.files(job_id, failed=True)
    assert (found.path, found.error, found.reason) == ("/a\\xff", "corrupt", "It is torn.")
    assert len(jobs.files(job_id)) == 3
    jobs.add_files(job_id, ["/b"])  # a job that goes on lists its files again
    assert jobs.get(job_id).files_done == 2


def test_the_files_of_the_last_ended_jobs_are_kept_for_each_knowledge_base(
    jobs: Jobs, kb_id: str, catalog: Catalog
) -> None:
    other = queued(jobs, catalog.create_kb("Other", KbSettings()).id)
    waiting = queued(jobs, kb_id)
    made = [queued(jobs, kb_id) for _ in range(ENDED_KEPT + 2)]
    for job_id in (other, waiting, *made):
        jobs.add_files(job_id, ["/a"])
    for job_id in (other, *made):
        jobs.finish(job_id, JobState.DONE)
    queued(jobs, kb_id)
    with_files = [job_id for job_id in (other, waiting, *made) if jobs.files(job_id)]
    assert with_files == [other, waiting, *made[2:]]
    assert [job.id for job in jobs.ended(kb_id)] == made[:1:-1]


def test_what_is_asked_of_a_job_is_also_told_by_a_state_that_another_program_gave_it(jobs: Jobs, kb_id: str) -> None:
    job_id = queued(jobs, kb_id)
    assert jobs.begin(jobs.get(job_id))
    assert jobs.asked_of(job_id) == ""
    for wish in ("pause", "finish", "cancel", ""):
        jobs.wish(job_id, wish)
        assert jobs.asked_of(job_id) == wish
    jobs.set_state(job_id, JobState.PAUSED)
    assert jobs.asked_of(job_id) == "pause"
    jobs.finish(job_id, JobState.FAILED)
    assert jobs.asked_of(job_id) == "cancel"
    assert jobs.asked_of("gone") == "cancel"


def test_a_pause_that_was_taken_back_while_the_job_stopped_is_none(jobs: Jobs, kb_id: str) -> None:
    job_id = queued(jobs, kb_id)
    assert jobs.begin(jobs.get(job_id))
    jobs.pause(job_id)
    assert jobs.get(job_id).state is JobState.RUNNING
    jobs.wish(job_id, "pause")
    jobs.pause(job_id)
    assert (jobs.get(job_id).state, jobs.get(job_id).wish) == (JobState.PAUSED, "")


def test_only_a_job_that_has_not_begun_is_withdrawn(jobs: Jobs, kb_id: str) -> None:
    waiting, begun, running = (queued(jobs, kb_id) for _ in range(3))
    jobs.add_files(begun, ["/a.txt"])
    assert jobs.begin(jobs.get(running))
    for job_id in (waiting, begun, running):
        jobs.withdraw(job_id)
    assert [jobs.get(job_id).state for job_id in (waiting, begun, running)] == [
        JobState.CANCELLED, JobState.QUEUED, JobState.RUNNING
    ]  # fmt: skip


def test_the_report_of_a_job_is_kept_with_its_end(jobs: Jobs, kb_id: str) -> None:
    job_id = queued(jobs, kb_id)
    assert jobs.report_of(job_id) == ""
    jobs.finish(job_id, JobState.DONE, report='{"added": 1}')
    assert jobs.report_of(job_id) == '{"added": 1}'
    assert jobs.report_of("gone") == ""
