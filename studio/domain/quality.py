"""Queries whose answers are known: pinned and saved ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PinnedQuery:
    """A query whose first `top` documents must hold every one of `must_find`, or no generation is promoted.

    Each is a name of documents as a person gives it: an id, a path, a file name, or a pattern.
    """

    id: int
    query: str
    must_find: tuple[str, ...]
    top: int


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query that is kept to measure the search with. `judgments` maps document names to grades, above 0: relevant.

    A document is named by its external id or its path, so that a judgment outlives the generation it was made on.
    """

    id: int
    name: str
    query: str
    judgments: Mapping[str, int]
    created_ms: int

    @property
    def relevant(self) -> int:
        """How many documents are judged relevant."""
        return sum(grade > 0 for grade in self.judgments.values())
