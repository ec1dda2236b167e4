"""Small random XLM-R models made on the spot: embedders and cross-encoders, as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.helpers import tiny_bert

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁the", "▁fox", "▁jump", "s", "▁over", "▁дом", *"abcdefghijklmnopqr"]
VOCABULARY = [*PIECES, "<mask>", "left over"]
PADDING = 1
SKIPPED = PADDING + 1
"""Rows of the position matrix before that of the first token."""

POSITIONS = 64


def settings_of(kind: str = "xlm-roberta", width: int = 64, **others: Any) -> dict[str, Any]:
    """config.json of a model of the kind: 2 layers, 4 heads, 64 positions."""
    roberta = kind != "bert"
    return {
        "model_type": kind,
        "vocab_size": len(VOCABULARY),
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 2 * width,
        "max_position_embeddings": POSITIONS + SKIPPED * roberta,
        "type_vocab_size": 1 if roberta else 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        **others,
    }


def weights_of(settings: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """The tensors of the encoder, as published."""
    weights = tiny_bert.random_weights(settings)
    types = "embeddings.token_type_embeddings.weight"
    return weights | {types: weights[types][: settings["type_vocab_size"]]}


def in_order(settings: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """The same with the position of the first token first, as `tiny_bert.states` wants it."""
    weights = weights_of(settings)
    skipped = SKIPPED if settings["model_type"] != "bert" else 0
    positions = "embeddings.position_embeddings.weight"
    return weights | {positions: weights[positions][skipped:]}


def head_of(width: int = 64, labels: int = 1) -> dict[str, NDArray[np.float32]]:
    """The classifier of RobertaForSequenceClassification."""
    random = np.random.default_rng(11)
    return {
        "classifier.dense.weight": random.normal(0, 0.3, (width, width)).astype(np.float32),
        "classifier.dense.bias": random.normal(0, 0.3, width).astype(np.float32),
        "classifier.out_proj.weight": random.normal(0, 0.3, (labels, width)).astype(np.float32),
        "classifier.out_proj.bias": random.normal(0, 0.3, labels).astype(np.float32),
    }


def write_tokenizer(folder: Path) -> None:
    """tokenizer.json of a SentencePiece unigram model; the last row of the matrix has no piece."""
    pieces = [[piece, 0.0 if piece.startswith("<") else -1.0 - 8.0 / len(piece)] for piece in [*PIECES, "<mask>"]]
    added = [{"id": number, "content": piece} for number, (piece, _) in enumerate(pieces) if str(piece).startswith("<")]
    value = {"model": {"type": "Unigram", "unk_id": 3, "vocab": pieces}, "added_tokens": added, "normalizer": None}
    (folder / "tokenizer.json").write_text(json.dumps(value), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("{}")


def make_model(folder: Path, settings: dict[str, Any], *, pooling: str = "mean_tokens") -> Path:
    """A sentence-transformers folder."""
    (folder / "1_Pooling").mkdir(parents=True)
    write_tokenizer(folder)
    tiny_bert.write_safetensors(folder / "model.safetensors", weights_of(settings))
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    return folder


def make_reranker(folder: Path, *, labels: int = 1) -> Path:
    """The folder of a cross-encoder, which has no 1_Pooling."""
    folder.mkdir(parents=True)
    write_tokenizer(folder)
    settings = settings_of(
        architectures=["XLMRobertaForSequenceClassification"], id2label=dict.fromkeys(range(labels), "")
    )
    encoder = {f"roberta.{name}": values for name, values in weights_of(settings).items() if "pooler" not in name}
    tiny_bert.write_safetensors(folder / "model.safetensors", encoder | head_of(labels=labels))
    (folder / "config.json").write_text(json.dumps(settings))
    return folder
