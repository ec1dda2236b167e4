"""Names of documents: the one rule by which commands and filters read what a person calls them.

A name means the first of these that fits:

1. an id: of a document, or the one that a row of a table has itself (`_id`, `id`);
2. a path, absolute, relative or with `~`: a file, or everything below a folder. An archive is a folder too
   (`box.zip/deep/note.md`), and so is a table or a mailbox (`rows.csv/r7`). A path that a file had before means that
   file, unless another one lies there now;
3. a file name, with its ending or without; of what lies in an archive also its path there;
4. a pattern with `*`, `?` or `[…]`, of paths or of file names.

Folders and patterns mean all that they fit. An id or a file name means one document: where several have it, `meant`
refuses and lists them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property
from heapq import nlargest
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Generic, Protocol, TypeVar

from studio.documents.kinds import ARCHIVE
from studio.domain import DocumentRecord, KnowledgeBase, place_of
from studio.errors import InvalidRequest, NotFound
from studio.index.catalog import Renaming
from studio.index.generations import Stores
from studio.services.library.patterns import has_wildcard, path_like

LISTED = 5
"""Candidates and near names that an error lists."""

COMPARED = 200
"""Names that are compared letter by letter with one that nothing is called by."""

_MAX_NEAR_CHARS = 200
"""Nothing is near a longer name: comparing takes quadratic time."""


class Named(Protocol):
    """What is needed of a document to name it: a `DocumentRecord`, or the columns that filters look at."""

    @property
    def document_id(self) -> str: ...
    @property
    def external_id(self) -> str: ...
    @property
    def source_path(self) -> str: ...
    @property
    def kind(self) -> str: ...


D = TypeVar("D", bound=Named)


class Way(StrEnum):
    """How a name was understood."""

    ID = "id"
    PATH = "path"
    FILE_NAME = "file name"
    PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class Found(Generic[D]):
    """The documents that a name means, in the order of their list; none if nothing is called so.

    `name` is how it can be said anywhere: a relative path or pattern has become an absolute one. `ambiguous`: it is
    meant for one document, or one file, and several are called so.
    """

    name: str
    way: Way | None = None
    documents: tuple[D, ...] = ()
    ambiguous: bool = False

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the documents."""
        return frozenset(document.document_id for document in self.documents)


class Naming(Generic[D]):
    """Reads names of the documents of one generation. Takes some microseconds a document; call it from a thread."""

    def __init__(self, documents: Iterable[D], renaming: Renaming, base: str = "") -> None:
        """`base` is the name of the knowledge base, for errors."""
        self._documents = tuple(documents)
        self._renaming = renaming
        self._base = f"“{base}”"

    def find(self, name: str) -> Found[D]:
        """What a name means, whether that is nothing, one document or many."""
        return next(filter(lambda found: found.documents, self._readings(name)), Found(name))

    def meant(self, name: str) -> Found[D]:
        """The same. Raises NotFound, with names that are near, and InvalidRequest where the name is ambiguous."""
        found = self.find(name)
        if not found.documents:
            raise NotFound(f"{self._base} has no document “{name}”.", way_out=self.advice(name))
        if found.ambiguous:
            raise self._several(name, found)
        return found

    def single(self, name: str) -> Found[D]:
        """The one document that a name means, which may lie at several places. Raises as `meant`."""
        found = self.meant(name)
        if len(found.ids) > 1:
            raise self._several(name, found)
        return found

    def places(self, found: Found[D]) -> list[str]:
        """Paths, sorted, that mean the documents found and no others: of a table of which all rows are, its own."""
        places: list[str] = []
        for path, documents in _grouped(found.documents, _path_of).items():
            whole = len(documents) == len(self._files[path]) > 1
            places += [path] if whole else [place_of(path, document.external_id) for document in documents]
        return sorted(set(places))

    def advice(self, name: str) -> str:
        """What to call a document where nothing is called `name`, in sentences for a person."""
        near = self._near(name)
        meant = f"Did you mean {_listed(near, 'or')}? " if near else ""
        return f"{meant}Name documents by id, path, file name, or a pattern such as *.pdf."

    def doubt(self, name: str, found: Found[D]) -> str:
        """What a person should know about a name that was taken as far as it goes, "" if there is nothing."""
        if not found.documents:
            return f"{self._base} has no document “{name}”. {self.advice(name)}"
        return self._several(name, found).full_message if found.ambiguous else ""

    # ------------------------------------------------------------ readings, the most exact first

    def _readings(self, name: str) -> Iterator[Found[D]]:
        if not name.strip():
            return
        for ids in (self._ids, self._own_ids):
            yield _called(name, Way.ID, [[document] for document in ids.get(name, ())])
        place = _absolute(name)
        if place is not None:
            yield Found(place, Way.PATH, tuple(self._at(_key(place))))
        for names in (self._file_names, self._stems):
            yield _called(name, Way.FILE_NAME, names.get(os.path.normcase(name), ()))
        if has_wildcard(name):
            yield Found(name, Way.PATTERN, tuple(self._like(name)))
            if place is not None:
                yield Found(place, Way.PATTERN, tuple(self._like(place)))

    @cached_property
    def _ids(self) -> dict[str, list[D]]:
        return _grouped(self._documents, lambda document: document.document_id)

    @cached_property
    def _own_ids(self) -> dict[str, list[D]]:
        """By the ids that rows have themselves; of what lies in an archive that is a path, and no id."""
        rows = (document for document in self._documents if document.external_id and document.kind != ARCHIVE)
        return _grouped(rows, lambda document: document.external_id)

    @cached_property
    def _files(self) -> dict[str, list[D]]:
        """By path, as the generation has it."""
        return _grouped(self._documents, _path_of)

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        """The paths of the files that are known by a path: where they lie, and where they lay."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in self._files:
            for known in self._renaming.whole(path):
                found[_key(known)].append(path)
        return dict(found)

    @cached_property
    def _file_names(self) -> dict[str, list[list[D]]]:
        """Each a list of what is called so: the documents of a file, or one in an archive."""
        found: dict[str, list[list[D]]] = defaultdict(list)
        for path, documents in self._files.items():
            for name in {os.path.normcase(_last(known)) for known in self._renaming.then.known_by(path)}:
                found[name].append(documents)
            for document in documents:
                if document.kind == ARCHIVE and document.external_id:
                    for name in dict.fromkeys((document.external_id, _last(document.external_id))):
                        found[os.path.normcase(name)].append([document])
        return dict(found)

    @cached_property
    def _stems(self) -> dict[str, list[list[D]]]:
        found: dict[str, list[list[D]]] = defaultdict(list)
        for name, things in self._file_names.items():
            found[_stem(name)].extend(things)
        return dict(found)

    def _at(self, place: str) -> list[D]:
        """The file at a path; else what lies there in a file; else what lies below."""
        if paths := self._keys.get(place):
            return [document for path in paths for document in self._files[path]]
        for at in (at for at, sign in enumerate(place) if sign == "/" and place[:at] in self._keys):
            inside = [
                document
                for path in self._keys[place[:at]]
                for document in self._files[path]
                if _within(_key(document.external_id) if document.external_id else "", place[at + 1 :])
            ]
            if inside:
                return inside
        if PurePath(place).parent == PurePath(place):  # a whole disk is never meant
            return []
        below = f"{place}/"
        return [
            document
            for path, documents in self._files.items()
            if _key(path).startswith(below)
            for document in documents
        ]

    def _like(self, pattern: str) -> Iterator[D]:
        holds = path_like(pattern)
        for path, documents in self._files.items():
            if holds(path):
                yield from documents
            else:
                yield from (
                    document
                    for document in documents
                    if document.kind == ARCHIVE and document.external_id and holds(f"{path}/{document.external_id}")
                )

    # ------------------------------------------------------------ what errors say

    def _near(self, name: str) -> list[str]:
        if len(name) > _MAX_NEAR_CHARS or has_wildcard(name):
            return []
        names = [*self._file_names, *self._own_ids]
        spelt = {known.casefold(): known for known in names} | {_stem(known).casefold(): known for known in names}
        wanted = _last(name).casefold()
        pairs = _pairs(wanted)
        likely = nlargest(COMPARED, spelt, lambda known: len(pairs & _pairs(known)) / (len(pairs) + len(known)))
        near = get_close_matches(wanted, likely, LISTED)
        return list(dict.fromkeys(spelt[known] for known in near))

    def _several(self, name: str, found: Found[D]) -> InvalidRequest:
        shown = self.places(found)
        if len(shown) == 1:  # the rows of one table
            shown = sorted({place_of(document.source_path, document.external_id) for document in found.documents})
        if len(shown) == 1:  # without ids of their own
            shown = sorted(found.ids)
        return InvalidRequest(
            f"{self._base} has {len(found.ids)} documents of the name “{name}”: {_listed(shown, 'and')}.",
            way_out="Name one by its id or its whole path.",
        )


async def naming(
    stores: Stores, base: KnowledgeBase, records: Iterable[DocumentRecord], generation: int | None = None
) -> Naming[DocumentRecord]:
    """Reads names of these documents, which belong to a generation, by default the active one."""
    renaming = await stores.catalog.names.renaming(base.id, generation)
    return Naming(records, renaming, base.name)


def _called(name: str, way: Way, things: Sequence[Sequence[D]]) -> Found[D]:
    """What is called so: several things with the same documents are copies, and not ambiguous."""
    documents = {id(document): document for thing in things for document in thing}
    contents = {frozenset(document.document_id for document in thing) for thing in things}
    return Found(name, way, tuple(documents.values()), len(contents) > 1)


def _grouped(documents: Iterable[D], key: Callable[[D], str]) -> dict[str, list[D]]:
    found: dict[str, list[D]] = defaultdict(list)
    for document in documents:
        found[key(document)].append(document)
    return dict(found)


def _path_of(document: Named) -> str:
    return document.source_path


def _absolute(name: str) -> str | None:
    """The path that a name is, if it can be one."""
    try:
        return os.path.normpath(Path(name).expanduser().absolute())
    except (OSError, RuntimeError, ValueError):  # no home, no working directory, or nothing that a path can hold
        return None


def _key(path: str) -> str:
    """What all ways to write a path have in common."""
    return os.path.normcase(os.path.normpath(path)).replace(os.sep, "/")


def _within(member: str, wanted: str) -> bool:
    """Whether a member of an archive is the wanted one, lies in that folder, or is a row of that table (`t.csv#7`)."""
    return member.startswith(wanted) and member[len(wanted) :][:1] in ("", "/", "#")


def _last(path: str) -> str:
    """The last name of a path."""
    return path.replace(os.sep, "/").rpartition("/")[2]


def _pairs(name: str) -> set[tuple[str, str]]:
    """The letters of a name that stand side by side."""
    return set(pairwise(name))


def _stem(name: str) -> str:
    return PurePath(name).stem


def _listed(names: Sequence[str], joined: str) -> str:
    """`“a”, “b” or “c”`; of many the first few, and how many more there are."""
    shown = [f"“{name}”" for name in names[:LISTED]]
    if len(names) > LISTED:
        return f"{', '.join(shown)} {joined} {len(names) - LISTED:,} more"
    return f" {joined} ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
