from __future__ import annotations

from collections.abc import Sequence

import pytest

from studio.domain import KbSettings, ModelInfo, Vectors
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.paths import DataPaths
from studio.services.search.weighting import weight_for, words_of

KNOWN = "how do i list the files of a folder run until complete get user by id café"


class ToyVocabulary:
    """Knows a few words whole, of all others only letters. Implements `domain.Embedder` but for embedding."""

    model = ModelInfo("toy", "c" * 64, 8, 64, "mean", 1, "none", True, None)

    def __init__(self) -> None:
        self.counted: list[str] = []

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        raise NotImplementedError

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        self.counted.extend(texts)
        return [sum(1 if word in KNOWN.split() else len(word) for word in text.lower().split()) for text in texts]

    async def close(self) -> None:
        pass


@pytest.fixture
def toy() -> ToyVocabulary:
    return ToyVocabulary()


async def test_a_language_the_model_knows_counts_half(toy: ToyVocabulary) -> None:
    assert await weight_for(toy, "How do I list the files of a folder?") == 0.5


async def test_a_language_the_model_does_not_know_counts_a_fifth(toy: ToyVocabulary) -> None:
    for query in ("Wie liste ich die Dateien auf", "列出文件夹中的文件", "फ़ाइलें कैसे देखें"):
        assert await weight_for(toy, query) == pytest.approx(0.2)


async def test_a_strange_name_in_a_known_language_lowers_it_a_little(toy: ToyVocabulary) -> None:
    assert 0.2 < await weight_for(toy, "How do I list the files of a folder xyzzyxq") < 0.5


async def test_punctuation_and_identifiers_do_not_make_a_query_strange(toy: ToyVocabulary) -> None:
    assert await weight_for(toy, "run_until_complete(); get-user-by-id (café)?!") == 0.5
    assert toy.counted == ["run until complete get user by id café"]


async def test_a_query_without_words_counts_half_and_asks_nobody(toy: ToyVocabulary) -> None:
    assert await weight_for(toy, "?! -- \x00") == 0.5
    assert toy.counted == []


async def test_a_long_query_is_judged_by_its_beginning(toy: ToyVocabulary) -> None:
    await weight_for(toy, "folder " * 100_000)
    assert len(toy.counted[0]) < 2000


def test_combining_marks_belong_to_their_word() -> None:
    assert words_of("हिन्दी भाषा, cafe\u0301") == ["हिन्दी", "भाषा", "café"]


async def test_the_default_model_knows_english_and_little_else(
    model_paths: DataPaths, default_model: ModelInfo
) -> None:
    pool = EmbedderPool(ModelCatalog(model_paths))
    try:
        embedder = await pool.embedder(KbSettings().model)
        for query in ("Which glacier lost most of its ice last summer?", "how to stop a background process (Linux)"):
            assert await weight_for(embedder, query) == 0.5
        for query in ("Welcher Gletscher verlor letzten Sommer am meisten Eis?", "去年夏天哪座冰川失去的冰最多?"):
            assert await weight_for(embedder, query) == pytest.approx(0.2)
    finally:
        await pool.close()
