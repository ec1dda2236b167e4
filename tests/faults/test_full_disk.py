"""Writes that fail in the middle: a message, an intact active generation, and success once there is room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from studio.bootstrap import open_services
from studio.domain import ModelInfo, SearchRequest
from studio.errors import StorageFault, storage_fault
from tests.helpers.command import Program
from tests.helpers.filesystems import can_mount, small_disk, starved

DISK_BYTES = 16 << 20


@pytest.fixture
def disk(tmp_path: Path, default_model: ModelInfo) -> Iterator[Path]:
    """A small file system of its own (a folder where nothing can be mounted), with the model in `data`."""
    at = tmp_path / "disk"
    if not can_mount():
        _with_model(at / "data", default_model)
        yield at
        return
    with small_disk(at, DISK_BYTES):
        _with_model(at / "data", default_model)
        yield at


def _with_model(data_dir: Path, model: ModelInfo) -> None:
    models = data_dir / "models"
    models.mkdir(parents=True)
    assert model.path is not None
    for file in (model.path, model.path.with_suffix(".json")):
        (models / file.name).symlink_to(file)


def _more(folder: Path) -> None:
    for n in range(40):
        (folder / f"more{n}.txt").write_text(f"Document {n} speaks of volcanoes and of subject {n}. " * 15)


def _directories(data_dir: Path) -> list[str]:
    return sorted(path.name for path in data_dir.glob("kb/*/lexical/*"))


# Full at once, when the build begins, while texts are stored, while vectors are written, while keywords are sealed.
@pytest.mark.parametrize("leave_kib", [0, 40, 100, 260, 450])
def test_a_full_disk_keeps_the_active_generation(disk: Path, folder: Path, leave_kib: int) -> None:
    program = Program(disk / "data")
    (folder / "a.txt").write_text("Blue whales sing songs.")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    _more(folder)
    with starved(disk, leave_bytes=leave_kib << 10) as words:
        outcome = program.run("ingest", "Notes", folder)
        assert outcome.code == 1, outcome.err
        said = [line for line in outcome.err.splitlines() if line.startswith("rag-studio: ")]
        assert len(said) == 1, outcome.err
        assert words in said[0]
        assert _directories(program.data_dir) == ["g1"]
        found = program.run("--json", "search", "Notes", "whales")
        assert found.code == 0, found.err
        assert found.json["generation"] == 1
        assert found.json["results"][0]["content"] == "Blue whales sing songs."
        if leave_kib == 0:
            assert "nothing can be changed" in found.err
        assert program.ok("doctor")["ok"]
    assert program.ok("ingest", "Notes", folder)["added"] == 40
    assert program.ok("doctor")["ok"]
    assert program.ok("kb", "info", "Notes")["documents"] == 41


async def test_a_program_that_was_open_when_the_disk_filled_goes_on(disk: Path, folder: Path) -> None:
    (folder / "a.txt").write_text("Blue whales sing songs.")
    async with open_services(disk / "data") as services:
        await services.library.create("Notes")
        await services.ingest.ingest("Notes", [folder])
        _more(folder)
        with starved(disk, leave_bytes=0):
            with pytest.raises(StorageFault):
                await services.ingest.ingest("Notes", [folder])
            found = await services.search.search(SearchRequest(("Notes",), "whales"))
            assert found.results[0].content == "Blue whales sing songs."
        assert (await services.ingest.ingest("Notes", [folder])).added == 40


async def test_a_program_that_started_on_a_full_disk_writes_once_there_is_room(disk: Path, folder: Path) -> None:
    (folder / "a.txt").write_text("Blue whales sing songs.")
    async with open_services(disk / "data") as services:
        await services.library.create("Notes")
        await services.ingest.ingest("Notes", [folder])
    (folder / "b.txt").write_text("Pianos are heavy.")
    async with AsyncExitStack() as stack:
        with starved(disk, leave_bytes=0):
            services = await stack.enter_async_context(open_services(disk / "data"))
            assert services.read_only is not None
            assert "nothing can be changed" in services.read_only
            with pytest.raises(StorageFault):
                await services.ingest.ingest("Notes", [folder])
            found = await services.search.search(SearchRequest(("Notes",), "whales"))
            assert found.results[0].content == "Blue whales sing songs."
        assert (await services.ingest.ingest("Notes", [folder])).added == 1
        assert services.read_only is None
        found = await services.search.search(SearchRequest(("Notes",), "pianos"))
        assert found.results[0].content == "Pianos are heavy."


def test_a_search_needs_no_room_at_all(program: Program, folder: Path) -> None:
    (folder / "a.txt").write_text("Blue whales sing songs.")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    # Not a byte can be written anywhere: neither to the data directory nor to a temporary file.
    outcome = program.run_apart("--json", "search", "Notes", "whales", file_limit_bytes=0)
    assert outcome.code == 0, outcome.err
    assert "nothing can be changed" in outcome.err
    assert outcome.json["degraded"] is None
    assert outcome.json["results"][0]["content"] == "Blue whales sing songs."


@pytest.mark.parametrize("limit_kib", [4, 64])
def test_a_write_that_fails_keeps_the_active_generation(program: Program, folder: Path, limit_kib: int) -> None:
    (folder / "a.txt").write_text("Blue whales sing songs.")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    _more(folder)

    # A file that cannot grow (EFBIG) fails where a full disk would.
    outcome = program.run_apart("--json", "ingest", "Notes", folder, file_limit_bytes=limit_kib << 10)
    assert outcome.code in (1, 3), outcome.err
    assert outcome.err
    assert program.ok("doctor")["ok"]
    found = program.ok("search", "Notes", "whales")
    assert found["results"][0]["content"] == "Blue whales sing songs."
    assert program.ok("ingest", "Notes", folder)["generation"] > 1
    assert program.ok("kb", "info", "Notes")["documents"] == 41


@pytest.mark.parametrize(
    ("number", "words"), [(28, "disk is full"), (13, "No permission"), (30, "read-only"), (5, "Input/output error")]
)
def test_system_errors_become_sentences(number: int, words: str) -> None:
    fault = storage_fault(OSError(number, os.strerror(number), "/some/file"), "writing the index")
    assert words in str(fault)
    assert "/some/file" in str(fault)
