"""One coroutine per command: call a service, print what it returns, choose the exit code."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from studio.bootstrap import Services, open_services
from studio.cli.main import DONE, FAILED, PARTLY, Screenshots, key_value
from studio.cli.output import ProgressLine, plain, print_json, size, table
from studio.config import Config
from studio.domain import (
    DocumentRecord,
    Explanation,
    Fusion,
    Generation,
    IngestOptions,
    IngestReport,
    KnowledgeBase,
    Metric,
    SearchMode,
    SearchRequest,
    SearchResponse,
)
from studio.errors import Conflict, InvalidRequest
from studio.paths import DataPaths

DEMO_QUERY = "how are nested loops traced"

Options = argparse.Namespace
Command = Callable[[Services, Options], Awaitable[int]]


def execute(options: Options, screenshots: Screenshots) -> int:
    """Run the command of `options`; returns the exit code."""
    if options.command == "config":
        return _config(options)
    if options.command == "demo":
        return demo(options, screenshots)
    return asyncio.run(_with_services(options))


async def _with_services(options: Options) -> int:
    async with open_services(options.data_dir) as services:
        return await _COMMANDS[options.command](services, options)


def _say(options: Options, value: object, text: str) -> None:
    if options.json:
        print_json(value)
    elif text:
        sys.stdout.write(text + "\n")


# ---------------------------------------------------------------- demo


def demo(options: Options, screenshots: Screenshots) -> int:
    """The main job without a display. Qt gets the main thread to itself once the services are closed."""
    value, text = asyncio.run(_demo(options))
    pictures = screenshots(options.data_dir, value["kb"], DEMO_QUERY, options.output.absolute())
    value["screenshots"] = pictures
    _say(options, value, "\n".join([text, "", "Screenshots:", *(f"  {path}" for path in pictures)]))
    return DONE


async def _demo(options: Options) -> tuple[dict[str, Any], str]:
    progress = ProgressLine()
    async with open_services(options.data_dir) as services:
        default = services.library.default_settings().model
        if not any(model.name == default and model.installed for model in await services.models.list()):
            await services.models.install(default, progress.download)
        kb = await services.sample.ensure(progress.ingest)
        progress.close()
        response = await services.search.search(SearchRequest((kb.id,), DEMO_QUERY, limit=5))
    value = {
        "kb": kb.name,
        "generation": kb.active_generation,
        "documents": kb.documents,
        "chunks": kb.chunks,
        "results": _response(response)["results"],
    }
    title = f"{kb.name}: {kb.documents} documents, {kb.chunks} chunks, generation {kb.active_generation}"
    return value, f"{title}\n\n{_results_text(response)}"


# ---------------------------------------------------------------- knowledge bases


async def _kb(services: Services, options: Options) -> int:
    library = services.library
    if options.action == "list":
        bases = await library.list()
        rows = [[kb.name, kb.documents, kb.chunks, size(kb.size_bytes), kb.active_generation or "-"] for kb in bases]
        text = table(rows, ("NAME", "DOCUMENTS", "CHUNKS", "SIZE", "GENERATION")) if rows else "No knowledge bases yet."
        _say(options, [_kb_value(kb) for kb in bases], text)
        return DONE
    if options.action == "create":
        kb = await library.create(options.name, _settings(services, options))
        _say(options, _kb_value(kb), f"Created “{kb.name}”.")
    elif options.action == "rename":
        kb = await library.rename(options.name, options.new_name)
        _say(options, _kb_value(kb), f"Renamed to “{kb.name}”.")
    elif options.action == "info":
        kb = await library.get(options.name)
        lines = [f"{key}: {value}" for key, value in _kb_value(kb).items()]
        _say(options, _kb_value(kb), "\n".join(lines))
    else:
        kb = await library.get(options.name)
        await asyncio.to_thread(_confirm, options, kb)
        await library.delete(kb.id)
        _say(options, {"deleted": kb.name, "id": kb.id}, f"Deleted “{kb.name}”.")
    return DONE


def _settings(services: Services, options: Options) -> Any:
    given = {
        "model": options.model,
        "chunk_tokens": options.chunk_tokens,
        "chunk_overlap": options.chunk_overlap,
        "metric": Metric(options.metric) if options.metric else None,
        "language": options.language,
    }
    return replace(
        services.library.default_settings(), **{key: value for key, value in given.items() if value is not None}
    )


def _confirm(options: Options, kb: KnowledgeBase) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise InvalidRequest(f"Deleting “{kb.name}” cannot be undone.", way_out="Add --yes to do it.")
    sys.stderr.write(f"Delete “{kb.name}” with {kb.documents} documents ({size(kb.size_bytes)})? Files stay. [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Conflict("Nothing was deleted.")


def _kb_value(kb: KnowledgeBase) -> dict[str, Any]:
    return {
        "name": kb.name,
        "id": kb.id,
        "documents": kb.documents,
        "chunks": kb.chunks,
        "size_bytes": kb.size_bytes,
        "active_generation": kb.active_generation,
        "settings": plain(kb.settings),
    }


# ---------------------------------------------------------------- documents


async def _ingest(services: Services, options: Options) -> int:
    progress = ProgressLine()
    if options.jobs < 1:
        raise InvalidRequest("--jobs must be at least 1.")
    try:
        if options.resume:
            report = await services.ingest.resume(options.kb, progress.ingest)
        else:
            chosen = IngestOptions(
                recursive=options.recursive,
                include=tuple(options.include),
                exclude=tuple(options.exclude),
                promote=not options.no_promote,
                jobs=options.jobs,
            )
            report = await services.ingest.ingest(options.kb, options.paths, chosen, progress.ingest)
    finally:
        progress.close()
    return await _report(services, options, report)


async def _remove(services: Services, options: Options) -> int:
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
    _say(options, value, "\n".join(lines))
    if not report.failed:
        return DONE
    return PARTLY if report.added or report.updated or report.unchanged or report.removed else FAILED


async def _documents(services: Services, options: Options) -> int:
    records = await services.library.documents(options.kb)
    rows = [[record.status.value, record.chunks, record.title, record.source_path] for record in records]
    text = table(rows, ("STATUS", "CHUNKS", "TITLE", "PATH")) if rows else "No documents yet."
    _say(options, [_document(record) for record in records], text)
    return DONE


def _document(record: DocumentRecord) -> dict[str, Any]:
    return {
        "id": record.document_id,
        "path": record.source_path,
        "external_id": record.external_id,
        "title": record.title,
        "sha256": record.sha256,
        "pages": plain(record.pages),
        "chunks": record.chunks,
        "status": record.status.value,
        "error": record.error or None,
        "reason": record.reason or None,
    }


# ---------------------------------------------------------------- search


async def _search(services: Services, options: Options) -> int:
    request = SearchRequest(
        knowledge_bases=tuple(name.strip() for name in options.kb.split(",") if name.strip()),
        query=options.query,
        mode=SearchMode(options.mode),
        limit=options.limit,
        offset=options.offset,
        fusion=Fusion(options.fusion),
        weight=options.weight,
        filters=tuple(key_value(text) for text in options.filter),
        generation=options.generation,
    )
    response = await services.search.search(request)
    _say(options, _response(response), _results_text(response, explain=options.explain))
    return DONE


def _response(response: SearchResponse) -> dict[str, Any]:
    value: dict[str, Any] = plain(response)
    generations = value.pop("generations")
    value["generation"] = next(iter(generations.values()), None) if len(generations) <= 1 else generations
    return value


def _results_text(response: SearchResponse, *, explain: bool = False) -> str:
    lines = [response.degraded, ""] if response.degraded else []
    for number, result in enumerate(response.results, start=1):
        citation = result.citation
        place = f", page {citation.page_number}" if citation.page_number else ""
        anchor = f" · {citation.anchor}" if citation.anchor else ""
        lines += [
            f"{number}. {citation.title}{place}{anchor}  [{result.score:.3f}]",
            f"   {result.snippet}",
            f"   {citation.source_path}",
        ]
        if explain:
            lines.append(f"   {_explained(result.explanation)}")
    if not response.results:
        lines.append("Nothing found.")
    return "\n".join(line for line in lines if line is not None)


def _explained(told: Explanation) -> str:
    """`vector #1 0.73 → 1.00 · keywords #4 5.8 → 0.28 · weight 0.50 · matched: nested, loops`."""
    sides = (
        ("vector", told.vector_rank, told.vector_score, told.vector_normalised),
        ("keywords", told.keyword_rank, told.keyword_score, told.keyword_normalised),
    )
    parts = [f"{name} #{rank} {score:.2f} → {norm:.2f}" for name, rank, score, norm in sides if rank is not None]
    if told.fusion != "none":
        parts.append(f"{told.fusion}, weight {told.weight:.2f}")
    if told.matched_terms:
        parts.append(f"matched: {', '.join(told.matched_terms)}")
    return " · ".join(parts)


async def _evaluate(services: Services, options: Options) -> int:
    try:
        modes = [SearchMode(name.strip()) for name in options.modes.split(",") if name.strip()]
    except ValueError:
        raise InvalidRequest(
            f"“{options.modes}” names an unknown mode.", way_out="Modes: hybrid, vector, keyword."
        ) from None
    progress = ProgressLine()
    result = await services.quality.evaluate(
        options.kb, options.queries, options.qrels, modes=modes, k=options.k, weight=options.weight,
        fusion=Fusion(options.fusion), progress=progress.count,
    )  # fmt: skip
    progress.close()
    rows = [
        [name, *(f"{value:.4f}" for value in (mode.ndcg, mode.recall, mode.mrr, mode.map, mode.precision)),
         f"{mode.latency_ms['p50']:.1f}", f"{mode.latency_ms['p95']:.1f}"]
        for name, mode in result.modes.items()
    ]  # fmt: skip
    k = result.k
    headings = ("MODE", f"NDCG@{k}", f"RECALL@{k}", f"MRR@{k}", f"MAP@{k}", f"P@{k}", "P50 MS", "P95 MS")
    _say(options, result, f"{result.queries} queries\n{table(rows, headings)}")
    return DONE


# ---------------------------------------------------------------- generations and care


def _generation(item: Generation) -> dict[str, Any]:
    value: dict[str, Any] = plain(item)
    value["generation"] = value.pop("number")
    return value


async def _generations(services: Services, options: Options) -> int:
    items = await services.maintenance.generations(options.kb)
    rows = [[item.number, item.state.value, item.documents, item.chunks, item.note or item.error] for item in items]
    text = table(rows, ("GENERATION", "STATE", "DOCUMENTS", "CHUNKS", "NOTE")) if rows else "No generations yet."
    _say(options, [_generation(item) for item in items], text)
    return DONE


async def _promote(services: Services, options: Options) -> int:
    item = await services.maintenance.promote(options.kb, options.generation)
    _say(options, _generation(item), f"Generation {item.number} is active.")
    return DONE


async def _rollback(services: Services, options: Options) -> int:
    item = await services.maintenance.rollback(options.kb, options.generation)
    _say(options, _generation(item), f"Generation {item.number} is active again.")
    return DONE


async def _gc(services: Services, options: Options) -> int:
    report = await services.maintenance.collect(options.kb, dry_run=options.dry_run)
    verb = "Would delete" if options.dry_run else "Deleted"
    deleted = ", ".join(report.deleted) or "nothing"
    _say(options, report, f"{verb}: {deleted}; {size(report.freed_bytes)} freed.")
    return FAILED if report.errors else DONE


async def _doctor(services: Services, options: Options) -> int:
    checks = await services.maintenance.doctor(repair=options.repair)
    ok = all(check.ok for check in checks)
    rows = [["ok" if check.ok else "WRONG", check.name, check.detail, check.repair] for check in checks]
    _say(options, {"ok": ok, "checks": checks}, table(rows, ("", "CHECK", "FOUND", "REPAIR")))
    return DONE if ok else FAILED


async def _model(services: Services, options: Options) -> int:
    models = services.models
    if options.action == "list":
        infos = await models.list()
        rows = [[info.name, info.dimension, size(info.size_bytes), info.licence, info.installed] for info in infos]
        _say(options, infos, table(rows, ("NAME", "DIMENSION", "SIZE", "LICENCE", "INSTALLED")))
    elif options.action == "install":
        progress = ProgressLine()
        info = await models.install(options.source, progress.download)
        progress.close()
        _say(options, info, f"Installed {info.name} ({size(info.size_bytes)}).")
    elif options.action == "use":
        kb = await models.use(options.kb, options.name)
        _say(options, _kb_value(kb), f"“{kb.name}” uses {options.name} from its next build on.")
    else:
        await models.remove(options.name)
        _say(options, {"removed": options.name}, f"Removed {options.name}.")
    return DONE


def _config(options: Options) -> int:
    config = Config(DataPaths.resolve(options.data_dir).config)
    if options.action == "path":
        _say(options, {"path": config.path}, str(config.path))
    elif options.action == "set":
        config.set(options.key, options.value)
        _say(options, {options.key: config.get(options.key)}, f"{options.key} = {config.get(options.key)}")
    else:
        values = {options.key: config.get(options.key)} if options.key else config.all()
        _say(options, values, "\n".join(f"{key} = {value}" for key, value in values.items()))
    return DONE


_COMMANDS: dict[str, Command] = {
    "kb": _kb,
    "ingest": _ingest,
    "documents": _documents,
    "remove": _remove,
    "search": _search,
    "generations": _generations,
    "promote": _promote,
    "rollback": _rollback,
    "gc": _gc,
    "evaluate": _evaluate,
    "model": _model,
    "doctor": _doctor,
}
