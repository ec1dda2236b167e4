"""What the program uses of LanceDB and Lance beyond their interfaces: names on the disk, private attributes, texts.

`tests/compat/test_canary_lance.py` names what an upgrade has changed. Not for: calls of their public interfaces.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

VERSION_HINT = Path("_versions", "latest_version_hint.json")
"""In a table's directory: which version is the newest. Written anew with each."""
REFS = "_refs"
"""The folder of a table that has its tags."""
READ_AHEAD_VARIABLE = "LANCE_DEFAULT_IO_BUFFER_SIZE"
"""In the environment, read when the first dataset is opened: how many bytes a scan may be ahead of its reader."""

NO_SPACE = ("No space left", "os error 28")
NO_ACCESS = ("Permission denied", "os error 13")
READ_ONLY = ("Read-only file system", "os error 30")
FILE_GONE = ("Not found", "not found", "no longer exists", "No such file")
"""Parts of what errors say, which have no types of their own."""
NAMED_FILE = re.compile(r"Not found: ((?:/|[A-Za-z]:)[^,]+)")
"""The file that such an error is about."""

_PANICS = ("RustPanic", "PanicException")
_HIGHEST_VERSION = 2**64 - 1
"""Lance names the manifest of version n by this minus n, so that the newest comes first in a listing."""


def is_panic(error: BaseException) -> bool:
    """Whether the library panicked over a damaged file: an exception of the async bridge's own, or no `Exception`."""
    return type(error).__name__ in _PANICS


def table_folder(database: Path, table: str) -> Path:
    """The directory of a table in the folder of its database."""
    return database / f"{table}.lance"


def table_folders(database: Path, pattern: str = "*") -> list[Path]:
    """The directories of the tables in the folder of a database whose names match, by name; `stem` is the name."""
    return sorted(database.glob(f"{pattern}.lance"))


def data_files(table: Path) -> list[Path]:
    """The files that hold a table's rows, of all its versions, by name; `table` is its directory."""
    return sorted((table / "data").glob("*.lance"))


def data_bytes(table: Path) -> int:
    """Bytes of the rows of a table (its directory), of all its versions."""
    return sum(file.stat().st_size for file in (table / "data").glob("*"))


def manifests(table: Path) -> list[Path]:
    """The manifests of a table (its directory), newest version first."""
    found = (file for file in (table / "_versions").glob("*.manifest") if file.stem.isdecimal())
    return sorted(found, key=version_of, reverse=True)


def version_of(manifest: Path) -> int:
    """The version that a manifest is of."""
    number = int(manifest.stem)
    return _HIGHEST_VERSION - number if number > _HIGHEST_VERSION // 2 else number


def tag_files(table: Path) -> list[Path]:
    """The files of a table's tags, each named by its tag; `table` is its directory."""
    return list((table / REFS / "tags").glob("*.json"))


def tagged_version(file: Path) -> int:
    """The version that the file of a tag names. Raises OSError, ValueError, KeyError or TypeError."""
    return int(json.loads(file.read_bytes())["version"])


def without_blobs(query: Any) -> Any:
    """A query of a table that has no columns of blobs: else it waits each time for the schema, to look for some, which
    takes half a millisecond.
    """
    query._table = None
    return query


async def bare_batches(query: Any) -> Any:
    """The reader of a vector query's batches, past the overrides that look for blobs."""
    from lancedb.query import AsyncQueryBase

    return await AsyncQueryBase.to_batches(query)
