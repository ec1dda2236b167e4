from __future__ import annotations

from pathlib import Path

import pytest

from studio.domain import GenerationState, JobKind, JobState, KbSettings, Metric, SavedQuery
from studio.errors import Conflict, InvalidRequest, NotFound, StorageFault
from studio.index.catalog import Catalog


@pytest.fixture
def catalog(tmp_path: Path):
    opened = Catalog(tmp_path / "catalog.sqlite3")
    yield opened
    opened.close()


def ready(catalog: Catalog, kb_id: str) -> int:
    number = catalog.begin_generation(
        kb_id, parent=None, settings=KbSettings(), model=None, table="chunks", note=""
    ).number
    catalog.mark_ready(
        kb_id, number, chunks_version=2, documents_version=3, documents=1, chunks=4, size_bytes=5, own_bytes=2
    )
    return number


def test_settings_survive_reopening(tmp_path: Path) -> None:
    settings = KbSettings(chunk_tokens=100, metric=Metric.L2, language="de")
    first = Catalog(tmp_path / "c")
    kb = first.create_kb("  Papers   2025 ", settings)
    first.close()
    second = Catalog(tmp_path / "c")
    assert second.knowledge_base("papers 2025").settings == settings
    assert second.knowledge_base(kb.id).name == "Papers 2025"
    second.close()


def test_names_are_unique_whatever_their_case(catalog: Catalog) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    with pytest.raises(Conflict, match="law"):
        catalog.create_kb("law", KbSettings())
    other = catalog.create_kb("Tax", KbSettings())
    with pytest.raises(Conflict):
        catalog.rename_kb(other.id, "LAW")
    assert catalog.rename_kb(kb.id, "LAW").name == "LAW"


@pytest.mark.parametrize("name", ["", "   ", "a,b", "a\x00b", "x" * 121])
def test_bad_names_are_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(InvalidRequest):
        catalog.create_kb(name, KbSettings())


def test_unknown_names_say_what_there_is(catalog: Catalog) -> None:
    catalog.create_kb("Law", KbSettings())
    with pytest.raises(NotFound) as caught:
        catalog.knowledge_base("Lwa")
    assert "Law" in caught.value.way_out


def test_promotion_archives_the_active_one(catalog: Catalog) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    first, second = ready(catalog, kb.id), ready(catalog, kb.id)
    catalog.promote(kb.id, first)
    catalog.promote(kb.id, second)
    states = {item.number: item.state for item in catalog.generations(kb.id)}
    assert states == {first: GenerationState.ARCHIVED, second: GenerationState.ACTIVE}
    found = catalog.knowledge_base(kb.id)
    assert (found.active_generation, found.documents, found.chunks) == (second, 1, 4)
    with pytest.raises(Conflict, match="already"):
        catalog.promote(kb.id, second)


def test_a_building_generation_cannot_be_promoted(catalog: Catalog) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    number = catalog.begin_generation(
        kb.id, parent=None, settings=KbSettings(), model=None, table="chunks", note=""
    ).number
    with pytest.raises(Conflict, match="building"):
        catalog.promote(kb.id, number)
    with pytest.raises(NotFound):
        catalog.promote(kb.id, number + 1)


def test_the_active_generation_cannot_be_failed_collected_or_forgotten(catalog: Catalog) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    number = ready(catalog, kb.id)
    catalog.promote(kb.id, number)
    catalog.set_state(kb.id, number, GenerationState.FAILED)
    assert not catalog.mark_for_deletion(kb.id, number)
    catalog.forget_generation(kb.id, number)
    assert catalog.generation(kb.id, number).state is GenerationState.ACTIVE


def test_numbers_are_never_used_twice(catalog: Catalog) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    number = ready(catalog, kb.id)
    catalog.forget_generation(kb.id, number)
    assert ready(catalog, kb.id) == number + 1


def test_stamp_sees_this_and_other_processes(tmp_path: Path) -> None:
    mine, other = Catalog(tmp_path / "c"), Catalog(tmp_path / "c")
    before = mine.stamp()
    assert mine.stamp() == before
    mine.create_kb("A", KbSettings())
    after_mine = mine.stamp()
    assert after_mine != before
    other.create_kb("B", KbSettings())
    assert mine.stamp() not in (before, after_mine)
    mine.close()
    other.close()


def test_unfinished_jobs_are_found_and_finished_ones_are_not(catalog: Catalog) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    assert catalog.jobs.unfinished(kb.id) is None
    job = catalog.jobs.create(kb.id, JobKind.INGEST, ["/a"], {"recursive": True})
    found = catalog.jobs.unfinished(kb.id)
    assert found is not None and (found.id, found.paths, found.options) == (job, ("/a",), {"recursive": True})
    catalog.jobs.finish(job, JobState.DONE, generation=1)
    assert catalog.jobs.unfinished(kb.id) is None


def test_a_damaged_catalog_is_named(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"this is not a database, whatever its name says" * 50)
    with pytest.raises(StorageFault, match="damaged") as caught:
        Catalog(tmp_path / "c")
    assert str(tmp_path / "c") in str(caught.value)


def test_deleting_takes_generations_and_jobs_along(catalog: Catalog) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    ready(catalog, kb.id)
    catalog.jobs.create(kb.id, JobKind.REMOVE, [], {})
    catalog.delete_kb(kb.id)
    assert catalog.generations(kb.id) == []
    assert catalog.jobs.unfinished(kb.id) is None


def test_horizons_are_those_of_one_moment(catalog: Catalog) -> None:
    kb, importing = catalog.create_kb("Law", KbSettings()), catalog.begin_import("Tax", KbSettings())
    catalog.promote(kb.id, ready(catalog, kb.id))
    building = catalog.begin_generation(kb.id, parent=1, settings=KbSettings(), model=None, table="chunks", note="")
    found = catalog.horizons()
    assert found == {kb.id: catalog.horizon(kb.id), importing.id: None}
    assert (found[kb.id].next_generation, found[kb.id].building) == (3, {building.number})


def test_active_models_are_those_that_searches_need(catalog: Catalog) -> None:
    old, new = KbSettings(model="old"), KbSettings(model="new")
    kb, empty = catalog.create_kb("Law", old), catalog.create_kb("Empty", KbSettings(model="unused"))
    assert (empty.active_generation, catalog.active_models()) == (None, set())
    for settings in (old, new):
        begun = catalog.begin_generation(kb.id, parent=None, settings=settings, model=None, table="c", note="")
        catalog.mark_ready(
            kb.id, begun.number, chunks_version=1, documents_version=1, documents=0, chunks=0, size_bytes=0, own_bytes=0
        )
        catalog.promote(kb.id, begun.number)
        assert catalog.active_models() == {settings.model}


def test_programs_that_save_the_same_query_save_it_once(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    another = Catalog(tmp_path / "catalog.sqlite3")
    require_writable, theirs = Catalog.require_writable, list[SavedQuery]()

    def overtaken(mine: Catalog) -> None:
        """Between the look for the query and the transaction."""
        if mine is catalog and not theirs:
            theirs.append(another.saved.save(kb.id, "theirs", "who sings"))
        require_writable(mine)

    monkeypatch.setattr(Catalog, "require_writable", overtaken)
    assert [catalog.saved.save(kb.id, "mine", "who sings")] == theirs == catalog.saved.list(kb.id)
    another.close()


def test_judgments_change_all_at_once(catalog: Catalog) -> None:
    kb = catalog.create_kb("Law", KbSettings())
    saved = catalog.saved.save(kb.id, "whales", "who sings")
    assert catalog.saved.judge(kb.id, saved.id, {"a": 1, "b": 2}).judgments == {"a": 1, "b": 2}
    assert catalog.saved.judge(kb.id, saved.id, {"a": None, "b": 3}).judgments == {"b": 3}
    with pytest.raises(NotFound):
        catalog.saved.judge(kb.id, saved.id + 1, {"a": 1})
