"""Choosing and tuning the vector index from the command line."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.command import Program


def test_an_index_is_chosen_tuned_and_shown(program: Program, folder: Path) -> None:
    (folder / "whale.txt").write_text("The blue whale is the largest animal. It sings in the deep sea for hours.")
    assert program.ok("kb", "create", "Notes", "--index", "ivf_sq")["settings"]["index"] == "ivf_sq"
    assert program.ok("ingest", "Notes", folder)["generation"] == 1
    changed = program.run("kb", "set", "Notes", "--index", "flat")
    assert "Generation 2 of “Notes” was built with the index flat." in changed.out
    assert "rebuilds it" in program.run("kb", "set", "Notes", "--chunk-tokens", "100").out
    assert program.ok("kb", "info", "Notes")["settings"]["index"] == "flat"

    found = program.run("tune", "Notes", "--indexes", "flat", "--no-apply", "--samples", "5")
    assert found.code == 0
    assert "flat" in found.out
    assert "Nothing was changed." in found.out
    assert "Comparing 1 sample queries" in found.err
    value = program.ok("tune", "Notes", "--recall", "0.9")
    assert (value["kb"], value["rows"], value["target"]) == ("Notes", 1, 0.9)
    (row,) = value["table"]
    assert value["chosen"] == row
    assert set(row) == {
        "index", "nprobes", "refine_factor", "ef", "recall", "p50_ms", "p95_ms", "build_s", "bytes",
    }  # fmt: skip
    assert (row["index"], row["recall"], row["bytes"]) == ("flat", 1.0, 0)

    wrong = program.run("tune", "Notes", "--indexes", "ivf_xx")
    assert wrong.code == 2
    assert "There is no index “ivf_xx”" in wrong.err
    assert program.run("kb", "set", "Notes", "--index", "ivf_xx").code == 2
