"""The list of documents as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pypdfium2

from tests.helpers.command import Program
from tests.helpers.locked import locked_pdf


def test_coverage_and_failures_are_said_of_every_document(program: Program, folder: Path) -> None:
    with pypdfium2.PdfDocument(locked_pdf(folder / "b.pdf", "Words on a page", "", "owner")) as half:
        half.new_page(600, 800)
        half.save(folder / "a.pdf")
    locked_pdf(folder / "b.pdf", "Nobody knows", "secret", "owner")
    (folder / "c.md").write_text(f"# {'A very long title ' * 5}\n\nText.")
    program.ok("kb", "create", "Notes")
    assert program.run("ingest", "Notes", folder).code == 3
    lines = program.run("documents", "Notes").out.splitlines()
    rows = [(line.split("  ")[0], *line.split("/")[-1:]) for line in lines[1:]]
    assert rows == [("indexed", "a.pdf"), ("failed: encrypted", "b.pdf"), ("indexed", "c.md")]
    assert "2 (1 without text)" in lines[1]
    assert "…" in lines[3]


def test_the_rows_of_a_file_are_one_entry_that_unfolds(program: Program, folder: Path) -> None:
    (folder / "parts.csv").write_text("id,name\n" + "".join(f"PX{row},Oak board {row}\n" for row in range(30)))
    (folder / "z.md").write_text("# Note\n\nText.")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    folded = program.run("documents", "Notes").out.splitlines()[1:]
    assert len(folded) == 2
    assert folded[0].split() == ["indexed", "30", "30", "documents", str(folder / "parts.csv")]
    unfolded = program.run("documents", "Notes", "--unfold").out.splitlines()[1:]
    assert len(unfolded) == 31
    assert "parts, row 1" in unfolded[0]
