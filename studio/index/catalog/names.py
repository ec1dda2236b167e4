"""What tags, judgments and pins call a document by, so that they stay with it when its file moves.

A file's key is the first path it had. Each generation knows the keys of the files that are elsewhere now: a rename
changes no tag, and a rollback needs no undoing.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from studio.index.catalog.database import Database

Keys = Mapping[str, tuple[str, ...]]


class Names:
    """The keys of the files of one generation. `moved` maps paths to keys, without those that are their own key.

    A file has several keys when a copy of it was deleted: what was said of the copy goes on to what is left.
    """

    def __init__(self, moved: Keys | None = None) -> None:
        self.moved: Keys = moved or {}

    def keys(self, path: str) -> tuple[str, ...]:
        """What the file at a path is called by, the name for new entries first."""
        return self.moved.get(path, (path,))

    def paths(self, key: str) -> tuple[str, ...]:
        """Where the file with this key lies; the key itself if it never moved."""
        found = self._paths.get(key, ())
        return found if found or key in self.moved else (key,)

    def stored(self, name: str) -> str:
        """The name to keep for one that a person gave: of a path its key."""
        return self.keys(name)[0]

    def shown(self, name: str) -> str:
        """A name that was kept, as a person knows it now."""
        return next(iter(self.paths(name)), name)

    def known_by(self, path: str) -> tuple[str, ...]:
        """Paths whose last part may mean the file: its keys, and its own unless another file is called so."""
        keys = self.keys(path)
        return keys if path in keys or path in self._paths else (*keys, path)

    @cached_property
    def _paths(self) -> Keys:
        found: dict[str, list[str]] = defaultdict(list)
        for path, keys in self.moved.items():
            for key in keys:
                found[key].append(path)
        return {key: tuple(paths) for key, paths in found.items()}


@dataclass(frozen=True, slots=True)
class Renaming:
    """What the files of one generation (`then`) are called in the active one (`now`), where judgments speak of them."""

    then: Names
    now: Names

    def whole(self, path: str) -> tuple[str, ...]:
        """The paths that mean the file: where it lies now, and where it lay unless another file lies there now."""
        if not self.then.moved and not self.now.moved:
            return (path,)
        keys = self.then.keys(path)
        now = [place for key in keys for place in self.now.paths(key)]
        return tuple(dict.fromkeys((*now, *(key for key in keys if key not in self.now.moved))))

    def names(self, path: str) -> tuple[str, ...]:
        """Every name that means the file: whole paths first, then file names with and without their ending."""
        parts = [PurePath(known) for known in self.then.known_by(path)]
        return (*self.whole(path), *(name for part in parts for name in (part.name, part.stem)))


class DocumentNames:
    """The names of every generation. Blocking, like the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, kb_id: str, number: int | None = None) -> Names:
        """Those of a generation, or of the active one."""
        rows = self._database.rows(
            "SELECT source_path, origin FROM document_origin WHERE kb_id = ?1 AND generation = (SELECT origins"
            " FROM generation WHERE kb_id = ?1 AND number = coalesce(?2, (SELECT active FROM kb WHERE id = ?1)))"
            " ORDER BY source_path, position",
            (kb_id, number),
        )
        return _names(rows)

    def renaming(self, kb_id: str, number: int | None = None) -> Renaming:
        """What the files of a generation are called in the active one."""
        now = self.of(kb_id)
        return Renaming(now if number is None else self.of(kb_id, number), now)


def keep_names(db: sqlite3.Connection, kb_id: str, number: int, names: Names) -> None:
    """Give a generation its names, within a transaction. One that has those of its parent shares the rows."""
    parent = db.execute(
        "SELECT number, origins FROM generation WHERE kb_id = ?1 AND number ="
        " (SELECT parent FROM generation WHERE kb_id = ?1 AND number = ?2)",
        (kb_id, number),
    ).fetchone()
    place = parent["origins"] if parent is not None else 0
    rows = db.execute(
        "SELECT source_path, origin FROM document_origin WHERE kb_id = ? AND generation = ?"
        " ORDER BY source_path, position",
        (kb_id, place),
    ).fetchall()
    if _names(rows).moved != names.moved:
        place = number if names.moved else 0
        db.executemany(
            "INSERT INTO document_origin (kb_id, generation, source_path, position, origin) VALUES (?, ?, ?, ?, ?)",
            [
                (kb_id, number, path, position, key)
                for path, keys in names.moved.items()
                for position, key in enumerate(keys)
            ],
        )
    db.execute("UPDATE generation SET origins = ? WHERE kb_id = ? AND number = ?", (place, kb_id, number))


def forget_names(db: sqlite3.Connection, kb_id: str) -> None:
    """Drop the rows that no generation refers to any more, within a transaction."""
    db.execute(
        "DELETE FROM document_origin WHERE kb_id = ?1 AND generation NOT IN"
        " (SELECT origins FROM generation WHERE kb_id = ?1)",
        (kb_id,),
    )


def names_after(names: Names, before: Mapping[str, str], after: Mapping[str, str], number: int) -> Names:
    """The names of generation `number`, from those of its parent and both of their files (path → SHA-256).

    A file has moved where its content is at another path and its own is gone, or was taken by a file that moved. What
    is new at a path that another file is called by gets a key of its own.
    """
    came_from = _moves(before, after)
    moved = dict(names.moved)
    for path in came_from.values():
        moved.pop(path, None)
    for path, origin in came_from.items():
        moved[path] = names.keys(origin)
    for gone, copy in _left_copies(before, after, set(came_from.values())):
        moved.pop(gone, None)
        moved[copy] = tuple(dict.fromkeys((*moved.get(copy, (copy,)), *names.keys(gone))))
    moved = {path: keys for path, keys in moved.items() if keys != (path,)}
    taken = {key for keys in moved.values() for key in keys}
    for path in after:
        if path in taken and path not in moved:
            moved[path] = (f"{path}\n{number}",)
    return Names(moved)


def _moves(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Path → the path where its file was before."""
    left: dict[str, list[str]] = defaultdict(list)
    for path, content in sorted(before.items()):
        if content and after.get(path) != content:
            left[content].append(path)
    arrived = [path for path, content in sorted(after.items()) if content in left and before.get(path) != content]
    found: dict[str, str] = {}
    # Of files with the same content each keeps its name, when a folder moves; the others go by their order.
    named: dict[tuple[str, str], deque[str]] = defaultdict(deque)
    for content, paths in left.items():
        for path in paths:
            named[content, _name(path)].append(path)
    for path in arrived:
        if fitting := named[after[path], _name(path)]:
            found[path] = fitting.popleft()
    matched = set(found.values())
    others = {content: deque(path for path in paths if path not in matched) for content, paths in left.items()}
    for path in arrived:
        if path not in found and others[after[path]]:
            found[path] = others[after[path]].popleft()
    # A file that is still there with a text of its own was copied, and changed after that.
    while stayed := [path for path, old in found.items() if old in after and old not in found]:
        for path in stayed:
            del found[path]
    return found


def _left_copies(before: Mapping[str, str], after: Mapping[str, str], moved: set[str]) -> Iterator[tuple[str, str]]:
    """(path that is gone, path of a copy that stays)."""
    gone = [path for path in sorted(before) if path not in after and path not in moved and before[path]]
    wanted = {before[path] for path in gone}
    copies: dict[str, str] = {}
    for path, content in sorted(after.items()):
        if content in wanted and before.get(path) == content:
            copies.setdefault(content, path)
    yield from ((path, copies[before[path]]) for path in gone if before[path] in copies)


def _name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _names(rows: Iterable[sqlite3.Row]) -> Names:
    moved: dict[str, tuple[str, ...]] = {}
    for row in rows:
        moved[row["source_path"]] = (*moved.get(row["source_path"], ()), row["origin"])
    return Names(moved)
