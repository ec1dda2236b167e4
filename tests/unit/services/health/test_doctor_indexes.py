"""Keyword indexes, tags and manifests of a real store are damaged, found and mended."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studio.failpoints import REPAIR_POINTS, VARIABLE
from studio.index.vectors import table_writer
from tests.helpers.ward import Ward

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


async def test_a_death_between_the_two_renames_is_mended_by_the_next_repair(ward: Ward) -> None:
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
    command = [sys.executable, "-c", code, str(ward.stores.paths.root)]
    outcome = await asyncio.to_thread(subprocess.run, command, env=environment, check=False, capture_output=True)
    assert outcome.returncode < 0, outcome.stderr
    assert not ward.store.paths.lexical_generation(3).exists()
    found = await ward.wrong()
    assert "Care/3: both indexes hold the same chunks" in found
    assert "lexical/g3.repair" in found["Care: no orphaned files"]
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
    await ward.stores.catalog.promote(ward.kb_id, 3)
    newest = min((ward.store.paths.vectors / f"{table}.lance" / "_versions").glob("*.manifest"))
    newest.write_bytes(newest.read_bytes()[:30])
    ward.close()
    assert "Care/3: tables can be read" in await ward.wrong()
    assert await ward.repaired() == {}
    assert before.items() <= (await ward.prints(1, 2, 3)).items(), "what generation 4 held was given up, not swept"
    assert (await ward.states())[3] == "active"
    await ward.answers()


async def test_a_torn_manifest_in_the_history_does_not_stop_a_build_that_joins_fragments(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {item.chunks_version for item in await ward.generations()}
    manifests = (ward.store.paths.vectors / "chunks.lance" / "_versions").glob("*.manifest")
    between = next(path for path in sorted(manifests) if 2**64 - 1 - int(path.stem) not in known)
    between.write_bytes(between.read_bytes()[:30])
    monkeypatch.setattr(table_writer, "GROWN", 0.0)
    (ward.folder / "new.txt").write_text("The heron waits in shallow water.")
    assert (await ward.ingest.ingest(ward.kb_id, [ward.folder])).promoted
    await ward.answers()


async def test_a_torn_manifest_in_the_history_does_not_stop_every_collection(ward: Ward) -> None:
    known = {item.chunks_version for item in await ward.generations()}
    manifests = (ward.store.paths.vectors / "chunks.lance" / "_versions").glob("*.manifest")
    between = next(path for path in sorted(manifests) if 2**64 - 1 - int(path.stem) not in known)
    between.write_bytes(between.read_bytes()[:30])
    assert await ward.repaired() == {}
    assert not between.exists()
    await ward.answers()
