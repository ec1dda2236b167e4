"""Taking in knowledge bases that the catalog does not know, or knows less of than their files do.

A base whose folder the catalog has no row for was lost with a catalog, unless a tombstone says that it was deleted. One
whose files go beyond what the catalog knows stands beside a catalog that is older than it is. Both are adopted: what
`base.json` says of them becomes their rows, and generations that not even that names are told from their remains. What
is no knowledge base goes to `lost+found`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.domain import Check, DocumentStatus, GenerationState, KbSettings, ModelIdentity, ModelInfo
from studio.errors import StudioError
from studio.index.catalog import MAX_NAME_LENGTH, base_file, is_base
from studio.index.clock import now_ms
from studio.index.files import disk_usage, set_aside, try_lock
from studio.index.generations import Stores, base_folders
from studio.index.keywords import LEXICAL_VERSION, LexicalReader
from studio.index.upkeep import Remains, remains
from studio.index.vectors import ROWS_VERSION, VectorDatabase
from studio.paths import KbPaths
from studio.ways_out import NameAdopted, RunRepair

log = logging.getLogger(__name__)

_WHOLE = (GenerationState.ACTIVE, GenerationState.ARCHIVED, GenerationState.READY)
_WORDS = {
    "unknown": "not in the catalog",
    "ahead": "newer than the catalog",
    "foreign": "no knowledge bases",
    "deleted": "deleted, but not wholly",
}


@dataclass(frozen=True, slots=True)
class Stray:
    """A folder below `kb` that is not as the catalog has it. `why` is a key of `_WORDS`."""

    folder: Path
    why: str


async def strays(stores: Stores) -> list[Stray]:
    """Everything below `kb` that is not as the catalog has it. Changes nothing."""
    evidence = await asyncio.to_thread(
        lambda: {base.root.name: base_file.evidence(base) for base in base_folders(stores.paths)}
    )
    # The catalog is asked afterwards: what another program does in between, the files do not show yet.
    horizons = await stores.catalog.horizons()
    imports = {name for name, horizon in horizons.items() if horizon is None}

    def classify() -> list[Stray]:
        found = []
        for name in sorted(evidence.keys() | horizons.keys() - imports):
            base, horizon = stores.paths.kb(name), horizons.get(name)
            if base.tombstone.exists():
                found.append(Stray(base.root, "deleted"))
            elif horizon is not None:
                if name in evidence and evidence[name].beyond(horizon):
                    found.append(Stray(base.root, "ahead"))
            elif name not in imports:
                found.append(Stray(base.root, "unknown" if is_base(base) else "foreign"))
            elif evidence[name].described is not None:  # its import was finished after this catalog
                found.append(Stray(base.root, "ahead"))
        return found

    return await asyncio.to_thread(classify)


def check_strays(found: Sequence[Stray]) -> Check:
    """What `doctor` says of strays without changing them."""
    by_kind = {why: ", ".join(stray.folder.name for stray in found if stray.why == why) for why in _WORDS}
    detail = "; ".join(f"{words}: {by_kind[why]}" for why, words in _WORDS.items() if by_kind[why]) or "all known"
    way_out = RunRepair("adopts knowledge bases and deletes none but those that a person deleted")
    return Check("folders of knowledge bases", not found, detail, str(way_out) if found else "")


async def settle(stores: Stores, models: Sequence[ModelInfo]) -> list[Check]:
    """Adopt bases that were lost, finish deletions, set aside what is no base; a check for each, in words.

    One that fails hides nothing of the others. Raises StorageFault when the catalog cannot be read.
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
            else:
                checks.append(await _adopt_alone(stores, name, models))
        except StudioError as error:
            checks.append(Check(f"kb/{name}: adopted", False, str(error), error.way_out))
    return checks


async def _adopt_alone(stores: Stores, kb_id: str, models: Sequence[ModelInfo]) -> Check:
    lock = try_lock(stores.paths.kb(kb_id).writer_lock, shared=False)
    if lock is None:
        why = "a job of another program runs"
        return Check(f"kb/{kb_id}: adopted", False, why, f"End it. {RunRepair()}")
    with lock:
        return await _adopt(stores, kb_id, models)


async def _adopt(stores: Stores, kb_id: str, models: Sequence[ModelInfo]) -> Check:
    paths = stores.paths.kb(kb_id)
    rows = await stores.catalog.dump(kb_id)
    file = await asyncio.to_thread(base_file.read, paths.description)
    known = file.rows if file is not None else rows
    if file is not None and rows is not None and not base_file.Evidence(0, file.rows).beyond(_horizon_of(rows)):
        known = rows  # the file is as old as the catalog, or older
    sources = ["the catalog" if known is rows else "its own file"] if known is not None else []
    vectors = VectorDatabase(paths.vectors)  # one that remembers nothing of the files
    try:
        numbers = {row["number"] for row in known["generation"]} if known else set()
        found = [item for item in await asyncio.to_thread(remains, paths) if item.number not in numbers]
        found = await _complete_ones(vectors, paths, found, alone=not numbers)
        if found or known is None:
            sources.append("its tables")
            reader = _Reader(vectors, paths, models, known)
            known = _completed(paths, known, [await reader.row(item) for item in found], await reader.name(found))
    finally:
        vectors.close()
    base = await stores.catalog.adopt(known)
    log.warning("adopted the knowledge base %s (%s) from %s", base.name, kb_id, " and ".join(sources))
    whole = [row["number"] for row in known["generation"] if row["state"] in _WHOLE]
    detail = (
        f"from {' and '.join(sources)}: {len(whole)} generations, {base.active_generation or 'none'} is active, "
        f"{base.documents} documents"
    )
    if sources == ["its tables"]:
        lost = "Lost are its name, settings, tags, pinned queries, judgments and watched folders."
        model = known["generation"][-1]["model"] if known["generation"] else None
        if model:
            lost += f" Its vectors are taken for those of {json.loads(model)['name']}, which is installed and fits."
        return Check(f"{base.name}: adopted", False, f"{detail}. {lost}", str(NameAdopted(kb_id)))
    if found:
        guessed = ", ".join(str(item.number) for item in found)
        detail += f"; notes and times of the generations {guessed} are lost"
    return Check(f"{base.name}: adopted", True, detail)


def _horizon_of(rows: base_file.Dump) -> base_file.Horizon:
    states = {GenerationState(row["state"]): row["promoted_ms"] or 0 for row in rows["generation"]}
    building = frozenset(row["number"] for row in rows["generation"] if row["state"] == GenerationState.BUILDING)
    return base_file.Horizon(rows["kb"]["next_generation"], states.get(GenerationState.ACTIVE, 0), building)


async def _complete_ones(
    vectors: VectorDatabase, paths: KbPaths, found: Sequence[Remains], *, alone: bool
) -> list[Remains]:
    """Those that were sealed; where none was and nothing else is known (`alone`), the newest."""
    complete = [item for item in found if item.sealed or await _same_counts(vectors, paths, item)]
    return complete or (list(found[-1:]) if alone else [])


async def _same_counts(vectors: VectorDatabase, paths: KbPaths, item: Remains) -> bool:
    """Whether both indexes of a generation without a lease file hold equally much, as those of a build do not."""
    try:
        rows = await vectors.rows(item.chunks_table, item.chunks_version)
        return await asyncio.to_thread(_keywords, paths.lexical_generation(item.number)) == rows > 0
    except Exception:  # what a damaged file makes the libraries raise has no common type
        return False


def _keywords(directory: Path) -> int:
    reader = LexicalReader(directory, KbSettings().language)
    try:
        return reader.chunks
    finally:
        reader.close()


class _Reader:
    """Tells from the tables of a base what is lost of it. Damage makes it guess, never raise."""

    def __init__(
        self, vectors: VectorDatabase, paths: KbPaths, models: Sequence[ModelInfo], known: base_file.Dump | None
    ) -> None:
        self._vectors = vectors
        self._paths = paths
        self._models = models
        self._known = known

    async def row(self, item: Remains) -> dict[str, Any]:
        """The catalog's row of a generation. One whose tables are damaged gets it too: the repair that follows knows
        what to do with it.
        """
        documents = chunks = 0
        with suppress(StudioError):
            records = await self._vectors.records(item.documents_version)
            documents = sum(record.status is DocumentStatus.INDEXED for record in records)
        with suppress(StudioError):
            chunks = await self._vectors.rows(item.chunks_table, item.chunks_version)
        model = await self._model(item.chunks_table)
        settings = self._settings(model)
        size = sum((await asyncio.to_thread(disk_usage, self._paths.root)).values())
        at = now_ms()
        return {
            "kb_id": self._paths.root.name, "number": item.number, "state": str(GenerationState.ARCHIVED),
            "parent": None, "settings": json.dumps(settings), "model": json.dumps(asdict(model)) if model else None,
            "chunks_table": item.chunks_table, "chunks_version": item.chunks_version,
            "documents_version": item.documents_version, "documents": documents, "chunks": chunks, "size_bytes": size,
            "own_bytes": 0, "created_ms": at, "ready_ms": at, "promoted_ms": at, "archived_ms": at,
            "rows_version": ROWS_VERSION, "lexical_version": LEXICAL_VERSION, "note": "adopted",
        }  # fmt: skip

    async def name(self, found: Sequence[Remains]) -> str:
        """A name for a base whose own is lost: that of the folder its documents come from."""
        with suppress(StudioError, ValueError, IndexError):
            records = await self._vectors.records(found[-1].documents_version)
            folder = Path(os.path.commonpath({str(Path(record.source_path).parent) for record in records})).name
            name = " ".join("".join(char for char in folder if char.isprintable() and char != ",").split())
            if name:
                return f"{name[: MAX_NAME_LENGTH // 2]} (recovered)"
        return f"Recovered {self._paths.root.name}"

    def _settings(self, model: ModelIdentity | None) -> dict[str, Any]:
        if self._known is not None:
            return dict(json.loads(self._known["kb"]["settings"]))
        return asdict(KbSettings(model=model.name if model else KbSettings().model, contextual=True))

    async def _model(self, table: str) -> ModelIdentity | None:
        """The model of a table: that of a generation that is known, else the installed one that its name or the length
        of its vectors tells.
        """
        for row in self._known["generation"] if self._known else ():
            if row["chunks_table"] == table and row["model"]:
                return ModelIdentity(**json.loads(row["model"]))
        dimension = 0
        with suppress(StudioError):
            dimension = await self._vectors.dimension(table)
        installed = [info for info in self._models if info.installed and info.kind != "reranker"]
        fitting = [info for info in installed if info.dimension == dimension or not dimension]
        named = [info for info in fitting if table.startswith(f"chunks_{info.sha256[:8]}")]
        usual = [info for info in fitting if info.name == KbSettings().model]
        best = next(iter([*named, *usual, *fitting]), None)
        return best.identity if best is not None else None


def _completed(
    paths: KbPaths, known: base_file.Dump | None, found: Sequence[Mapping[str, Any]], name: str
) -> base_file.Dump:
    """A dump with the generations that were found; the newest is active, as it was built on what was active before."""
    if known is None:
        settings = found[-1]["settings"] if found else json.dumps(asdict(KbSettings(contextual=True)))
        base = {
            "id": paths.root.name, "name": name, "settings": settings, "active": None, "next_generation": 1,
            "created_ms": now_ms(), "retention": None,
        }  # fmt: skip
        known = {"kb": base, "generation": []}
    active, generations = known["kb"]["active"], [dict(row) for row in known["generation"]]
    added = [dict(row) for row in found]
    if added and added[-1]["number"] > (active or 0):
        for row in generations:
            if row["state"] == GenerationState.ACTIVE:
                row |= {"state": str(GenerationState.ARCHIVED), "archived_ms": now_ms()}
        active = added[-1]["number"]
        added[-1] |= {"state": str(GenerationState.ACTIVE), "archived_ms": None}
    generations += added
    newest = max([base_file.evidence(paths).newest, *(row["number"] for row in generations)])
    following = max(known["kb"]["next_generation"], newest + 1)
    return {
        **known,
        "kb": {**known["kb"], "active": active, "next_generation": following},
        "generation": generations,
    }
