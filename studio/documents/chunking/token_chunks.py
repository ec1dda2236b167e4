"""Cutting a document into chunks by the tokens of the model that will embed it."""

from __future__ import annotations

import asyncio

from studio.documents.chunking.chunker import Range, context_of, pack, split_oversized
from studio.domain import Embedder, KbSettings, ParsedDocument

SPECIAL_TOKENS = 2
"""[CLS] and [SEP], which the model adds to every text."""
MARGIN_TOKENS = 8
"""Vocabularies of byte pairs tokenise a chunk otherwise than its units one by one: so much more, measured."""
MIN_TOKENS = 8


async def cut(parsed: ParsedDocument, embedder: Embedder, settings: KbSettings) -> list[Range]:
    """Ranges (start, end) of a document's chunks; none holds more tokens than the settings and the model allow.

    Where chunks carry their context, both together fit the model.
    """
    units = list(parsed.segments)
    contexts = await asyncio.to_thread(_contexts, parsed) if settings.contextual else []
    counts = await embedder.count_tokens([*(parsed.text[a:b] for a, b in units), *contexts])
    room = embedder.model.max_tokens - SPECIAL_TOKENS - MARGIN_TOKENS - max(counts[len(units) :], default=0)
    limit = max(MIN_TOKENS, min(settings.chunk_tokens, room))
    units, counts = await _within(limit, parsed.text, units, counts[: len(units)], embedder)
    overlap = min(settings.chunk_overlap, limit // 2)
    return await asyncio.to_thread(pack, parsed.text, parsed.spans, units, counts, limit=limit, overlap=overlap)


def _contexts(parsed: ParsedDocument) -> list[str]:
    return sorted({context_of(parsed, anchor) for anchor in {span.anchor for span in parsed.spans}} - {""})


async def _within(
    limit: int, text: str, units: list[Range], counts: list[int], embedder: Embedder
) -> tuple[list[Range], list[int]]:
    """The units with their counts, those above the limit in pieces.

    Each text is tokenised once, but for units that are too long: text without spaces, or in a script that the
    vocabulary spells byte by byte. Those are halved and counted again.
    """
    while True:
        pieces: list[tuple[Range, int | None]] = []
        for unit, count in zip(units, counts, strict=True):
            parts = split_oversized(text, unit) if count > limit else (unit,)
            pieces.extend((part, count if len(parts) == 1 else None) for part in parts)
        fresh = [text[a:b] for (a, b), count in pieces if count is None]
        if not fresh:
            return units, counts
        recounted = iter(await embedder.count_tokens(fresh))
        units = [unit for unit, _ in pieces]
        counts = [next(recounted) if count is None else count for _, count in pieces]
