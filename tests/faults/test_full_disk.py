"""Writes that fail in the middle: a message, an intact active generation, and success once there is room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import Program

from studio.errors import storage_fault


@pytest.mark.parametrize("limit_kib", [4, 64])
def test_a_write_that_fails_keeps_the_active_generation(program: Program, folder: Path, limit_kib: int) -> None:
    (folder / "a.txt").write_text("Blue whales sing songs.")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    for n in range(40):
        (folder / f"more{n}.txt").write_text(f"Document {n} speaks of volcanoes and of subject {n}. " * 40)

    # A file that cannot grow (EFBIG) fails where a full disk would.
    outcome = program.run("--json", "ingest", "Notes", folder, file_limit_bytes=limit_kib << 10)
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
