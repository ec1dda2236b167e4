"""Commands around knowledge bases: themselves, their documents, their models."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE
from studio.cli.output import ProgressLine, plain, say, size, table
from studio.domain import (
    AnnIndex,
    DocumentRecord,
    KbSettings,
    KnowledgeBase,
    Metric,
    ModelInfo,
    ModelWishes,
    PageCounts,
)
from studio.errors import Conflict, InvalidRequest
from studio.index.catalog import declared_tags
from studio.terminal import in_line

TITLE_CHARS = 60


async def kb(services: Services, options: Options) -> int:
    """List, make, change, rename, delete or show knowledge bases; say which generations one keeps."""
    library = services.library
    if options.action == "list":
        bases = await library.list()
        rows = [[kb.name, kb.documents, kb.chunks, size(kb.size_bytes), kb.active_generation or "-"] for kb in bases]
        text = table(rows, ("NAME", "DOCUMENTS", "CHUNKS", "SIZE", "GENERATION")) if rows else "No knowledge bases yet."
        say(options, [kb_value(kb) for kb in bases], text)
        return DONE
    if options.action == "create":
        settings = replace(library.default_settings(), **_given(options))
        kb = await library.create(options.name, settings)
        say(options, kb_value(kb), f"Created “{kb.name}”.")
    elif options.action == "set":
        await _set(services, options)
    elif options.action == "rename":
        kb = await library.rename(options.name, options.new_name)
        say(options, kb_value(kb), f"Renamed to “{kb.name}”.")
    elif options.action == "info":
        kb = await library.get(options.name)
        value = {**kb_value(kb), "retention": plain(await library.retention(kb.id))}
        shown = {**value, **value["settings"], **value["retention"]}
        say(options, value, "\n".join(f"{key}: {item}" for key, item in shown.items() if not isinstance(item, dict)))
    elif options.action == "retention":
        await _retention(services, options)
    else:
        kb = await library.get(options.name)
        await asyncio.to_thread(_confirm, options, kb)
        await library.delete(kb.id)
        say(options, {"deleted": kb.name, "id": kb.id}, f"Deleted “{kb.name}”.")
    return DONE


async def _retention(services: Services, options: Options) -> None:
    library = services.library
    given = {
        "keep_archived": options.keep,
        "min_age_hours": options.min_age,
        "max_archived_mib": options.max_size,
    }
    changed = {key: value for key, value in given.items() if value is not None}
    if changed and options.default:
        raise InvalidRequest("--default goes without --keep, --min-age and --max-size.")
    if options.default:
        policy = await library.set_retention(options.name, None)
    else:
        policy = await library.retention(options.name)
        if changed:
            policy = await library.set_retention(options.name, replace(policy, **changed))
    lines = [f"Archived generations that stay: the newest {policy.keep_archived}"]
    if policy.min_age_hours:
        lines.append(f"None goes before it has been archived for {policy.min_age_hours:g} hours")
    if policy.max_archived_mib:
        lines.append(f"Together they take at most {policy.max_archived_mib} MiB")
    say(options, policy, "\n".join(lines))


async def _set(services: Services, options: Options) -> None:
    given = _given(options)
    if not given:
        raise InvalidRequest("Nothing to change was given.", way_out="See: rag-studio kb set --help.")
    before = await services.library.get(options.name)
    kb = await services.library.change_settings(before.id, replace(before.settings, **given))
    said = f"“{kb.name}” has these settings already."
    if not kb.settings.same_content(before.settings):
        rebuilt = kb.active_generation is not None
        said = f"Changed. The next ingest of “{kb.name}” rebuilds it." if rebuilt else f"Changed “{kb.name}”."
    elif "index" in given:
        said = await _index(services, kb)
    say(options, kb_value(kb), said)


async def _index(services: Services, kb: KnowledgeBase) -> str:
    """Build the vector index that was asked for, which takes no embedding; says what became of it."""
    progress = ProgressLine()
    report = await services.ingest.build_index(kb.id, progress.ingest)
    progress.close()
    if report is None or report.generation is None:
        return f"“{kb.name}” is set to the index {kb.settings.index}."
    if report.held:
        return f"Changed. Generation {report.generation} was built with another index and is not active. {report.held}"
    return f"Changed. Generation {report.generation} of “{kb.name}” was built with the index {kb.settings.index}."


def _given(options: Options) -> dict[str, Any]:
    """The settings that the command line names."""
    names = [item.name for item in fields(KbSettings)]
    given: dict[str, Any] = {name: getattr(options, name, None) for name in names}
    for name, kind in (("metric", Metric), ("index", AnnIndex)):
        if given[name]:
            given[name] = kind(given[name])
    return {name: value for name, value in given.items() if value is not None}


def _confirm(options: Options, kb: KnowledgeBase) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise InvalidRequest(f"Deleting “{kb.name}” cannot be undone.", way_out="Add --yes to do it.")
    sys.stderr.write(
        f"Delete “{in_line(kb.name)}” with {kb.documents} documents ({size(kb.size_bytes)})? Files stay. [y/N] "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Conflict("Nothing was deleted.")


def kb_value(kb: KnowledgeBase) -> dict[str, Any]:
    """A knowledge base as JSON knows it."""
    return {
        "name": kb.name,
        "id": kb.id,
        "documents": kb.documents,
        "chunks": kb.chunks,
        "size_bytes": kb.size_bytes,
        "active_generation": kb.active_generation,
        "settings": plain(kb.settings),
    }


async def documents(services: Services, options: Options) -> int:
    """List the documents of a knowledge base; those of one file are one entry, unless they are to be unfolded."""
    records = await services.library.documents(options.kb)
    if options.unfold:
        rows = [_entry([record]) for record in records]
    else:
        files: dict[str, list[DocumentRecord]] = {}
        for record in records:
            files.setdefault(record.source_path, []).append(record)
        rows = [_entry(file) for file in files.values()]
    text = table(rows, ("STATUS", "CHUNKS", "PAGES", "TITLE", "PATH")) if rows else "No documents yet."
    given = await services.tags.given(options.kb)
    say(options, [_document(record, given.get(record.source_path, ())) for record in records], text)
    return DONE


def _entry(file: Sequence[DocumentRecord]) -> list[Any]:
    """The line of the documents of one file."""
    first = file[0]
    if len(file) == 1:
        status, title = f"failed: {first.error}" if first.error else first.status.value, first.title
    else:
        failed = sum(bool(record.error) for record in file)
        rest = "failed" if failed == len(file) else next(r.status.value for r in file if not r.error)
        status = f"{rest} ({failed:,} failed)" if 0 < failed < len(file) else rest
        title = f"{len(file):,} documents"
    short = title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1]}…"
    pages = _pages(first.pages) if len(file) == 1 else ""
    return [status, sum(record.chunks for record in file), pages, short, first.source_path]


def _pages(pages: PageCounts) -> str:
    """How many pages there are, and of how many there is more to say."""
    told = ((pages.ocr, "recognised"), (pages.empty, "without text"), (pages.failed, "unreadable"))
    more = ", ".join(f"{count} {what}" for count, what in told if count)
    return f"{pages.total}{f' ({more})' if more else ''}" if pages.total else ""


def _document(record: DocumentRecord, given: Sequence[str]) -> dict[str, Any]:
    return {
        "id": record.document_id,
        "path": record.source_path,
        "external_id": record.external_id,
        "title": record.title,
        "sha256": record.sha256,
        "author": record.author,
        "licence": record.licence,
        "created": record.created,
        "tags": list(dict.fromkeys((*given, *declared_tags(record.kind, record.metadata)))),
        "metadata": dict(record.metadata),
        "pages": plain(record.pages),
        "chunks": record.chunks,
        "status": record.status.value,
        "error": record.error or None,
        "reason": record.reason or None,
    }


def _model_value(info: ModelInfo) -> dict[str, Any]:
    return {**plain(info), "kind": info.kind}


async def model(services: Services, options: Options) -> int:
    """List, install, choose or remove embedding models and rerankers."""
    models = services.models
    if options.action == "list":
        infos = await models.list()
        rows = [
            [info.name, info.kind, info.languages, info.dimension, size(info.size_bytes), info.licence, info.installed]
            for info in infos
        ]
        values = [_model_value(info) for info in infos]
        say(options, values, table(rows, ("NAME", "KIND", "LANGUAGES", "DIMENSION", "SIZE", "LICENCE", "INSTALLED")))
    elif options.action == "install":
        progress = ProgressLine()
        wishes = ModelWishes(options.query_prefix, options.passage_prefix, options.dimension)
        info = await models.install(options.source, progress.transfer, wishes)
        progress.close()
        terms = f" Its use is bound to {info.terms}." if info.terms else ""
        say(options, _model_value(info), f"Installed the {info.kind} {info.name} ({size(info.size_bytes)}).{terms}")
    elif options.action == "use":
        kb = await models.use(options.kb, options.name)
        say(options, kb_value(kb), f"“{kb.name}” uses {options.name} from its next build on.")
    else:
        await models.remove(options.name)
        say(options, {"removed": options.name}, f"Removed {options.name}.")
    return DONE
