"""Commands around generations: list, note, switch, compare, collect, check."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.main import DONE, FAILED, PARTLY
from studio.cli.output import plain, say, size, table
from studio.domain import Generation
from studio.errors import InvalidRequest
from studio.services.health_report import text_of


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
        sys.stderr.write(f"rag-studio: {error}\n")
    return FAILED if report.errors else DONE


async def doctor(services: Services, options: Options) -> int:
    """Check every stored invariant: FAILED when one is broken, PARTLY when documents are lost; or report health."""
    if options.health is not None:
        report = await services.health.report(options.health or None)
        say(options, report, text_of(report))
        return DONE
    checks = await (services.doctor.repair() if options.repair else services.doctor.check())
    ok = all(check.ok for check in checks)
    rows = [["ok" if check.ok else "WRONG", check.name, check.detail, check.repair] for check in checks]
    lost = [item for check in checks for item in check.lost]
    lines = [f"LOST {plain(item.path)} ({plain(item.knowledge_base)}): {item.why}" for item in lost]
    text = "\n".join([table(rows, ("", "CHECK", "FOUND", "REPAIR")), *lines])
    say(options, {"ok": ok, "checks": checks, "lost": lost}, text)
    return PARTLY if lost else DONE if ok else FAILED
