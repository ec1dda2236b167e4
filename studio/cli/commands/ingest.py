"""Commands that change what a knowledge base holds."""

from __future__ import annotations

import asyncio
import getpass
import sys
from pathlib import Path
from typing import Any

from studio.bootstrap import Services, open_services
from studio.cli.arguments import Options
from studio.cli.commands.preflight import ingest_options, preflight
from studio.cli.commands.searching import response_value, results_text
from studio.cli.exit_codes import DONE, FAILED, PARTLY, Screenshots
from studio.cli.output import ProgressLine, could_not_be_indexed, kept_documents, note, plain, say
from studio.cli.passwords import given_passwords
from studio.domain import IngestReport, SearchRequest
from studio.errors import FailureCode, InvalidRequest
from studio.terminal import in_line

DEMO_QUERY = "how are nested loops traced"


def demo(options: Options, screenshots: Screenshots) -> int:
    """The main job without a display. Qt gets the main thread to itself once the services are closed."""
    value, text = asyncio.run(_demo(options))
    pictures = screenshots(options.data_dir, value["kb"], DEMO_QUERY, options.output.absolute())
    value["screenshots"] = pictures
    say(options, value, "\n".join([text, "", "Screenshots:", *(f"  {path}" for path in pictures)]))
    return DONE


async def _demo(options: Options) -> tuple[dict[str, Any], str]:
    progress = ProgressLine()
    async with open_services(options.data_dir) as services:
        default = services.library.default_settings().model
        if not any(model.name == default and model.installed for model in await services.models.list()):
            await services.models.install(default, progress.transfer)
        kb = await services.sample.ensure(progress.ingest)
        progress.close()
        response = await services.search.search(SearchRequest((kb.id,), DEMO_QUERY, limit=5))
    value = {
        "kb": kb.name,
        "generation": kb.active_generation,
        "documents": kb.documents,
        "chunks": kb.chunks,
        "results": response_value(response)["results"],
    }
    title = f"{kb.name}: {kb.documents} documents, {kb.chunks} chunks, generation {kb.active_generation}"
    return value, f"{title}\n\n{results_text(response)}"


async def ingest(services: Services, options: Options) -> int:
    """Make a knowledge base match files and folders."""
    progress = ProgressLine()
    if options.jobs < 1:
        raise InvalidRequest("--jobs must be at least 1.")
    if options.resume and options.paths:
        raise InvalidRequest(
            "--resume goes on with the files of the last unfinished job and takes no others.",
            way_out="Leave out the paths, or --resume: what is indexed already is not embedded again.",
        )
    passwords = await given_passwords(options)
    if options.dry_run:
        return await preflight(services, options, passwords)
    try:
        if options.resume:
            report = await services.ingest.resume(options.kb, progress.ingest, passwords=passwords)
        else:
            report = await services.ingest.ingest(
                options.kb, options.paths, ingest_options(options), progress.ingest, passwords=passwords
            )
        while not options.resume and (password := await _asked_password(options, report)):
            await _report(services, options, report)
            passwords.append(password)
            report = await services.ingest.ingest(
                options.kb, options.paths, ingest_options(options), progress.ingest, passwords=passwords
            )
    finally:
        progress.close()
    return await _report(services, options, report)


async def _asked_password(options: Options, report: IngestReport) -> str:
    """What the person at the terminal enters for protected files; "" with none of either."""
    protected = [item.path for item in report.failed if item.error == FailureCode.ENCRYPTED]
    if not protected or options.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    more = f" and {len(protected) - 1:,} more" if len(protected) > 1 else ""
    prompt = f"Password for “{in_line(Path(protected[0]).name)}”{more} (Enter to leave them out): "
    return await asyncio.to_thread(getpass.getpass, prompt, sys.stderr)


async def remove(services: Services, options: Options) -> int:
    """Remove documents."""
    return await _report(services, options, await services.ingest.remove(options.kb, options.documents))


async def _report(services: Services, options: Options, report: IngestReport) -> int:
    value = plain(report)
    if report.generation is None:
        value["generation"] = (await services.library.get(report.kb_id)).active_generation
    lines = [
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, {report.removed} removed, "
        f"{len(report.failed)} failed; {report.chunks_added} chunks ({report.embedded} embedded) "
        f"in {report.seconds:.1f} s; generation {value['generation']}"
        + ("" if report.promoted or report.generation is None else " (ready, not active)")
    ]
    lines += could_not_be_indexed(report.failed)
    if report.skipped:
        lines += ["", "Left out:", *(f"  {item.count:,} {item.reason}" for item in report.skipped)]
    lines += kept_documents(report.held_removals, options.kb)
    if report.held:
        lines += ["", report.held]
    say(options, value, "\n".join(lines))
    if report.held:
        note(f"rag-studio: {report.held}")
    if not report.failed:
        return PARTLY if report.held or report.held_removals else DONE
    done = report.added or report.updated or report.unchanged or report.removed or report.held_removals
    return PARTLY if done else FAILED
