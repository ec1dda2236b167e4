"""Commands around watched folders."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from studio.bootstrap import Services
from studio.cli import output
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE
from studio.cli.output import plain, say, table, write
from studio.services.ingest import held_words
from studio.services.jobs import JobEnded, JobEvent
from studio.services.watch import FolderStatus, WatchState
from studio.terminal import in_line


async def watch(services: Services, options: Options) -> int:
    """`watch list`, `add`, `remove`, `on`, `off` and `run`."""
    match options.action:
        case "run":
            return await _run(services, options)
        case "add":
            await services.watch.add(options.kb, options.folders)
        case "remove":
            await services.watch.remove(options.kb, options.folders)
        case "on" | "off":
            await services.watch.enable(options.kb, options.action == "on", options.folder)
    await _list(services, options)
    return DONE


async def _list(services: Services, options: Options) -> None:
    names = {kb.id: kb.name for kb in await services.library.list()}
    found = await services.watch.folders(options.kb)
    rows = [[names.get(item.kb_id, item.kb_id), item.state.value, item.path] for item in found]
    text = table(rows, ("KNOWLEDGE BASE", "STATE", "FOLDER")) if rows else "No folder is watched."
    say(options, [{"kb": names.get(item.kb_id, item.kb_id), **plain(item)} for item in found], text)


async def _run(services: Services, options: Options) -> int:
    """Runs until Ctrl+C, which cancels this task; with --json the jobs that ended are told at the end."""
    ended: list[dict[str, Any]] = []
    notes: dict[tuple[str, str], str] = {}

    def listen(event: JobEvent) -> None:
        if isinstance(event, JobEnded):
            ended.append({**plain(event.job), "report": plain(event.report) if event.report else None})
            if not options.json:
                write(_told(event))
                sys.stdout.flush()

    def note(folder: FolderStatus) -> None:
        """What a person should know about a folder, once, on the error output."""
        key = folder.kb_id, folder.path
        told = folder.note or ("watching" if folder.state is WatchState.WATCHING else "")
        if told and notes.get(key) != told:
            notes[key] = told
            output.note(told if folder.note else f"watching {in_line(folder.path)}")
            sys.stderr.flush()

    changed = asyncio.Event()
    stops = services.queue.subscribe(listen), services.watch.subscribe(changed.set)
    try:
        if not await services.watch.folders():
            sys.stderr.write("No folder is watched yet. Add one with: rag-studio watch add KB FOLDER\n")
        with contextlib.suppress(asyncio.CancelledError):
            await services.queue.start()
            await services.watch.start()
            while True:
                for folder in await services.watch.folders():
                    note(folder)
                await changed.wait()
                changed.clear()
    finally:
        for stop in stops:
            stop()
    await services.watch.close()
    say(options, ended, "")
    return DONE


def _told(event: JobEnded) -> str:
    """A line about a job that ended."""
    job, report = event.job, event.report
    what = f"{job.id}  {job.state}  {in_line(', '.join(job.paths))}"
    if report is None:
        return f"{what}: {job.error}" if job.error else what
    counts = ((report.added, "added"), (report.updated, "updated"), (report.removed, "removed"))
    parts = [f"{count:,} {what}" for count, what in (*counts, (len(report.failed), "failed")) if count]
    parts += [words] if (words := held_words(report.held_removals)) else []
    return f"{what}: {', '.join(parts) or 'nothing new'}"
