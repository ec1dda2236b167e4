"""The commands around generations as scripts see them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.domain import ModelInfo
from tests.helpers.command import Program

Write = Callable[[str, str], Path]

WHALES = "Blue whales sing songs that travel far under water.\n"
PIANOS = "A grand piano has more than two hundred strings.\n"
BREAD = "Sourdough bread rises slowly overnight.\n"


@pytest.fixture
def library(program: Program, folder: Path, write: Write) -> Program:
    """One knowledge base, two generations: the second has a new, a changed and a removed document."""
    write("whales.txt", WHALES)
    write("pianos.txt", PIANOS)
    write("stays.txt", "Lighthouses warn ships of rocks.\n")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    (folder / "whales.txt").unlink()
    write("pianos.txt", PIANOS + "It is tuned twice a year.\n")
    write("bread.txt", BREAD)
    program.ok("ingest", "Notes", folder)
    return program


def test_generations_tell_where_they_come_from_and_carry_notes(library: Program) -> None:
    second, first = library.ok("generations", "Notes", "--note", "1", "before the move")
    assert set(second) >= {
        "generation", "state", "parent", "documents", "chunks", "size_bytes", "own_bytes", "shared_bytes", "created_ms",
        "ready_ms", "promoted_ms", "archived_ms", "settings", "model", "note", "held", "error",
    }  # fmt: skip
    assert (second["generation"], second["state"], second["parent"]) == (2, "active", 1)
    assert second["own_bytes"] + second["shared_bytes"] == second["size_bytes"] > 0
    assert second["created_ms"] <= second["ready_ms"] <= second["promoted_ms"] <= first["archived_ms"]
    assert (first["note"], first["held"], first["error"]) == ("before the move", "", "")
    outcome = library.run("generations", "Notes")
    assert "before the move" in outcome.out
    assert "SHARED" in outcome.out


def test_rollback_and_forward(library: Program) -> None:
    assert library.ok("rollback", "Notes")["generation"] == 1
    assert library.ok("rollback", "Notes", "--forward")["generation"] == 2
    assert library.ok("rollback", "Notes", "1")["generation"] == 1


def test_retention_is_set_shown_and_followed(library: Program) -> None:
    defaults = library.ok("kb", "retention", "Notes")
    assert set(defaults) == {"keep_archived", "min_age_hours", "max_archived_mib"}
    assert library.ok("kb", "retention", "Notes", "--min-age", "1.5")["min_age_hours"] == 1.5
    changed = library.ok("kb", "retention", "Notes", "--keep", "0")
    assert (changed["keep_archived"], changed["min_age_hours"]) == (0, 1.5)
    assert library.ok("kb", "info", "Notes")["retention"] == changed
    assert library.ok("gc", "Notes")["deleted"] == []
    library.ok("kb", "retention", "Notes", "--min-age", "0")
    assert library.ok("gc", "Notes", "--dry-run")["deleted"] == ["Notes/1"]
    report = library.ok("gc")
    assert set(report) == {"deleted", "kept", "freed_bytes", "errors"}
    assert (report["deleted"], report["errors"]) == (["Notes/1"], [])
    assert library.ok("kb", "retention", "Notes", "--default") == defaults


def test_diff_tells_documents_and_hits(library: Program, folder: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("whales that sing\n")
    found = library.ok("diff", "Notes", "1", "2", "--queries", queries, "--limit", "1")
    assert set(found) == {"kb", "a", "b", "added", "changed", "removed", "moved", "unchanged", "queries"}
    assert (found["kb"], found["a"], found["b"], found["unchanged"], found["moved"]) == ("Notes", 1, 2, 1, [])
    documents = {part: [item["path"] for item in found[part]] for part in ("added", "changed", "removed")}
    assert documents == {
        "added": [str(folder / "bread.txt")],
        "changed": [str(folder / "pianos.txt")],
        "removed": [str(folder / "whales.txt")],
    }
    (query,) = found["queries"]
    assert query["query"] == "whales that sing"
    assert [hit["title"] for hit in query["lost"]] == ["whales"]
    assert (len(query["gained"]), query["moved"]) == (1, [])
    outcome = library.run("diff", "Notes", "1", "2", "--queries", queries, "--mode", "keyword")
    assert "1 added, 1 changed, 1 removed, 0 moved, 1 unchanged" in outcome.out
    assert f"  + {folder / 'bread.txt'}" in outcome.out
    assert "  - #1 whales: Blue whales" in outcome.out


def test_the_gate_holds_a_generation_back(program: Program, folder: Path, write: Write) -> None:
    whales = write("whales.txt", WHALES)
    write("pianos.txt", PIANOS)
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    pin = program.ok("gate", "add", "Notes", "animals that sing", "--must-find", "whales.txt", "--top", "1")
    assert pin == {"id": 1, "query": "animals that sing", "must_find": ["whales.txt"], "top": 1}
    assert program.ok("gate", "list", "Notes") == [pin]
    report = program.ok("gate", "check", "Notes")
    assert (report["generation"], report["passed"], report["queries"][0]["found"]) == (1, True, {"whales.txt": 1})
    whales.unlink()
    held = program.run("--json", "ingest", "Notes", folder)
    assert held.code == 3
    assert (held.json["generation"], held.json["promoted"]) == (2, False)
    assert "does not find whales.txt" in held.json["held"]
    assert held.json["held"] in held.err
    text = program.run("generations", "Notes")
    assert "ready" in text.out
    assert held.json["held"] in text.out
    check = program.run("gate", "check", "Notes", "2")
    assert (check.code, "whales.txt is not in this generation" in check.out) == (1, True)
    refused = program.run("promote", "Notes", "2")
    assert (refused.code, "--force" in refused.err) == (1, True)
    forced = program.ok("promote", "Notes", "2", "--force")
    assert (forced["state"], forced["held"]) == ("active", "")
    assert program.ok("gate", "remove", "Notes", "1") == {"removed": 1}
    assert program.ok("gate", "list", "Notes") == []


def test_a_bundle_goes_to_another_machine(library: Program, tmp_path: Path, default_model: ModelInfo) -> None:
    file = tmp_path / "notes.rsb"
    exported = library.ok("export", "Notes", file, "--generation", "1")
    assert (exported["file"], exported["generation"], exported["documents"]) == (str(file), 1, 3)
    again = library.run("export", "Notes", file)
    assert (again.code, str(file) in again.err) == (1, True)
    assert default_model.path is not None
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "models").symlink_to(default_model.path.parent)
    elsewhere = Program(tmp_path / "elsewhere")
    verified = elsewhere.ok("verify", file)
    assert (verified["ok"], verified["sha256"]) == (True, exported["sha256"])
    imported = elsewhere.ok("import", file, "--name", "Copy")
    assert (imported["name"], imported["documents"], imported["model_installed"]) == ("Copy", 3, True)
    assert imported["active_generation"] == imported["generation"]
    found = elsewhere.ok("search", "Copy", "marine mammals that sing", "--limit", "1")
    assert found["results"][0]["citation"]["title"] == "whales"
    taken = elsewhere.run("import", file, "--name", "Copy")
    assert (taken.code, "Copy" in taken.err) == (1, True)


def test_a_damaged_bundle_is_refused(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "damaged.rsb"
    file.write_bytes(b"not a bundle")
    refused = program.run("--json", "verify", file)
    assert (refused.code, refused.json["ok"]) == (1, False)
    assert refused.json["error"]["type"] == "BundleFault"
    assert str(file) in refused.json["error"]["message"]
    assert str(file) in program.run("verify", file).err
    assert program.run("import", file).code == 1
    assert program.ok("kb", "list") == []


def test_doctor_finds_and_mends_damage(program: Program, write: Write) -> None:
    whales = write("whales.txt", WHALES)
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", whales)
    healthy = program.ok("doctor")
    assert set(healthy) == {"ok", "checks", "lost"}
    assert all(set(check) == {"name", "ok", "detail", "repair", "lost"} for check in healthy["checks"])
    (lexical,) = program.data_dir.glob("kb/*/lexical/g1")
    shutil.rmtree(lexical)
    damaged = program.run("--json", "doctor")
    assert (damaged.code, damaged.json["ok"]) == (1, False)
    assert any("--repair" in check["repair"] for check in damaged.json["checks"] if not check["ok"])
    assert program.ok("doctor", "--repair")["ok"] is True
    outcome = program.run("doctor")
    assert (outcome.code, "WRONG" in outcome.out) == (0, False)
    assert program.ok("search", "Notes", "whales", "--mode", "keyword")["results"]
