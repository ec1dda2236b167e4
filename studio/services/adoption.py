"""Taking in what the catalog does not know: the catalog itself from its backups, knowledge bases from their files.

A base whose folder the catalog has no row for was lost with a catalog, unless a tombstone says that it was deleted. One
that has later generations than the catalog knows stands beside a catalog that is older than it is. Both are adopted:
what `base.json` says of them becomes their rows, and generations that not even that names are told from the tags of
their tables. What is no knowledge base goes to `lost+found`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.domain import Check, DocumentStatus, GenerationState, KbSettings, ModelIdentity, ModelInfo
from studio.errors import StudioError, storage_fault
from studio.index import base_file
from studio.index.analysis import LEXICAL_VERSION
from studio.index.backups import backups, fault_of, made_at
from studio.index.catalog import Catalog
from studio.index.database import now_ms
from studio.index.durable import disk_usage
from studio.index.leftovers import is_locked
from studio.index.lost_found import set_aside
from studio.index.rows import ROWS_VERSION
from studio.index.stores import Stores, holds_bases
from studio.index.vectors import DOCUMENTS_TABLE, VectorDatabase
from studio.paths import DataPaths, KbPaths

log = logging.getLogger(__name__)

_SIDECARS = ("-wal", "-shm")
_CHUNKS = "chunks"


# ---------------------------------------------------------------- the catalog


def examine_catalog(paths: DataPaths) -> Check | None:
    """What is wrong with a catalog that cannot be used; None when it can, or none is needed yet. Blocking."""
    if not (fault := fault_of(paths.catalog)) or not (paths.catalog.exists() or holds_bases(paths)):
        return None
    copies = [made_at(copy) for copy in backups(paths.backups) if not fault_of(copy)]
    latest = f"its latest backup is of {copies[0]:%Y-%m-%d %H:%M} UTC" if copies else "it has no backup"
    return Check("catalog", False, f"{paths.catalog} {fault}; {latest}", "rag-studio doctor --repair restores it.")


def restore_catalog(paths: DataPaths) -> Check | None:
    """Put the newest sound backup in the place of a catalog that cannot be used, an empty catalog where there is none.

    The one that was there goes to `lost+found`. Returns what was done, None when nothing had to be. Nobody may have the
    catalog open. Blocking. Raises StorageFault.
    """
    if (found := examine_catalog(paths)) is None:
        return None
    where = ""
    for suffix in ("", *_SIDECARS):
        file = paths.catalog.with_name(paths.catalog.name + suffix)
        if file.exists():
            place = set_aside(paths, file)
            where = where or f"; what was there is {place}"
    copy = next((copy for copy in backups(paths.backups) if not fault_of(copy)), None)
    if copy is None:
        Catalog(paths.catalog).close()
        return Check("catalog", True, f"{found.detail}. It is made anew from the knowledge bases' own files{where}")
    try:
        _copy_durably(copy, paths.catalog)
    except OSError as error:
        raise storage_fault(error, "restoring the catalog", paths.catalog) from error
    return Check(
        "catalog", True,
        f"restored from its backup of {made_at(copy):%Y-%m-%d %H:%M:%S} UTC; what came later is taken from the "
        f"knowledge bases' own files, but for the files of later jobs and the log of searches{where}",
    )  # fmt: skip


def _copy_durably(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    temporary.chmod(0o600)
    with temporary.open("rb+") as stream:
        os.fsync(stream.fileno())
    temporary.replace(target)


# ---------------------------------------------------------------- knowledge bases


@dataclass(frozen=True, slots=True)
class Stray:
    """A folder below `kb` that is not as the catalog has it. `why`: `deleted`, `unknown`, `ahead` or `foreign`."""

    folder: Path
    why: str


async def strays(stores: Stores) -> list[Stray]:
    """Everything below `kb` that is not as the catalog has it. Changes nothing."""
    folder = stores.paths.root / "kb"
    names = await asyncio.to_thread(lambda: sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [])
    # The catalog is asked afterwards: a base that is made in between has its row before its folder.
    bases = await stores.thread.run(stores.catalog.knowledge_bases)
    imports = await stores.thread.run(stores.catalog.imports)
    known = {base.id: await stores.thread.run(stores.catalog.next_generation, base.id) for base in bases}
    return await asyncio.to_thread(_classify, stores.paths, [name for name in names if name not in imports], known)


def _classify(paths: DataPaths, names: Sequence[str], known: Mapping[str, int]) -> list[Stray]:
    found = [Stray(paths.kb(name).root, "deleted") for name in known if paths.tombstone(name).exists()]
    for name in names:
        base = paths.kb(name)
        if paths.tombstone(name).exists():
            if name not in known:
                found.append(Stray(base.root, "deleted"))
        elif name in known:
            if base_file.newest_number(base) >= known[name] or _later(base, known[name]):
                found.append(Stray(base.root, "ahead"))
        else:
            found.append(Stray(base.root, "unknown" if _is_base(base) else "foreign"))
    return found


def _later(base: KbPaths, next_generation: int) -> bool:
    described = base_file.read(base.description)
    return described is not None and described["kb"]["next_generation"] > next_generation


def _is_base(base: KbPaths) -> bool:
    return base.description.is_file() or any(base.vectors.glob("*.lance")) or any(base.texts.glob("*"))


async def settle(stores: Stores, models: Sequence[ModelInfo]) -> list[Check]:
    """Adopt bases that were lost, finish deletions, set aside what is no base; a check for each, in words.

    Raises StorageFault when the catalog cannot be written.
    """
    checks = []
    for stray in await strays(stores):
        name = stray.folder.name
        try:
            if stray.why == "deleted":
                await stores.forget(name)
            elif stray.why == "foreign":
                place = await asyncio.to_thread(set_aside, stores.paths, stray.folder)
                checks.append(Check(f"kb/{name}", True, f"no knowledge base; moved to {place}"))
            elif is_locked(stores.paths.kb(name).writer_lock):
                checks.append(Check(f"kb/{name}: adopted", False, "a job of another program runs", "End it first."))
            else:
                checks.append(await _adopt(stores, name, models))
        except StudioError as error:
            checks.append(Check(f"kb/{name}: adopted", False, str(error), error.way_out))
    return checks


async def _adopt(stores: Stores, kb_id: str, models: Sequence[ModelInfo]) -> Check:
    paths = stores.paths.kb(kb_id)
    rows = await stores.thread.run(stores.catalog.dump, kb_id)
    described = await asyncio.to_thread(base_file.read, paths.description)
    if described is None or (rows and described["kb"]["next_generation"] < rows["kb"]["next_generation"]):
        described = rows
    source = "what its own file says of it" if described is not rows or described is None else "the catalog"
    known = {row["number"] for row in described["generation"]} if described else set()
    vectors = VectorDatabase(paths.vectors)
    try:
        found = await _found_generations(vectors, paths, known, models, described)
        if found or described is None:
            source = "its tables" if described is None else f"{source}, and its tables"
            described = await _completed(vectors, paths, described, found)
    finally:
        vectors.close()
    base = await stores.thread.run(stores.catalog.adopt, described)
    log.warning("adopted the knowledge base %s (%s) from %s", base.name, kb_id, source)
    generations = [row["number"] for row in described["generation"] if row["state"] in ("active", "archived", "ready")]
    return Check(
        f"{base.name}: adopted", True,
        f"{len(generations)} generations, active {base.active_generation or 'none'}, {base.documents} documents, "
        f"from {source}",
    )  # fmt: skip


async def _found_generations(
    vectors: VectorDatabase,
    paths: KbPaths,
    known: set[int],
    models: Sequence[ModelInfo],
    described: base_file.Dump | None,
) -> list[dict[str, Any]]:
    """Rows of generations that only the tags of the tables tell of; complete ones have a lease file."""
    tags: dict[str, Mapping[str, int]] = {}
    with suppress(StudioError):
        for table in await vectors.table_names():
            with suppress(StudioError):
                tags[table] = await vectors.tags_of(table)
    documents = tags.pop(DOCUMENTS_TABLE, {})
    found = []
    for table, versions in tags.items():
        model = await _model_of(vectors, table, models, described)
        for tag, version in versions.items():
            if not tag[1:].isdecimal() or int(tag[1:]) in known or not paths.lease(int(tag[1:])).exists():
                continue
            found.append(await _row(vectors, paths, table, int(tag[1:]), version, documents.get(tag, 0), model))
    return sorted(found, key=lambda row: row["number"])


async def _model_of(
    vectors: VectorDatabase, table: str, models: Sequence[ModelInfo], described: base_file.Dump | None
) -> ModelIdentity | None:
    """The model of a table: that of a generation that is known, else the installed one that its name or size tells."""
    for row in described["generation"] if described else ():
        if row["chunks_table"] == table and row["model"]:
            return ModelIdentity(**json.loads(row["model"]))
    dimension = 0
    with suppress(StudioError):
        dimension = await vectors.dimension(table)
    fitting = [info for info in models if info.installed and info.kind != "reranker" and info.dimension == dimension]
    named = [info for info in fitting if table.startswith(f"{_CHUNKS}_{info.sha256[:8]}")]
    usual = [info for info in fitting if info.name == KbSettings().model]
    best = next(iter([*named, *usual, *fitting]), None)
    return ModelIdentity(best.name, best.sha256, best.dimension, best.pooling) if best else None


async def _row(
    vectors: VectorDatabase,
    paths: KbPaths,
    table: str,
    number: int,
    version: int,
    documents_version: int,
    model: ModelIdentity | None,
) -> dict[str, Any]:
    documents = chunks = 0
    with suppress(StudioError):
        records = await vectors.records(documents_version)
        indexed = [record for record in records if record.status is DocumentStatus.INDEXED]
        documents, chunks = len(indexed), await vectors.rows(table, version)
    settings = KbSettings(model=model.name if model else KbSettings().model, contextual=True)
    size = sum((await asyncio.to_thread(disk_usage, paths.root)).values())
    at = now_ms()
    return {
        "kb_id": paths.root.name, "number": number, "state": str(GenerationState.ARCHIVED), "parent": None,
        "settings": json.dumps(asdict(settings)), "model": json.dumps(asdict(model)) if model else None,
        "chunks_table": table, "chunks_version": version, "documents_version": documents_version,
        "documents": documents, "chunks": chunks, "size_bytes": size, "own_bytes": 0, "created_ms": at, "ready_ms": at,
        "promoted_ms": at, "archived_ms": at, "rows_version": ROWS_VERSION, "lexical_version": LEXICAL_VERSION,
        "note": "recovered",
    }  # fmt: skip


async def _completed(
    vectors: VectorDatabase, paths: KbPaths, described: base_file.Dump | None, found: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """A dump with the generations that were found; the newest is active, as it was built on what was active before."""
    if described is None:
        settings = json.loads(found[-1]["settings"]) if found else asdict(KbSettings(contextual=True))
        base = {
            "id": paths.root.name, "name": await _name_of(vectors, paths, found), "settings": json.dumps(settings),
            "active": None, "next_generation": 1, "created_ms": now_ms(), "retention": None,
        }  # fmt: skip
        described = {**{table: [] for table in base_file.TABLES}, "kb": base}
    generations = [dict(row) for row in described["generation"]]
    active = described["kb"]["active"]
    if found and found[-1]["number"] > (active or 0):
        for row in generations:
            if row["state"] == GenerationState.ACTIVE:
                row |= {"state": str(GenerationState.ARCHIVED), "archived_ms": now_ms()}
        active = found[-1]["number"]
        found = [*found[:-1], {**found[-1], "state": str(GenerationState.ACTIVE), "archived_ms": None}]
    generations += found
    newest = max([base_file.newest_number(paths), *(row["number"] for row in generations)], default=0)
    following = max(described["kb"]["next_generation"], newest + 1)
    return {
        **described,
        "kb": {**described["kb"], "active": active, "next_generation": following},
        "generation": generations,
    }


async def _name_of(vectors: VectorDatabase, paths: KbPaths, found: Sequence[Mapping[str, Any]]) -> str:
    """A name for a base whose own is lost: that of the folder its documents come from."""
    with suppress(StudioError, ValueError, IndexError):
        records = await vectors.records(found[-1]["documents_version"])
        folders = {str(Path(record.source_path).parent) for record in records}
        name = "".join(char for char in Path(os.path.commonpath(folders)).name if char.isprintable() and char != ",")
        if name.strip():
            return f"{name.strip()[:80]} (recovered)"
    return f"Recovered {paths.root.name}"


_WORDS = {
    "unknown": "not in the catalog",
    "ahead": "newer than the catalog",
    "foreign": "no knowledge bases",
    "deleted": "deleted, but not wholly",
}


def check_strays(found: Sequence[Stray]) -> Check:
    """What `doctor` says of strays without changing them."""
    by_kind = {why: ", ".join(stray.folder.name for stray in found if stray.why == why) for why in _WORDS}
    detail = "; ".join(f"{words}: {by_kind[why]}" for why, words in _WORDS.items() if by_kind[why]) or "all known"
    way_out = "rag-studio doctor --repair adopts knowledge bases and deletes none that nobody deleted."
    return Check("folders of knowledge bases", not found, detail, way_out if found else "")
