"""Bringing back a catalog that is gone, empty, damaged or not ours: from its backups, and from what the knowledge bases
keep of themselves. Comes before everything else that `doctor` does; no program may have the catalog open.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import closing
from pathlib import Path

from studio.domain import Check
from studio.errors import StudioError, storage_fault
from studio.index.catalog import Catalog, backups, base_file, fault_of, made_at
from studio.index.files import set_aside
from studio.index.generations import base_folders, catalog_fault
from studio.index.upkeep import is_locked
from studio.paths import DataPaths, KbPaths
from studio.replacing import replacing
from studio.ways_out import RunRepair

log = logging.getLogger(__name__)

_SIDECARS = ("-wal", "-shm")


def examine_catalog(paths: DataPaths) -> Check | None:
    """What is wrong with a catalog that cannot be used; None when it can, or none is needed yet. Blocking."""
    if not (fault := _fault(paths)):
        return None
    copies = [made_at(copy) for copy in backups(paths.backups) if not fault_of(copy)]
    latest = f"its latest backup is of {copies[0]:%Y-%m-%d %H:%M} UTC" if copies else "it has no backup"
    return Check("catalog", False, f"{paths.catalog} {fault}; {latest}", str(RunRepair("restores it")))


def restore_catalog(paths: DataPaths) -> list[Check]:
    """Put the newest sound backup in the place of a catalog that cannot be used, an empty catalog where there is none,
    and bring it up to date with what the knowledge bases' own files say.

    The one that was there goes to `lost+found`. Returns what was done, one check for the catalog and one for each base;
    nothing when nothing had to be. Blocking. Raises StorageFault; then another call goes on.
    """
    if not (fault := _fault(paths)):
        return []
    aside = [set_aside(paths, file) for file in _files(paths.catalog) if file.exists()]
    copy = next((copy for copy in backups(paths.backups) if not fault_of(copy)), None)
    if copy is not None:
        try:
            with replacing(paths.catalog) as temporary:
                shutil.copyfile(copy, temporary)
        except OSError as error:
            raise storage_fault(error, "restoring the catalog", paths.catalog) from error
    since = f"of {made_at(copy):%Y-%m-%d %H:%M:%S} UTC" if copy is not None else ""
    done = f"restored from its backup {since}" if since else "no backup is left: it is made from the bases' own files"
    where = f"; what was there is in {aside[0]}" if aside else ""
    log.warning("the catalog %s; %s", fault, done)
    lost = "Files of jobs and the log of searches are lost" + (" from then on" if since else "")
    checks = [Check("catalog: restored", True, f"It {fault}; {done}. {lost}{where}.")]
    since_ms = int(made_at(copy).timestamp() * 1000) if copy is not None else 0
    with closing(Catalog(paths.catalog)) as catalog:
        for base in base_folders(paths):
            checks += _catch_up(catalog, base, since_ms)
    return checks


def _fault(paths: DataPaths) -> str:
    try:
        return catalog_fault(paths, thorough=True)
    except OSError as error:
        raise storage_fault(error, "looking at the catalog", paths.catalog) from error


def _catch_up(catalog: Catalog, base: KbPaths, since_ms: int) -> list[Check]:
    """Let the catalog know what a base's own file says, where that was written after the backup."""
    found = base_file.read(base.description)
    if found is None or found.written_ms <= since_ms or base.tombstone.exists():
        return []
    before = catalog.dump(base.root.name)
    if before == found.rows:
        return []
    title = f"{found.rows['kb']['name']}: restored"
    try:
        if is_locked(base.writer_lock):
            return [Check(title, False, "a job of another program runs", f"End it. {RunRepair()}")]
        kb = catalog.adopt(found.rows)
    except StudioError as error:
        return [Check(title, False, str(error), error.way_out)]
    what = "known from its own file alone" if before is None else f"brought up to date: {_news(before, found.rows)}"
    return [Check(f"{kb.name}: restored", True, f"{what}; generation {kb.active_generation or 'none'} is active")]


def _news(before: base_file.Dump, after: base_file.Dump) -> str:
    """In which tables a dump differs from another."""
    numbers = {row["number"] for row in before["generation"]}
    added = [str(row["number"]) for row in after["generation"] if row["number"] not in numbers]
    words = {
        "kb": "settings and name", "generation": "generations", "pinned_query": "pinned queries",
        "document_tag": "tags", "watched_folder": "watched folders", "evaluation_run": "evaluations", "job": "jobs",
        "saved_query": "judgments",
    }  # fmt: skip
    changed = [words.get(key, key) for key in after if key != "version" and before.get(key) != after[key]]
    return ", ".join(changed) + (f" (new: {', '.join(added)})" if added else "")


def _files(catalog: Path) -> list[Path]:
    return [catalog, *(catalog.with_name(catalog.name + suffix) for suffix in _SIDECARS)]
