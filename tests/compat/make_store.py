"""Makes the golden store of this version of the program: run once for each version whose files differ.

    .venv/bin/python tests/compat/make_store.py

Writes stores/catalog-<schema version>.tar.gz and stores/bundle-<format version>.ragstudio, or the one of them that is
not there yet. They are never made again by a later program: what they are good for is that an older one wrote them.
"""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import tempfile
from pathlib import Path

from studio.bootstrap import open_services
from studio.domain import Retention
from studio.index.bundle.values import BUNDLE_VERSION
from studio.index.migrations import SCHEMA_VERSION

STORES = Path(__file__).parent / "stores"
WHALES = """# Whales

## Songs

Blue whales sing low songs that travel hundreds of kilometres under water.

## Food

They eat krill, which they filter from the sea with plates of baleen.
"""
PIANOS = "A piano has about {} strings. Hammers covered with felt strike them, and dampers silence them again.\n"
GLACIERS = "Glaciers are rivers of ice that carve valleys over thousands of years.\n"


async def make(root: Path, notes: Path) -> None:
    """A knowledge base with three generations, the last active, a policy and a pinned query."""
    store = STORES / f"catalog-{SCHEMA_VERSION}.tar.gz"
    bundle = STORES / f"bundle-{BUNDLE_VERSION}.ragstudio"
    if store.exists() and bundle.exists():
        raise SystemExit(f"{store} and {bundle} are there already; raise the version that changed.")
    (notes / "whales.md").write_text(WHALES, "utf-8")
    (notes / "pianos.txt").write_text(PIANOS.format(230), "utf-8")
    async with open_services(root) as services:
        kb = (await services.library.create("Golden")).id
        await services.ingest.ingest(kb, [notes])
        (notes / "pianos.txt").write_text(PIANOS.format(220), "utf-8")
        await services.ingest.ingest(kb, [notes])
        (notes / "glaciers.txt").write_text(GLACIERS, "utf-8")
        await services.ingest.ingest(kb, [notes])
        await services.library.set_retention(kb, Retention(7, min_age_hours=1.5))
        await services.gate.add(kb, "songs of whales", ["whales.md"], 3)
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
