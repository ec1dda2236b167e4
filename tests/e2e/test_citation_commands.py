from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.helpers.command import Program

Write = Callable[[str, str], Path]


def test_a_citation_is_written_and_verified(program: Program, folder: Path, write: Write) -> None:
    file = write("whales.txt", "The blue whale is the largest animal. It sings in the deep sea.")
    write("ice.txt", "A glacier is a river of ice.")
    program.ok("kb", "create", "Sea")
    program.ok("ingest", "Sea", folder)
    (found,) = program.ok("search", "Sea", "largest whale", "--mode", "keyword", "--limit", "1")["results"]
    plain = program.ok("cite", "Sea", found["chunk_id"])
    assert plain["style"] == "plain"
    assert str(file) in plain["citation"]
    assert program.run("cite", "Sea", found["chunk_id"], "--style", "bibtex").out.startswith("@misc{whales-")
    markdown = program.run("cite", "Sea", found["chunk_id"], "--style", "markdown").out
    assert file.as_uri() in markdown

    (same,) = program.ok("cite", "--verify", plain["citation"])
    assert same["status"] == "same"
    assert same["where"]["path"] == str(file)
    file.rename(folder / "blue.txt")
    program.ok("ingest", "Sea", folder)
    (moved,) = program.ok("cite", "--verify", markdown)
    assert (moved["status"], moved["where"]["path"]) == ("moved", str(folder / "blue.txt"))
    (folder / "blue.txt").unlink()
    program.ok("ingest", "Sea", folder)
    gone = program.run("cite", "--verify", plain["citation"])
    assert (gone.code, gone.out.split(":")[0]) == (1, "gone")
    both = program.run("cite", "--verify", "-", stdin=plain["citation"] + markdown.replace("#0-", "#1-"))
    assert both.out.count("gone:") == 2


def test_what_cannot_be_cited_or_verified_is_refused(program: Program) -> None:
    program.ok("kb", "create", "Sea")
    for wrong in (["cite"], ["cite", "Sea"], ["cite", "Sea", "x", "--verify", "y"], ["cite", "--verify", "nothing"]):
        outcome = program.run(*wrong)
        assert (outcome.code, outcome.out) == (2, ""), wrong
        assert outcome.err.startswith("rag-studio: ")
    assert program.run("cite", "Nowhere", "x").code == 1
