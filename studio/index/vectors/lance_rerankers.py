"""LanceDB's own rerankers that run on this machine, for a person who has installed the packages they need.

Those of LanceDB that ask a service on the network are not offered, and neither are its fusions (RRF, linear
combination), which the search has of its own. Their models come from the local cache of the package or from a folder:
nothing is fetched during a search.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.errors import ModelFault

PREFIX = "lancedb:"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A class of `lancedb.rerankers`: what to install for it, and the modules that must then be there."""

    packages: str
    modules: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()


KINDS = {
    # LanceDB's default would run code that comes with a model.
    "CrossEncoderReranker": _Kind(
        "sentence-transformers", ("sentence_transformers", "torch"), (("trust_remote_code", False),)
    ),
    "ColbertReranker": _Kind('"rerankers[transformers]"', ("rerankers", "torch")),
    "AnswerdotaiRerankers": _Kind('"rerankers[transformers]"', ("rerankers", "torch")),
}


def installed() -> list[str]:
    """Names of the kinds whose packages are there."""
    return [PREFIX + name for name, kind in KINDS.items() if not _missing(kind)]


def _missing(kind: _Kind) -> list[str]:
    return [module for module in kind.modules if importlib.util.find_spec(module) is None]


class LanceReranker:
    """One of LanceDB's rerankers with its model loaded. Slow to make and to call: use it in a thread."""

    def __init__(self, kind: str, model: str = "") -> None:
        """`kind` is one of `KINDS`, `model` a folder or a name in the package's cache, "" for the kind's usual one.

        Raises ModelFault, naming the package that is missing or why the model cannot be loaded.
        """
        self._kind = kind
        known = KINDS[kind]
        if _missing(known):
            raise ModelFault(f"The reranker {kind} of LanceDB needs {known.packages}.", way_out=_how_to_install(known))
        # Read by the packages when they are imported.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
        try:
            import lancedb.rerankers

            options = dict(known.options)
            if model:
                options["model_name"] = model
            self._reranker = getattr(lancedb.rerankers, kind)(**options)
            self._score("What is tried?", ["A sentence to try the model with."])
        except Exception as error:  # the packages are not ours and have no common type
            raise ModelFault(
                f"The reranker {kind} of LanceDB cannot be loaded: {_first_line(error)}",
                way_out=f"Name a folder that holds its model: {PREFIX}{kind}:FOLDER",
            ) from error

    def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        """One score for each passage, higher is better. Raises ModelFault."""
        try:
            return self._score(query, passages) if passages else []
        except Exception as error:  # as above
            raise ModelFault(f"The reranker {self._kind} of LanceDB failed: {_first_line(error)}") from error

    def _score(self, query: str, passages: Sequence[str]) -> list[float]:
        import pyarrow as pa

        # They take the rows of a keyword search and hand them back in their own order with a score added.
        rows = pa.table({"text": list(passages), "_score": [0.0] * len(passages), "row": range(len(passages))})
        ranked = self._reranker.rerank_fts(query, rows)
        by_row = dict(zip(ranked["row"].to_pylist(), ranked["_relevance_score"].to_pylist(), strict=True))
        return [float(by_row[row]) for row in range(len(passages))]


def _how_to_install(kind: _Kind) -> str:
    if getattr(sys, "frozen", False):
        return "This installation takes no further packages; install a reranker in GGUF format instead."
    return f"Install it with: {sys.executable} -m pip install {kind.packages}"


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
