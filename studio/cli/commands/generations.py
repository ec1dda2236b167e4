"""Commands around generations: list, note, switch, compare, collect."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE, FAILED
from studio.cli.output import note, plain, say, size, table
from studio.domain import Generation
from studio.errors import InvalidRequest


async def generations(services: Services, options: Options) -> int:
    """List the generations of a knowledge base, newest first; with --note set the note of one before."""
    if options.note:
        number, text = options.note
        if not number.isdecimal():
            raise InvalidRequest(f"“{number}” is not the number of a generation.")
        await services.maintenance.annotate(options.kb, int(number), text)
    items = await services.maintenance.generations(options.kb)
    headings = ("GENERATION", "STATE", "SINCE", "DOCUMENTS", "CHUNKS", "OWN", "SHARED", "NOTE")
    rows = [
        [
            item.number, item.state.value, _since(item), item.documents, item.chunks, size(item.own_bytes),
            size(item.shared_bytes), " · ".join(filter(None, (item.note, item.held, item.error))),
        ]
        for item in items
    ]  # fmt: skip
    say(options, [_value(item) for item in items], table(rows, headings) if rows else "No generations yet.")
    return DONE


def _since(item: Generation) -> str:
    """When it came into the state that it is in."""
    moments = (item.created_ms, item.ready_ms, item.promoted_ms, item.archived_ms)
    latest_ms = max(moment for moment in moments if moment is not None)
    return f"{datetime.fromtimestamp(latest_ms / 1000):%Y-%m-%d %H:%M}"


def _value(item: Generation) -> dict[str, Any]:
    value: dict[str, Any] = plain(item)
    value["generation"] = value.pop("number")
    value["shared_bytes"] = item.shared_bytes
    return value


async def promote(services: Services, options: Options) -> int:
    """Make a generation active."""
    item = await services.maintenance.promote(options.kb, options.generation, force=options.force)
    say(options, _value(item), f"Generation {item.number} is active.")
    return DONE


async def rollback(services: Services, options: Options) -> int:
    """Go back to an older generation, or forward to the next newer one."""
    if options.forward:
        item = await services.maintenance.roll_forward(options.kb)
    else:
        item = await services.maintenance.rollback(options.kb, options.generation)
    say(options, _value(item), f"Generation {item.number} is active again.")
    return DONE


async def gc(services: Services, options: Options) -> int:
    """Delete generations that are not kept any more; FAILED when a deletion failed."""
    report = await services.maintenance.collect(options.kb, dry_run=options.dry_run)
    verb = "Would delete" if options.dry_run else "Deleted"
    freed = "would be freed" if options.dry_run else "freed"
    lines = [f"{verb}: {', '.join(report.deleted) or 'nothing'}; {size(report.freed_bytes)} {freed}."]
    lines += [f"Kept: {kept.kb}/{kept.generation} ({kept.why})" for kept in report.kept]
    say(options, report, "\n".join(lines))
    for error in report.errors:
        note(f"rag-studio: {error}")
    return FAILED if report.errors else DONE
