"""A knowledge base as `doctor` sees it: every generation, its texts, its tags, and what belongs to none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from studio.documents.texts import read_text, texts_are_sound
from studio.domain import Chunk, DocumentRecord, Generation, GenerationState, KnowledgeBase
from studio.errors import NotFound, StorageFault, StudioError
from studio.index.files import try_lock
from studio.index.generations import READABLE, Stores, refuse_newer, tag_of
from studio.index.upkeep import Audit, Leftovers, Verdicts, audit, is_locked, leftovers, listing
from studio.index.vectors import DOCUMENTS_TABLE, VectorDatabase, text_key

_TEXTS_PER_TURN = 32


@dataclass(slots=True)
class Examination:
    """What was found in one knowledge base. Nothing of it was changed."""

    base: KnowledgeBase
    generations: list[Generation]
    audits: list[Audit] = field(default_factory=list)
    """Of the generations that are whole by the catalog, newest first."""
    newer: dict[int, str] = field(default_factory=dict)
    """Generations that only a newer program can read, and the sentence that says so."""
    tags: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    bad_texts: set[str] = field(default_factory=set)
    """Names of stored texts that are needed, and gone or damaged."""
    misplaced: dict[int, set[str]] = field(default_factory=dict)
    """Generation → documents with a passage that does not stand where it should in the stored text."""
    leftovers: Leftovers | None = None
    """None while a job runs, whose files cannot be told from those of a dead one."""

    @property
    def active(self) -> Audit | None:
        """The audit of the active generation."""
        return next((item for item in self.audits if item.generation.state is GenerationState.ACTIVE), None)

    def tagged(self, item: Generation) -> int:
        """How many of its two tables hold the generation's version by its tag."""
        wanted = {item.chunks_table: item.chunks_version, DOCUMENTS_TABLE: item.documents_version}
        return sum(self.tags.get(table, {}).get(tag_of(item.number)) == version for table, version in wanted.items())


async def examine(stores: Stores, base: KnowledgeBase) -> Examination:
    """Look at everything of a knowledge base. A generation that cannot be read hides nothing of the others.

    Takes about as long as reading every table and text once.
    """
    store = stores.store(base.id)
    vectors = VectorDatabase(store.paths.vectors)  # one without caches, which would hide a file that is gone
    try:
        found = await listing(store, vectors)
        busy = is_locked(store.paths.writer_lock)
        result = Examination(base, await stores.catalog.generations(base.id))
        result.tags = await _tags(vectors, found.tables)
        verdicts: Verdicts = {}
        for item in result.generations:
            try:
                refuse_newer(item)
            except StorageFault as error:
                result.newer[item.number] = error.full_message
                continue
            lease = try_lock(store.paths.lease(item.number), shared=True) if item.state in READABLE else None
            if lease is None:
                continue  # not whole, or being collected this moment
            with lease, suppress(NotFound):
                item = await stores.catalog.generation(base.id, item.number)
                if item.state in READABLE:
                    directory = store.paths.lexical_generation(item.number)
                    result.audits.append(await audit(vectors, directory, item, verdicts))
        await _examine_texts(store.paths.texts, result)
        if not busy:
            known = all(not item.tables_fault for item in result.audits) and not result.newer
            needed = set[str]().union(*(item.texts for item in result.audits))
            result.leftovers = leftovers(found, result.generations, needed if known else None)
        return result
    finally:
        vectors.close()


async def _tags(vectors: VectorDatabase, tables: set[str]) -> dict[str, dict[str, int]]:
    tags: dict[str, dict[str, int]] = {}
    for table in tables:
        with suppress(StudioError):
            tags[table] = await vectors.tags_of(table)
    return tags


async def _examine_texts(texts: Path, result: Examination) -> None:
    keys = sorted(set[str]().union(*(item.texts for item in result.audits)))
    for start in range(0, len(keys), _TEXTS_PER_TURN):
        part = keys[start : start + _TEXTS_PER_TURN]
        bad = await asyncio.to_thread(lambda part: [key for key in part if not texts_are_sound(texts, key)], part)
        result.bad_texts.update(bad)
    for item in result.audits:
        sample = [pair for pair in item.sample if text_key(pair[1].sha256, pair[1].kind) not in result.bad_texts]
        result.misplaced[item.generation.number] = await asyncio.to_thread(_misplaced, texts, sample)


def _misplaced(texts: Path, sample: list[tuple[Chunk, DocumentRecord]]) -> set[str]:
    found: set[str] = set()
    text, of = "", ""
    for chunk, record in sorted(sample, key=lambda pair: pair[0].document_id):
        if chunk.document_id != of:
            of = chunk.document_id
            try:
                text = read_text(texts, text_key(record.sha256, record.kind), record.row).text
            except (NotFound, StorageFault):
                text = ""
        if text[chunk.char_start : chunk.char_end] != chunk.content:
            found.add(chunk.document_id)
    return found
