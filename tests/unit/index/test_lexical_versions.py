"""A keyword index whose terms an older analysis made: read as it is, never built upon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from studio.index import generations
from studio.index.analysis import LEXICAL_VERSION
from studio.index.lexical_writer import LexicalWriter
from studio.index.mending import rebuild_keywords
from tests.toy import MODEL, Bench


@pytest.fixture
async def older(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A knowledge base whose active generation has a keyword index of version 1."""
    with monkeypatch.context() as before:
        before.setattr(generations, "LEXICAL_VERSION", 1)
        before.setattr(generations, "LexicalWriter", partial(LexicalWriter, version=1))
        generation = await bench.promote(await bench.built({"a": ["the camelCase name"], "b": ["nothing else"]}))
    assert generation.lexical_version == 1
    yield bench


async def found(bench: Bench, query: str, number: int | None = None) -> int:
    async with bench.store.reading(number) as snapshot:
        return len(snapshot.lexical.search(query, limit=9))


async def test_an_older_keyword_index_is_read_by_its_own_analysis(older: Bench) -> None:
    assert await found(older, "camelcase") == 1
    assert await found(older, "camel") == 0


async def test_a_build_on_it_makes_its_keyword_index_anew(older: Bench) -> None:
    second = await older.promote(await older.built({"c": ["another snake_case"]}, delete=["b"]))
    assert second.lexical_version == LEXICAL_VERSION
    assert await found(older, "camel case") == 2
    assert await found(older, "nothing") == 0
    assert len(await older.contents()) == 2
    third = await older.promote(await older.built({"d": ["a third"]}))
    assert await found(older, "camel", third.number) == 1
    files = older.store.paths.lexical_generation(third.number)
    assert any(file.stat().st_nlink > 1 for file in files.iterdir()), "one of the same version is built upon"


async def test_a_build_in_another_language_makes_it_anew(bench: Bench) -> None:
    await bench.promote(await bench.built({"a": ["mangées"]}))
    kb = await bench.stores.knowledge_base(bench.kb.id)
    french = replace(kb, settings=replace(kb.settings, language="fr"))
    build = await bench.store.begin(french, MODEL, note="")
    await bench.promote(await bench.store.seal(build))
    assert await found(bench, "mangé") == 1


async def test_a_build_that_an_older_program_began_is_not_gone_on_with(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = await bench.begin()
    await bench.add(build, "a", ["text"])
    checkpoint = await bench.store.checkpoint(build, [], [], {})
    build.lexical.seal()
    kb = await bench.stores.knowledge_base(bench.kb.id)
    with monkeypatch.context() as newer:
        newer.setattr(generations, "LEXICAL_VERSION", LEXICAL_VERSION + 1)
        assert await bench.store.reopen(kb, MODEL, checkpoint) is None
    assert await bench.store.reopen(kb, MODEL, checkpoint) is not None


async def test_mending_keeps_the_version_of_a_generation(older: Bench) -> None:
    generation = (await older.stores.catalog.generations(older.kb.id))[0]
    directory = older.store.paths.lexical_generation(generation.number)
    older.store.release()
    await rebuild_keywords(older.store.vectors, directory, generation, lambda path: path.rename(path.parent / "aside"))
    assert len(await older.contents()) == 2
    assert await found(older, "camelcase") == 1
    assert await found(older, "camel") == 0
