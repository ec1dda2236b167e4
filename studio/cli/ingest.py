"""Commands that change what a knowledge base holds."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from studio.bootstrap import Services, open_services
from studio.cli.arguments import Options
from studio.cli.main import DONE, FAILED, PARTLY, Screenshots
from studio.cli.output import ProgressLine, plain, say
from studio.cli.searching import response_value, results_text
from studio.domain import IngestOptions, IngestReport, SearchRequest
from studio.errors import InvalidRequest

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
    try:
        if options.resume:
            report = await services.ingest.resume(options.kb, progress.ingest, passwords=options.password)
        else:
            chosen = IngestOptions(
                recursive=options.recursive,
                include=tuple(options.include),
                exclude=tuple(options.exclude),
                promote=not options.no_promote,
                jobs=options.jobs,
            )
            report = await services.ingest.ingest(
                options.kb, options.paths, chosen, progress.ingest, passwords=options.password
            )
    finally:
        progress.close()
    return await _report(services, options, report)


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
    if report.failed:
        lines += ["", "Could not be indexed:", *(f"  {item.path}: {item.reason}" for item in report.failed)]
    if report.held:
        lines += ["", report.held]
    say(options, value, "\n".join(lines))
    if report.held:
        sys.stderr.write(f"rag-studio: {report.held}\n")
    if not report.failed:
        return PARTLY if report.held else DONE
    return PARTLY if report.added or report.updated or report.unchanged or report.removed else FAILED
