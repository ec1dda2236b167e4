"""Commands about the queue of jobs."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE, FAILED, PARTLY
from studio.cli.output import ProgressLine, could_not_be_indexed, kept_documents, plain, say, table
from studio.domain import FileState, Job, JobState
from studio.services.jobs import JobChanged, JobEnded, JobEvent, JobProgress
from studio.terminal import in_line

_PATHS_NAMED = 2


async def jobs(services: Services, options: Options) -> int:
    """`jobs list`, `show`, `pause`, `resume`, `cancel`, `retry`, `move` and `run`."""
    match options.action:
        case "list":
            return await _list(services, options)
        case "show":
            return await _show(services, options)
        case "run":
            return await _run(services, options)
        case "retry":
            job = await services.queue.retry(options.job)
            await _say_job(services, options, job)
            return DONE
        case "move":
            await services.queue.move(options.job, options.before)
        case "pause":
            await services.queue.pause(options.job)
        case "resume":
            await services.queue.resume(options.job)
        case "cancel":
            await services.queue.cancel(options.job, keep=options.keep)
    await _say_job(services, options, await services.queue.job(options.job))
    return DONE


async def _list(services: Services, options: Options) -> int:
    kb_id = (await services.library.get(options.kb)).id if options.kb else None
    found = [job for job in await services.queue.jobs() if kb_id in (None, job.kb_id)]
    if options.all:
        found += await services.queue.ended(kb_id)
    values = await _values(services, found)
    rows = [
        [job.id, value["kb"], job.kind.value, _standing(job, live=value["live"]), _files(job), _subject(job)]
        for job, value in zip(found, values, strict=True)
    ]
    headings = ("JOB", "KNOWLEDGE BASE", "KIND", "STATE", "FILES", "OF")
    say(options, values, table(rows, headings) if rows else "No job waits or runs.")
    return DONE


async def _show(services: Services, options: Options) -> int:
    job = await services.queue.job(options.job)
    files = await services.queue.files(job.id)
    failed = [file for file in files if file.state is FileState.FAILED]
    counts = Counter(file.state.value for file in files)
    (value,) = await _values(services, [job])
    lines = [_line(job, value), *([f"  {job.error}"] if job.error else [])]
    lines += [f"  {count:,} {state}" for state, count in sorted(counts.items())]
    lines += could_not_be_indexed(failed)
    listed = failed if options.failed else files
    say(options, {**value, "states": dict(counts), "files": [plain(file) for file in listed]}, "\n".join(lines))
    return DONE


async def _run(services: Services, options: Options) -> int:
    progress = ProgressLine()
    left = {job.id: job for job in await services.queue.jobs()}
    ended: list[JobEnded] = []
    changed = asyncio.Event()

    def listen(event: JobEvent) -> None:
        match event:
            case JobProgress(snapshot):
                progress.ingest(snapshot)
            case JobChanged(job):
                left[job.id] = job
                changed.set()
            case JobEnded(job):
                left.pop(job.id, None)
                ended.append(event)
                changed.set()

    stop = services.queue.subscribe(listen)
    try:
        await services.queue.start()
        while any(job.state is not JobState.PAUSED for job in left.values()):
            await changed.wait()
            changed.clear()
    finally:
        stop()
        progress.close()
    values = await _values(services, [event.job for event in ended])
    lines = [line for event, value in zip(ended, values, strict=True) for line in _ended_lines(event, value)]
    reports = [{**value, "report": plain(event.report)} for event, value in zip(ended, values, strict=True)]
    say(options, reports, "\n".join(lines) or "No job waits.")
    failed = sum(event.job.state is JobState.FAILED for event in ended)
    if failed:
        return FAILED if failed == len(ended) else PARTLY
    return PARTLY if any(event.report.failed or event.report.held_removals for event in ended if event.report) else DONE


def _ended_lines(event: JobEnded, value: dict[str, Any]) -> list[str]:
    held = event.report.held_removals if event.report is not None else ()
    return [_line(event.job, value), *kept_documents(held, value["kb"])]


async def _say_job(services: Services, options: Options, job: Job) -> None:
    (value,) = await _values(services, [job])
    say(options, value, "\n".join([_line(job, value), *_way_on(job, value)]))


async def _values(services: Services, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Jobs as JSON knows them; `live` says whether a program is at work on one."""
    names = {kb.id: kb.name for kb in await services.library.list()}
    return [
        {**plain(job), "kb": names.get(job.kb_id, job.kb_id), "live": await services.queue.is_live(job)} for job in jobs
    ]


def _line(job: Job, value: dict[str, Any]) -> str:
    parts = (job.id, value["kb"], job.kind.value, _standing(job, live=value["live"]), _files(job), _subject(job))
    return "  ".join(part for part in parts if part)


def _standing(job: Job, *, live: bool) -> str:
    if job.wish:
        return f"running, asked to {job.wish}"
    return "interrupted" if job.state is JobState.RUNNING and not live else job.state.value


def _files(job: Job) -> str:
    failed = f", {job.files_failed:,} failed" if job.files_failed else ""
    return f"{job.files_done:,} of {job.files_total:,}{failed}" if job.files_total else ""


def _subject(job: Job) -> str:
    more = len(job.paths) - _PATHS_NAMED
    return in_line(", ".join(job.paths[:_PATHS_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def _way_on(job: Job, value: dict[str, Any]) -> list[str]:
    """How a job goes on that no program is at work on."""
    if job.state is JobState.PAUSED:
        return [f"Let it go on with: rag-studio jobs resume {job.id}"]
    if job.state.ended or value["live"]:
        return []
    resume = f"rag-studio ingest {shlex.quote(value['kb'])} --resume"
    return [f"It goes on in the window that is open, or with: rag-studio jobs run, or: {resume}"]
