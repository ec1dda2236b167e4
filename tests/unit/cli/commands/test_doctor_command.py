"""What `doctor --repair` says of lost documents: their names, in text and JSON, and an exit code of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.helpers.command import Program


def test_a_lost_document_is_named_and_nothing_is_swept(program: Program, folder: Path) -> None:
    (folder / "whale.txt").write_text("The blue whale is the largest animal.")
    (folder / "piano.txt").write_text("A piano has eighty-eight keys.")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    (folder / "whale.txt").unlink()
    (base,) = (program.data_dir / "kb").iterdir()
    for part in ("texts", "vectors"):
        shutil.rmtree(base / part)
        (base / part).mkdir()
    outcome = program.run("--json", "doctor", "--repair")
    assert outcome.code == 3
    (lost,) = outcome.json["lost"]
    assert (lost["knowledge_base"], lost["path"]) == ("Notes", str(folder / "whale.txt"))
    assert lost["why"]
    assert "piano.txt" in str(program.ok("documents", "Notes"))
    assert any((program.data_dir / "lost+found").rglob("*.idx"))
