"""Made-up passages and vectors for `search.py`, a batch at a time, the same for the same seed.

Text: 100 to 200 words a passage. Half are drawn from one vocabulary by Zipf's law, its commonest words being English
function words; the rest belong to the passage's topic. Vectors: a mixture of one component a topic. Centres and the
noise about them have a spectrum that falls off as that of sentence embeddings does, and all share a common part, so
that everything is somewhat similar to everything (anisotropy); near neighbours share a topic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.domain import Chunk, Vectors
from studio.paths import resources_dir

BATCH = 4096
VOCABULARY = 50_000
CHUNKS_PER_DOCUMENT = 20
CHUNKS_PER_TOPIC = 100
_WORDS_PER_TOPIC = 60
_IDS = 1 << 128
_SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC835  # 2¹²⁸ by the golden ratio; odd, so that the numbers of all ids differ
_SHARED_PART = 0.45
_NOISE = 0.8
_QUERY_NOISE = 0.6
_FUNCTION_WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which"
)
_SYLLABLE = (
    "b br c cl d dr f fl g gr h j k l m n p pl qu r s sl st t tr v w z",
    "a e i o u ai ea io ou",
    " l m n nd r s t",
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Passages with unit vectors, shape (len(texts), dimension). `first` is the number of the first."""

    first: int
    texts: list[str]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Query:
    """A question about passage `target`: some of its words, and a vector near its own, shape (dimension,).

    `english` are as many words of the sample library, for a model to embed.
    """

    text: str
    english: str
    vector: Vectors
    target: int


class Data:
    """`rows` passages of `dimension` numbers."""

    def __init__(self, rows: int, dimension: int, *, seed: int = 7) -> None:
        self.rows, self.dimension, self._seed = rows, dimension, seed
        rng = np.random.default_rng(seed)
        self._words = _vocabulary(rng)
        self._cumulative = np.cumsum(1.0 / np.arange(1, VOCABULARY + 1) ** 1.07)
        self._cumulative /= self._cumulative[-1]
        self._topics = max(20, rows // CHUNKS_PER_TOPIC)
        self._topic_words = rng.integers(200, VOCABULARY, (self._topics, _WORDS_PER_TOPIC), np.int32)
        self._spectrum = _unit_spectrum(dimension)
        centres = rng.standard_normal((self._topics, dimension), np.float32) * self._spectrum
        self._centres = centres + _SHARED_PART * self._spectrum[::-1]

    def batches(self) -> Iterator[Batch]:
        """All of it, `BATCH` passages at a time."""
        for first in range(0, self.rows, BATCH):
            yield self._batch(first, min(BATCH, self.rows - first))

    def queries(self, count: int) -> list[Query]:
        """Questions about passages of the first batch, of which each is as good as any other."""
        batch = self._batch(0, min(BATCH, self.rows))
        rng = np.random.default_rng((self._seed, 1))
        targets = rng.choice(len(batch.texts), count, replace=count > len(batch.texts))
        english = " ".join(
            path.read_text("utf-8") for path in sorted((resources_dir() / "samples").glob("*.md"))
        ).split()
        queries = []
        for target in targets:
            words = batch.texts[target].rstrip(".").split()
            start = int(rng.integers(0, len(words) - 6))
            picked = words[start : start + 3] + list(rng.choice(words, 5, replace=False))
            noise = rng.standard_normal(self.dimension).astype(np.float32) * self._spectrum * _QUERY_NOISE
            vector = batch.vectors[target] + noise / np.sqrt(1.0 + _NOISE**2)
            place = int(rng.integers(0, len(english) - len(picked)))
            instead = " ".join(english[place : place + len(picked)])
            queries.append(Query(" ".join(picked), instead, vector / np.linalg.norm(vector), int(target)))
        return queries

    def _batch(self, first: int, count: int) -> Batch:
        rng = np.random.default_rng((self._seed, 2, first))
        topics = rng.integers(0, self._topics, count)
        noise = rng.standard_normal((count, self.dimension), np.float32) * self._spectrum * np.float32(_NOISE)
        vectors = self._centres[topics] + noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Batch(first, self._texts(rng, topics), vectors)

    def _texts(self, rng: np.random.Generator, topics: NDArray[np.int64]) -> list[str]:
        lengths = rng.integers(100, 201, len(topics))
        total = int(lengths.sum())
        drawn = np.searchsorted(self._cumulative, rng.random(total)).astype(np.int32)
        # Words of the topic follow a law of their own: a few name it, the rest belong to it now and then.
        rank = (rng.random(total) ** 2 * _WORDS_PER_TOPIC).astype(np.int32)
        topical = self._topic_words[np.repeat(topics, lengths), rank]
        words = self._words[np.where(rng.random(total) < 0.3, topical, drawn)]
        ends = np.cumsum(lengths)
        return [" ".join(words[end - length : end]) + "." for end, length in zip(ends, lengths, strict=True)]


class Exact:
    """The `top` nearest passages of each query by comparing with every vector, gathered batch by batch."""

    def __init__(self, queries: list[Query], top: int = 10) -> None:
        self._matrix = np.stack([query.vector for query in queries])
        self._scores = np.full((len(queries), top), -np.inf, np.float32)
        self.numbers = np.full((len(queries), top), -1, np.int64)
        """Numbers of the nearest passages, best first, shape (queries, top)."""

    def see(self, batch: Batch) -> None:
        """Take a batch into account."""
        scores = np.hstack([self._scores, self._matrix @ batch.vectors.T])
        new = np.arange(batch.first, batch.first + len(batch.texts))
        numbers = np.hstack([self.numbers, np.tile(new, (len(self.numbers), 1))])
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.numbers.shape[1]]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self.numbers = np.take_along_axis(numbers, best, axis=1)

    def recall(self, found: list[list[int]]) -> float:
        """Share of the nearest that was found."""
        pairs = zip(found, self.numbers.tolist(), strict=True)
        return float(np.mean([len(set(some) & set(right)) / len(right) for some, right in pairs]))


def chunk_id(number: int) -> str:
    """The id of a passage: 32 hexadecimal digits in no order, as the program's are."""
    return f"{(number + 1) * _SPREAD % _IDS:032x}"


def number_of(chunk: str) -> int:
    """The passage of an id."""
    return int(chunk.rpartition(":")[2], 16) * pow(_SPREAD, -1, _IDS) % _IDS - 1


def document_id(document: int) -> str:
    """The id of a document of `CHUNKS_PER_DOCUMENT` passages in a row, like those of passages."""
    return chunk_id(document)


def chunks_of(batch: Batch) -> list[Chunk]:
    """The passages as chunks of documents."""
    return [
        Chunk(
            chunk_id(number), document_id(number // CHUNKS_PER_DOCUMENT), text, f"{number:064x}", None, "",
            1000 * (number % CHUNKS_PER_DOCUMENT), 1000 * (number % CHUNKS_PER_DOCUMENT) + len(text),
        )
        for number, text in enumerate(batch.texts, start=batch.first)
    ]  # fmt: skip


def _unit_spectrum(dimension: int) -> Vectors:
    """Standard deviations by dimension whose squares add up to one, falling as the root of the rank."""
    spectrum = np.arange(1, dimension + 1, dtype=np.float32) ** -0.5
    result: Vectors = spectrum / np.linalg.norm(spectrum)
    return result


def _vocabulary(rng: np.random.Generator) -> NDArray[np.object_]:
    words = dict.fromkeys(_FUNCTION_WORDS.split())
    parts = [sounds.split(" ") for sounds in _SYLLABLE] * 3
    while len(words) < VOCABULARY:
        syllables = [[part[n] for n in rng.integers(0, len(part), 20_000)] for part in parts]
        cut = np.where(rng.random(20_000) < 0.5, 6, 9)  # words of two syllables and of three
        words.update(dict.fromkeys("".join(parts[:end]) for end, *parts in zip(cut, *syllables, strict=True)))
    return np.array(list(words)[:VOCABULARY], object)
