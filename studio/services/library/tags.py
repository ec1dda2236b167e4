"""Tags of documents: what they say of themselves, and what people add."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studio.domain import DocumentRecord, KnowledgeBase
from studio.errors import InvalidRequest
from studio.index.catalog import declared_tags
from studio.index.generations import Stores
from studio.services.library.document_names import naming
from studio.services.library.knowledge_bases import LibraryService


@dataclass(frozen=True, slots=True)
class TagCount:
    """A tag, and how many documents have it; `given` of these from a person."""

    tag: str
    documents: int
    given: int


class TagService:
    """Lists and changes tags. What is changed takes effect at once, in every process."""

    def __init__(self, stores: Stores, library: LibraryService) -> None:
        self._stores = stores
        self._library = library

    async def given(self, name_or_id: str) -> Mapping[str, tuple[str, ...]]:
        """Path → the tags that people gave the file. Raises NotFound."""
        kb = await self._library.get(name_or_id)
        return await self._stores.catalog.tags.by_path(kb.id)

    async def counts(self, name_or_id: str, documents: Sequence[str] = ()) -> list[TagCount]:
        """The tags of all documents, or of those that `documents` name. Raises NotFound, InvalidRequest."""
        kb = await self._library.get(name_or_id)
        records = await (self._named(kb, documents) if documents else self._library.documents(kb.id))
        given = await self.given(kb.id)
        spelt: dict[str, str] = {}
        counts, by_people = Counter[str](), Counter[str]()
        for record in records:
            own = {tag.casefold(): tag for tag in given.get(record.source_path, ())}
            all_ = {**{tag.casefold(): tag for tag in declared_tags(record.kind, record.metadata)}, **own}
            for key, tag in all_.items():
                spelt.setdefault(key, tag)
            counts.update(all_.keys())
            by_people.update(own.keys())
        return [TagCount(spelt[key], counts[key], by_people[key]) for key in sorted(counts)]

    async def change(
        self, name_or_id: str, documents: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> dict[str, tuple[str, ...]]:
        """Give tags to the files of documents, or take away such as people gave; returns the tags of each path then.

        `documents` are names as `naming` reads them. Raises NotFound, InvalidRequest.
        """
        if not documents:
            raise InvalidRequest("Name the documents to tag.", way_out="A path, an id, or a pattern such as *.pdf.")
        kb = await self._library.get(name_or_id)
        records = await self._named(kb, documents)
        paths = list(dict.fromkeys(record.source_path for record in records))
        await self._stores.catalog.tags.change(kb.id, paths, add=add, remove=remove)
        given = await self.given(kb.id)
        return {path: given.get(path, ()) for path in paths}

    async def _named(self, kb: KnowledgeBase, names: Sequence[str]) -> list[DocumentRecord]:
        """The documents that the names mean, each once."""
        documents = await naming(self._stores, kb, await self._library.documents(kb.id))
        found = await asyncio.to_thread(lambda: [documents.meant(name).documents for name in names])
        return list({(record.document_id, record.source_path): record for some in found for record in some}.values())
