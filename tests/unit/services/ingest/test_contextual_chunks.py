"""Chunks that are embedded and looked up with their title and headings, and cut to fit with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.documents.chunking import cut, make_chunks
from studio.documents.chunking.token_chunks import MARGIN_TOKENS, SPECIAL_TOKENS
from studio.documents.parsers.base import TextBuilder, make_document
from studio.domain import Chunk, KbSettings, ModelInfo, SearchMode, SearchRequest
from studio.errors import InvalidRequest, NotFound

Write = Callable[[str, str], Path]

GUIDE = """---
title: Zeppelin Handbook
---
# Mooring

The mast takes the nose cone. The crew walks the ship to it and makes the lines fast.

| line | length |
|------|--------|
| bow  | 40     |
| yaw  | 60     |

## Weather

In strong wind nobody leaves the shed.
"""


class WordCounter:
    """A token a word."""

    model = ModelInfo("words", "0" * 64, 8, 64, "mean", 1, "none", True, None)

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


async def chunks_of(services: Services, kb: str) -> dict[str, Chunk]:
    async with services.library._stores.store(kb).reading() as snapshot:
        ids = snapshot.lexical.chunk_ids()
        return await snapshot.tables.chunks(ids)


async def found(services: Services, kb: str, query: str) -> list[str]:
    response = await services.search.search(SearchRequest((kb,), query, SearchMode.KEYWORD))
    return [result.chunk_id for result in response.results]


@pytest.mark.parametrize("contextual", [False, True])
async def test_content_and_context_together_fit_the_model(contextual: bool) -> None:
    builder = TextBuilder()
    for number in range(4):
        builder.heading(1, f"Part {number} with a heading of eight words")
        builder.block("Some words of prose stand here. " * 40)
    parsed = make_document(*builder.build(), "text", title="A title of six words here")
    room = WordCounter.model.max_tokens - SPECIAL_TOKENS - MARGIN_TOKENS
    settings = KbSettings(chunk_tokens=60, chunk_overlap=10, contextual=contextual)
    chunks = make_chunks("d", parsed, await cut(parsed, WordCounter(), settings), contextual=contextual)  # type: ignore[arg-type]
    sizes = [len(chunk.indexed_text.replace("›", "").split()) for chunk in chunks]
    assert room - 12 <= max(sizes) <= room
    assert any(chunk.context for chunk in chunks) is contextual


async def test_the_context_is_searched_and_never_shown(services: Services, folder: Path, write: Write) -> None:
    write("guide.md", GUIDE)
    settings = KbSettings(chunk_tokens=24, chunk_overlap=0, contextual=True)
    kb = (await services.library.create("Airships", settings)).id
    await services.ingest.ingest(kb, [folder])
    chunks = await chunks_of(services, kb)
    assert {chunk.context for chunk in chunks.values()} >= {"Zeppelin Handbook", "Zeppelin Handbook › Mooring"}
    assert not any("Zeppelin" in chunk.content for chunk in chunks.values())
    response = await services.search.search(SearchRequest((kb,), "zeppelin lines", SearchMode.KEYWORD))
    assert {result.chunk_id for result in response.results} == set(chunks)
    for result in response.results:
        shown = (result.content, result.snippet, *map(str, result.metadata.values()), *result.metadata)
        assert not any("zeppelin" in text.lower() or text == "context" for text in shown)
        assert {result.snippet[a:b].lower() for a, b in result.highlights} <= {"line", "lines"}
        assert "zeppelin" not in result.explanation.matched_terms
    only_context = await services.search.search(SearchRequest((kb,), "zeppelin", SearchMode.KEYWORD))
    assert all(result.highlights == () and result.snippet for result in only_context.results)


async def test_changed_settings_rebuild_with_the_next_ingest(services: Services, folder: Path, write: Write) -> None:
    write("guide.md", GUIDE)
    plain = KbSettings(chunk_tokens=24, chunk_overlap=0)
    kb = (await services.library.create("Airships", plain)).id
    await services.ingest.ingest(kb, [folder])
    before = await chunks_of(services, kb)
    assert await found(services, kb, "zeppelin") == []
    changed = await services.library.change_settings("Airships", replace(plain, contextual=True))
    assert changed.settings.contextual
    assert await found(services, kb, "zeppelin") == []
    await services.ingest.ingest(kb, [folder])
    assert set(await found(services, kb, "zeppelin")) == set(before)
    with pytest.raises(InvalidRequest, match="16 tokens"):
        await services.library.change_settings("Airships", replace(plain, chunk_tokens=2))
    with pytest.raises(NotFound):
        await services.library.change_settings("Nothing", plain)


async def test_a_rebuild_from_stored_texts_gives_the_same_chunks(
    services: Services, folder: Path, write: Write
) -> None:
    write("guide.md", GUIDE)
    write("data.html", "<h1>Rows</h1><p>Before.</p><table>" + "<tr><td>A row. Of<td>cells" * 9 + "</table>After.")
    kb = (await services.library.create("Both", KbSettings(chunk_tokens=32, chunk_overlap=8, contextual=True))).id
    await services.ingest.ingest(kb, [folder])
    first = await chunks_of(services, kb)
    assert any("line | length\nbow | 40\nyaw | 60" in chunk.content for chunk in first.values())
    assert not any(chunk.content.endswith("Of") or chunk.content.startswith("Of") for chunk in first.values())
    (folder / "guide.md").unlink()
    await services.ingest.rebuild(kb)
    again = await chunks_of(services, kb)
    assert {key: chunk.indexed_text for key, chunk in first.items()} == {
        key: chunk.indexed_text for key, chunk in again.items()
    }


async def test_new_knowledge_bases_are_contextual(services: Services) -> None:
    assert (await services.library.create("New")).settings.contextual
