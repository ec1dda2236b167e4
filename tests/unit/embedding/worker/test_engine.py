from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.domain import ModelInfo
from studio.embedding.model_files.safetensors_file import SafetensorsFile
from studio.embedding.worker.engine import Engine
from studio.errors import ModelFault
from tests.helpers import tiny_bert

CLS, SEP = 101, 102
SENTENCES = [
    "A cat sits on the mat.",
    "Café crème brûlée, naïve façade.",
    "Der Überflieger aß süße Äpfel.",
    "東京は日本の首都です。",
    "안녕하세요 세계",
    "नमस्ते दुनिया",
    "Zażółć gęślą jaźń; Ελλάδα; Москва; שלום; مرحبا",
    "e = mc^2 and 3.14159 > π/1",
    "",
    " \t\n ",
    "word " * 400,
]


@pytest.fixture(scope="module")
def engine(default_model: ModelInfo) -> Iterator[Engine]:
    assert default_model.path is not None
    loaded = Engine(default_model.path, max_tokens=256)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def tiny(tiny_gguf: Path) -> Iterator[Engine]:
    loaded = Engine(tiny_gguf, max_tokens=48)
    yield loaded
    loaded.close()


def test_vectors_agree_with_an_independent_forward_pass_of_the_published_weights(
    engine: Engine, default_source: Path
) -> None:
    stored = SafetensorsFile(default_source / "model.safetensors")
    weights = {name: stored.read(name) for name in stored.tensors if not name.endswith("position_ids")}
    config = json.loads((default_source / "config.json").read_text())
    vectors = engine.embed(SENTENCES)
    for text, vector in zip(SENTENCES, vectors, strict=True):
        assert tiny_bert.forward(weights, config, engine.tokens(text).tolist()) @ vector >= 0.9999, text


def test_tokens_are_those_of_an_uncased_bert(engine: Engine, default_source: Path) -> None:
    vocabulary = (default_source / "vocab.txt").read_text(encoding="utf-8").split("\n")

    def pieces(text: str) -> list[str]:
        return [vocabulary[token] for token in engine.tokens(text)]

    assert pieces("Hello, WORLD!") == ["[CLS]", "hello", ",", "world", "!", "[SEP]"]
    assert pieces("Café") == pieces("cafe") == ["[CLS]", "cafe", "[SEP]"]
    # Decomposed Hangul: the vocabulary holds single jamo, and llama.cpp alone would see unknown words.
    assert "[UNK]" not in pieces("안녕")
    # A spacing mark (category Mc) is not an accent; only nonspacing marks (Mn) go.
    assert any("\u093e" in piece for piece in pieces("काम"))
    assert pieces("[CLS]") == ["[CLS]", "[", "cl", "##s", "]", "[SEP]"], "text cannot forge special tokens"


def test_a_cased_model_keeps_its_accents(tmp_path: Path) -> None:
    from studio.embedding.model_files import convert

    folder = tiny_bert.make_model(tmp_path / "model")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": false}')
    convert(folder, tmp_path / "m.gguf", name="m")
    cased = Engine(tmp_path / "m.gguf", max_tokens=48)
    unknown = tiny_bert.VOCABULARY.index("[UNK]")
    assert unknown in cased.tokens("é")
    cased.close()


def test_cut_texts_keep_their_closing_token(engine: Engine) -> None:
    tokens = engine.tokens("word " * 5000)
    assert len(tokens) == 256
    assert tokens[0] == CLS
    assert tokens[-1] == SEP
    whole = engine.tokens("word " * 254)
    np.testing.assert_array_equal(tokens, whole)


def test_white_space_does_not_push_the_text_out_of_sight(engine: Engine) -> None:
    np.testing.assert_array_equal(engine.tokens(" " * 100_000 + "cat"), engine.tokens("cat"))


def test_counts_are_of_the_whole_text_without_special_tokens(engine: Engine) -> None:
    assert engine.count_tokens("") == 0
    assert engine.count_tokens("Hello, WORLD!") == 4
    assert engine.count_tokens("word " * 5000) == 5000


def test_rows_are_of_unit_length_and_the_same_every_time(engine: Engine) -> None:
    first, second = engine.embed(SENTENCES), engine.embed(SENTENCES)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)


def test_a_text_has_the_same_vector_alone_and_among_others(engine: Engine) -> None:
    together = engine.embed(SENTENCES * 3)
    for row, text in enumerate(SENTENCES):
        for copy in range(3):
            assert together[row + copy * len(SENTENCES)] @ engine.embed([text])[0] > 0.99999


def test_packs_hold_every_text_once_and_never_too_many_tokens(tiny: Engine) -> None:
    lengths = np.random.default_rng(3).integers(2, 49, 300).tolist() + [2] * 200
    packs = tiny.packs(lengths)
    assert sorted(row for pack in packs for row in pack) == list(range(500))
    assert max(sum(lengths[row] for row in pack) for pack in packs) <= 48
    assert max(len(pack) for pack in packs) <= 64
    assert tiny.packs([]) == []


def test_lone_surrogates_and_control_characters_are_embedded(tiny: Engine) -> None:
    vectors = tiny.embed(["\ud800", "a\udfffb", "\0", "\x1b[0m", "\ufffe"])
    assert np.isfinite(vectors).all()


def test_a_longer_limit_than_the_model_has_is_lowered(tiny_gguf: Path) -> None:
    engine = Engine(tiny_gguf, max_tokens=4096)
    assert engine.max_tokens == 64
    engine.close()
    engine.close()


def test_refusals_say_why(tiny_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="at most 2"):
        Engine(tiny_gguf, max_tokens=2)
    (tmp_path / "noise.gguf").write_bytes(b"noise" * 100)
    with pytest.raises(ModelFault, match=r"noise\.gguf cannot be loaded.*magic"):
        Engine(tmp_path / "noise.gguf", max_tokens=64)
