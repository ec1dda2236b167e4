"""`doctor`: checking and repairing, also where the catalog is gone, without which no other command begins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from studio.bootstrap import open_services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE, FAILED, PARTLY
from studio.cli.output import note, say, table
from studio.domain import Check
from studio.paths import DataPaths
from studio.services.health import text_of
from studio.services.recovery import examine_catalog, restore_catalog
from studio.terminal import in_line


async def doctor(options: Options) -> int:
    """Check every stored invariant, FAILED when one is broken; mend them, PARTLY when something stays broken or is
    lost; or report the health of searching.
    """
    if options.health is not None:
        async with open_services(options.data_dir) as services:
            report = await services.health.report(options.health or None)
        say(options, report, text_of(report))
        return DONE
    paths = DataPaths.resolve(options.data_dir)
    if options.repair:
        restored = await asyncio.to_thread(restore_catalog, paths)
        async with open_services(options.data_dir, adopting=True) as services:
            return _tell(options, [*restored, *await services.doctor.repair()], PARTLY, services.read_only)
    catalog = await asyncio.to_thread(examine_catalog, paths)
    if catalog is not None:
        return _tell(options, [catalog], FAILED)
    async with open_services(options.data_dir) as services:
        return _tell(options, await services.doctor.check(), FAILED, services.read_only)


def _tell(options: Options, checks: Sequence[Check], otherwise: int, read_only: str | None = None) -> int:
    ok = all(check.ok for check in checks)
    rows = [["ok" if check.ok else "WRONG", check.name, check.detail, check.repair] for check in checks]
    lost = [item for check in checks for item in check.lost]
    lines = [f"LOST {in_line(item.path)} ({in_line(item.knowledge_base)}): {item.why}" for item in lost]
    text = "\n".join([table(rows, ("", "CHECK", "FOUND", "REPAIR")), *lines])
    say(options, {"ok": ok, "checks": checks, "lost": lost}, text)
    if read_only is not None:
        note(f"rag-studio: {read_only}")
    return PARTLY if lost else DONE if ok else otherwise
