from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.domain import Embedder, GenerationState, IngestProgress, IngestReport, IngestStage, KbSettings
from studio.errors import Conflict, InvalidRequest, ModelFault, NotFound
from studio.index.catalog import Catalog
from studio.services.quality import GateReport, MissingDocument, PinOutcome, held_sentence
from studio.ways_out import PromoteAnyway, ways_in

Write = Callable[[str, str], Path]


@pytest.fixture
async def kb(services: Services, folder: Path, write: Write) -> str:
    settings = replace(services.library.default_settings(), contextual=False)  # a title alone shall not pass the gate
    base = await services.library.create("Gated", settings)
    write("whales.md", "# Whales\n\nBlue whales sing songs that travel for hundreds of miles under water.")
    write("pianos.txt", "Songs are played on a grand piano: two hundred strings over an iron frame.")
    write("lava.txt", "Volcanoes erupt when magma rises. Lava cools to basalt.")
    await services.ingest.ingest(base.id, [folder])
    return base.id


async def spoil(services: Services, kb: str, folder: Path, write: Write) -> IngestReport:
    """Pin a query, then take away what it must find."""
    await services.gate.add(kb, "songs of blue whales", ["whales.md"], top=1)
    write("whales.md", "Nothing is left but a recipe for bread: flour, salt and yeast.")
    return await services.ingest.ingest(kb, [folder])


async def states(services: Services, kb: str) -> dict[int, GenerationState]:
    return {item.number: item.state for item in await services.maintenance.generations(kb)}


class NoModel:
    async def embedder(self, model: str) -> Embedder:
        raise ModelFault(f"The model {model} is not installed.")

    async def close(self) -> None:
        pass


# ------------------------------------------------------------ pinning


async def test_documents_are_named_in_every_way(
    services: Services, kb: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = folder / "corpus.jsonl"
    corpus.write_text(json.dumps({"_id": "d7", "text": "Glaciers melt slowly in the sun."}))
    await services.ingest.ingest(kb, [folder])
    whales = str(folder / "whales.md")
    identity = next(item for item in await services.library.documents(kb) if item.source_path == whales).document_id
    monkeypatch.chdir(folder.parent)
    pin = await services.gate.add(
        kb, " whales and glaciers ", [identity, "d7", whales, "whales.md", "whales", f"{folder.name}/whales.md"], top=4
    )
    assert pin.query == "whales and glaciers"
    assert pin.must_find == (identity, "d7", whales, "whales.md", "whales")
    assert await services.gate.pins("Gated") == [pin]
    report = await services.gate.check(kb)
    assert report.passed
    assert set(report.queries[0].found) == set(pin.must_find)
    await services.gate.remove(kb, pin.id)
    assert await services.gate.pins(kb) == []
    with pytest.raises(NotFound):
        await services.gate.remove(kb, pin.id)


@pytest.mark.parametrize(
    ("query", "documents", "top", "said"),
    [
        ("  ", ["whales.md"], 10, "1 to 20,000 characters"),
        ("w" * 20_001, ["whales.md"], 10, "1 to 20,000 characters"),
        ("whales", [], 10, "at least one document"),
        ("whales", [" "], 10, "at least one document"),
        ("whales", ["whales.md"], 0, "1 to 100 documents, not 0"),
        ("whales", ["whales.md"], 101, "1 to 100 documents, not 101"),
    ],
)
async def test_nonsense_is_not_pinned(
    services: Services, kb: str, query: str, documents: list[str], top: int, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        await services.gate.add(kb, query, documents, top)
    assert await services.gate.pins(kb) == []


async def test_a_document_that_is_not_there_is_not_pinned(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    write("empty.txt", "")
    await services.ingest.ingest(kb, [folder])
    with pytest.raises(NotFound, match=r"“Gated” has no document “krill\.md”"):
        await services.gate.add(kb, "whales", ["whales.md", "krill.md"])
    with pytest.raises(NotFound, match=r"empty\.txt"):
        await services.gate.add(kb, "whales", ["empty.txt"])  # it failed: no search can find it
    await services.library.create("Void")
    with pytest.raises(NotFound, match="“Void” is empty"):
        await services.gate.add("Void", "whales", ["whales.md"])


# ------------------------------------------------------------ judging


async def test_a_document_ranks_by_its_best_passage(services: Services, folder: Path, write: Write) -> None:
    settings = replace(services.library.default_settings(), chunk_tokens=16, chunk_overlap=0)
    kb = (await services.library.create("Long", settings)).id
    write("long.txt", "\n\n".join(f"Blue whales sing song number {n} in the deep ocean." for n in range(130)))
    write("short.txt", "Songs are also sung by humans.")
    report = await services.ingest.ingest(kb, [folder])
    assert report.chunks_added > 130
    await services.gate.add(kb, "which song do blue whales sing", ["long", "short"], top=2)
    (outcome,) = (await services.gate.check(kb)).queries
    assert (outcome.passed, outcome.found) == (True, {"long": 1, "short": 2})


async def test_ranks_and_absence_are_told_apart(services: Services, kb: str) -> None:
    await services.gate.add(kb, "blue whales", ["whales", "lava.txt"], top=1)
    pins = services.library._stores.catalog.pins
    await pins.add(kb, "grand piano", ["pianos.txt", "krill.md"], 5)
    report = await services.gate.check(kb)
    first, second = report.queries
    assert (report.kb, report.generation, report.passed) == ("Gated", 1, False)
    assert (first.found, first.passed) == ({"whales": 1}, False)
    assert first.missing[0].reference == "lava.txt"
    assert first.missing[0].rank in (2, 3)
    assert second.found == {"pianos.txt": 1}
    assert second.missing == (MissingDocument("krill.md", None, in_generation=False),)
    with pytest.raises(NotFound):
        await services.gate.check(kb, 9)


async def test_without_the_model_nothing_is_judged(
    services: Services, kb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.gate.add(kb, "blue whales", ["whales.md"])
    monkeypatch.setattr(services.search._embeddings, "_embedders", NoModel())
    report = await services.gate.check(kb)
    assert report.queries[0].found == {"whales.md": 1}
    assert not report.passed
    assert held_sentence(report).startswith(
        "Held back: “blue whales” cannot be judged. Keyword results only: The model all-MiniLM-L6-v2 is not installed."
    )


def outcome(*missing: MissingDocument, top: int = 5, degraded: str | None = None) -> PinOutcome:
    return PinOutcome(1, "blue whales", top, False, {}, missing, degraded)


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        (
            [outcome(MissingDocument("whales.md", 9, True))],
            "Held back: “blue whales” does not find whales.md among its first 5 documents (it is number 9).",
        ),
        (
            [outcome(MissingDocument("a", None, True), MissingDocument("b", None, False), top=1)],
            "Held back: “blue whales” does not find a first (it is not found at all)."
            " 1 other demand is not met either.",
        ),
        (
            [
                PinOutcome(1, "fine", 5, True, {"x": 1}, (), None),
                outcome(MissingDocument("b", None, False)),
                outcome(MissingDocument("a", None, True), MissingDocument("b", 7, True), degraded="Keyword only."),
                outcome(MissingDocument("c", 8, True)),
            ],
            "Held back: “blue whales” does not find b among its first 5 documents (it is not in this generation)."
            " 2 other demands are not met either.",
        ),
        (
            [outcome(MissingDocument("a", None, True), degraded="Keyword only.")],
            "Held back: “blue whales” cannot be judged. Keyword only.",
        ),
    ],
)
def test_a_sentence_says_why(outcomes: list[PinOutcome], sentence: str) -> None:
    assert held_sentence(GateReport("K", 2, False, tuple(outcomes))) == sentence


# ------------------------------------------------------------ promoting


async def test_an_ingest_that_fails_the_gate_stays_ready(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    report = await spoil(services, kb, folder, write)
    assert (report.generation, report.promoted, report.updated) == (2, False, 1)
    assert report.held.startswith("Held back: “songs of blue whales” does not find whales.md first (it is number ")
    assert await states(services, kb) == {2: GenerationState.READY, 1: GenerationState.ACTIVE}
    held = (await services.maintenance.generations(kb))[0]
    assert (held.held, held.note) == (report.held, "ingest: 1 updated")
    assert (await services.library.get(kb)).active_generation == 1
    with pytest.raises(NotFound):
        await services.ingest.resume(kb)  # the job is done

    again = await services.ingest.ingest(kb, [folder])  # from the active generation: the edit is still to come
    assert (again.generation, again.promoted, again.updated, again.held) == (3, False, 1, report.held)

    write("whales.md", "Blue whales sing songs, and so do humpbacks.")
    mended = await services.ingest.ingest(kb, [folder])
    assert (mended.generation, mended.promoted, mended.held) == (4, True, "")


async def test_promoting_by_hand_passes_the_gate_or_is_forced(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    report = await spoil(services, kb, folder, write)
    with pytest.raises(Conflict, match="Held back: “songs of blue whales”") as refused:
        await services.maintenance.promote(kb, 2)
    assert ways_in(refused.value.way_out) == [PromoteAnyway(2)]
    assert (await services.maintenance.generations(kb))[0].held == report.held
    with pytest.raises(NotFound):
        await services.maintenance.promote(kb, 9)

    forced = await services.maintenance.promote(kb, 2, force=True)
    assert (forced.state, forced.held) == (GenerationState.ACTIVE, "")
    assert (await services.maintenance.rollback(kb)).number == 1
    assert (await services.maintenance.roll_forward(kb)).number == 2  # it would fail, and was active before
    await services.maintenance.rollback(kb)
    assert (await services.maintenance.promote(kb, 2)).number == 2


async def test_a_held_generation_is_promoted_once_its_pins_allow(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    await spoil(services, kb, folder, write)
    (pin,) = await services.gate.pins(kb)
    await services.gate.remove(kb, pin.id)
    promoted = await services.maintenance.promote(kb, 2)
    assert (promoted.state, promoted.held) == (GenerationState.ACTIVE, "")


async def test_removals_and_rebuilds_are_gated(services: Services, kb: str, folder: Path) -> None:
    await services.gate.add(kb, "blue whales", ["whales.md"])
    removal = await services.ingest.remove(kb, [str(folder / "whales.md")])
    assert (removal.promoted, removal.removed) == (False, 1)
    assert "it is not in this generation" in removal.held
    rebuilt = await services.ingest.rebuild(kb)
    assert (rebuilt.promoted, rebuilt.held) == (True, "")
    notes = {item.number: item.note for item in await services.maintenance.generations(kb)}
    assert notes[1] == "ingest: 3 added"
    assert notes[3] == "rebuild: 3 documents with all-MiniLM-L6-v2"


async def test_no_promotion_and_no_gate_where_none_was_asked_for(
    services: Services, kb: str, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("studio.services.quality.gate.GateService._naming", never)
    write("new.txt", "One more document.")
    report = await services.ingest.ingest(kb, [folder])
    assert (report.promoted, report.held) == (True, "")
    assert (await services.gate.check(kb)).passed


async def test_what_a_job_did_is_noted(services: Services, kb: str, folder: Path, write: Write) -> None:
    write("new.txt", "One more document.")
    write("lava.txt", "Lava is molten rock.")
    (folder / "pianos.txt").unlink()
    write("empty.txt", "")
    await services.ingest.ingest(kb, [folder])
    await services.ingest.remove(kb, [str(folder / "new.txt")])
    notes = {item.number: item.note for item in await services.maintenance.generations(kb)}
    assert notes[2] == "ingest: 1 added, 1 updated, 1 removed, 1 failed"
    assert notes[3] == "removal: 1 removed"


async def test_a_held_rebuild_stops_the_job_that_needs_it(
    services: Services, kb: str, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = services.library._stores
    await stores.catalog.pins.add(kb, "blue whales", ["krill.md"], 5)
    changed = replace((await services.library.get(kb)).settings, chunk_tokens=100)
    await stores.catalog.update_settings(kb, changed)
    write("new.txt", "One more document.")
    with pytest.raises(Conflict, match=r"Nothing was added: .*generation 2, .*Held back: “blue whales”"):
        await services.ingest.ingest(kb, [folder])
    with pytest.raises(Conflict, match="generation 2,"):  # the rebuild that waits, not another one
        await services.ingest.ingest(kb, [folder])
    assert await states(services, kb) == {2: GenerationState.READY, 1: GenerationState.ACTIVE}

    (pin,) = await services.gate.pins(kb)
    await services.gate.remove(kb, pin.id)
    report = await services.ingest.ingest(kb, [folder])
    assert (report.generation, report.added, report.unchanged, report.promoted) == (3, 1, 3, True)
    generations = {item.number: item for item in await services.maintenance.generations(kb)}
    assert generations[2].state is GenerationState.ARCHIVED
    assert generations[3].settings == changed


async def test_a_removal_keeps_the_settings_that_made_its_chunks(services: Services, kb: str, folder: Path) -> None:
    stores = services.library._stores
    before = (await services.library.get(kb)).settings
    await stores.catalog.update_settings(kb, KbSettings(chunk_tokens=77))
    await services.ingest.remove(kb, [str(folder / "lava.txt")])
    assert (await services.maintenance.generations(kb))[0].settings == before
    os.utime(folder / "pianos.txt", ns=(1, 1))
    await services.ingest.ingest(kb, [folder])  # which is why the next ingest knows that it must rebuild
    assert {item.settings.chunk_tokens for item in await services.maintenance.generations(kb)} == {240, 77}


# ------------------------------------------------------------ what happens meanwhile


async def test_a_rollback_during_a_build_stands(services: Services, kb: str, folder: Path, write: Write) -> None:
    write("more.txt", "One more document.")
    await services.ingest.ingest(kb, [folder])
    write("even more.txt", "And another.")
    stages: list[IngestStage] = []

    def rolling_back(progress: IngestProgress) -> None:
        if progress.stage is IngestStage.SEALING and IngestStage.SEALING not in stages:
            with closing(Catalog(services.library._stores.paths.catalog)) as another:
                another.promote(kb, 1)
        stages.append(progress.stage)

    report = await services.ingest.ingest(kb, [folder], progress=rolling_back)
    assert (report.generation, report.promoted) == (3, False)
    assert "Generation 1 was made active while generation 3 was being built" in report.held
    assert await states(services, kb) == {
        3: GenerationState.READY, 2: GenerationState.ARCHIVED, 1: GenerationState.ACTIVE
    }  # fmt: skip
    assert (await services.maintenance.promote(kb, 3)).state is GenerationState.ACTIVE


async def test_going_back_to_what_never_was_active_needs_to_pass(
    services: Services, kb: str, folder: Path, write: Write
) -> None:
    assert not (await spoil(services, kb, folder, write)).promoted
    with pytest.raises(Conflict, match="Held back"):
        await services.maintenance.rollback(kb, 2)
    assert await states(services, kb) == {2: GenerationState.READY, 1: GenerationState.ACTIVE}
