"""Small random BERT models made on the spot, and an independent forward pass in numpy."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",",
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
    "the", "fox", "jumps", "over", "dog", "quick", "##ing", "##ed", "lazy", "house",
]  # fmt: skip


def write_safetensors(path: Path, tensors: dict[str, NDArray[Any]], dtype: str = "F32") -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    for name, values in tensors.items():
        if dtype == "BF16":
            raw = (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        else:
            raw = values.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8"}[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def random_weights(config: dict[str, Any], seed: int = 7) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    for layer in range(config["num_hidden_layers"]):
        base = f"encoder.layer.{layer}."
        for module, shape in {
            "attention.self.query": (width, width),
            "attention.self.key": (width, width),
            "attention.self.value": (width, width),
            "attention.output.dense": (width, width),
            "intermediate.dense": (inner, width),
            "output.dense": (width, inner),
        }.items():
            shapes[f"{base}{module}.weight"] = shape
            shapes[f"{base}{module}.bias"] = shape[:1]
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{base}{norm}.weight"] = shapes[f"{base}{norm}.bias"] = (width,)
    return {name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}


def make_model(
    folder: Path,
    *,
    pooling: str = "mean",
    seed: int = 7,
    dtype: str = "F32",
    config: dict[str, Any] | None = None,
    vocabulary_in: str = "vocab.txt",
) -> Path:
    """A sentence-transformers folder of a tiny BERT: 2 layers, width 64, 4 heads, 64 positions."""
    settings: dict[str, Any] = {
        "model_type": "bert",
        "vocab_size": len(VOCABULARY),
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }
    weights = random_weights(settings, seed)
    settings |= config or {}
    (folder / "1_Pooling").mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", weights, dtype)
    if vocabulary_in == "vocab.txt":
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    else:
        numbers = {token: number for number, token in enumerate(VOCABULARY)}
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": numbers}}))
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens")}
    modes = {**modes, f"pooling_mode_{pooling}_tokens" if pooling != "cls" else "pooling_mode_cls_token": True}
    kinds = ("Transformer", "Pooling", "Normalize")
    for name, value in {
        "config.json": settings,
        "tokenizer_config.json": {"do_lower_case": True},
        "sentence_bert_config.json": {"max_seq_length": 48},
        "modules.json": [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds],
        "1_Pooling/config.json": {"word_embedding_dimension": 64, **modes},
    }.items():
        (folder / name).write_text(json.dumps(value))
    return folder


def forward(
    weights: dict[str, NDArray[np.float32]], config: dict[str, Any], tokens: Sequence[int], pooling: str = "mean"
) -> NDArray[np.float64]:
    """Sentence vector of one text, unit length."""
    x = states(weights, config, tokens)
    pooled = x.mean(0) if pooling == "mean" else x[0]
    return np.asarray(pooled / np.linalg.norm(pooled))


def states(
    weights: dict[str, NDArray[np.float32]], config: dict[str, Any], tokens: Sequence[int]
) -> NDArray[np.float64]:
    """Last hidden state of every token, shape (len(tokens), width): BERT as Devlin et al. 2018 describe it, in float64.

    All tokens are of the first segment, as llama.cpp has it.
    """
    w = {name: values.astype(np.float64) for name, values in weights.items()}
    eps = config["layer_norm_eps"]
    heads = config["num_attention_heads"]

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    ids = np.asarray(tokens)
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        base = f"encoder.layer.{layer}."
        q, k, v = (
            dense(x, f"{base}attention.self.{part}").reshape(len(ids), heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + dense(mixed, f"{base}attention.output.dense"), f"{base}attention.output.LayerNorm")
        inner = dense(x, f"{base}intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + dense(inner, f"{base}output.dense"), f"{base}output.LayerNorm")
    return np.asarray(x)
