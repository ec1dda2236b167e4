from __future__ import annotations

from pathlib import Path

from tests.helpers.command import Program


def test_the_demo_runs_the_main_job_without_a_display(program: Program, tmp_path: Path) -> None:
    value = program.run_apart("--json", "demo", "--output", tmp_path / "pictures").json
    assert value["kb"] == "Sample library"
    assert value["generation"] == 2
    assert value["documents"] > 10
    assert value["results"][0]["citation"]["page_number"] is not None
    pictures = [Path(path) for path in value["screenshots"]]
    assert {path.stem for path in pictures} == {
        f"{pane}_{theme}" for pane in ("search", "ingest", "generations") for theme in ("light", "dark")
    }
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 20_000
