from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.concurrency import TaskOwner
from studio.domain import GenerationState, KbSettings, Retention, SearchMode, SearchRequest
from studio.errors import Conflict, InvalidRequest, ModelFault, NotFound, StorageFault
from studio.services.generations import maintenance
from tests.helpers import tiny_bert

Write = Callable[[str, str], Path]


@pytest.fixture
async def kb(services: Services, folder: Path, write: Write) -> str:
    base = await services.library.create("Care")
    for n in range(3):
        write(f"{n}.txt", f"Document number {n} about subject {n}.")
        await services.ingest.ingest(base.id, [folder])
    return base.id


def wrong(checks) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.ok}


async def test_rolling_back_and_forward(services: Services, kb: str) -> None:
    assert (await services.maintenance.rollback(kb)).number == 2
    assert (await services.library.get(kb)).documents == 2
    assert (await services.maintenance.rollback(kb)).number == 1
    with pytest.raises(Conflict, match="no older"):
        await services.maintenance.rollback(kb)
    assert (await services.maintenance.rollback(kb, 3)).number == 3
    assert (await services.library.get(kb)).documents == 3


async def test_going_back_and_forward_across_a_change_of_model(
    services: Services, kb: str, folder: Path, write: Write, tmp_path: Path
) -> None:
    """Each generation brings its own settings back, so that the next ingest does not undo the rollback."""
    other = await services.models.install(str(tiny_bert.make_model(tmp_path / "tiny-bert")))
    before = (await services.library.get(kb)).settings
    after = replace(before, model=other.name, chunk_tokens=32, chunk_overlap=0)
    await services.library._stores.catalog.update_settings(kb, after)
    assert (await services.ingest.rebuild(kb)).generation == 4

    async def answers(generation: int) -> None:
        response = await services.search.search(SearchRequest((kb,), "subject 2", SearchMode.VECTOR))
        assert (response.degraded, set(response.generations.values())) == (None, {generation})
        assert len(response.results) == 3

    await answers(4)
    assert (await services.maintenance.rollback(kb)).number == 3
    assert (await services.library.get(kb)).settings == before
    await answers(3)
    assert (await services.ingest.ingest(kb, [folder])).generation is None
    assert (await services.maintenance.roll_forward(kb)).number == 4
    assert (await services.library.get(kb)).settings == after
    await answers(4)
    write("3.txt", "Document number 3 about subject 3.")
    report = await services.ingest.ingest(kb, [folder])
    assert (report.generation, report.embedded) == (5, 1)
    with pytest.raises(Conflict, match="no newer"):
        await services.maintenance.roll_forward(kb)
    assert wrong(await services.doctor.check()) == {}


async def test_a_note_can_be_replaced(services: Services, kb: str) -> None:
    assert (await services.maintenance.annotate(kb, 2, "before the move")).note == "before the move"
    assert [item.note for item in await services.maintenance.generations(kb)][1] == "before the move"
    with pytest.raises(NotFound):
        await services.maintenance.annotate(kb, 99, "nothing")


async def test_a_knowledge_base_can_have_its_own_policy(services: Services, kb: str) -> None:
    services.config.set("keep_generations", "0")
    assert await services.library.retention(kb) == Retention(0)
    mine = await services.library.set_retention(kb, Retention(5, min_age_hours=1.5, max_archived_mib=100))
    assert await services.library.retention(kb) == mine
    assert (await services.maintenance.collect()).deleted == []
    with pytest.raises(InvalidRequest, match="negative"):
        await services.library.set_retention(kb, Retention(-1))
    assert await services.library.set_retention(kb, None) == Retention(0)
    assert (await services.maintenance.collect()).deleted == ["Care/2", "Care/1"]


async def test_time_alone_brings_a_collection(services: Services, kb: str) -> None:
    services.config.set("keep_generations", "0")
    owner = TaskOwner("test")
    owner.start(services.maintenance.collect_regularly(first_s=0.0), name="collect")
    async with asyncio.timeout(60):
        while len(await services.maintenance.generations(kb)) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await owner.close()
    assert [item.number for item in await services.maintenance.generations(kb)] == [3]


async def test_collection_follows_the_setting(services: Services, kb: str) -> None:
    services.config.set("keep_generations", "1")
    report = await services.maintenance.collect(kb, dry_run=True)
    assert report.deleted == ["Care/1"]
    assert (await services.maintenance.collect()).deleted == ["Care/1"]
    numbers = [item.number for item in await services.maintenance.generations(kb)]
    assert numbers == [3, 2]
    assert wrong(await services.doctor.check()) == {}


async def test_old_generations_go_after_a_promotion(services: Services, kb: str, folder: Path, write: Write) -> None:
    services.config.set("keep_generations", "1")
    write("new.txt", "One more document.")
    await services.ingest.ingest(kb, [folder])
    states = {item.number: item.state for item in await services.maintenance.generations(kb)}
    assert states == {4: GenerationState.ACTIVE, 3: GenerationState.ARCHIVED}
    assert wrong(await services.doctor.check()) == {}


async def test_a_failing_collection_never_fails_a_promotion(
    services: Services, kb: str, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StorageFault("The disk is on fire.")

    monkeypatch.setattr(maintenance, "collect", fail)
    services.config.set("keep_generations", "0")
    write("new.txt", "One more document.")
    report = await services.ingest.ingest(kb, [folder])
    assert (report.promoted, report.added) == (True, 1)


async def test_documents_can_be_removed_without_the_model(services: Services, kb: str) -> None:
    stores = services.library._stores
    settings = KbSettings(model="gone")
    await stores.catalog.update_settings(kb, settings)
    (first, *_) = await services.library.documents(kb)
    report = await services.ingest.remove(kb, [first.document_id])
    assert (report.removed, report.promoted) == (1, True)


async def test_models_in_use_stay(services: Services, kb: str) -> None:
    with pytest.raises(Conflict, match="Care"):
        await services.models.remove("all-MiniLM-L6-v2")
    with pytest.raises(ModelFault):
        await services.models.use(kb, "no-such-model")
    assert (await services.models.use(kb, "all-MiniLM-L6-v2")).settings.model == "all-MiniLM-L6-v2"
    assert any(model.installed for model in await services.models.list())


async def test_deleting_a_knowledge_base_frees_its_files(services: Services, kb: str) -> None:
    root = services.paths.kb(kb).root
    assert root.is_dir()
    await services.library.delete(kb)
    assert not root.exists()
    with pytest.raises(NotFound):
        await services.library.get(kb)


async def test_renaming_keeps_the_contents(services: Services, kb: str) -> None:
    before = await services.library.stamp()
    assert (await services.library.rename(kb, "Other name")).documents == 3
    assert await services.library.stamp() != before
    assert [base.name for base in await services.library.list()] == ["Other name"]


async def test_states_are_told(services: Services, kb: str) -> None:
    states = [item.state for item in await services.maintenance.generations(kb)]
    assert states == [GenerationState.ACTIVE, GenerationState.ARCHIVED, GenerationState.ARCHIVED]


async def test_the_sample_is_made_once(services: Services) -> None:
    kb = await services.sample.ensure()
    assert kb.documents > 10
    assert (await services.sample.ensure()) == kb
    response = await services.search.search(SearchRequest((kb.id,), "how are nested loops traced"))
    assert "loop" in response.results[0].content
    assert Path(response.results[0].citation.source_path).name == "nested-trace-trees.pdf"
    assert response.results[0].citation.page_number in (3, 4)
