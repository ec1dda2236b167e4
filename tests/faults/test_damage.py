"""A small sample of what `damage.py` does with many combinations: the worst there are, with their sources gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.cli.ways_out import typed
from studio.services.recovery.losses import NAMELESS
from tests.faults.damage import Damage, apply, describe, fill, prints_of, still_held, verdict, with_ward
from tests.helpers.ward import Ward

LISTS, PASSAGES = "vectors/documents.lance", "vectors/chunks.lance"


@pytest.mark.parametrize(
    ("parts", "how", "model"),
    [
        ((LISTS,), "remove", False),
        ((f"{LISTS}/data",), "truncate", True),
        ((LISTS, PASSAGES), "remove", True),
        ((f"{LISTS}/data", "texts"), "remove", False),
        ((PASSAGES, "lexical"), "remove", True),
        ((f"{PASSAGES}/data", "texts"), "remove", True),
    ],
)
async def test_what_any_file_held_is_there_and_the_rest_is_named(
    tmp_path: Path, parts: tuple[str, ...], how: str, model: bool
) -> None:
    data, folder = tmp_path / "data", tmp_path / "docs"
    folder.mkdir()

    async def scene(ward: Ward) -> None:
        await fill(ward, 0)
        held = await describe(ward, data)
        files = sorted(
            str(path.relative_to(data))
            for part in parts
            for path in (ward.store.paths.root / part).rglob("*")
            if path.is_file() and path.suffix != ".lock"
        )
        apply(data, folder, Damage(tuple(files), how, "none"))
        for part in parts:
            if how == "remove":
                shutil.rmtree(ward.store.paths.root / part)
        wanted, before = still_held(held, data), prints_of(data)
        ward.toy.gone = not model
        checks = await ward.doctor.repair()
        if wanted:
            assert await verdict(ward, data, held, before, wanted, checks) == []
            if wanted == held.texts.keys():
                assert {item.why for check in checks for item in check.lost} <= {NAMELESS}
        assert all(not typed(check.repair).removeprefix("Run: ").startswith("rag-studio doctor") for check in checks)

    await with_ward(data, folder, scene)
