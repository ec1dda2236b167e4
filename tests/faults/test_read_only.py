"""A data directory that cannot be written: everything can be read, every change is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.helpers.command import Outcome, Program
from tests.helpers.filesystems import mounted_read_only, without_permission

Mechanism = Callable[[Path], AbstractContextManager[bool]]
MECHANISMS = pytest.mark.parametrize("mechanism", [mounted_read_only, without_permission])


def _tree(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in root.rglob("*")}


def _said(outcome: Outcome) -> list[str]:
    return [line for line in outcome.err.splitlines() if line]


@MECHANISMS
def test_everything_can_be_read_and_nothing_changed(program: Program, folder: Path, mechanism: Mechanism) -> None:
    program.ok("kb", "create", "Notes")
    for text in ("Blue whales sing songs.", "Blue whales sing long songs."):
        (folder / "a.txt").write_text(text)
        program.ok("ingest", "Notes", folder)
    (folder / "b.txt").write_text("Pianos are heavy.")
    before = _tree(program.data_dir)
    with mechanism(program.data_dir) as bound:
        held = Program(program.data_dir, bound=bound)
        for command in (["search", "Notes", "whales"], ["generations", "Notes"], ["documents", "Notes"], ["doctor"]):
            outcome = held.run("--json", *command)
            assert outcome.code == 0, outcome.err
            assert len(_said(outcome)) == 1, outcome.err
            assert "nothing can be changed" in outcome.err
            if command[0] == "search":
                assert outcome.json["results"][0]["content"] == "Blue whales sing long songs."
                assert outcome.json["results"][0]["explanation"]["vector_rank"] == 1
                assert outcome.json["degraded"] is None
        for command in (["ingest", "Notes", str(folder)], ["promote", "Notes", "1"], ["gc"], ["kb", "create", "More"]):
            outcome = held.run(*command)
            assert outcome.code == 1, outcome.err
            assert len(_said(outcome)) == 1, outcome.err
            assert "cannot be opened for writing" in outcome.err
            assert "--data-dir" in outcome.err
        assert _tree(program.data_dir) == before
    assert program.ok("ingest", "Notes", folder)["added"] == 1


def test_what_a_killed_writer_left_in_the_log_is_read(program: Program, folder: Path) -> None:
    program.ok("kb", "create", "Notes")
    (folder / "a.txt").write_text("Blue whales sing songs.")
    program.killed("promote.done", "ingest", "Notes", folder)
    assert (program.data_dir / "catalog.sqlite3-wal").stat().st_size > 0
    with mounted_read_only(program.data_dir) as bound:
        found = Program(program.data_dir, bound=bound).ok("search", "Notes", "whales")
    assert found["generation"] == 1
    assert found["results"][0]["content"] == "Blue whales sing songs."


def test_an_empty_directory_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    with mounted_read_only(root) as bound:
        outcome = Program(root, bound=bound).run("kb", "list")
    assert outcome.code == 1
    assert str(root) in outcome.err
    assert len(_said(outcome)) == 1
    assert not list(root.iterdir())
