"""Tags: those that people give to files, in the catalog, and those that documents give themselves."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from studio.errors import InvalidRequest
from studio.index.database import Database

MAX_TAG_CHARS = 100
TAG_FIELDS = ("tags", "tag", "keywords", "categories", "category", "subject")
_LETTERS = frozenset({"eml", "mbox", "msg"})
"""Kinds whose subject is a headline, and no tag."""
_SEPARATOR = re.compile(r"[,;]")


class DocumentTags:
    """The tags that people gave to the files of every knowledge base. Blocking, like the catalog.

    A tag belongs to a path: to all rows of a table, and to what lies there later. Small and capital letters (of ASCII)
    make no difference.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_path(self, kb_id: str) -> dict[str, tuple[str, ...]]:
        """Path → its tags, in order."""
        found: dict[str, list[str]] = {}
        for row in self._database.rows(
            "SELECT source_path, tag FROM document_tag WHERE kb_id = ? ORDER BY source_path, tag", (kb_id,)
        ):
            found.setdefault(row["source_path"], []).append(row["tag"])
        return {path: tuple(tags) for path, tags in found.items()}

    def paths(self, kb_id: str, holds: Callable[[str], bool]) -> set[str]:
        """The paths with a tag for which `holds` is true."""
        names = self._database.rows("SELECT DISTINCT tag FROM document_tag WHERE kb_id = ?", (kb_id,))
        found: set[str] = set()
        for tag in (row["tag"] for row in names):
            if holds(tag):
                rows = self._database.rows(
                    "SELECT source_path FROM document_tag WHERE kb_id = ? AND tag = ?", (kb_id, tag)
                )
                found.update(row["source_path"] for row in rows)
        return found

    def change(self, kb_id: str, paths: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Give tags to files and take others from them, all at once. Raises InvalidRequest for what is no tag."""
        added = [checked_tag(tag) for tag in add]
        removed = [checked_tag(tag) for tag in remove]
        paths = list(paths)
        with self._database.transaction() as db:
            db.executemany(
                "DELETE FROM document_tag WHERE kb_id = ? AND source_path = ? AND tag = ?",
                [(kb_id, path, tag) for path in paths for tag in removed],
            )
            db.executemany(
                "INSERT INTO document_tag (kb_id, source_path, tag) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(kb_id, path, tag) for path in paths for tag in added],
            )


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
