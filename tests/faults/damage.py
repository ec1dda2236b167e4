"""Damages every file of small stores, has them repaired, and tells by other means what was still there.

    python tests/faults/damage.py --combinations 300 --seed 1

prints a line for each combination that failed. What a store held is written down while it is whole; a document counts
as held after a damage when its source is there, its stored text is as it was, or every data file with its passages is.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it runs as a script, too

from lance.file import LanceFileReader

from studio.documents.pool import ParserPool
from studio.domain import Check, DocumentStatus
from studio.index.catalog import backups
from studio.index.generations import Stores
from studio.paths import DataPaths
from studio.services.recovery import restore_catalog
from tests.helpers.ward import ToyEmbedder, Ward

HOW = ("remove", "truncate", "flip")
SOURCES = ("all", "some", "none")
TARGETS = ("vectors", "lexical", "texts", "leases")
"""Folders of a base whose files are damaged."""
CATALOGS = ("whole", "empty", "zeroed", "truncated", "flipped", "older", "missing")
"""What becomes of the catalog; an older one is the oldest backup that is there."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Files (relative to the data directory) that are damaged in one way, and what becomes of the sources."""

    files: tuple[str, ...]
    how: str
    sources: str
    catalog: str = "whole"


@dataclass(frozen=True, slots=True)
class Held:
    """What a whole store held: hashes of its files, and for each document what can bring it back."""

    prints: dict[str, str]
    texts: dict[str, str]
    """Source path → text file."""
    rows: dict[str, tuple[str, ...]]
    """Source path → data files with its passages."""
    ids: dict[str, set[str]]


def damages(data: Path, seed: int) -> Iterator[Damage]:
    """Every single file, and whole folders of tables, in every way, without end; in an order that the seed tells."""
    shuffle = random.Random(seed)
    files = sorted(
        str(path.relative_to(data))
        for base in sorted((data / "kb").iterdir())
        for target in TARGETS
        for path in (base / target).rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    )
    groups: list[tuple[str, ...]] = [(file,) for file in files]
    for base in sorted((data / "kb").iterdir()):
        tables = [f"vectors/{name}.lance/" for name in ("documents", "chunks")]
        inner = [f"{table}{part}/" for table in tables for part in ("data", "_versions", "_refs")]
        for pattern in (*tables, *inner, "vectors/", "lexical/", "texts/"):
            part = tuple(file for file in files if file.startswith(f"kb/{base.name}/{pattern}"))
            groups += [part] * (1 if len(part) else 0)
    every = [
        Damage(group, how, sources, catalog)
        for group in groups
        for how in HOW
        for sources in SOURCES
        for catalog in CATALOGS
    ]
    while True:
        shuffle.shuffle(every)
        yield from every


def apply(data: Path, folder: Path, damage: Damage, seed: int = 0) -> None:
    """Damage the files and remove sources."""
    dice = random.Random(seed)
    for name in damage.files:
        path = data / name
        if damage.how == "remove":
            path.unlink()
            continue
        content = bytearray(path.read_bytes())
        if damage.how == "truncate":
            content = content[: len(content) // 2]
        elif content:
            at = dice.randrange(len(content))
            content[at] ^= 1 << dice.randrange(8)
        path.unlink()  # what other generations link to is another file
        path.write_bytes(content)
    damage_catalog(DataPaths(data), damage.catalog, dice)
    if damage.sources != "all":
        for number, path in enumerate(sorted(folder.rglob("*"))):
            if path.is_file() and (damage.sources == "none" or number % 2):
                path.unlink()


def damage_catalog(paths: DataPaths, how: str, dice: random.Random) -> None:
    """Damage the catalog of a program that has ended."""
    content = bytearray(paths.catalog.read_bytes())
    match how:
        case "whole":
            return
        case "empty":
            content = bytearray()
        case "zeroed":
            content = bytearray(len(content))
        case "truncated":
            content = content[: len(content) // 2]
        case "flipped":
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        case "older":
            content = bytearray(backups(paths.backups)[-1].read_bytes())
    paths.catalog.unlink()
    if how != "missing":
        paths.catalog.write_bytes(content)


def prints_of(data: Path) -> dict[str, str]:
    """Hash of every file of the knowledge bases."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (data / "kb").rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def rows_of(data: Path) -> dict[str, set[str]]:
    """Document id → data files with passages of it, read without the program."""
    found: dict[str, set[str]] = {}
    for file in sorted((data / "kb").glob("*/vectors/chunks*.lance/data/*.lance")):
        for identity in set(LanceFileReader(str(file)).read_all().to_table()["document_id"].to_pylist()):
            found.setdefault(identity, set()).add(str(file.relative_to(data)))
    return found


async def describe(ward: Ward, data: Path) -> Held:
    """What a whole store holds."""
    active = await ward.active()
    records = await ward.store.vectors.records(active.documents_version)
    rows = rows_of(data)
    texts, passages, ids = {}, {}, {}
    for record in records:
        if record.status is DocumentStatus.INDEXED:
            texts[record.source_path] = f"kb/{ward.kb_id}/texts/{record.sha256}.{record.kind}"
            files = set(passages.get(record.source_path, ())) | rows.get(record.document_id, set())
            passages[record.source_path] = tuple(sorted(files))
            ids.setdefault(record.source_path, set()).add(record.document_id)
    return Held(prints_of(data), texts, passages, ids)


def still_held(held: Held, data: Path) -> set[str]:
    """Paths of documents that a file of the damaged store still holds."""
    now = prints_of(data)

    def as_it_was(file: str) -> bool:
        return now.get(file) == held.prints.get(file) and file in now

    return {
        path
        for path in held.texts
        if Path(path).is_file() or as_it_was(held.texts[path]) or all(map(as_it_was, held.rows[path]))
    }


async def verdict(
    ward: Ward, data: Path, held: Held, before: dict[str, str], wanted: set[str], checks: Sequence[Check]
) -> list[str]:
    """What is wrong after a repair."""
    wrong = []
    named = {item.path for check in checks for item in check.lost}
    try:
        active = await ward.active()
        records = await ward.store.vectors.records(active.documents_version)
        indexed = [record for record in records if record.status is DocumentStatus.INDEXED]
        ids, paths = {record.document_id for record in indexed}, {record.source_path for record in indexed}
    except Exception as error:
        return [f"cannot be read: {error}"]
    for path in held.texts:
        there = path in paths or held.ids[path] <= ids
        if not there and path in wanted:
            wrong.append(f"missing though held: {Path(path).name}")
        if not there and path not in named:
            wrong.append(f"lost and not named: {Path(path).name}")
    kept = {
        hashlib.sha256(file.read_bytes()).hexdigest() for file in (data / "lost+found").rglob("*") if file.is_file()
    }
    now = set(prints_of(data).values())
    for name, digest in before.items():
        if digest not in now and digest not in kept and "/leases/" not in name:
            wrong.append(f"deleted: {name}")
    return wrong


async def with_ward(
    data: Path, folder: Path, work: Callable[[Ward], object], kb_id: str = "", *, model: bool = True
) -> object:
    """Do something with a store that is opened for it, as `doctor --repair` opens it."""
    await asyncio.to_thread(restore_catalog, DataPaths(data))
    stores = await Stores.open(DataPaths(data), adopting=True)
    parser = ParserPool(1)
    ward = Ward(stores, ToyEmbedder(), parser, folder)
    ward.toy.gone = not model
    ward.kb_id = kb_id
    try:
        return await work(ward)  # type: ignore[misc]
    finally:
        ward.close()
        await parser.close()
        await stores.close()


async def fill(ward: Ward, variant: int) -> None:
    """One of three small bases."""
    if variant:
        for number in range(4 * variant):
            text = f"Note {number} of base {variant} is of subject {number}. " * 12
            (ward.folder / f"note {number}.txt").write_text(text)
    await ward.fill()
    if variant == 1:  # a file that changed, one that went
        (ward.folder / "note 0.txt").write_text("Another text stands in this note by now. " * 9)
        (ward.folder / "note 1.txt").unlink()
        await ward.ingest.ingest(ward.kb_id, [ward.folder])


async def attempt(whole: Path, work: Path, kb_id: str, held: Held, damage: Damage, seed: int) -> list[str]:
    """Damage a copy of a whole store, repair it, and tell what is wrong."""
    data, folder = work / "data", work / "docs"
    for name in ("data", "docs"):
        shutil.rmtree(work / name, ignore_errors=True)
        shutil.copytree(whole / name, work / name)
    apply(data, folder, damage, seed)
    wanted, before = still_held(held, data), prints_of(data)

    async def repair(ward: Ward) -> list[str]:
        checks = await ward.doctor.repair()
        return await verdict(ward, data, held, before, wanted, checks)

    try:
        return await with_ward(data, folder, repair, kb_id)  # type: ignore[return-value]
    except BaseException as error:
        return [f"{type(error).__name__}: {error}"]


async def run(combinations: int, seed: int) -> int:
    """Run many combinations; returns how many failed."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="damage-") as place:
        stores = []
        for variant in range(3):
            work, whole = Path(place, f"store{variant}"), Path(place, f"whole{variant}")
            (work / "docs").mkdir(parents=True)

            async def make(ward: Ward, variant: int = variant, work: Path = work) -> tuple[str, Held]:
                await fill(ward, variant)
                return ward.kb_id, await describe(ward, work / "data")

            kb_id, held = await with_ward(work / "data", work / "docs", make)  # type: ignore[misc]
            shutil.copytree(work, whole)
            stores.append((whole, work, kb_id, held, damages(whole / "data", seed + variant)))
        for number in range(combinations):
            whole, work, kb_id, held, every = stores[number % len(stores)]
            damage = next(every)
            if wrong := await attempt(whole, work, kb_id, held, damage, seed + number):
                failed += 1
                name = damage.files[0] if len(damage.files) == 1 else f"{damage.files[0]} +{len(damage.files) - 1}"
                what = f"{damage.how:8} sources {damage.sources:4} catalog {damage.catalog:9} {name}"
                print(f"{number:4} base {number % 3} {what}", flush=True)
                for line in wrong[:6]:
                    print(f"       {line}", flush=True)
    print(f"{failed} of {combinations} failed")
    return failed


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--combinations", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    sys.exit(1 if asyncio.run(run(given.combinations, given.seed)) else 0)
