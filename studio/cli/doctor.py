"""`doctor`: checking and repairing, also where the catalog is gone, without which no other command begins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from studio.bootstrap import open_services
from studio.cli.arguments import Options
from studio.cli.main import DONE, FAILED, PARTLY
from studio.cli.output import say, table
from studio.domain import Check, LostDocument
from studio.paths import DataPaths
from studio.services.adoption import examine_catalog, restore_catalog
from studio.services.health_report import text_of


async def doctor(options: Options) -> int:
    """Check every stored invariant, FAILED when one is broken; or report the health of searching.

    PARTLY when a repair could not bring every document back; each is named.
    """
    if options.health is not None:
        async with open_services(options.data_dir) as services:
            report = await services.health.report(options.health or None)
        say(options, report, text_of(report))
        return DONE
    paths = DataPaths.resolve(options.data_dir)
    catalog = await asyncio.to_thread(restore_catalog if options.repair else examine_catalog, paths)
    if catalog is not None and not catalog.ok:
        return _tell(options, [catalog])
    async with open_services(options.data_dir) as services:
        checks = await (services.doctor.repair() if options.repair else services.doctor.check())
    return _tell(options, [*([catalog] if catalog else []), *checks])


def _tell(options: Options, checks: Sequence[Check]) -> int:
    ok = all(check.ok for check in checks)
    rows = [["ok" if check.ok else "WRONG", check.name, check.detail, check.repair] for check in checks]
    lost = [check for check in checks if isinstance(check, LostDocument)]
    text = table(rows, ("", "CHECK", "FOUND", "REPAIR"))
    if lost:
        text += "\n\nLost:\n" + "\n".join(f"{item.knowledge_base}: {item.path} ({item.detail})" for item in lost)
    say(options, {"ok": ok, "checks": checks, "lost": lost}, text)
    return PARTLY if lost else DONE if ok else FAILED
