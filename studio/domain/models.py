"""Models, and the ports of what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from studio.domain.generations import ModelIdentity

Vectors = NDArray[np.float32]
"""Embeddings, shape (n, dimension), float32, each row of unit length."""


RANK_POOLING = "rank"
"""`ModelInfo.pooling` of a reranker."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A GGUF model on disk, or one that can be installed (`installed` False, `path` None).

    `full_dimension` is what the model gives when its vectors are cut to `dimension` (Matryoshka), else 0. The prefixes
    are put before each query and each passage that is embedded. `terms` is where
    conditions stand that its user accepts by installing it.
    """

    name: str
    sha256: str
    dimension: int
    max_tokens: int
    pooling: str
    size_bytes: int
    licence: str
    installed: bool
    path: Path | None
    query_prefix: str = ""
    passage_prefix: str = ""
    languages: str = ""
    terms: str = ""
    full_dimension: int = 0

    @property
    def given_dimension(self) -> int:
        """The length of the vectors as they leave the model."""
        return self.full_dimension or self.dimension

    @property
    def kind(self) -> str:
        """What it is for: "embedder", or "reranker" for one that scores a query and a passage together."""
        return "reranker" if self.pooling == RANK_POOLING else "embedder"

    @property
    def identity(self) -> ModelIdentity:
        """The part of this that vectors depend on."""
        return ModelIdentity(self.name, self.sha256, self.dimension, self.pooling)


@dataclass(frozen=True, slots=True)
class ModelWishes:
    """What a person sets while installing a model; None: as the model is published."""

    query_prefix: str | None = None
    passage_prefix: str | None = None
    dimension: int | None = None

    def met_by(self, info: ModelInfo) -> bool:
        """Whether an installed model is as it is wished."""
        found = (info.query_prefix, info.passage_prefix, info.dimension)
        wished = (self.query_prefix, self.passage_prefix, self.dimension)
        return all(wish is None or wish == value for wish, value in zip(wished, found, strict=True))


class Embedder(Protocol):
    """Text to vectors. Implementations live behind a process boundary."""

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        """Embed texts, shape (len(texts), dimension), rows L2-normalised.

        They are queries or passages, which some models tell apart. `interactive` requests overtake batch requests
        that wait. Raises WorkerDied, ModelFault.
        """

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text in the model's vocabulary, without special tokens."""

    async def close(self) -> None:
        """End the worker process; idempotent."""


class EmbedderProvider(Protocol):
    """Hands out the embedder of a model, starting its worker when needed."""

    async def embedder(self, model: str) -> Embedder:
        """The running embedder of the named model. Raises ModelFault."""

    async def close(self) -> None:
        """End every worker."""


class Reranker(Protocol):
    """Judges passages by reading each together with the query; slower than comparing vectors, and finer."""

    @property
    def name(self) -> str:
        """As it is chosen by."""

    async def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        """How well each passage answers the query, higher is better; only their order means something.

        Raises ModelFault (also when it takes too long), WorkerDied.
        """
