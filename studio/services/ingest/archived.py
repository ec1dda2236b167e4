"""Embeddings that archived generations still have of documents that come back."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from studio.domain import Generation, GenerationState, Vectors
from studio.errors import StudioError
from studio.index.generations import GenerationStore
from studio.index.vectors import TableReader, text_key
from studio.services.ingest.sources import Source

log = logging.getLogger(__name__)


class ArchivedEmbeddings:
    """Finds what generations that are pinned hold of a file that the build knows nothing of."""

    def __init__(self, most_chunks: int) -> None:
        """More than `most_chunks` of one file are not held in memory to be used again."""
        self._most_chunks = most_chunks
        self._places: defaultdict[str, list[tuple[TableReader, str, int]]] = defaultdict(list)

    def add(self, tables: TableReader, documents: Sequence[tuple[str, str, str, int]]) -> None:
        """Take in (id, path, name of the stored text, chunks) of documents that `tables` hold."""
        for document_id, path, text, chunks in documents:
            for key in (path, text):
                self._places[key].append((tables, document_id, chunks))

    async def of(self, source: Source, sha256: str) -> Mapping[str, Vectors]:
        """Embeddings, by key, of the content of a file, or of what lay at its path before it went away."""
        places = self._places.get(text_key(sha256, source.kind)) or (
            [] if source.old else self._places.get(str(source.path), [])
        )
        found: dict[str, Vectors] = {}
        if sum(chunks for _, _, chunks in places) > self._most_chunks:
            return found
        wanted: defaultdict[TableReader, list[str]] = defaultdict(list)
        for tables, document_id, _ in places:
            wanted[tables].append(document_id)
        for tables, document_ids in wanted.items():
            try:
                found |= await tables.embeddings_of(document_ids)
            except StudioError as error:
                log.warning("what an archived generation has of %s is embedded anew: %s", source.path, error)
        return found


@asynccontextmanager
async def archived_embeddings(
    store: GenerationStore,
    build: Generation,
    generations: Sequence[Generation],
    known: Collection[str],
    most_chunks: int,
) -> AsyncIterator[ArchivedEmbeddings]:
    """What the archived generations made by the model of a build have of documents that are not `known` to it.

    They are pinned while the block runs. One that cannot be read is passed over.
    """
    found = ArchivedEmbeddings(most_chunks)
    seen = set(known)
    async with AsyncExitStack() as pins:
        for item in sorted(generations, key=lambda item: -item.number):
            if item.state is not GenerationState.ARCHIVED or item.model != build.model:
                continue
            try:
                others = await store.vectors.documents_beside(item.documents_version, seen)
                if others:
                    snapshot = await pins.enter_async_context(store.reading(item.number))
                    found.add(snapshot.tables, others)
                    seen.update(document_id for document_id, *_ in others)
            except StudioError as error:
                log.warning("the embeddings of generation %d are not used again: %s", item.number, error)
        yield found
