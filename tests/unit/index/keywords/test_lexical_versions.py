"""A keyword index of another version is not built upon but made again from the rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from studio.errors import StorageFault
from studio.index.generations import building as generations
from studio.index.generations import generation_reader
from studio.index.keywords import LEXICAL_VERSION
from tests.helpers.toy import MODEL, Bench


async def found(bench: Bench, query: str, number: int | None = None) -> int:
    async with bench.store.reading(number) as snapshot:
        return len(snapshot.lexical.search(query, limit=9))


def make_newer(patch: pytest.MonkeyPatch) -> None:
    """From here on this is the program of a next version."""
    for module in (generations, generation_reader):
        patch.setattr(module, "LEXICAL_VERSION", LEXICAL_VERSION + 1)


def links(bench: Bench, number: int) -> bool:
    """Whether a generation shares files of its keyword index with another one."""
    files = bench.store.paths.lexical_generation(number).iterdir()
    return any(file.stat().st_nlink > 1 for file in files)


async def test_a_build_on_another_version_makes_its_keyword_index_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await bench.promote(await bench.built({"a": ["the camelCase name"], "b": ["nothing else"]}))
    assert first.lexical_version == LEXICAL_VERSION == 1
    make_newer(monkeypatch)
    second = await bench.promote(await bench.built({"c": ["another snake_case"]}, delete=["b"]))
    assert second.lexical_version == 2
    assert not links(bench, second.number)
    assert await found(bench, "camel case") == 2
    assert await found(bench, "nothing") == 0
    assert len(await bench.contents()) == 2
    third = await bench.promote(await bench.built({"d": ["a third"]}))
    assert await found(bench, "camel", third.number) == 1
    assert links(bench, third.number), "one of the same version is built upon"
    monkeypatch.undo()
    with pytest.raises(StorageFault, match=r"newer version .*keyword index 2; this program knows 1 and 1"):
        await found(bench, "camel")
    assert await found(bench, "nothing", first.number) == 1


async def test_a_build_in_another_language_makes_it_anew(bench: Bench) -> None:
    await bench.promote(await bench.built({"a": ["mangées"]}))
    kb = await bench.stores.knowledge_base(bench.kb.id)
    french = replace(kb, settings=replace(kb.settings, language="fr"))
    build = await bench.store.begin(french, MODEL, note="")
    await bench.promote(await bench.store.seal(build))
    assert await found(bench, "mangé") == 1


async def test_a_build_of_another_version_is_not_gone_on_with(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    build = await bench.begin()
    await bench.add(build, "a", ["text"])
    checkpoint = await bench.store.checkpoint(build, [], [], {})
    build.lexical.seal()
    kb = await bench.stores.knowledge_base(bench.kb.id)
    with monkeypatch.context() as newer:
        make_newer(newer)
        assert await bench.store.reopen(kb, MODEL, checkpoint) is None
    assert await bench.store.reopen(kb, MODEL, checkpoint) is not None
