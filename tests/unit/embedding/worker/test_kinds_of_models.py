"""Every kind of model of the catalogue in every usual quantisation, loaded by llama.cpp itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studio.embedding.model_files import convert
from studio.embedding.worker.engine import Engine, log_tail
from tests.helpers import tiny_decoder, tiny_xlmr

QUANTISED = {"Q4_0": 0.9, "Q8_0": 0.999, "Q4_K_M": 0.9, "Q6_K": 0.99, "IQ4_NL": 0.9, "IQ4_XS": 0.9}
"""How they are stored, and the least cosine to the same model in 16 bits."""

TEXTS = ["the fox jumps", "a b c d e f g", "the " * 20, "fox"]


@pytest.fixture(scope="module", params=["bert", "xlm-roberta", "qwen3", "gemma-embedding"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of a kind, in F16, wide enough for blocks of 256 values."""
    log_tail()  # llama.cpp is silent from here on
    folder = tmp_path_factory.mktemp("kinds")
    if request.param in ("qwen3", "gemma-embedding"):
        return tiny_decoder.make_model(folder / "m.gguf", request.param)
    source = tiny_xlmr.make_model(folder / "m", tiny_xlmr.settings_of(request.param, width=256))
    convert(source, folder / "m.gguf", name="m")
    return folder / "m.gguf"


@pytest.mark.parametrize("kind", QUANTISED)
def test_a_quantised_model_embeds_nearly_as_the_whole_one(model: Path, kind: str, tmp_path: Path) -> None:
    small = tiny_decoder.quantised(model, tmp_path / "small.gguf", kind)
    vectors = []
    for path, cautious in ((model, False), (small, False), (small, True)):
        engine = Engine(path, max_tokens=64, cautious=cautious)
        vectors.append(engine.embed(TEXTS))
        engine.close()
    whole, quick, careful = vectors
    assert (np.sum(whole * quick, axis=1) > QUANTISED[kind]).all()
    assert (np.sum(quick * careful, axis=1) > 0.99).all()


def test_a_text_has_the_same_vector_alone_among_others_and_again(model: Path) -> None:
    engine = Engine(model, max_tokens=64)
    together = engine.embed(TEXTS * 5)
    for row, text in enumerate(TEXTS):
        alone = engine.embed([text])[0]
        assert (together[row :: len(TEXTS)] @ alone > 0.999).all(), text
    assert (together[0] @ together[1]) < 0.999, "different texts differ"
    long = engine.tokens("the fox " * 100)
    assert len(long) == 64
    assert long[-1] == engine.tokens("fox")[-1], "a cut text keeps its closing token"
    engine.close()
