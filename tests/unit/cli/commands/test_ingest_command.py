"""What `ingest` says and returns where documents were kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from studio.bootstrap import Services
from studio.cli.arguments import build_parser
from studio.cli.commands.ingest import ingest


async def test_documents_that_were_kept_are_told_and_go_when_allowed(
    services: Services, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = await ingest(services, build_parser().parse_args(["ingest", "My notes", *arguments]))
        return code, capsys.readouterr().out

    async def run_json(*arguments: str) -> tuple[int, Any]:
        code, out = await run(*arguments, "--json")
        return code, json.loads(out)

    box = folder / "a box"
    box.mkdir()
    for number in range(3):
        (box / f"{number}.txt").write_text(f"The text with the number {number}.")
    (folder / "top.txt").write_text("A text at the top.")
    await services.library.create("My notes")
    assert (await run(str(folder)))[0] == 0
    shutil.rmtree(box)
    held = [{"folder": str(box), "count": 3, "why": "There is nothing in it any more."}]
    code, looked = await run_json(str(folder), "--dry-run")
    assert (code, looked["removed"], looked["held_removals"]) == (0, 0, held)
    code, report = await run_json(str(folder))
    assert (code, report["removed"], report["held_removals"]) == (3, 0, held)
    code, out = await run(str(folder))
    assert f"3 of {box}: There is nothing in it any more." in out
    assert f"rag-studio ingest 'My notes' '{box}' --allow-removals" in out
    code, report = await run_json(str(box), "--allow-removals")
    assert (code, report["removed"], report["held_removals"]) == (0, 3, [])
    assert [Path(item.source_path).name for item in await services.library.documents("My notes")] == ["top.txt"]
