"""What narrows a search in the window: the choices, what is chosen, and the chips that show it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import PurePath

from studio.domain import DocumentRecord, DocumentStatus
from studio.services.library import TagCount

_MAX_CHOICES = 40
_PERIODS = (("Past week", 7), ("Past month", 30), ("Past year", 365))
CLOSE_MATCHES = (("Close matches", 0.4), ("Very close matches", 0.6))
"""Least similarity of a passage to the query. With the default model (cosine), unrelated passages stay below 0.3."""


@dataclass(frozen=True, slots=True)
class FilterChoices:
    """What the filters offer for the present scope; tags with the number of their documents.

    `rerankers` can put the results in order, `reranker` does where nothing else is said.
    """

    kinds: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    tags: tuple[tuple[str, int], ...] = ()
    rerankers: tuple[str, ...] = ()
    reranker: str = ""


@dataclass(frozen=True, slots=True)
class FilterChip:
    """A filter in force: the field of `Filters` that holds it, a few words, and the whole of it."""

    field: str
    text: str
    tip: str


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters in force; "" filters nothing. `after` and `before` are dates, YYYY-MM-DD.

    `document` is the id of the one document to look in, `document_title` what it is called.
    """

    kind: str = ""
    folder: str = ""
    tag: str = ""
    author: str = ""
    after: str = ""
    before: str = ""
    document: str = ""
    document_title: str = ""
    minimum_similarity: float | None = None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """As a search request takes them."""
        pairs = (
            ("type", self.kind),
            ("folder", self.folder),
            ("tag", self.tag),
            ("author", self.author),
            ("after", self.after),
            ("before", self.before),
            ("document", self.document),
        )
        return tuple((key, value) for key, value in pairs if value)

    def without(self, name: str) -> Filters:
        """The same with one field back at its default."""
        default = Filters()
        return replace(self, **{name: getattr(default, name)})

    def chips(self, today: date) -> tuple[FilterChip, ...]:
        """One for each filter in force."""
        chips = []
        if self.document:
            chips.append(FilterChip("document", f"In: {self.document_title}", f"Only in “{self.document_title}”"))
        for name, value in (("kind", self.kind), ("tag", self.tag), ("author", self.author)):
            if value:
                key = "type" if name == "kind" else name
                chips.append(FilterChip(name, f"{key}: {value}", f"Only {key} {value}"))
        if self.folder:
            chips.append(FilterChip("folder", f"folder: {PurePath(self.folder).name}", f"Only below {self.folder}"))
        if self.after:
            period = next((name for name, day in periods(today) if day == self.after), f"after {self.after}")
            chips.append(FilterChip("after", period, f"Only documents after {self.after}"))
        if self.before:
            chips.append(FilterChip("before", f"before {self.before}", f"Only documents before {self.before}"))
        if self.minimum_similarity is not None:
            text = f"similarity ≥ {self.minimum_similarity:g}"
            chips.append(FilterChip("minimum_similarity", text, "Only passages at least this similar to the query"))
        return tuple(chips)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the results are put in order: documents once, near-duplicates behind their first, different ones first.

    `reranker` orders the first ones anew: one by name, `NOT_RERANKED`, or "" for the one that is set.
    """

    group: bool = False
    fold: bool = True
    diverse: bool = False
    reranker: str = ""


def periods(today: date) -> tuple[tuple[str, str], ...]:
    """Names of the offered periods up to today, and the date each begins with."""
    return tuple((name, (today - timedelta(days=days)).isoformat()) for name, days in _PERIODS)


def choices_of(documents: Sequence[DocumentRecord], tags: Sequence[TagCount]) -> FilterChoices:
    """What can be chosen among some documents; the most frequent authors and tags, all sorted."""
    indexed = [record for record in documents if record.status is DocumentStatus.INDEXED]
    # os.path, not pathlib: a path object for each of ten thousand documents costs ten times as much.
    folders = {os.path.dirname(record.source_path) for record in indexed}  # noqa: PTH120
    authors = Counter(record.author for record in indexed if record.author)
    frequent = sorted(((tag.tag, tag.documents) for tag in tags), key=lambda item: -item[1])[:_MAX_CHOICES]
    return FilterChoices(
        kinds=tuple(sorted({record.kind for record in indexed if record.kind})),
        folders=tuple(sorted(folders)[:_MAX_CHOICES]),
        authors=tuple(sorted((name for name, _ in authors.most_common(_MAX_CHOICES)), key=str.casefold)),
        tags=tuple(sorted(frequent, key=lambda item: item[0].casefold())),
    )
