"""Tags on the command line."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.command import Program


def test_tags_are_given_listed_shown_and_taken_away(program: Program, folder: Path) -> None:
    (folder / "a.md").write_text("---\nkeywords: sea; whales\n---\nWhales sing.")
    (folder / "b.txt").write_text("A piano.")
    program.ok("kb", "create", "Notes")
    assert program.run("tag", "Notes").out.strip() == "No tags yet."
    program.ok("ingest", "Notes", folder)
    given = program.ok("tag", "Notes", folder / "a.md", "*.txt", "--add", "to read", "--add", "Music")
    assert given == [{"path": str(folder / name), "tags": ["Music", "to read"]} for name in ("a.md", "b.txt")]
    program.ok("tag", "Notes", "b.txt", "--remove", "music")
    lines = program.run("tag", "Notes").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["TAG", "Music", "sea", "to read", "whales"]
    assert program.ok("tag", "Notes", "b.txt") == [{"tag": "to read", "documents": 1, "given": 1}]
    listed = {Path(item["path"]).name: item for item in program.ok("documents", "Notes")}
    assert listed["a.md"]["tags"] == ["Music", "to read", "sea", "whales"]
    assert listed["a.md"]["metadata"] == {"keywords": "sea; whales", "tags": "sea; whales"}
    assert (listed["b.txt"]["tags"], listed["b.txt"]["metadata"]) == (["to read"], {})
    unknown = program.run("tag", "Notes", "c.txt", "--add", "x")
    assert unknown.code != 0
    assert "“c.txt”" in unknown.err
