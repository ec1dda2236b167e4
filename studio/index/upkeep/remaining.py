"""What the bare files of a knowledge base tell of its generations, where neither catalog nor `base.json` does.

A sealed generation has a tag in both tables, a keyword index and a lease file, all of one number; its table versions
are in the files of the tags. Nothing of it is opened here: a table that does not open any more still has its tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.index.catalog import is_base, numbers_in
from studio.index.vectors import (
    DOCUMENTS_TABLE,
    manifests,
    table_folder,
    table_folders,
    tag_files,
    tagged_version,
    version_of,
)
from studio.paths import KbPaths

CHUNKS_TABLE = "chunks"


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a generation. A version of 0 is of a table that is gone."""

    number: int
    chunks_table: str
    chunks_version: int
    documents_version: int
    sealed: bool
    """Whether it has a lease file, which comes last; without one it may be a build that was interrupted."""


def remains(paths: KbPaths) -> list[Remains]:
    """The generations that the files tell of, oldest first; one at least where there are tables or texts. Blocking.

    A number without a tag counts where it has a lease and is above all others: a lost tag of an older generation is
    told from one that was collected by nothing.
    """
    tables = {folder.stem: _tags(folder) for folder in table_folders(paths.vectors)}
    documents = tables.pop(DOCUMENTS_TABLE, {})
    leased = numbers_in(paths.leases)
    tagged = set(documents).union(*tables.values())
    later = {number for number in leased | numbers_in(paths.lexical) if number > max(tagged, default=0)}
    untagged = later & leased if tagged else later
    numbers = sorted(tagged | ({max(untagged)} if untagged else set()))
    if not numbers and is_base(paths):
        numbers = [1]
    return [_remains(paths, number, tables, documents, number in leased) for number in numbers]


def _remains(
    paths: KbPaths, number: int, tables: Mapping[str, Mapping[int, int]], documents: Mapping[int, int], sealed: bool
) -> Remains:
    table = next((name for name, tags in tables.items() if number in tags), "")
    if not table:  # its tag is lost: the table of the generation before, as a rule, has its rows
        before = {max((n for n in tags if n < number), default=0): name for name, tags in tables.items()}
        table = before[max(before)] if before else CHUNKS_TABLE
    chunks = _version(table_folder(paths.vectors, table), number, tables.get(table, {}))
    return Remains(
        number, table, chunks, _version(table_folder(paths.vectors, DOCUMENTS_TABLE), number, documents), sealed
    )


def _version(table: Path, number: int, tags: Mapping[int, int]) -> int:
    """The version that a tag holds; where it is lost, the last one between those of its neighbours."""
    if number in tags:
        return tags[number]
    before = max((tags[other] for other in tags if other < number), default=0)
    after = min((tags[other] for other in tags if other > number), default=None)
    between = [
        version for version in map(version_of, manifests(table)) if before < version and (not after or version < after)
    ]
    return max(between, default=before)


def _tags(table: Path) -> dict[int, int]:
    """Generation → version, from the files of a table's tags; those that cannot be read are left out."""
    found: dict[int, int] = {}
    for file in tag_files(table):
        if not file.stem.startswith("g"):
            continue
        try:
            found[int(file.stem[1:])] = tagged_version(file)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found
