"""A real store is damaged in every way the doctor knows. Only the embedding model is a stand-in, for speed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
import pytest_asyncio

from studio.bootstrap import Services
from studio.config import Config
from studio.documents.parser_pool import ParserPool
from studio.domain import (
    Check,
    Embedder,
    Generation,
    GenerationState,
    KbSettings,
    ModelInfo,
    SearchMode,
    SearchRequest,
    Vectors,
)
from studio.embedding.models import ModelCatalog
from studio.errors import ModelFault
from studio.failpoints import REPAIR_POINTS, VARIABLE
from studio.index.generations import GenerationStore
from studio.index.locks import try_lock
from studio.index.stores import Stores
from studio.paths import DataPaths
from studio.services.doctor import DoctorService
from studio.services.gate import GateService
from studio.services.ingest import IngestService
from studio.services.library import LibraryService
from studio.services.maintenance import MaintenanceService
from studio.services.promotion import Promotion
from studio.services.search import SearchService

Write = Callable[[str, str], Path]
DIMENSION = 8
MODEL = ModelInfo("toy", "c" * 64, DIMENSION, 64, "mean", 1, "none", True, None)
TEXTS = {
    "whale.txt": "The blue whale is the largest animal. It sings in the deep sea for hours and hours on end.",
    "piano.txt": "A piano has eighty-eight keys. Its hammers strike strings of steel, which a frame of iron holds.",
    "glacier.txt": "A glacier is a river of ice. It grinds rock to flour and carves valleys on its way to the sea.",
}
ROWS = [{"_id": f"r{n}", "text": f"Row number {n} speaks of subject {n}."} for n in range(5)]


class ToyEmbedder:
    """Vectors from hashes; `gone` is a model that is not installed."""

    model = MODEL
    gone = False
    embedded = 0

    async def embed(self, texts: Sequence[str], *, interactive: bool = False) -> Vectors:
        self.embedded += not interactive and len(texts)
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)[:DIMENSION] for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), DIMENSION) + 1.0

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    async def close(self) -> None:
        pass

    async def embedder(self, model: str) -> Embedder:
        if self.gone:
            raise ModelFault("The embedding model toy is not installed.", way_out="Install it.")
        return self


class Ward:
    """One knowledge base of three generations: a document each, the last one also a table and a copy."""

    def __init__(self, stores: Stores, toy: ToyEmbedder, parser: ParserPool, folder: Path) -> None:
        config = Config(stores.paths.config)
        self.stores, self.toy, self.folder = stores, toy, folder
        self.library = LibraryService(stores, config)
        self.search = SearchService(stores, toy)
        promotion = Promotion(stores, GateService(stores, self.search))
        maintenance = MaintenanceService(stores, config, promotion)
        self.ingest = IngestService(stores, toy, parser, promotion, maintenance.collect_if_due)
        self.doctor = DoctorService(stores, ModelCatalog(stores.paths), self.ingest)
        self.kb_id = ""

    async def fill(self) -> None:
        kb = await self.library.create("Care", KbSettings(chunk_tokens=16, chunk_overlap=0))
        self.kb_id = kb.id
        for name, text in TEXTS.items():
            (self.folder / name).write_text(text)
            if name == "glacier.txt":
                (self.folder / "copy of whale.txt").write_text(TEXTS["whale.txt"])
                (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
            await self.ingest.ingest(kb.id, [self.folder])
        self.close()

    def close(self) -> None:
        """Let go of everything that is open, as the end of the program does."""
        self.store.close()

    @property
    def store(self) -> GenerationStore:
        return self.stores.store(self.kb_id)

    async def generations(self) -> list[Generation]:
        return await self.stores.thread.run(self.stores.catalog.generations, self.kb_id)

    async def states(self) -> dict[int, str]:
        return {item.number: item.state.value for item in await self.generations()}

    async def active(self) -> Generation:
        (item,) = [item for item in await self.generations() if item.state is GenerationState.ACTIVE]
        return item

    async def wrong(self) -> dict[str, str]:
        return wrong(await self.doctor.check())

    async def repaired(self) -> dict[str, str]:
        return wrong(await self.doctor.repair())

    async def found(self, mode: SearchMode = SearchMode.HYBRID) -> set[str]:
        """Names of the documents that a search for everything finds. Both sides must answer."""
        query = "whale piano glacier row number speaks"
        response = await self.search.search(SearchRequest((self.kb_id,), query, mode, limit=100))
        assert response.degraded is None
        return {Path(result.citation.source_path).name for result in response.results}

    async def answers(self) -> None:
        """Every mode of search finds every document, and every result can be looked up in its text."""
        for mode in SearchMode:
            found = await self.found(mode)
            assert {"piano.txt", "glacier.txt", "rows.jsonl"} <= found, mode
            assert found & {"whale.txt", "copy of whale.txt"}, mode

    def files(self, pattern: str) -> list[Path]:
        """Oldest first."""
        found = [path for path in self.store.paths.root.glob(pattern) if path.is_file()]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    async def prints(self, *numbers: int) -> dict[Path, str]:
        """Hashes of every file that these generations read; the hint at a table's head is not one of them."""
        files = set(self.files("texts/*"))
        for item in await self.generations():
            if item.number in numbers:
                files.update(self.files(f"lexical/g{item.number}/*"))
                for table, version in ((item.chunks_table, item.chunks_version), ("documents", item.documents_version)):
                    files.update(await self.store.vectors.files(table, version))
        return {
            file: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.is_file() and file.suffix != ".lock" and "hint" not in file.name
        }

    async def dataset(self, table: str = "chunks") -> lance.LanceDataset:
        generation = await self.active()
        versions = {"documents": generation.documents_version, generation.chunks_table: generation.chunks_version}
        uri = str(self.store.paths.vectors / f"{table}.lance")
        return await asyncio.to_thread(lance.dataset, uri, version=versions[table])

    async def overwrite(self, change: Callable[[pa.Table], pa.Table]) -> None:
        """Replace the rows of the active generation's chunks behind the program's back."""
        dataset = await self.dataset()
        table = change(dataset.to_table())
        other = await asyncio.to_thread(lambda: lance.write_dataset(table, dataset.uri, mode="overwrite"))
        generation = await self.active()
        await asyncio.to_thread(other.tags.update, f"g{generation.number}", other.version)

        def record() -> None:
            with self.stores.catalog.transaction() as db:
                db.execute(
                    "UPDATE generation SET chunks_version = ? WHERE kb_id = ? AND number = ?",
                    (other.version, self.kb_id, generation.number),
                )

        await self.stores.thread.run(record)
        self.store.vectors.forget_caches()


def wrong(checks: Sequence[Check]) -> dict[str, str]:
    """What failed; the model is a toy, which no folder of models holds."""
    assert all(not check.repair for check in checks if check.ok)
    return {check.name: check.detail for check in checks if not check.ok and check.name != "models"}


@pytest_asyncio.fixture
async def ward(tmp_path: Path, folder: Path) -> AsyncIterator[Ward]:
    stores = await Stores.open(DataPaths(tmp_path / "data"))
    parser = ParserPool(1)
    bench = Ward(stores, ToyEmbedder(), parser, folder)
    await bench.fill()
    yield bench
    await parser.close()
    await stores.close()


def replaced(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


# ------------------------------------------------------------ sound


async def test_a_sound_store_has_nothing_wrong(ward: Ward) -> None:
    before = await ward.prints(1, 2, 3)
    checks = await ward.doctor.check()
    assert wrong(checks) == {}
    names = [check.name for check in checks]
    assert sum("both indexes" in name for name in names) == 3
    for what in ("tables can be read", "counts agree", "vectors are sound", "contents match", "tagged",
                 "texts are there", "passages stand", "model matches"):  # fmt: skip
        assert any(name.startswith("Care/3: ") and what in name for name in names), what
    assert await ward.repaired() == {}
    assert await ward.prints(1, 2, 3) == before
    assert await ward.states() == {3: "active", 2: "archived", 1: "archived"}


async def test_an_empty_knowledge_base_is_sound(ward: Ward) -> None:
    await ward.library.create("Empty")
    assert await ward.wrong() == {}
    assert await ward.repaired() == {}


# ------------------------------------------------------------ keyword index


async def test_a_lost_keyword_index_is_made_again(ward: Ward) -> None:
    before = await ward.prints(1, 2)
    shutil.rmtree(ward.store.paths.lexical_generation(3))
    assert list(await ward.wrong()) == ["Care/3: both indexes hold the same chunks"]
    assert await ward.repaired() == {}
    await ward.answers()
    assert await ward.prints(1, 2) == before


@pytest.mark.parametrize("suffix", ["idx", "term", "pos", "store", "fieldnorm", "fast"])
async def test_flipped_bits_in_a_segment_are_seen_and_mended(ward: Ward, suffix: str) -> None:
    file = max(ward.store.paths.lexical_generation(3).glob(f"*.{suffix}"), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(file.read_bytes())
    data[len(data) // 4] ^= 0x10
    file.write_bytes(data)
    linked = [n for n in (1, 2, 3) if (ward.store.paths.lexical_generation(n) / file.name).exists()]
    assert list(await ward.wrong()) == [f"Care/{n}: both indexes hold the same chunks" for n in reversed(linked)]
    assert await ward.repaired() == {}
    await ward.answers()


@pytest.mark.parametrize("suffix", ["idx", "term", "pos", "store", "fieldnorm", "fast"])
async def test_a_segment_file_that_is_gone_is_seen_and_mended(ward: Ward, suffix: str) -> None:
    ward.files(f"lexical/g3/*.{suffix}")[-1].unlink()
    assert list(await ward.wrong()) == ["Care/3: both indexes hold the same chunks"]
    assert await ward.repaired() == {}
    await ward.answers()


async def test_a_truncated_segment_and_a_torn_meta_file_are_mended(ward: Ward) -> None:
    file = ward.files("lexical/g3/*.store")[-1]
    file.write_bytes(file.read_bytes()[:40])
    (ward.store.paths.lexical_generation(2) / "meta.json").write_text("{")
    assert {"Care/3: both indexes hold the same chunks", "Care/2: both indexes hold the same chunks"} <= {
        *await ward.wrong()
    }
    assert await ward.repaired() == {}
    await ward.answers()


async def test_a_death_between_the_two_renames_is_mended_by_the_next_repair(ward: Ward, tmp_path: Path) -> None:
    file = ward.files("lexical/g3/*.idx")[-1]
    file.write_bytes(b"damaged")
    code = (
        "import asyncio, sys, pathlib\n"
        "from studio.bootstrap import open_services\n"
        "async def main():\n"
        "    async with open_services(pathlib.Path(sys.argv[1])) as services:\n"
        "        await services.doctor.repair()\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, VARIABLE: REPAIR_POINTS[0]}
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    outcome = await asyncio.to_thread(subprocess.run, command, env=environment, check=False, capture_output=True)
    assert outcome.returncode < 0, outcome.stderr
    assert not ward.store.paths.lexical_generation(3).exists()
    found = await ward.wrong()
    assert "Care/3: both indexes hold the same chunks" in found
    assert "lexical/g3.damaged" in found["Care: no orphaned files"]
    assert await ward.repaired() == {}
    assert sorted(path.name for path in ward.store.paths.lexical.iterdir()) == ["g1", "g2", "g3"]
    await ward.answers()


async def test_a_keyword_index_that_cannot_be_replaced_stays(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ward.files("lexical/g3/*.idx")[-1]
    file.write_bytes(b"damaged")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "g3":
            raise PermissionError(13, "a reader has a file of it open")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    found = await ward.repaired()
    assert {"Care/3: both indexes hold the same chunks", "Care: repair"} <= found.keys()
    assert file.exists()
    monkeypatch.undo()
    assert await ward.repaired() == {}


# ------------------------------------------------------------ tags and manifests


@pytest.mark.parametrize("damage", ["removed", "torn", "elsewhere"])
@pytest.mark.parametrize("table", ["chunks", "documents"])
async def test_tags_are_set_again(ward: Ward, table: str, damage: str) -> None:
    before = await ward.prints(1, 2, 3)
    tag = ward.store.paths.vectors / f"{table}.lance" / "_refs" / "tags" / "g3.json"
    if damage == "removed":
        tag.unlink()
    elif damage == "torn":
        tag.write_text('{"versi')
    else:
        shutil.copy(tag.with_name("g1.json"), tag)
    assert "Care/3: tagged" in await ward.wrong()
    assert await ward.repaired() == {}
    assert await ward.prints(1, 2, 3) == before
    await ward.answers()
    await ward.ingest.ingest(ward.kb_id, [ward.folder])


@pytest.mark.parametrize("table", ["chunks", "documents"])
async def test_a_torn_manifest_of_an_abandoned_build_does_not_hide_the_others(ward: Ward, table: str) -> None:
    before = await ward.prints(1, 2, 3)
    (ward.folder / "new.txt").write_text("A new document.")
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    await ward.stores.thread.run(ward.stores.catalog.promote, ward.kb_id, 3)
    newest = min((ward.store.paths.vectors / f"{table}.lance" / "_versions").glob("*.manifest"))
    newest.write_bytes(newest.read_bytes()[:30])
    ward.close()
    assert "Care/3: tables can be read" in await ward.wrong()
    assert await ward.repaired() == {}
    assert await ward.prints(1, 2, 3) == before
    assert (await ward.states())[3] == "active"
    await ward.answers()


async def test_a_torn_manifest_in_the_history_does_not_stop_every_collection(ward: Ward) -> None:
    known = {item.chunks_version for item in await ward.generations()}
    manifests = (ward.store.paths.vectors / "chunks.lance" / "_versions").glob("*.manifest")
    between = next(path for path in sorted(manifests) if 2**64 - 1 - int(path.stem) not in known)
    between.write_bytes(between.read_bytes()[:30])
    assert await ward.repaired() == {}
    assert not between.exists()
    await ward.answers()


# ------------------------------------------------------------ texts


async def test_lost_and_damaged_texts_are_read_again(ward: Ward) -> None:
    lost, cut, flipped, *_ = ward.files("texts/*")
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:50])
    data = bytearray(flipped.read_bytes())
    data[60] ^= 0xFF
    flipped.write_bytes(data)
    found = await ward.wrong()
    assert found["Care/3: texts are there"] == "3 of 4 missing or damaged"
    assert await ward.repaired() == {}
    await ward.answers()
    assert (await ward.active()).number == 4
    assert (await ward.active()).note.startswith("repair")


async def test_a_text_whose_file_is_gone_leaves_its_document_in_place(ward: Ward) -> None:
    (ward.folder / "piano.txt").unlink()
    ward.files("texts/*")[1].unlink()
    checks = await ward.doctor.repair()
    assert wrong(checks).keys() == {"Care/3: texts are there", "Care/2: texts are there"}
    (check,) = [check for check in checks if check.name == "Care/3: texts are there"]
    assert str(ward.folder / "piano.txt") in check.repair
    await ward.answers()
    (ward.folder / "piano.txt").write_text(TEXTS["piano.txt"])
    assert await ward.repaired() == {}


async def test_a_file_that_changed_meanwhile_is_indexed_as_it_is(ward: Ward) -> None:
    (ward.folder / "piano.txt").write_text("A piano forte is another name of the piano.")
    ward.files("texts/*")[1].unlink()
    await ward.doctor.repair()
    await ward.answers()
    async with ward.store.reading() as snapshot:
        contents = {content for _, _, content in await snapshot.tables.contents()}
    assert "A piano forte is another name of the piano." in contents
    assert not any("eighty-eight" in content for content in contents)


async def test_a_file_that_cannot_be_read_again_keeps_what_there_is(ward: Ward) -> None:
    await ward.overwrite(lambda table: replaced(table, "embedding", [[0.0] * DIMENSION] * len(table)))
    (ward.folder / "rows.jsonl").write_bytes(b"\x00\xff\xfe no table at all")
    next(path for path in ward.files("texts/*") if path.suffix == ".jsonl").unlink()
    found = await ward.repaired()
    title = f"Care/{(await ward.active()).number}"
    assert found[f"{title}: texts are there"] == "1 of 4 missing or damaged"
    assert found[f"{title}: vectors are sound"] == f"{DIMENSION} numbers each; {len(ROWS)} documents have bad ones"
    assert "rows.jsonl" in await ward.found(SearchMode.KEYWORD)
    assert {"piano.txt", "glacier.txt"} <= await ward.found(SearchMode.VECTOR)


async def test_a_text_that_is_another_text_is_seen(ward: Ward) -> None:
    first, second, *_ = ward.files("texts/*")
    shutil.copy(second, first)
    assert "Care/3: passages stand in their texts" in await ward.wrong()
    assert await ward.repaired() == {}
    await ward.answers()


# ------------------------------------------------------------ rows


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
async def test_bad_vectors_are_embedded_again(ward: Ward, bad: float) -> None:
    before = await ward.prints(1, 2)

    def change(table: pa.Table) -> pa.Table:
        vectors = [row.as_py() for row in table["embedding"]]
        for at in (0, len(vectors) - 1):  # a document that two paths share, and a row of the table
            vectors[at] = [bad] * DIMENSION
        return replaced(table, "embedding", vectors)

    await ward.overwrite(change)
    assert list(await ward.wrong()) == ["Care/3: vectors are sound"]
    assert await ward.repaired() == {}
    await ward.answers()
    assert await ward.prints(1, 2) == before
    assert await ward.states() == {4: "active", 3: "failed", 2: "archived", 1: "archived"}


async def test_bad_vectors_of_a_file_that_is_gone_come_from_the_stored_text(ward: Ward) -> None:
    await ward.overwrite(lambda table: replaced(table, "embedding", [[0.0] * DIMENSION] * len(table)))
    shutil.rmtree(ward.folder)
    assert await ward.repaired() == {}
    await ward.answers()


async def test_changed_contents_are_read_again(ward: Ward) -> None:
    def change(table: pa.Table) -> pa.Table:
        return replaced(table, "content", ["Nobody wrote this.", *table["content"].to_pylist()[1:]])

    await ward.overwrite(change)
    found = await ward.wrong()
    assert {"Care/3: contents match their hashes", "Care/3: passages stand in their texts"} <= found.keys()
    assert await ward.repaired() == {}
    await ward.answers()
    async with ward.store.reading() as snapshot:
        assert all("Nobody" not in content for _, _, content in await snapshot.tables.contents())


@pytest.mark.parametrize("damage", ["missing", "repeated", "stray"])
async def test_missing_repeated_and_stray_rows_are_put_right(ward: Ward, damage: str) -> None:
    def change(table: pa.Table) -> pa.Table:
        if damage == "missing":
            return table.slice(1)
        if damage == "repeated":
            return pa.concat_tables([table, table.slice(0, 1)])
        stray = replaced(table.slice(0, 1), "document_id", ["f" * 32])
        return pa.concat_tables([table, replaced(stray, "chunk_id", ["e" * 32])])

    await ward.overwrite(change)
    found = await ward.wrong()
    assert {"Care/3: both indexes hold the same chunks", "Care/3: counts agree"} <= found.keys()
    assert await ward.repaired() == {}
    await ward.answers()
    sound = await ward.active()
    assert (sound.number, sound.documents) == (4, 9)


# ------------------------------------------------------------ tables that cannot be read


async def test_the_newest_whole_generation_takes_the_place_of_an_unreadable_one(ward: Ward) -> None:
    before = await ward.prints(1, 2)
    newest = ward.files("vectors/chunks.lance/data/*")[-1]
    newest.unlink()
    assert list(await ward.wrong()) == ["Care/3: tables can be read"]
    assert await ward.repaired() == {}
    await ward.answers()
    assert await ward.states() == {4: "active", 3: "failed", 2: "archived", 1: "archived"}
    assert (await ward.active()).parent == 2
    assert await ward.prints(1, 2) == before


async def test_what_only_stored_texts_hold_comes_back_too(ward: Ward) -> None:
    ward.files("vectors/chunks.lance/data/*")[-1].unlink()
    shutil.rmtree(ward.folder)
    assert await ward.repaired() == {}
    await ward.answers()


async def test_without_a_whole_generation_everything_is_rebuilt_from_the_texts(ward: Ward) -> None:
    for file in ward.files("vectors/chunks.lance/data/*"):
        file.unlink()
    shutil.rmtree(ward.folder)
    found = await ward.wrong()
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} == found.keys()
    assert await ward.repaired() == {}
    await ward.answers()
    assert (await ward.active()).chunks_table != "chunks"
    assert await ward.states() == {4: "active", 3: "failed", 2: "failed", 1: "failed"}
    ward.folder.mkdir()
    (ward.folder / "new.txt").write_text("One more document.")
    await ward.ingest.ingest(ward.kb_id, [ward.folder / "new.txt"])
    assert await ward.wrong() == {}


@pytest.mark.parametrize("what", ["_versions/*.manifest", "**/*"])
async def test_a_table_that_is_gone_is_rebuilt(ward: Ward, what: str) -> None:
    if what == "**/*":
        shutil.rmtree(ward.store.paths.vectors / "chunks.lance")
    for file in ward.files(f"vectors/chunks.lance/{what}"):
        file.unlink()
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} <= (await ward.wrong()).keys()
    assert await ward.repaired() == {}
    await ward.answers()
    assert await ward.wrong() == {}


async def test_a_lost_list_of_documents_comes_from_past_requests(ward: Ward) -> None:
    for file in ward.files("vectors/documents.lance/data/*"):
        file.unlink()
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} == (await ward.wrong()).keys()
    assert await ward.repaired() == {}
    await ward.answers()


async def test_a_lost_list_of_documents_without_files_is_left_alone(ward: Ward) -> None:
    for file in ward.files("vectors/documents.lance/data/*"):
        file.unlink()
    shutil.rmtree(ward.folder)
    before, states = await ward.prints(1, 2, 3), await ward.states()
    found = await ward.repaired()
    assert "none of the files" in found["Care: repair"]
    assert (await ward.prints(1, 2, 3), await ward.states()) == (before, states)


async def test_a_damaged_list_of_documents_falls_back_on_an_older_one(ward: Ward) -> None:
    ward.files("vectors/documents.lance/data/*")[-1].unlink()
    assert list(await ward.wrong()) == ["Care/3: tables can be read"]
    assert await ward.repaired() == {}
    await ward.answers()


async def test_an_older_list_is_completed_from_past_requests(ward: Ward) -> None:
    ward.files("vectors/documents.lance/data/*")[-1].unlink()
    ward.files("vectors/chunks.lance/data/*")[0].unlink()
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} == (await ward.wrong()).keys()
    assert await ward.repaired() == {}
    await ward.answers()


async def test_indexes_of_the_tables_that_are_gone_are_seen(ward: Ward) -> None:
    for file in ward.files("vectors/chunks.lance/_indices/*/*"):
        file.unlink()
    assert "Care/3: tables can be read" in await ward.wrong()
    before = ward.toy.embedded
    assert await ward.repaired() == {}
    await ward.answers()
    assert ward.toy.embedded == before, "every vector could still be read"


async def test_only_what_no_file_holds_any_more_is_embedded_again(ward: Ward) -> None:
    oldest, *_ = ward.files("vectors/chunks.lance/data/*")
    oldest.unlink()
    before, chunks = ward.toy.embedded, (await ward.active()).chunks
    assert await ward.repaired() == {}
    await ward.answers()
    assert 0 < ward.toy.embedded - before < chunks


async def test_an_archived_generation_is_given_up_only_when_it_is_proven_damaged(ward: Ward) -> None:
    await ward.overwrite(lambda table: replaced(table, "embedding", [[0.0] * DIMENSION] * len(table)))
    await ward.stores.thread.run(ward.stores.catalog.promote, ward.kb_id, 2)
    assert list(await ward.wrong()) == ["Care/3: vectors are sound"]
    assert await ward.repaired() == {}
    assert await ward.states() == {3: "failed", 2: "active", 1: "archived"}


async def test_what_must_not_be_read_is_not_given_up(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    oldest, *_, newest = ward.files("vectors/chunks.lance/data/*")
    newest.unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != oldest)
    states = await ward.states()
    assert "No permission" in (await ward.repaired())["Care: repair"]
    assert await ward.states() == states


# ------------------------------------------------------------ orphans


async def test_orphans_are_seen_and_swept(ward: Ward) -> None:
    paths = ward.store.paths
    folder = ward.stores.paths.kb("0123456789ab").root
    folder.mkdir()
    (folder / "writer.lock").touch()
    shutil.copytree(paths.lexical_generation(1), paths.lexical / "g77")
    (paths.leases / "g77").touch()
    (paths.texts / f"{'0' * 64}.text").write_bytes(b"x")
    (paths.texts / "scribble").write_bytes(b"x")
    await ward.store.vectors.set_tag("chunks", "g77", 1)
    shutil.copytree(paths.vectors / "chunks.lance", paths.vectors / "stray.lance")
    found = await ward.wrong()
    assert found["Care: no orphaned files"] == (
        "lexical/g77, table stray, tag g77, texts/scribble; 2 files wait for the next collection"
    )
    assert "no orphaned folders" in found
    with await ward.store.lock_for_writing("Care"):
        assert "Care: no orphaned files" not in await ward.wrong(), "a job may be making them"
    before = await ward.prints(1, 2, 3)
    assert await ward.repaired() == {}
    assert not folder.exists()
    assert not (paths.leases / "g77").exists()
    assert not (paths.vectors / "stray.lance").exists()
    gone = {path.name for path in before if not path.exists()}
    assert gone == {"scribble", f"{'0' * 64}.text"}
    await ward.answers()


async def test_an_interrupted_build_is_no_fault_and_its_files_are_no_orphans(ward: Ward) -> None:
    kb = await ward.stores.knowledge_base(ward.kb_id)
    build = await ward.store.begin(kb, MODEL.identity, note="test")
    await build.flush()
    build.lexical.abandon()
    (ward.store.paths.texts / f"{'0' * 64}.text").write_bytes(b"x")
    checks = await ward.doctor.check()
    assert wrong(checks) == {}
    (check,) = [check for check in checks if check.name == "Care: unfinished work"]
    assert "[4]" in check.detail


async def test_an_interrupted_import_is_named_and_removed(ward: Ward) -> None:
    kb = await ward.stores.thread.run(ward.stores.catalog.begin_import, "Half", KbSettings())
    ward.stores.paths.kb(kb.id).create()
    checks = await ward.doctor.check()
    assert wrong(checks) == {}
    assert next(check.detail for check in checks if check.name == "unfinished imports").startswith("1 ")
    assert await ward.repaired() == {}
    assert not ward.stores.paths.kb(kb.id).root.exists()


# ------------------------------------------------------------ what stands in the way


async def test_another_programs_work_is_not_disturbed(ward: Ward) -> None:
    shutil.rmtree(ward.store.paths.lexical_generation(3))
    lock = try_lock(ward.store.paths.writer_lock, shared=False)
    assert lock is not None
    with lock:
        found = await ward.repaired()
    assert "is being changed by another" in found["Care: repair"]
    assert "Care/3: both indexes hold the same chunks" in found
    assert await ward.repaired() == {}


async def test_without_the_model_the_documents_wait(ward: Ward) -> None:
    ward.files("texts/*")[1].unlink()
    ward.toy.gone = True
    checks = await ward.doctor.repair()
    (note,) = [check for check in checks if check.name == "Care: repair"]
    assert "--resume" in note.repair
    assert (await ward.active()).number == 3
    ward.toy.gone = False
    report = await ward.ingest.resume(ward.kb_id)
    assert report.promoted
    assert await ward.wrong() == {}


async def test_without_the_model_an_older_generation_answers_meanwhile(ward: Ward) -> None:
    ward.files("vectors/chunks.lance/data/*")[-1].unlink()
    ward.toy.gone = True
    assert "Care: repair" in await ward.repaired()
    assert await ward.states() == {3: "archived", 2: "active", 1: "archived"}
    await ward.doctor.repair()
    assert (await ward.states())[3] == "archived", "it lists what must come back"
    ward.toy.gone = False
    assert await ward.repaired() == {}
    await ward.answers()


async def test_without_the_model_past_requests_wait(ward: Ward) -> None:
    ward.files("vectors/documents.lance/data/*")[-1].unlink()
    ward.toy.gone = True
    checks = await ward.doctor.repair()
    (note,) = [check for check in checks if check.name == "Care: repair"]
    assert "--resume" in note.repair
    assert (await ward.active()).number == 2
    ward.toy.gone = False
    await ward.ingest.resume(ward.kb_id)
    assert await ward.repaired() == {}
    await ward.answers()


async def test_documents_that_must_come_back_do_so_before_anything_else(ward: Ward) -> None:
    ward.files("vectors/chunks.lance/data/*")[-1].unlink()
    ward.toy.gone = True
    await ward.doctor.repair()
    ward.toy.gone = False
    await ward.stores.thread.run(ward.stores.catalog.jobs.create, ward.kb_id, [str(ward.folder)], {"interrupted": True})
    ward.files("texts/*")[0].unlink()
    assert await ward.repaired() == {}
    await ward.answers()
    assert (await ward.states())[3] == "failed"


async def test_damage_in_one_knowledge_base_hides_nothing_of_another(ward: Ward) -> None:
    other = await ward.library.create("Another", KbSettings(chunk_tokens=16, chunk_overlap=0))
    await ward.ingest.ingest(other.id, [ward.folder])
    shutil.rmtree(ward.store.paths.vectors)
    shutil.rmtree(ward.stores.store(other.id).paths.lexical_generation(1))
    found = await ward.wrong()
    assert "Another/1: both indexes hold the same chunks" in found
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} <= found.keys()


async def test_a_newer_schema_is_named_and_left_alone(ward: Ward) -> None:
    def newer() -> None:
        with ward.stores.catalog.transaction() as db:
            db.execute("UPDATE generation SET rows_version = 99 WHERE number = 2")

    await ward.stores.thread.run(newer)
    before = await ward.prints(1, 2, 3)
    found = await ward.repaired()
    assert list(found) == ["Care/2: known schema"]
    assert await ward.prints(1, 2, 3) == before


# ------------------------------------------------------------ with the real model


async def test_the_real_model_is_compared_with_the_one_that_was_used(services: Services, write: Write) -> None:
    path = write("whale.txt", TEXTS["whale.txt"])
    base = await services.library.create("Care")
    await services.ingest.ingest(base.id, [path])
    assert {check.name for check in await services.doctor.check() if not check.ok} == set()

    stores = services.library._stores

    def another() -> None:
        with stores.catalog.transaction() as db:
            db.execute(
                "UPDATE generation SET model = replace(model, substr(json_extract(model, '$.sha256'), 1, 8), 'ff')"
            )

    await stores.thread.run(another)
    assert "Care/1: model matches" in {check.name for check in await services.doctor.check() if not check.ok}


async def test_a_missing_model_is_named(services: Services) -> None:
    await services.library.create("Odd", KbSettings(model="no-such-model"))
    (check,) = [check for check in await services.doctor.check() if check.name == "models"]
    assert not check.ok
    assert "no-such-model" in check.detail
