"""What the view-models around generations promise: promotion and its gate, comparing, cleaning up, pins, bundles."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain import GenerationState, PinnedQuery, Retention
from studio.errors import Conflict, NotFound, StorageFault
from studio.index.upkeep import GcReport, Kept
from studio.ui.window.screenshots import until
from studio.viewmodels.generations import Change
from studio.viewmodels.text import moment
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, generation, result
from tests.gui.ingest.fake_queue import report
from tests.gui.opening import opened, with_kb
from tests.gui.qt_loop import on_qt_loop

NOW = 1_764_000_000_000
HOUR = 3_600_000


def with_generations(*items: object) -> FakeServices:
    services = with_kb()
    services.maintenance.items = list(items)  # type: ignore[arg-type]
    return services


async def listed(workspace: Workspace) -> None:
    await until(lambda: bool(workspace.generations.rows.items), workspace.generations.changed)


# ---------------------------------------------------------------- the list


@on_qt_loop
async def test_rows_tell_sizes_times_notes_and_what_can_be_done() -> None:
    services = with_generations(
        generation(4, GenerationState.READY, held="Held back: “loops” does not find a.pdf."),
        generation(3, GenerationState.ARCHIVED, note="ingest: 3 added, 1 updated", size_bytes=413_200_000,
                   own_bytes=3_200_000),
        generation(2, GenerationState.ACTIVE, own_bytes=12_000),
        generation(1, GenerationState.ARCHIVED),
    )  # fmt: skip
    async with opened(services) as (workspace, _):
        await listed(workspace)
        held, newer, active, older = workspace.generations.rows.items
        assert (held.chip, held.held) == ("held back", "“loops” does not find a.pdf.")
        assert held.can_promote
        assert newer.origin == "ingest: 3 added, 1 updated · own 3.2 MB, shared 410 MB"
        assert newer.when.startswith("archived ")
        assert newer.before.startswith("active ")
        assert newer.can_go_forward_to
        assert not newer.can_roll_back_to
        assert active.origin == "own 12 kB"
        assert active.when.startswith("since ")
        assert older.can_roll_back_to
        assert workspace.generations.can_roll_back
        assert workspace.generations.can_go_forward
        model = workspace.generations.rows
        assert model.describe(0, held).startswith("Generation 4, held back, “loops” does not find a.pdf.")
        assert model.tip(held) == "“loops” does not find a.pdf."


@on_qt_loop
async def test_going_forward_undoes_a_rollback() -> None:
    services = with_generations(generation(2, GenerationState.ARCHIVED), generation(1, GenerationState.ACTIVE))
    async with opened(services) as (workspace, _):
        await listed(workspace)
        said: list[str] = []
        workspace.generations.done.connect(said.append)
        workspace.generations.go_forward()
        await until(lambda: bool(said), workspace.generations.done)
        assert services.maintenance.asked == [("roll_forward", None)]
        assert [row.chip for row in workspace.generations.rows.items] == ["active", "kept for rollback"]
        assert said == ["Generation 2 answers searches now."]


@on_qt_loop
async def test_a_promotion_the_gate_refuses_is_told_as_such_and_can_be_forced() -> None:
    services = with_generations(generation(2, GenerationState.READY), generation(1, GenerationState.ACTIVE))
    services.maintenance.refusal = "Held back: “loops” does not find a.pdf."
    async with opened(services) as (workspace, complaints):
        model = workspace.generations
        await listed(workspace)
        refused: list[tuple[int, str]] = []
        model.held_back.connect(lambda number, why: refused.append((number, why)))
        model.promote(2)
        await until(lambda: bool(refused), model.held_back)
        assert refused == [(2, "“loops” does not find a.pdf.")]
        assert model.rows.items[0].chip == "held back"
        assert not complaints, "a refusal is a question, not an error"
        model.promote(2, force=True)
        await until(lambda: model.rows.items[0].chip == "active", model.changed)
        assert services.maintenance.asked == [("promote", 2), ("force", 2)]


@on_qt_loop
async def test_a_promotion_that_fails_for_another_reason_is_an_error() -> None:
    services = with_generations(generation(2, GenerationState.READY), generation(1, GenerationState.ACTIVE))
    services.maintenance.error = Conflict("Generation 2 is gone.")
    async with opened(services) as (workspace, complaints):
        await listed(workspace)
        workspace.generations.promote(2)
        await until(lambda: bool(complaints), workspace.failed)
        assert complaints == ["Generation 2 is gone."]


@on_qt_loop
async def test_a_note_is_written() -> None:
    services = with_generations(generation(1, GenerationState.ACTIVE, note="ingest"))
    async with opened(services) as (workspace, _):
        await listed(workspace)
        workspace.generations.annotate(1, "before the migration")
        model = workspace.generations
        await until(lambda: model.rows.items[0].origin.startswith("before the migration"), model.changed)


@on_qt_loop
async def test_an_ingest_that_was_held_back_says_so_until_something_is_promoted() -> None:
    services = with_generations(generation(2, GenerationState.READY), generation(1, GenerationState.ACTIVE))
    why = "Held back: “loops” does not find a.pdf."

    async def script(kb: str, paths: object, sink: object) -> object:
        return report(kb, generation=2, promoted=False, held=why)

    services.queue.script = script
    async with opened(services) as (workspace, _):
        told: list[tuple[str, str]] = []
        workspace.ingest.held_back.connect(lambda kb, reason: told.append((kb, reason)))
        workspace.ingest.add([Path("/papers")], "kb1")
        await until(lambda: bool(told) and not workspace.ingest.running, workspace.ingest.changed)
        assert told == [("kb1", why)]
        assert workspace.ingest.held == why
        assert "generation 2 is held back" in workspace.ingest.summary
        workspace.generations.promote(2, force=True)
        await until(lambda: not workspace.ingest.held, workspace.ingest.changed)


def test_yesterday_keeps_its_time() -> None:
    assert moment(NOW - 24 * HOUR, NOW).startswith("yesterday ")
    assert moment(NOW - 72 * HOUR, NOW).split()[1] in ("Nov", "Dec")


# ---------------------------------------------------------------- compare


@on_qt_loop
async def test_a_comparison_lists_documents_by_what_became_of_them() -> None:
    services = with_kb()
    services.compare.gate = asyncio.Event()
    async with opened(services) as (workspace, _):
        model, kb = workspace.compare, workspace.library.knowledge_bases[0]
        model.open(kb, 5, 2)
        assert model.busy
        assert model.title == "Compilers: generation 2 → 5"
        assert model.summary == "Comparing…"
        services.compare.gate.set()
        await until(lambda: not model.busy, model.changed)
        assert services.compare.asked == [(2, 5, ())], "the older one is always the first"
        assert [model.total(change) for change in (Change.ADDED, Change.CHANGED, Change.REMOVED, Change.MOVED)] == [
            2, 1, 1, 1]  # fmt: skip
        assert model.summary == "12 documents unchanged"
        rows = {row.name: row for row in model.documents.items}
        assert rows["Edited"].aside == "6 → 4 passages"
        assert rows["Same"].detail == "a/same.md → b/same.md"
        assert rows["Row"].detail == "/table.csv · row 7"
        model.show(Change.REMOVED)
        assert [row.name for row in model.documents.items] == ["Old"]
        model.show(None)
        assert len(model.documents.items) == 5


@on_qt_loop
async def test_queries_show_hits_gained_lost_and_moved() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        model = workspace.compare
        model.open(workspace.library.knowledge_bases[0], 1, 2)
        await until(lambda: not model.busy, model.changed)
        model.ask("  nested loops \n\ninline caches\nnested loops\n")
        await until(lambda: not model.busy, model.changed)
        assert services.compare.asked[-1] == (1, 2, ("nested loops", "inline caches"))
        rows = model.hits.items
        assert [row.change for row in rows[:4]] == [Change.QUERY, Change.GAINED, Change.LOST, Change.MOVED]
        assert rows[0].aside == "1 gained · 1 lost · 1 moved · 5 at the same rank"
        assert [row.aside for row in rows[1:4]] == ["now number 1", "was number 2", "1 → 3"]
        assert rows[1].detail == "Snippet of new."
        assert rows[4].name == "inline caches"


@on_qt_loop
async def test_a_comparison_that_fails_says_why_and_can_be_tried_again() -> None:
    services = with_kb()
    services.compare.error = NotFound("Generation 1 is gone.", way_out="Choose another one.")
    async with opened(services) as (workspace, complaints):
        model = workspace.compare
        model.open(workspace.library.knowledge_bases[0], 1, 2)
        await until(lambda: not model.busy, model.changed)
        assert model.error == "Generation 1 is gone. Choose another one."
        assert not complaints, "the dialog itself says it"
        services.compare.error = None
        model.ask("loops")
        await until(lambda: not model.busy, model.changed)
        assert not model.error
        assert model.hits.items


# ---------------------------------------------------------------- cleaning up


@on_qt_loop
async def test_the_policy_is_shown_saved_and_its_effect_told_before_and_after() -> None:
    services = with_generations(generation(3, GenerationState.ACTIVE), generation(1, GenerationState.ARCHIVED))
    services.maintenance.collected = GcReport(["Compilers/1"], [Kept("Compilers", 3, "active")], 3_200_000, [])
    async with opened(services) as (workspace, _):
        model = workspace.cleanup
        model.open(workspace.library.knowledge_bases[0])
        await until(lambda: not model.busy, model.changed)
        assert (model.policy, model.own_policy) == (Retention(), False)
        assert model.preview == "Cleaning up deletes generation 1 and frees about 3.2 MB. This cannot be undone."
        assert model.kept == ("Generation 3: active",)
        assert model.can_collect
        model.save(Retention(1, 24.0, 500))
        await until(lambda: not model.busy, model.changed)
        assert (model.policy, model.own_policy) == (Retention(1, 24.0, 500), True)
        model.save(None)
        await until(lambda: not model.busy and not model.own_policy, model.changed)
        assert services.library.bases[0].retention is None
        assert ("collect", None) not in services.maintenance.asked, "looking deletes nothing"
        said: list[str] = []
        model.done.connect(said.append)
        model.collect()
        await until(lambda: bool(said), model.done)
        assert said == ["3.2 MB freed."]
        assert model.preview.startswith("Nothing to delete")
        assert not model.can_collect


@on_qt_loop
async def test_a_deletion_that_failed_is_told_with_what_was_freed() -> None:
    services = with_kb()
    services.maintenance.collected = GcReport(["Compilers/1"], [], 1_000_000, ["Generation 2 is in the way."])
    async with opened(services) as (workspace, complaints):
        workspace.cleanup.open(workspace.library.knowledge_bases[0])
        await until(lambda: not workspace.cleanup.busy, workspace.cleanup.changed)
        workspace.cleanup.collect()
        await until(lambda: bool(complaints), workspace.failed)
        assert complaints == ["Generation 2 is in the way. 1.0 MB were freed; the rest is tried again."]


# ---------------------------------------------------------------- pinned queries


@on_qt_loop
async def test_pins_are_added_tried_and_removed() -> None:
    services = with_kb()
    services.gate.items = [PinnedQuery(1, "inline caches", ("/papers/caches.md",), 1)]
    services.gate.passing = {"nested loops"}
    async with opened(services) as (workspace, _):
        model = workspace.gate
        model.open(workspace.library.knowledge_bases[0])
        await until(lambda: bool(model.rows.items), model.changed)
        assert model.rows.items[0].demand == "must find caches.md first"
        assert model.rows.items[0].passed is None
        model.add("nested loops", "/papers/loops.pdf", 5)
        await until(lambda: len(model.rows.items) == 2, model.changed)
        assert model.rows.items[1].demand == "must find loops.pdf in the first 5 documents"
        model.check()
        await until(lambda: bool(model.summary), model.changed)
        assert model.summary == "Generation 1: 1 of 2 passed"
        await until(lambda: model.rows.items[1].passed is True, model.changed)
        assert model.rows.items[0].verdict == "caches.md is number 14"
        assert model.rows.items[1].verdict == "found as number 2"
        model.remove(1)
        await until(lambda: len(model.rows.items) == 1, model.changed)
        assert model.rows.items[0].query == "nested loops"


@on_qt_loop
async def test_a_pin_that_is_refused_is_said_in_the_dialog() -> None:
    services = with_kb()
    services.gate.error = NotFound("There is no document “x”.", way_out="Name one by its path.")
    async with opened(services) as (workspace, complaints):
        workspace.gate.open(workspace.library.knowledge_bases[0])
        workspace.gate.add("loops", "x")
        await until(lambda: bool(workspace.gate.error), workspace.gate.changed)
        assert workspace.gate.error == "There is no document “x”. Name one by its path."
        assert not complaints


@on_qt_loop
async def test_a_result_is_pinned_by_its_path_and_a_row_of_a_table_by_its_id() -> None:
    services = with_kb()
    async with opened(services) as (workspace, complaints):
        said: list[str] = []
        workspace.gate.done.connect(said.append)
        workspace.gate.pin("loops", result(1))
        await until(lambda: len(said) == 1, workspace.gate.done)
        workspace.gate.pin("loops", result(2, metadata={"type": "csv"}))
        await until(lambda: len(said) == 2, workspace.gate.done)
        assert [pin.must_find for pin in services.gate.items] == [("/nowhere/file1.md",), ("document-2",)]
        assert said[0] == "Pinned: “loops” must find Title 1."
        services.gate.error = StorageFault("The disk is full.")
        workspace.gate.pin("loops", result(1))
        await until(lambda: bool(complaints), workspace.failed)
        assert complaints == ["The disk is full."]


# ---------------------------------------------------------------- bundles


@on_qt_loop
async def test_an_export_shows_how_far_it_is_and_an_import_waits_for_its_turn() -> None:
    services = with_kb()
    services.bundles.gate = asyncio.Event()
    async with opened(services) as (workspace, _):
        model, kb = workspace.transfers, workspace.library.knowledge_bases[0]
        exported: list[str] = []
        imported: list[tuple[str, str]] = []
        model.exported.connect(lambda said, file: exported.append(said))
        model.imported.connect(lambda said, note: imported.append((said, note)))
        model.export(kb, Path("/out/Compilers.ragstudio"), 3)
        model.load(Path("/in/Other.ragstudio"), "Other")
        await until(lambda: model.fraction == 0.5, model.changed)
        assert workspace.status.transfer == "Exporting “Compilers”, 50%"
        assert not services.bundles.loaded, "one after the other"
        services.bundles.gate.set()
        await until(lambda: not model.running, model.changed)
        assert services.bundles.exported == [("kb1", Path("/out/Compilers.ragstudio"), 3)]
        assert exported == ["Generation 1 of “Compilers” is in Compilers.ragstudio, 3.2 MB."]
        assert imported == [("“Other” is imported: 3 documents, 40 passages.", "")]
        assert workspace.library.selected is not None
        assert workspace.library.selected.name == "Other"
        assert workspace.status.transfer == ""


@on_qt_loop
async def test_cancel_ends_the_running_transfer_and_those_that_wait() -> None:
    services = with_kb()
    services.bundles.gate = asyncio.Event()
    async with opened(services) as (workspace, complaints):
        model, kb = workspace.transfers, workspace.library.knowledge_bases[0]
        model.export(kb, Path("/out/a.ragstudio"))
        model.load(Path("/in/b.ragstudio"), "B")
        await until(lambda: model.fraction == 0.5, model.changed)
        workspace.status.cancel_transfers()
        await until(lambda: not model.running, model.changed)
        assert services.bundles.cancelled == ["export"]
        assert not services.bundles.loaded
        assert not complaints
        services.bundles.gate = None
        model.load(Path("/in/b.ragstudio"), "B")
        await until(lambda: len(workspace.library.knowledge_bases) == 2, workspace.library.changed)


@pytest.mark.parametrize("failing", ["export", "import"])
@on_qt_loop
async def test_a_transfer_that_fails_is_told_plainly(failing: str) -> None:
    services = with_kb()
    services.bundles.error = StorageFault("“x.ragstudio” is not whole.", way_out="Copy it again.")
    async with opened(services) as (workspace, complaints):
        if failing == "export":
            workspace.transfers.export(workspace.library.knowledge_bases[0], Path("/x.ragstudio"))
        else:
            workspace.transfers.load(Path("/x.ragstudio"), "X")
        await until(lambda: bool(complaints), workspace.failed)
        assert complaints == ["“x.ragstudio” is not whole. Copy it again."]
        await until(lambda: not workspace.transfers.running, workspace.transfers.changed)


@on_qt_loop
async def test_names_for_files_and_for_imports() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        model, kb = workspace.transfers, workspace.library.knowledge_bases[0]
        assert model.suggested_name(kb) == "Compilers.ragstudio"
        assert model.suggested_name(replace(kb, name="a/b: c?")) == "a-b- c-.ragstudio"
        assert model.free_name(Path("/in/compilers.ragstudio")) == "compilers 2"
        assert model.free_name(Path("/in/Reading.ragstudio")) == "Reading"


# ---------------------------------------------------------------- read-only


@on_qt_loop
async def test_a_data_directory_that_becomes_read_only_is_noticed() -> None:
    services = with_kb()
    async with opened(services) as (workspace, _):
        assert workspace.status.saved == "All changes saved"
        services.library.read_only = "The file system is read-only."
        await until(lambda: bool(workspace.library.read_only), workspace.library.writability_changed, within_s=20)
        assert workspace.status.saved == "Read-only"
        assert workspace.generations.read_only == workspace.ingest.read_only == "The file system is read-only."
