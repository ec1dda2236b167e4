"""Commands about the queue of jobs."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.main import DONE, FAILED, PARTLY
from studio.cli.output import ProgressLine, plain, say
from studio.domain import FileState, Job, JobState
from studio.services.queue import JobEnded, JobEvent, JobProgress


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
            say(options, _value(job), f"{_line(job)}\nRun it with: rag-studio jobs run")
            return DONE
        case "move":
            await services.queue.move((await services.queue.job(options.job)).id, options.before)
        case "pause":
            await services.queue.pause(options.job)
        case "resume":
            await services.queue.resume(options.job)
        case "cancel":
            await services.queue.cancel(options.job)
    job = await services.queue.job(options.job)
    say(options, _value(job), _after(job))
    return DONE


async def _list(services: Services, options: Options) -> int:
    kb_id = (await services.library.get(options.kb)).id if options.kb else None
    found = [job for job in await services.queue.jobs() if kb_id in (None, job.kb_id)]
    if options.all:
        found += await services.queue.ended(kb_id)
    names = {kb.id: kb.name for kb in await services.library.list()}
    lines = [f"{_line(job)}  {names.get(job.kb_id, job.kb_id)}" for job in found]
    say(options, [_value(job) for job in found], "\n".join(lines) or "No job waits or runs.")
    return DONE


async def _show(services: Services, options: Options) -> int:
    job = await services.queue.job(options.job)
    files = await services.queue.files(job.id, failed=options.failed)
    counts = Counter(file.state.value for file in files)
    value = {**_value(job), "states": dict(counts), "files": [plain(file) for file in files]}
    lines = [_line(job), *([f"  {job.error}"] if job.error else [])]
    lines += [f"  {count:,} {state}" for state, count in sorted(counts.items())]
    failed = [file for file in files if file.state is FileState.FAILED]
    if failed:
        lines += ["", "Could not be indexed:", *(f"  {file.path}: {file.reason}" for file in failed)]
    say(options, value, "\n".join(lines))
    return DONE


async def _run(services: Services, options: Options) -> int:
    progress = ProgressLine()
    ended: list[JobEnded] = []
    changed = asyncio.Event()

    def listen(event: JobEvent) -> None:
        if isinstance(event, JobProgress):
            progress.ingest(event.progress)
            return
        if isinstance(event, JobEnded):
            ended.append(event)
        changed.set()

    stop = services.queue.subscribe(listen)
    try:
        await services.queue.start()
        while any(job.state is not JobState.PAUSED for job in await services.queue.jobs()):
            await changed.wait()
            changed.clear()
    finally:
        stop()
        progress.close()
    failed = sum(event.job.state is JobState.FAILED for event in ended)
    partly = any(event.report is not None and event.report.failed for event in ended)
    value = [{**_value(event.job), "report": plain(event.report) if event.report else None} for event in ended]
    say(options, value, "\n".join(_line(event.job) for event in ended) or "No job waits.")
    if failed:
        return FAILED if failed == len(ended) else PARTLY
    return PARTLY if partly else DONE


def _value(job: Job) -> dict[str, Any]:
    value: dict[str, Any] = plain(job)
    return value


def _line(job: Job) -> str:
    state = f"{job.state}, asked to {job.wish}" if job.wish else str(job.state)
    files = f"{job.files_done:,} of {job.files_total:,} files" if job.files_total else ""
    what = ", ".join(job.paths[:2]) + (" …" if len(job.paths) > 2 else "")
    return "  ".join(part for part in (job.id, f"{job.kind} {state}", files, what) if part)


def _after(job: Job) -> str:
    """What the person has to know after steering a job."""
    if job.state is JobState.QUEUED:
        return f"{_line(job)}\nRun what waits with: rag-studio jobs run"
    return _line(job)
