"""Encoders of the BERT and XLM-R kind, embedders and rerankers, to GGUF, with numpy and the `gguf` package alone.

Keys and tensor names are those llama.cpp reads for its architecture "bert" (src/llama-arch.cpp there).
The same input gives the same bytes on every run and machine, so the SHA-256 of the result names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from studio.embedding.model_files.packed_e5 import PACKED_FILE, PackedE5
from studio.embedding.model_files.safetensors_file import SafetensorsFile
from studio.embedding.model_files.source_tokenizer import Tokenizer, read_json, read_tokenizer
from studio.errors import ModelFault
from studio.replacing import replacing

WEIGHTS_FILE = "model.safetensors"
MODEL_FILES = (
    WEIGHTS_FILE,
    PACKED_FILE,
    "config.json",
    "tokenizer_config.json",
    "vocab.txt",
    "tokenizer.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
"""What the converter reads of a model directory; weights and vocabulary may be in either of two files."""

DEFAULT_MAX_TOKENS = 512


class Precision(StrEnum):
    """How matrices are stored. Minimum cosine to the float32 model: .999994, .99995, .9975 for the last three."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"


_FILE_TYPE = {
    Precision.F32: gguf.LlamaFileType.ALL_F32,
    Precision.F16: gguf.LlamaFileType.MOSTLY_F16,
    Precision.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    Precision.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}
_QUANTIZED = {Precision.BF16: gguf.GGMLQuantizationType.BF16, Precision.Q8_0: gguf.GGMLQuantizationType.Q8_0}
_BLOCK = 32  # Q8_0 quantises rows in blocks of this many values

_TOP_TENSORS = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
_LAYER_MODULES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_LAYER_NAME = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
_HEADS = {
    "pooler.dense": "cls",  # BertForSequenceClassification: dense, tanh, classifier
    "classifier": "cls.output",
    "classifier.dense": "cls",  # the same in RoBERTa's names
    "classifier.out_proj": "cls.output",
}
_UNUSED_TENSORS = ("embeddings.position_ids", "pooler.", "cls.", "classifier.")
_ALWAYS_F32 = ("position_embd.weight", "token_types.weight")  # llama.cpp adds these to float32 activations
_SUPPORTED_MODULES = ("Transformer", "Pooling", "Normalize")
_ROBERTA_KINDS = ("xlm-roberta", "roberta", "camembert")
_POOLING = {
    "mean": gguf.PoolingType.MEAN,
    "mean_tokens": gguf.PoolingType.MEAN,
    "cls": gguf.PoolingType.CLS,
    "cls_token": gguf.PoolingType.CLS,
    "lasttoken": gguf.PoolingType.LAST,
}


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A model directory, read and found convertible.

    `skipped_positions` rows at the start of the position matrix belong to no token: RoBERTa counts positions from
    behind the number of its padding token. The prefixes are what the model wants before each text.
    """

    directory: Path
    config: dict[str, Any]
    tokenizer: Tokenizer
    pooling: gguf.PoolingType
    max_tokens: int
    skipped_positions: int
    query_prefix: str
    passage_prefix: str

    @property
    def positions(self) -> int:
        """The longest text in tokens that the position matrix holds."""
        return int(self.config["max_position_embeddings"]) - self.skipped_positions


def convert(directory: Path, target: Path, *, name: str, precision: Precision = Precision.F16) -> SourceModel:
    """Write the model in `directory` to the GGUF file `target`, whole or not at all.

    `name` goes into the file, and so into its hash. Raises ModelFault for a model that is neither an encoder of the
    BERT kind that pools its tokens nor a cross-encoder of one label, or whose files are damaged; OSError when it
    cannot be written.
    """
    model = read_source(directory)
    weights = open_weights(directory)
    with replacing(target) as temporary:
        writer = gguf.GGUFWriter(temporary, "bert")
        try:
            _add_architecture(writer, model, name, precision)
            model.tokenizer.write(writer)
            writer.add_token_type_count(model.config["type_vocab_size"])
            model.tokenizer.write_end(writer)
            _add_tensors(writer, model, weights, precision)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return model


def open_weights(directory: Path) -> SafetensorsFile | PackedE5:
    """The weights of a model folder. Raises ModelFault."""
    if not (directory / WEIGHTS_FILE).exists() and (directory / PACKED_FILE).exists():
        return PackedE5(directory / PACKED_FILE)
    return SafetensorsFile(directory / WEIGHTS_FILE)


def read_source(directory: Path) -> SourceModel:
    """Read everything but the weights. Raises ModelFault when the model is not one we can convert."""
    config = read_json(directory / "config.json")
    _require_bert(config)
    _require_plain_modules(directory)
    tokenizer = read_tokenizer(directory, config["vocab_size"])
    skipped = 1 + tokenizer.special["pad"] if config["model_type"] in _ROBERTA_KINDS else 0
    if skipped >= config["max_position_embeddings"]:
        raise ModelFault("config.json states fewer positions than the padding token needs.")
    query, passage = _prefixes(directory)
    return SourceModel(
        directory=directory,
        config=config,
        tokenizer=tokenizer,
        pooling=_pooling(directory, config),
        max_tokens=_max_tokens(directory, config["max_position_embeddings"] - skipped),
        skipped_positions=skipped,
        query_prefix=query,
        passage_prefix=passage,
    )


def _require_bert(config: dict[str, Any]) -> None:
    kind = config.get("model_type", "of no stated kind")
    if kind not in ("bert", *_ROBERTA_KINDS):
        raise ModelFault(
            f"The model is {kind}; only encoders of the BERT and XLM-R kinds can be converted.",
            way_out="If the model is published as a GGUF file, install that file instead.",
        )
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ModelFault("The model uses relative positions, which the BERT format of llama.cpp cannot express.")
    if config.get("hidden_act", "gelu") != "gelu":
        raise ModelFault(f"The model uses the activation {config['hidden_act']}; only gelu is supported.")
    for key in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
    ):
        if not isinstance(config.get(key), int) or config[key] < 1:
            raise ModelFault(f"config.json does not state {key} as a positive number.")


def _require_plain_modules(directory: Path) -> None:
    path = directory / "modules.json"
    if not path.exists():
        return
    try:
        kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFault(f"{path.name} does not list the model's modules: {error}.") from error
    for kind in kinds:
        if kind not in _SUPPORTED_MODULES:
            raise ModelFault(f"The model has a {kind} module after its encoder, which GGUF cannot hold.")


def _pooling(directory: Path, config: dict[str, Any]) -> gguf.PoolingType:
    """How the model makes one vector, or one score, of a text's tokens."""
    path = directory / "1_Pooling" / "config.json"
    if not path.exists() and _is_classifier(config):
        labels = config.get("num_labels", len(config.get("id2label") or {"0": ""}))
        if labels != 1:
            raise ModelFault(
                f"The model is a classifier with {labels} labels, where a reranker gives one score.",
                way_out="Choose a cross-encoder made for reranking.",
            )
        return gguf.PoolingType.RANK
    stated = read_json(path)
    modes = [key.removeprefix("pooling_mode_") for key, value in stated.items() if value is True]
    modes = [mode for mode in modes if f"pooling_mode_{mode}" in stated]
    if not modes and isinstance(stated.get("pooling_mode"), str):
        modes = [stated["pooling_mode"]]
    if len(modes) == 1 and modes[0] in _POOLING:
        return _POOLING[modes[0]]
    named = ", ".join(modes) or "none"
    raise ModelFault(f"The model pools its tokens by {named}; mean, CLS and last-token pooling are supported.")


def _is_classifier(config: dict[str, Any]) -> bool:
    architectures = config.get("architectures")
    return isinstance(architectures, list) and any(
        str(kind).endswith("ForSequenceClassification") for kind in architectures
    )


def _max_tokens(directory: Path, positions: int) -> int:
    path = directory / "sentence_bert_config.json"
    stated = read_json(path).get("max_seq_length") if path.exists() else None
    return min(positions, stated if isinstance(stated, int) and stated > 2 else DEFAULT_MAX_TOKENS)


def _prefixes(directory: Path) -> tuple[str, str]:
    """What the model's own configuration puts before a query and before a passage."""
    path = directory / "config_sentence_transformers.json"
    prompts = read_json(path).get("prompts") if path.exists() else None
    return prefixes_of(prompts if isinstance(prompts, dict) else {})


def prefixes_of(prompts: Mapping[str, Any]) -> tuple[str, str]:
    """The prefixes of queries and passages among named prompts, as sentence-transformers names them."""
    passage = next((prompts[name] for name in ("passage", "document") if isinstance(prompts.get(name), str)), "")
    query = prompts.get("query")
    return (query if isinstance(query, str) else "", passage)


def _add_architecture(writer: gguf.GGUFWriter, model: SourceModel, name: str, precision: Precision) -> None:
    config = model.config
    writer.add_name(name)
    writer.add_file_type(_FILE_TYPE[precision])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(model.positions)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(float(config.get("layer_norm_eps", 1e-12)))
    writer.add_causal_attention(False)
    writer.add_pooling_type(model.pooling)


def _add_tensors(
    writer: gguf.GGUFWriter, model: SourceModel, weights: SafetensorsFile | PackedE5, precision: Precision
) -> None:
    shapes = _expected_shapes(model)
    ranks = model.pooling == gguf.PoolingType.RANK
    for stored in weights.tensors:
        name = gguf_tensor_name(stored, ranks=ranks)
        if name is None:
            continue
        shape = shapes.pop(name, None)
        if isinstance(weights, PackedE5) and name == "token_embd.weight" and shape == weights.tensors[stored].shape:
            # Rows that are only looked up lose nothing in the four bits they were published in.
            writer.add_tensor(name, weights.packed(stored), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
            continue
        values = weights.read(stored)
        if shape != values.shape:
            raise ModelFault(f"The tensor {stored} has the shape {values.shape}; config.json implies {shape}.")
        if name == "position_embd.weight":
            values = values[model.skipped_positions :]
        data, kind = _encode(name, values, precision)
        writer.add_tensor(name, data, raw_dtype=kind)
    if shapes:
        raise ModelFault(f"The weights lack {len(shapes)} tensors, {min(shapes)} among them.")


def gguf_tensor_name(stored: str, *, ranks: bool = False) -> str | None:
    """The GGUF name of a tensor; None for those that are not needed: the heads of a model that does not rank.

    Raises ModelFault for unknown ones.
    """
    name = stored.removeprefix("bert.").removeprefix("roberta.")
    name = name.replace(".gamma", ".weight").replace(".beta", ".bias")
    module, _, part = name.rpartition(".")
    if module in _HEADS and ranks:
        return f"{_HEADS[module]}.{part}"
    if name.startswith(_UNUSED_TENSORS):
        return None
    if name in _TOP_TENSORS:
        return _TOP_TENSORS[name]
    match = _LAYER_NAME.fullmatch(name)
    if match is None or match[2] not in _LAYER_MODULES:
        raise ModelFault(f"The weights hold a tensor {stored} that a BERT encoder does not have.")
    return f"blk.{match[1]}.{_LAYER_MODULES[match[2]]}.{match[3]}"


def _expected_shapes(model: SourceModel) -> dict[str, tuple[int, ...]]:
    config = model.config
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (config["vocab_size"], width),
        "position_embd.weight": (config["max_position_embeddings"], width),
        "token_types.weight": (config["type_vocab_size"], width),
        "token_embd_norm.weight": (width,),
        "token_embd_norm.bias": (width,),
    }
    if model.pooling == gguf.PoolingType.RANK:
        shapes |= {"cls.weight": (width, width), "cls.bias": (width,)}
        shapes |= {"cls.output.weight": (1, width), "cls.output.bias": (1,)}
    for layer in range(config["num_hidden_layers"]):
        for module in _LAYER_MODULES.values():
            rows, columns = {"ffn_up": (inner, width), "ffn_down": (width, inner)}.get(module, (width, width))
            shapes[f"blk.{layer}.{module}.weight"] = (width,) if module.endswith("norm") else (rows, columns)
            shapes[f"blk.{layer}.{module}.bias"] = (rows,)
    return shapes


def _encode(
    name: str, values: NDArray[np.float32], precision: Precision
) -> tuple[NDArray[Any], gguf.GGMLQuantizationType]:
    if not np.isfinite(values).all():
        raise ModelFault(f"The tensor {name} holds values that are not numbers; the file is damaged.")
    if values.ndim < 2 or precision is Precision.F32 or name in _ALWAYS_F32:
        return values, gguf.GGMLQuantizationType.F32
    if precision is Precision.F16 or (precision is Precision.Q8_0 and values.shape[-1] % _BLOCK):
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ModelFault(f"The tensor {name} holds values too large for 16-bit floats; convert with f32.")
        return values.astype(np.float16), gguf.GGMLQuantizationType.F16
    kind = _QUANTIZED[precision]
    return gguf.quants.quantize(values, kind), kind
