"""Which documents pass a filter: by document, folder, path, title, type, author, tag, date, or a field of metadata.

Values are compared and never become part of a statement.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from studio.errors import InvalidRequest
from studio.index.catalog import Renaming
from studio.index.generations import Snapshot, Stores
from studio.index.keywords import date_bounds
from studio.services.library import Naming
from studio.services.search.dates import period
from studio.services.search.filter_table import COLUMNS, FilterTable
from studio.services.search.recent import Recent
from studio.services.search.values import is_tag

FILTER_KEYS = ("document", "folder", "path", "title", "type", "author", "tag", "after", "before")
DATE_KEYS = ("after", "before")
MAX_VALUE_CHARS = 32_768
"""Nothing a document says of itself is so long, and no path; a longer value passes no document."""
TABLES = 4
ANSWERS = 128
ANSWERED_IDS = 250_000
NAMES = 16
"""Most generations, answers, ids in answers, and names of documents that are held; so many ids take 30 MB."""

_ALIASES = {"tags": "tag"}
_SHOWN_CHARS = 100

_TableKey = tuple[str, int, int]


def check(filters: Sequence[tuple[str, str]]) -> None:
    """Raises InvalidRequest for a filter without key or value, and for a date that is none.

    Whether a key that is no filter is a field of some document shows only in `DocumentFilters.matching`.
    """
    for key, value in filters:
        key = _plain_key(key)
        if not key or not value.strip():
            raise InvalidRequest("A filter needs a name and a value.", way_out="Write KEY=VALUE, for example type=pdf.")
        if key in DATE_KEYS:
            _day(key, value)


class DocumentFilters:
    """Answers filters for every knowledge base; one per process."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._tables = Recent[_TableKey, FilterTable](TABLES)
        self._answers: OrderedDict[tuple[_TableKey, str, str, float], frozenset[str]] = OrderedDict()
        self._held = 0
        self._names = Recent[tuple[_TableKey, str], tuple[frozenset[str], str]](NAMES)
        self._building = asyncio.Lock()

    async def matching(self, snapshot: Snapshot, key: str, value: str) -> frozenset[str]:
        """Ids of the indexed documents of which a copy passes `key`=`value`.

        `document` is any name of documents (`naming`); where several have it, all pass. `folder` holds the document at
        any depth: its absolute path, or some names of its path in a row. `path` is a glob of the whole path or the file
        name. `type` is a kind ("markdown") or a file name's ending ("md"). `title` and `author` are part of it,
        whatever the case and accents. `tag` is one that the document gives itself or a person gave it. `after` takes
        what is dated on that day (or in that year, or so long ago: "7d") or later, `before` what is dated earlier; a
        document without a date has that of its file, days are in UTC. Any other key is a field of metadata in any case:
        its whole value in any case, with stars for anything, or a range (`>=2020`, `<5`, `2..8`, both ends included) of
        numbers or dates.

        Raises InvalidRequest as `check`, and for a key that no document of the generation has.
        """
        key, value = (part.encode("utf-8", "replace").decode() for part in (key, value))
        check([(key, value)])
        key = _plain_key(key)
        table_key, table = await self._table(snapshot)
        if key not in FILTER_KEYS and table.field(key) is None:
            raise _unknown(key, table)
        if len(value) > MAX_VALUE_CHARS:
            return frozenset()
        if key == "document":
            return frozenset((value,)) if table.has(value) else (await self._named(snapshot, value))[0]
        found = await self._answer(table_key, table, key, value)
        if key == "tag":  # those that people give are read anew: another process may have changed them a moment ago
            tags, generation = self._stores.catalog.tags, snapshot.generation
            paths = await tags.paths(generation.kb_id, generation.number, is_tag(value))
            return found | await asyncio.to_thread(table.ids_at, paths) if paths else found
        return found

    async def doubt(self, snapshot: Snapshot, key: str, value: str) -> str:
        """What a person should know of a filter that names documents: that nothing is called so, or several are."""
        if _plain_key(key) != "document" or len(value) > MAX_VALUE_CHARS:
            return ""
        value = value.encode("utf-8", "replace").decode()
        return "" if (await self._table(snapshot))[1].has(value) else (await self._named(snapshot, value))[1]

    async def count(self, snapshot: Snapshot) -> int:
        """How many documents of the generation are indexed, a document at several paths counted once."""
        return (await self._table(snapshot))[1].documents

    async def everything(self, snapshot: Snapshot) -> frozenset[str]:
        """Ids of every indexed document of the generation."""
        return await asyncio.to_thread((await self._table(snapshot))[1].every_id)

    def forget(self) -> None:
        """Read what filters look at anew."""
        self._tables.clear()
        self._answers.clear()
        self._names.clear()
        self._held = 0

    async def _named(self, snapshot: Snapshot, name: str) -> tuple[frozenset[str], str]:
        """(ids of the documents that a name means, what there is to say about it)."""
        table_key, table = await self._table(snapshot)
        if (known := self._names.get((table_key, name))) is None:
            generation = snapshot.generation
            base = await self._stores.knowledge_base(generation.kb_id)
            names = await self._stores.catalog.names.of(base.id, generation.number)

            def read() -> tuple[frozenset[str], str]:
                documents = Naming(table.listed(), Renaming(names, names), base.name)
                found = documents.find(name)
                return found.ids, documents.doubt(name, found)

            known = await asyncio.to_thread(read)
            self._names.keep((table_key, name), known)
        return known

    async def _answer(self, table_key: _TableKey, table: FilterTable, key: str, value: str) -> frozenset[str]:
        day = _day(key, value) if key in DATE_KEYS else 0.0  # "7d" is another day tomorrow
        known = (table_key, key, value, day)
        if known in self._answers:
            self._answers.move_to_end(known)
            return self._answers[known]
        found = await asyncio.to_thread(table.matching, key, value, day)
        self._held += len(found) - len(self._answers.pop(known, ()))
        self._answers[known] = found
        while len(self._answers) > 1 and (len(self._answers) > ANSWERS or self._held > ANSWERED_IDS):
            self._held -= len(self._answers.popitem(last=False)[1])
        return found

    async def _table(self, snapshot: Snapshot) -> tuple[_TableKey, FilterTable]:
        generation = snapshot.generation
        key = (generation.kb_id, generation.number, generation.documents_version)
        async with self._building:
            table = self._tables.get(key)
            if table is None:
                rows = await snapshot.tables.document_columns(COLUMNS)
                table = await asyncio.to_thread(FilterTable, rows)
                self._tables.keep(key, table)
        return key, table


def _plain_key(key: str) -> str:
    key = key.strip().casefold()
    return _ALIASES.get(key, key)


def _unknown(key: str, table: FilterTable) -> InvalidRequest:
    fields = table.names()
    more = f" Fields of these documents: {', '.join(fields)}." if fields else ""
    return InvalidRequest(
        f"There is no filter “{key[:_SHOWN_CHARS]}”.", way_out=f"Filters: {', '.join(FILTER_KEYS)}.{more}"
    )


def _day(key: str, value: str) -> float:
    """The moment, in seconds since 1970, at which the date that `value` names begins."""
    bounds = date_bounds(value.strip())
    if bounds is not None:
        return bounds[0] / 1000
    found = period(value)
    if found is None:
        raise InvalidRequest(
            f"“{value[:_SHOWN_CHARS]}” is no date that “{key}” understands.",
            way_out="Write a year, a month or a day, for example 2024, 2024-05 or 2024-05-06.",
        )
    return found[0]
