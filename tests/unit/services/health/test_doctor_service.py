"""A sound store, orphans, and what stands in doctor's way."""

from __future__ import annotations

import shutil

from studio.bootstrap import Services
from studio.confinement import describe
from studio.domain import JobKind, KbSettings
from studio.index.files import try_lock
from studio.ways_out import GoOn, ways_in
from tests.helpers.catalog_sql import catalog_sql
from tests.helpers.ward import MODEL, TEXTS, Ward, Write, wrong

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
    (confined,) = [check.detail for check in checks if check.name == "untrusted work is confined"]
    assert confined == describe()
    assert await ward.repaired() == {}
    assert await ward.prints(1, 2, 3) == before
    assert await ward.states() == {3: "active", 2: "archived", 1: "archived"}


async def test_an_empty_knowledge_base_is_sound(ward: Ward) -> None:
    await ward.library.create("Empty")
    assert await ward.wrong() == {}
    assert await ward.repaired() == {}


# ------------------------------------------------------------ orphans


async def test_orphans_are_seen_and_swept(ward: Ward) -> None:
    paths = ward.store.paths
    folder = ward.stores.paths.kb("0123456789ab").root
    folder.mkdir()
    (folder / "writer.lock").touch()
    shutil.copytree(paths.lexical_generation(1), paths.lexical / "g0")
    (paths.leases / "g0").touch()
    (paths.texts / f"{'0' * 64}.text").write_bytes(b"x")
    (paths.texts / "scribble").write_bytes(b"x")
    await ward.store.vectors.set_tag("chunks", "g0", 1)
    shutil.copytree(paths.vectors / "chunks.lance", paths.vectors / "stray.lance")
    found = await ward.wrong()
    assert found["Care: no orphaned files"] == (
        "lexical/g0, table stray, tag g0, texts/scribble; 2 files wait for the next collection"
    )
    assert found["folders of knowledge bases"] == "no knowledge bases: 0123456789ab"
    with await ward.store.lock_for_writing("Care"):
        assert "Care: no orphaned files" not in await ward.wrong(), "a job may be making them"
    before = await ward.prints(1, 2, 3)
    assert await ward.repaired() == {}
    assert not folder.exists()
    (aside,) = ward.stores.paths.lost_found.glob("????-??-??")
    assert (aside / "kb" / folder.name / "writer.lock").exists()
    for name in ("lexical/g0/meta.json", "texts/scribble", "vectors/stray.lance/_versions"):
        assert (aside / "kb" / ward.kb_id / name).exists(), name
    assert not (paths.leases / "g0").exists()
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
    kb = await ward.stores.catalog.begin_import("Half", KbSettings())
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
    assert GoOn(then=True) in ways_in(note.repair)
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
    assert GoOn(then=True) in ways_in(note.repair)
    assert (await ward.active()).number == 4, "passages that are there need no model"
    ward.toy.gone = False
    await ward.ingest.resume(ward.kb_id)
    assert await ward.repaired() == {}
    await ward.answers()


async def test_documents_that_must_come_back_do_so_before_anything_else(ward: Ward) -> None:
    ward.files("vectors/chunks.lance/data/*")[-1].unlink()
    ward.toy.gone = True
    await ward.doctor.repair()
    ward.toy.gone = False
    await ward.stores.catalog.jobs.create(ward.kb_id, JobKind.INGEST, [str(ward.folder)], {"interrupted": True})
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
    catalog_sql(ward.stores.paths, "UPDATE generation SET rows_version = 99 WHERE number = 2")
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

    another = "UPDATE generation SET model = replace(model, substr(json_extract(model, '$.sha256'), 1, 8), 'ff')"
    catalog_sql(services.library._stores.paths, another)
    assert "Care/1: model matches" in {check.name for check in await services.doctor.check() if not check.ok}


async def test_a_missing_model_is_named(services: Services) -> None:
    await services.library.create("Odd", KbSettings(model="no-such-model"))
    (check,) = [check for check in await services.doctor.check() if check.name == "models"]
    assert not check.ok
    assert "no-such-model" in check.detail
