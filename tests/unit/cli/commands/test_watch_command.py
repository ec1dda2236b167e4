"""The commands around watched folders, and the watching itself with the real model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.cli.arguments import build_parser
from studio.cli.commands import watch
from studio.services.watch import service as watching
from tests.helpers.command import Program


def test_the_list_of_folders(program: Program, folder: Path, tmp_path: Path) -> None:
    program.ok("kb", "create", "Notes")
    program.ok("kb", "create", "Other")
    other = tmp_path / "other"
    other.mkdir()
    added = program.ok("watch", "add", "Notes", folder, other)
    assert [(item["kb"], item["path"], item["state"]) for item in added] == [
        ("Notes", str(folder), "on"), ("Notes", str(other), "on"),
    ]  # fmt: skip
    assert [item["state"] for item in program.ok("watch", "off", "Notes", folder)] == ["off", "on"]
    assert [item["state"] for item in program.ok("watch", "off", "Notes")] == ["off", "off"]
    assert [item["state"] for item in program.ok("watch", "on", "Notes")] == ["on", "on"]
    program.ok("watch", "add", "Other", other)
    other.rmdir()
    found = program.ok("watch", "list")
    assert sorted((item["kb"], item["state"]) for item in found) == [
        ("Notes", "missing"), ("Notes", "on"), ("Other", "missing"),
    ]  # fmt: skip
    assert program.ok("watch", "remove", "Notes", folder, other) == []
    assert str(other) in program.run("watch", "list").out
    refused = program.run("watch", "add", "Notes", tmp_path / "none")
    assert refused.code == 1
    assert "There is no folder" in refused.err


@pytest.mark.parametrize("as_json", [False, True])
async def test_run_tells_of_every_job_until_it_is_interrupted(
    services: Services, folder: Path, capsys, monkeypatch, as_json: bool
) -> None:
    monkeypatch.setattr(watching, "QUIET_S", 0.4)
    kb = await services.library.create("Notes")
    (folder / "a.txt").write_text("Blue whales sing low songs.")
    await services.watch.add("Notes", [folder])
    options = build_parser().parse_args(["watch", "run", *(["--json"] if as_json else [])])
    ended = asyncio.Event()
    services.queue.subscribe(lambda event: ended.set() if hasattr(event, "report") else None)
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        task = group.create_task(watch.watch(services, options))
        await ended.wait()
        ended.clear()
        (folder / "b.txt").write_text("A piano has strings of steel.")
        await ended.wait()
        task.cancel()
    assert task.result() == 0
    told = capsys.readouterr()
    assert f"watching {folder}" in told.err
    if as_json:
        assert [job["report"]["added"] for job in json.loads(told.out)] == [1, 1]
    else:
        lines = told.out.splitlines()
        assert [line.endswith(f"done  {folder}: 1 added") for line in lines] == [True, True]
    assert {Path(item.source_path).name for item in await services.library.documents(kb.id)} == {"a.txt", "b.txt"}
