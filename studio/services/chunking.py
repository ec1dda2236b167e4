"""Cutting a document into chunks by the tokens of the model that will embed it."""

from __future__ import annotations

import asyncio

from studio.documents.chunker import pack, split_oversized
from studio.domain import Embedder, KbSettings, ParsedDocument

SPECIAL_TOKENS = 2
"""[CLS] and [SEP], which the model adds to every text."""
MIN_TOKENS = 8


async def cut(parsed: ParsedDocument, embedder: Embedder, settings: KbSettings) -> list[tuple[int, int]]:
    """Ranges (start, end) of a document's chunks; none holds more tokens than the settings and the model allow."""
    limit = max(MIN_TOKENS, min(settings.chunk_tokens, embedder.model.max_tokens - SPECIAL_TOKENS))
    units, counts = await _counted(parsed, embedder, limit)
    overlap = min(settings.chunk_overlap, limit // 2)
    return await asyncio.to_thread(pack, parsed.text, parsed.spans, units, counts, limit=limit, overlap=overlap)


async def _counted(parsed: ParsedDocument, embedder: Embedder, limit: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Units of at most `limit` tokens with their counts.

    Each text is tokenised once, but for units that are too long: text without spaces, or in a script that the
    vocabulary spells byte by byte. Those are halved and counted again.
    """
    units = list(parsed.segments)
    counts = await embedder.count_tokens([parsed.text[a:b] for a, b in units])
    while True:
        pieces: list[tuple[tuple[int, int], int | None]] = []
        for unit, count in zip(units, counts, strict=True):
            parts = split_oversized(parsed.text, unit) if count > limit else (unit,)
            pieces.extend((part, count if len(parts) == 1 else None) for part in parts)
        fresh = [parsed.text[a:b] for (a, b), count in pieces if count is None]
        if not fresh:
            return units, counts
        recounted = iter(await embedder.count_tokens(fresh))
        units = [unit for unit, _ in pieces]
        counts = [next(recounted) if count is None else count for _, count in pieces]
