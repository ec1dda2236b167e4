"""Makes the golden files of this version of the program: run once for each version whose files differ.

    .venv/bin/python tests/compat/make_store.py

Writes stores/store-<catalog version>.tar.gz (catalog with a backup, tables, keyword indexes, texts) and
stores/bundle-<format version>.ragstudio, or the one of them that is not there yet. They are never made again by a later
program: what they are good for is that an older one wrote them.
"""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import tempfile
from pathlib import Path

from studio.bootstrap import open_services
from studio.domain import Retention
from studio.index.bundle import BUNDLE_VERSION
from studio.index.catalog.migrations import schema_version

STORES = Path(__file__).parent / "stores"
WHALES = """---
date: 2024-05-06
audience: all
---
# Whales

## Songs

Blue whales sing low songs that travel hundreds of kilometres under water. See `readSong` in sea_songs.py.

## Food

They eat krill, which they filter from the sea with plates of baleen. 鲸鱼 is the Chinese word for them.
"""
PIANOS = "A piano has about {} strings. Hammers covered with felt strike them, and dampers silence them again.\n"
GLACIERS = "Glaciers are rivers of ice that carve valleys over thousands of years.\n"


async def make(root: Path, notes: Path) -> None:
    """A knowledge base with three generations, the last active, a policy, a tag, a pinned query, a judged one, a file
    that cannot be read, and one that moved.
    """
    store = STORES / f"store-{schema_version()}.tar.gz"
    bundle = STORES / f"bundle-{BUNDLE_VERSION}.ragstudio"
    if store.exists() and bundle.exists():
        raise SystemExit(f"{store} and {bundle} are there already; raise the version that changed.")
    STORES.mkdir(exist_ok=True)
    (notes / "whales.md").write_text(WHALES, "utf-8")
    (notes / "pianos.txt").write_text(PIANOS.format(230), "utf-8")
    async with open_services(root) as services:
        kb = (await services.library.create("Golden")).id
        await services.ingest.ingest(kb, [notes])
        await services.tags.change(kb, ["whales.md"], add=["sea"])
        (notes / "deep").mkdir()
        (notes / "whales.md").rename(notes / "deep" / "whales.md")
        (notes / "pianos.txt").write_text(PIANOS.format(220), "utf-8")
        await services.ingest.ingest(kb, [notes])
        (notes / "glaciers.txt").write_text(GLACIERS, "utf-8")
        (notes / "torn.pdf").write_bytes(b"%PDF-1.7 and no more")
        await services.ingest.ingest(kb, [notes])
        await services.library.set_retention(kb, Retention(7, min_age_hours=1.5))
        await services.gate.add(kb, "songs of whales", ["whales.md"], 3)
        await services.quality.judging.judge(kb, "rivers of ice", str(notes / "glaciers.txt"), 2)
        if not bundle.exists():
            await services.bundles.export(kb, bundle)
    for folder in ("models", "logs"):
        shutil.rmtree(root / folder, ignore_errors=True)
    if not store.exists():
        with tarfile.open(store, "w:gz") as archive:
            archive.add(root, "store")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        for name in ("store", "notes"):
            Path(folder, name).mkdir()
        asyncio.run(make(Path(folder, "store"), Path(folder, "notes")))
