"""A small random BERT cross-encoder in GGUF, made on the spot, and the scores an independent forward pass gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from studio.embedding.model_files import convert
from studio.embedding.model_files.gguf_convert import Precision
from studio.embedding.model_files.safetensors_file import SafetensorsFile
from tests.helpers import tiny_bert

WIDTH = 64
POSITIONS = 64


def make_reranker(folder: Path, *, head: bool = True, pooling: int = gguf.PoolingType.RANK, labels: int = 1) -> Path:
    """`folder`/tiny-reranker.gguf beside the folder of the encoder it was made of.

    Without `head` the file has no classifier, as when an encoder is only labelled a reranker.
    """
    source = tiny_bert.make_model(folder / "encoder", pooling="cls")
    convert(source, folder / "encoder.gguf", name="tiny", precision=Precision.F32)
    reader = gguf.GGUFReader(folder / "encoder.gguf")
    target = folder / "tiny-reranker.gguf"
    writer = gguf.GGUFWriter(target, "bert")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "bert.pooling_type"):
            continue
        inner = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    writer.add_pooling_type(gguf.PoolingType(pooling))
    if labels > 1:
        writer.add_classifier_output_labels([f"label {number}" for number in range(labels)])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    if head:
        for name, values in classifier(labels).items():
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def classifier(labels: int = 1) -> dict[str, NDArray[np.float32]]:
    """The head of BertForSequenceClassification: a dense layer with tanh (the pooler), then one score."""
    random = np.random.default_rng(11)
    shapes = {
        "cls.weight": (WIDTH, WIDTH),
        "cls.bias": (WIDTH,),
        "cls.output.weight": (labels, WIDTH),
        "cls.output.bias": (labels,),
    }
    return {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def expected_score(model: Path, tokens: Sequence[int]) -> float:
    """Score of one tokenised pair by numpy, from the weights `make_reranker` used."""
    folder = model.parent / "encoder"
    stored = SafetensorsFile(folder / "model.safetensors")
    weights = {name: stored.read(name) for name in stored.tensors}
    first = tiny_bert.states(weights, json.loads((folder / "config.json").read_text()), tokens)[0]
    head = {name: values.astype(np.float64) for name, values in classifier().items()}
    pooled = np.tanh(head["cls.weight"] @ first + head["cls.bias"])
    return float((head["cls.output.weight"] @ pooled + head["cls.output.bias"])[0])
