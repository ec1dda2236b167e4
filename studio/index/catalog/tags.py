"""Tags: those that people give to files, in the catalog, and those that documents give themselves."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from studio.errors import InvalidRequest
from studio.index.catalog.database import Database
from studio.index.catalog.names import DocumentNames

MAX_TAG_CHARS = 100
TAG_FIELDS = ("tags", "tag", "keywords", "categories", "category", "subject")
_LETTERS = frozenset({"eml", "mbox", "msg"})
"""Kinds whose subject is a headline, and no tag."""
_SEPARATOR = re.compile(r"[,;]")


class DocumentTags:
    """The tags that people gave to the files of every knowledge base. Blocking, like the catalog.

    A tag belongs to a file, whatever becomes of its text and wherever it moves: to all rows of a table. Small and
    capital letters (of ASCII) make no difference.
    """

    def __init__(self, database: Database, names: DocumentNames) -> None:
        self._database = database
        self._names = names

    def by_path(self, kb_id: str, generation: int | None = None) -> dict[str, tuple[str, ...]]:
        """Path → its tags, in order, in a generation or the active one."""
        names = self._names.of(kb_id, generation)
        found: dict[str, list[str]] = {}
        for row in self._database.rows(
            "SELECT source_path, tag FROM document_tag WHERE kb_id = ? ORDER BY source_path, tag", (kb_id,)
        ):
            for path in names.paths(row["source_path"]):
                found.setdefault(path, []).append(row["tag"])
        return {path: _each_once(tags) for path, tags in sorted(found.items())}

    def paths(self, kb_id: str, generation: int, holds: Callable[[str], bool]) -> set[str]:
        """The paths, in a generation, with a tag for which `holds` is true."""
        given = self._names.of(kb_id, generation)
        names = self._database.rows("SELECT DISTINCT tag FROM document_tag WHERE kb_id = ?", (kb_id,))
        found: set[str] = set()
        for tag in (row["tag"] for row in names):
            if holds(tag):
                rows = self._database.rows(
                    "SELECT source_path FROM document_tag WHERE kb_id = ? AND tag = ?", (kb_id, tag)
                )
                found.update(path for row in rows for path in given.paths(row["source_path"]))
        return found

    def change(self, kb_id: str, paths: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Give tags to files of the active generation and take others from them, all at once.

        Raises InvalidRequest for what is no tag.
        """
        added = [checked_tag(tag) for tag in add]
        removed = [checked_tag(tag) for tag in remove]
        paths = list(paths)
        names = self._names.of(kb_id)
        with self._database.transaction() as db:
            db.executemany(
                "DELETE FROM document_tag WHERE kb_id = ? AND source_path = ? AND tag = ?",
                [(kb_id, key, tag) for path in paths for key in names.keys(path) for tag in removed],
            )
            db.executemany(
                "INSERT INTO document_tag (kb_id, source_path, tag) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(kb_id, names.stored(path), tag) for path in paths for tag in added],
            )


def _each_once(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple({tag.casefold(): tag for tag in sorted(tags)}.values())


def checked_tag(text: str) -> str:
    """A tag as it is kept. Raises InvalidRequest when it is empty, too long, or not on one line."""
    tag = " ".join(text.split())
    if not tag or len(tag) > MAX_TAG_CHARS or any(unicodedata.category(char) in ("Cc", "Cs") for char in tag):
        raise InvalidRequest(
            f"“{text[:MAX_TAG_CHARS]}” is no tag." if text.isprintable() else "This is no tag.",
            way_out=f"A tag is a word or a few, {MAX_TAG_CHARS} characters at most.",
        )
    return tag


def declared_tags(kind: str, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The tags that a document of this kind gives itself: its keywords, categories and subjects, each once."""
    found: dict[str, None] = {}
    for name, value in metadata.items():
        name = name.lower()
        if name in TAG_FIELDS and not (name == "subject" and kind in _LETTERS):
            found.update(dict.fromkeys(filter(None, map(str.strip, _SEPARATOR.split(value)))))
    return tuple(found)
