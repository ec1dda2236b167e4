"""What a repair could not bring back: every document is named, with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from studio.documents.kinds import file_kind
from studio.documents.texts import texts_are_sound
from studio.domain import Check, DocumentRecord, DocumentStatus, Generation, KnowledgeBase, LostDocument
from studio.errors import StorageFault
from studio.index.generations import Stores
from studio.index.vectors import DOCUMENTS_TABLE, records_left, table_folder, text_key
from studio.services.recovery.examination import Examination
from studio.services.recovery.salvaging import UNKNOWN_PLACE, Salvage, salvage

NAMELESS = f"Its name is lost; what it held is likely one of the “{UNKNOWN_PLACE}”."
GONE = "Neither its file nor its stored text nor its passages can be read."


class Losses:
    """Compares what the active generation of a knowledge base held before a repair with what it holds after it."""

    def __init__(self, stores: Stores, base: KnowledgeBase) -> None:
        self._stores = stores
        self._base = base
        self._expected: list[DocumentRecord] = []
        self._missing: list[str] = []
        self._known: dict[str, LostDocument] = {}
        self._given_up: list[tuple[int, list[DocumentRecord]]] = []

    async def before(self, found: Examination) -> None:
        """Note what is there, as far as it can still be told."""
        active = found.active
        if active is None:
            return
        store = self._stores.store(self._base.id)
        if not active.tables_fault:
            records = await store.vectors.records(active.generation.documents_version)
            self._expected = [record for record in records if record.status is DocumentStatus.INDEXED]
            return
        left = await salvage(self._stores, active.generation)
        self._expected, self._missing = left.indexed, left.missing
        if not left.passages:
            await asyncio.to_thread(self._note_parts, left, store.paths.texts)

    def _note_parts(self, left: Salvage, texts: Path) -> None:
        for record in left.indexed:
            held = len(left.chunks.get(record.document_id, ()))
            if not 0 < held < record.chunks or Path(record.source_path).is_file():
                continue
            if not texts_are_sound(texts, text_key(record.sha256, record.kind)):
                why = f"Only {held} of its {record.chunks} passages are left; its file and its stored text are gone."
                self._note(record, why)

    async def give_up(self, generation: Generation) -> None:
        """Note what a generation held that is given up."""
        table = table_folder(self._stores.store(self._base.id).paths.vectors, DOCUMENTS_TABLE)
        left = await records_left(table, generation.documents_version)
        rows = [record for record in left.rows if record.status is DocumentStatus.INDEXED]
        self._given_up.append((generation.number, rows))

    async def after(self, found: Examination) -> list[LostDocument]:
        """What is lost, by path; `found` is the examination after the repair."""
        active, store = found.active, self._stores.store(self._base.id)
        if active is None or active.tables_fault:
            return []
        records = await store.vectors.records(active.generation.documents_version)
        indexed = [record for record in records if record.status is DocumentStatus.INDEXED]
        paths = {record.source_path for record in indexed}
        places = {(record.source_path, record.row) for record in indexed}
        for record in self._expected:
            in_part = (record.source_path, record.row) not in places and not Path(record.source_path).is_file()
            if record.source_path not in paths or in_part:
                self._note(record, GONE)
        nameless = {record.kind for record in indexed if Path(record.source_path).parent.name == UNKNOWN_PLACE}
        for path in self._missing:
            if path not in paths:
                kept = not nameless.isdisjoint((file_kind(Path(path)), "text"))
                self._known.setdefault(path, LostDocument(self._base.name, path, "", NAMELESS if kept else GONE))
        for record in indexed:
            if record.document_id in active.damaged:
                self._note(record, "Its rows are damaged, and neither its file nor its stored text can be read.")
            elif text_key(record.sha256, record.kind) in found.bad_texts:
                self._note(record, "Its stored text cannot be read and its file is gone; its passages are still found.")
        await self._note_older(found, paths)
        return sorted(self._known.values(), key=lambda item: item.path)

    async def _note_older(self, found: Examination, paths: set[str]) -> None:
        held = set(paths)
        gone = {number for number, _ in self._given_up}
        for item in found.audits:
            if item.generation.number not in gone and not item.tables_fault:
                try:
                    rows = await self._stores.store(self._base.id).vectors.records(item.generation.documents_version)
                except StorageFault:
                    continue
                held |= {record.source_path for record in rows}
        for number, rows in self._given_up:
            for record in rows:
                if record.source_path not in held and not Path(record.source_path).is_file():
                    self._note(record, f"Only the damaged generation {number} held it, whose files are in lost+found.")

    def _note(self, record: DocumentRecord, why: str) -> None:
        item = LostDocument(self._base.name, record.source_path, record.document_id, why)
        self._known.setdefault(f"{record.source_path}\n{record.row}", item)

    def check(self, lost: Sequence[LostDocument]) -> Check:
        """The failing check that names them."""
        return Check(
            f"{self._base.name}: documents lost", False, f"{len(lost)} documents could not be brought back, or in part",
            "Put their files back, or restore a backup; what was damaged is in lost+found.", tuple(lost),
        )  # fmt: skip
