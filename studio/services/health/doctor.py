"""Checking every invariant of the storage that can be checked, and mending what can be mended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from studio.confinement import describe
from studio.domain import Check, DocumentStatus, Generation, GenerationState, KnowledgeBase, ModelInfo
from studio.embedding.models import ModelCatalog
from studio.errors import StudioError
from studio.index.generations import Stores
from studio.index.upkeep import Audit
from studio.index.vectors import text_key
from studio.links import can_link
from studio.services.health.modes import check_modes, mend_modes
from studio.services.health.repair import Repair
from studio.services.jobs import Requests
from studio.services.recovery import Examination, check_strays, examine, strays
from studio.ways_out import CollectGenerations, InstallModel, RunRepair, ways_in


class DoctorService:
    """Looks at everything stored. One damaged generation hides nothing of the others, and damage is no exception."""

    def __init__(self, stores: Stores, models: ModelCatalog, ingest: Requests) -> None:
        self._stores = stores
        self._models = models
        self._repair = Repair(stores, models, ingest)

    async def check(self) -> list[Check]:
        """Check every invariant; changes nothing. Reads every table and text once."""
        result = await self._stores.catalog.integrity()
        checks = [Check("catalog", result == "ok", result, "" if result == "ok" else "Restore a backup of it.")]
        bases = await self._stores.catalog.knowledge_bases()
        models = {info.name: info for info in await asyncio.to_thread(self._models.list)}
        used = {base.settings.model for base in bases}
        for base in bases:
            try:
                checks += await self._check_kb(await examine(self._stores, base), models)
            except StudioError as error:
                checks.append(Check(f"{base.name}: readable", False, str(error), error.way_out))
        checks += [await self._check_folders(), await self._check_imports(), _check_models(used, models)]
        checks += [_check_confinement(), await asyncio.to_thread(_check_links, self._stores.paths.root)]
        return [*checks, await asyncio.to_thread(check_modes, self._stores.paths.root)]

    async def repair(self) -> list[Check]:
        """Mend what can be mended without losing a generation that works, then check again.

        What could not be mended, because another program is at work or a model is missing, is a failing check.
        """
        notes = await self._repair.run()
        await asyncio.to_thread(mend_modes, self._stores.paths.root)
        return [_after_repair(check) for check in (*await self.check(), *notes)]

    # ------------------------------------------------------------ one knowledge base

    async def _check_kb(self, found: Examination, models: dict[str, ModelInfo]) -> list[Check]:
        base = found.base
        active = [item.number for item in found.generations if item.state is GenerationState.ACTIVE]
        expected = [base.active_generation] if base.active_generation is not None else []
        building = [item.number for item in found.generations if item.state is GenerationState.BUILDING]
        checks = [
            _check(
                f"{base.name}: one active generation", active == expected, f"active: {active or 'none yet'}",
                "Promote a generation.",
            ),
            # A build or a job whose process is gone is no fault: the next build discards it, readers never see it.
            _check(f"{base.name}: unfinished work", True, await self._unfinished(base, building), ""),
        ]  # fmt: skip
        for number, sentence in found.newer.items():
            checks.append(_check(f"{base.name}/{number}: known schema", False, sentence, "Update RAG Studio."))
        for item in found.audits:
            title = f"{base.name}/{item.generation.number}"
            checks += _check_rows(title, item)
            checks += await self._check_texts(title, found, item)
            checks.append(_check_tags(title, found, item.generation))
            checks.append(_check_model(title, item, models))
        return [*checks, _check_leftovers(found)]

    async def _unfinished(self, base: KnowledgeBase, building: list[int]) -> str:
        job = await self._stores.catalog.jobs.unfinished(base.id)
        parts = [f"generations interrupted or being built: {building}"] if building else []
        parts += ["a job runs, or waits to go on"] if job else []
        return "; ".join(parts) or "none"

    async def _check_texts(self, title: str, found: Examination, item: Audit) -> list[Check]:
        if item.tables_fault:
            return []
        bad = item.texts & found.bad_texts
        misplaced = found.misplaced.get(item.generation.number, set())
        way_out = await self._way_to_texts(found, item.generation, bad) if bad else ""
        return [
            _check(
                f"{title}: texts are there", not bad, f"{len(bad)} of {len(item.texts)} missing or damaged", way_out
            ),
            _check(
                f"{title}: passages stand in their texts", not misplaced,
                f"{len(item.sample)} passages looked up, {len(misplaced)} documents differ", _ways(item.generation),
            ),
        ]  # fmt: skip

    async def _way_to_texts(self, found: Examination, generation: Generation, bad: set[str]) -> str:
        """What a person can do about texts that are gone: nothing but to bring back the files that are gone too."""
        records = await self._stores.store(found.base.id).vectors.records(generation.documents_version)
        paths: dict[str, list[str]] = {}
        for record in records:
            if record.status is DocumentStatus.INDEXED and (key := text_key(record.sha256, record.kind)) in bad:
                paths.setdefault(key, []).append(record.source_path)
        gone = await asyncio.to_thread(_lost, paths)
        if not gone or generation.state is not GenerationState.ACTIVE:
            return _ways(generation)
        others = f" and {len(gone) - 1} others" if len(gone) > 1 else ""
        return f"Put {gone[0]}{others} back. {RunRepair()} Or remove the document; only its preview is missing."

    # ------------------------------------------------------------ everything else

    async def _check_folders(self) -> Check:
        return check_strays(await strays(self._stores))

    async def _check_imports(self) -> Check:
        imports = await self._stores.catalog.imports()
        detail = f"{len(imports)} running or interrupted; the next import removes what is left of dead ones"
        return Check("unfinished imports", True, detail if imports else "none")


def _check(name: str, ok: bool, detail: str, repair: str) -> Check:
    return Check(name, ok, detail, "" if ok else repair)


def _after_repair(check: Check) -> Check:
    """What a repair left: to ask for another one would not help by itself."""
    first = next(iter(ways_in(check.repair)), None)
    if check.ok or not isinstance(first, RunRepair) or not check.repair.startswith(str(first)):
        return check
    return replace(check, repair="No file that is left holds it: put the source files back, or restore a backup.")


def _ways(generation: Generation) -> str:
    """What mends rows or texts of a generation."""
    if generation.state is GenerationState.ACTIVE:
        return str(RunRepair("reads the documents again"))
    return str(CollectGenerations())


def _check_rows(title: str, item: Audit) -> list[Check]:
    generation = item.generation
    active = generation.state is GenerationState.ACTIVE
    gives_up = str(RunRepair("gives this generation up once the active one is sound"))
    if item.tables_fault:
        way_out = str(RunRepair("goes back to a whole generation, or rebuilds this one")) if active else gives_up
        return [_check(f"{title}: tables can be read", False, item.tables_fault, way_out)]
    mends = str(RunRepair("reads the documents again")) if active else gives_up
    keywords = item.keywords_fault or f"{item.rows} vectors, {item.keywords} keyword entries, {item.repeated} repeated"
    dimension = generation.model.dimension if generation.model else item.dimension
    return [
        _check(f"{title}: tables can be read", True, f"{item.rows} chunks", ""),
        _check(
            f"{title}: both indexes hold the same chunks", item.same_chunks, keywords,
            mends if item.repeated else str(RunRepair("rebuilds the keyword index")),
        ),
        _check(
            f"{title}: counts agree", item.counted,
            f"{item.documents} documents, {item.rows} chunks, {len(item.miscounted)} documents differ",
            mends if item.miscounted else "The next generation is counted anew.",
        ),
        _check(
            f"{title}: vectors are sound", not item.unsound,
            f"{item.dimension or dimension} numbers each; {len(item.unsound)} documents have bad ones", mends,
        ),
        _check(
            f"{title}: contents match their hashes", not item.altered,
            f"{item.rows} chunks compared, {len(item.altered)} documents differ", mends,
        ),
    ]  # fmt: skip


def _check_tags(title: str, found: Examination, generation: Generation) -> Check:
    tagged = found.tagged(generation)
    return _check(f"{title}: tagged", tagged == 2, f"{tagged} of 2 tables", str(RunRepair("sets the tags again")))


def _check_model(title: str, item: Audit, models: dict[str, ModelInfo]) -> Check:
    name = f"{title}: model matches"
    model = item.generation.model
    if model is None:
        return Check(name, True, "no model")
    installed = models.get(model.name)
    if installed is None or not installed.installed:
        return Check(name, True, f"{model.name} is not installed")
    return _check(
        name, installed.sha256 == model.sha256, f"{model.name}, {installed.sha256[:12]} installed, "
        f"{model.sha256[:12]} used", "Install the file that was used, or ingest with another model.",
    )  # fmt: skip


def _check_leftovers(found: Examination) -> Check:
    name = f"{found.base.name}: no orphaned files"
    if found.leftovers is None:
        return Check(name, True, "not looked at while a job runs")
    strays, waiting = found.leftovers.strays, found.leftovers.waiting
    detail = ", ".join(strays[:5]) + (f" and {len(strays) - 5} more; " if len(strays) > 5 else "; " if strays else "")
    return _check(name, not strays, f"{detail}{waiting} files wait for the next collection", str(RunRepair()))


def _check_models(used: set[str], models: dict[str, ModelInfo]) -> Check:
    missing = sorted(name for name in used if name not in models or not models[name].installed)
    detail = f"missing: {', '.join(missing)}" if missing else "all installed"
    return Check("models", not missing, detail, str(InstallModel(missing[0])) if missing else "")


def _check_confinement() -> Check:
    return Check("untrusted work is confined", True, describe())  # what a system cannot do is no damage


def _check_links(root: Path) -> Check:
    said = "files can be linked" if can_link(root) else "files cannot be linked here: nothing can be indexed"
    return _check("links", can_link(root), said, "Move the data directory to another disk.")


def _lost(paths: dict[str, list[str]]) -> list[str]:
    """One path of every text that has no file any more."""
    exists: Callable[[str], bool] = lambda path: Path(path).is_file()  # noqa: E731
    return [some[0] for some in paths.values() if not any(map(exists, some))]
