"""SQL predicates over the chunks table: how ids get into one, and which chunks a search may return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_IDS_PER_PREDICATE = 500


@dataclass(frozen=True, slots=True)
class Within:
    """Which chunks may be returned: those that are of `document_ids`, and in `chunk_ids` (None: all), and not in
    `without_chunk_ids`.

    `share` is an estimate of the share of all chunks that pass, 1 where there is none. It decides how a search goes
    about it, never what it returns.
    """

    document_ids: frozenset[str] | None = None
    chunk_ids: frozenset[str] | None = None
    without_chunk_ids: frozenset[str] = frozenset()
    share: float = 1.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing can pass."""
        return any(ids is not None and not ids for ids in (self.document_ids, self.chunk_ids))

    @property
    def literals(self) -> int:
        """How many ids the predicate names."""
        return sum(map(len, (self.document_ids or (), self.chunk_ids or (), self.without_chunk_ids)))

    def passes(self, chunk_id: str, document_id: str) -> bool:
        """Whether a chunk may be returned."""
        return (
            (self.document_ids is None or document_id in self.document_ids)
            and (self.chunk_ids is None or chunk_id in self.chunk_ids)
            and chunk_id not in self.without_chunk_ids
        )

    def predicate(self) -> str:
        """The same in SQL."""
        parts = []
        if self.document_ids is not None:
            parts.append(f"document_id IN ({quoted(self.document_ids)})")
        if self.chunk_ids is not None:
            parts.append(f"chunk_id IN ({quoted(self.chunk_ids)})")
        if self.without_chunk_ids:
            parts.append(f"chunk_id NOT IN ({quoted(self.without_chunk_ids)})")
        return " AND ".join(parts) or "true"


def sql_text(value: str) -> str:
    """A SQL string literal; the only way text gets into a predicate."""
    return "'" + value.replace("'", "''") + "'"


def quoted(values: Iterable[str]) -> str:
    """Literals for IN (…)."""
    return ", ".join(sql_text(value) for value in values) or "''"


def id_lists(values: Iterable[str]) -> Iterator[str]:
    """Literals for IN (…), some hundred at a time: a predicate is parsed as a whole."""
    items = list(dict.fromkeys(values))
    for start in range(0, len(items), _IDS_PER_PREDICATE):
        yield quoted(items[start : start + _IDS_PER_PREDICATE])
