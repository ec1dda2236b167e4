"""The sample knowledge base: something to search before the first document of one's own."""

from __future__ import annotations

from pathlib import Path

from studio.domain import IngestOptions, KnowledgeBase, ProgressSink
from studio.errors import NotFound
from studio.services.jobs.requests import Requests
from studio.services.library import LibraryService

SAMPLE_NAME = "Sample library"


class SampleService:
    """Makes the sample knowledge base from the documents that ship with the program."""

    def __init__(self, library: LibraryService, ingest: Requests, folder: Path) -> None:
        self._library = library
        self._ingest = ingest
        self._folder = folder

    async def ensure(self, progress: ProgressSink | None = None) -> KnowledgeBase:
        """The sample knowledge base, created and ingested when it is not there yet."""
        try:
            kb = await self._library.get(SAMPLE_NAME)
        except NotFound:
            kb = await self._library.create(SAMPLE_NAME)
        if kb.active_generation is None:
            # The papers first, the rest on top: two generations, so that there is one to roll back to.
            await self._ingest.ingest(kb.id, [self._folder], IngestOptions(include=("*.pdf",)), progress)
            await self._ingest.ingest(kb.id, [self._folder], progress=progress)
        return await self._library.get(kb.id)
