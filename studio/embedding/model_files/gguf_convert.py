"""BERT sentence encoders (safetensors and vocabulary) to GGUF, with numpy and the `gguf` package alone.

Keys and tensor names are those llama.cpp reads for its architecture "bert" (src/llama-arch.cpp there).
The same input gives the same bytes on every run and machine, so the SHA-256 of the result names it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from studio.embedding.model_files.safetensors_file import SafetensorsFile
from studio.errors import ModelFault
from studio.replacing import replacing

WEIGHTS_FILE = "model.safetensors"
MODEL_FILES = (
    WEIGHTS_FILE,
    "config.json",
    "tokenizer_config.json",
    "vocab.txt",
    "tokenizer.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
"""What the converter reads of a model directory; the vocabulary may be in either of two files."""

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
_UNUSED_TENSORS = ("embeddings.position_ids", "pooler.", "cls.")
_ALWAYS_F32 = ("position_embd.weight", "token_types.weight")  # llama.cpp adds these to float32 activations
_SUPPORTED_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A model directory, read and found convertible."""

    directory: Path
    config: dict[str, Any]
    vocabulary: list[str]
    special: dict[str, int]
    lowercase: bool
    strip_accents: bool
    pooling: gguf.PoolingType
    max_tokens: int


def convert(directory: Path, target: Path, *, name: str, precision: Precision = Precision.F16) -> SourceModel:
    """Write the model in `directory` to the GGUF file `target`, whole or not at all.

    `name` goes into the file, and so into its hash. Raises ModelFault for a model that is not a BERT
    encoder with mean or CLS pooling, or whose files are damaged; OSError when it cannot be written.
    """
    model = read_source(directory)
    weights = SafetensorsFile(directory / WEIGHTS_FILE)
    with replacing(target) as temporary:
        writer = gguf.GGUFWriter(temporary, "bert")
        try:
            _add_architecture(writer, model, name, precision)
            _add_tokenizer(writer, model)
            _add_tensors(writer, model, weights, precision)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return model


def read_source(directory: Path) -> SourceModel:
    """Read everything but the weights. Raises ModelFault when the model is not one we can convert."""
    config = _json(directory / "config.json")
    _require_bert(config)
    _require_plain_modules(directory)
    tokenizer = _json(directory / "tokenizer_config.json")
    vocabulary = _vocabulary(directory)
    if len(vocabulary) != config["vocab_size"]:
        raise ModelFault(f"The vocabulary has {len(vocabulary)} entries where {config['vocab_size']} are announced.")
    lowercase = bool(tokenizer.get("do_lower_case", True))
    strip_accents = tokenizer.get("strip_accents")
    return SourceModel(
        directory=directory,
        config=config,
        vocabulary=vocabulary,
        special=_special_tokens(tokenizer, vocabulary),
        lowercase=lowercase,
        strip_accents=lowercase if strip_accents is None else bool(strip_accents),
        pooling=_pooling(_json(directory / "1_Pooling" / "config.json")),
        max_tokens=_max_tokens(directory, config),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFault(
            f"{path.name} is missing in {path.parent}.",
            way_out="Point to the complete folder of a sentence-transformers model.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ModelFault(f"{path} is not readable JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ModelFault(f"{path} does not hold a JSON object.")
    return value


def _require_bert(config: dict[str, Any]) -> None:
    kind = config.get("model_type", "of no stated kind")
    if kind != "bert":
        raise ModelFault(
            f"The model is {kind}; only BERT encoders can be converted.",
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
        raise ModelFault(f"{path} does not list the model's modules: {error}.") from error
    for kind in kinds:
        if kind not in _SUPPORTED_MODULES:
            raise ModelFault(f"The model has a {kind} module after its encoder, which GGUF cannot hold.")


def _vocabulary(directory: Path) -> list[str]:
    plain = directory / "vocab.txt"
    if plain.exists():
        try:
            tokens = plain.read_text(encoding="utf-8").replace("\r\n", "\n").split("\n")
        except ValueError as error:
            raise ModelFault(f"{plain} is not UTF-8 text: {error}.") from error
        return tokens[:-1] if tokens[-1] == "" else tokens
    try:
        numbers = _json(directory / "tokenizer.json")["model"]["vocab"]
        by_number = {int(number): str(token) for token, number in numbers.items()}
        return [by_number[number] for number in range(len(by_number))]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelFault(f"{directory} has neither vocab.txt nor a usable vocabulary in tokenizer.json.") from error


def _special_tokens(tokenizer: dict[str, Any], vocabulary: list[str]) -> dict[str, int]:
    numbers = {token: number for number, token in enumerate(vocabulary)}
    special = {}
    for key, usual in (("unk", "[UNK]"), ("sep", "[SEP]"), ("pad", "[PAD]"), ("cls", "[CLS]"), ("mask", "[MASK]")):
        token = tokenizer.get(f"{key}_token", usual)
        if isinstance(token, dict):
            token = token.get("content")
        if token not in numbers:
            raise ModelFault(f"The vocabulary lacks the special token {token}.")
        special[key] = numbers[token]
    return special


def _pooling(config: dict[str, Any]) -> gguf.PoolingType:
    modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if modes == ["pooling_mode_mean_tokens"]:
        return gguf.PoolingType.MEAN
    if modes == ["pooling_mode_cls_token"]:
        return gguf.PoolingType.CLS
    named = ", ".join(mode.removeprefix("pooling_mode_") for mode in modes) or "none"
    raise ModelFault(f"The model pools its tokens by {named}; only mean and CLS pooling are supported.")


def _max_tokens(directory: Path, config: dict[str, Any]) -> int:
    positions = int(config["max_position_embeddings"])
    path = directory / "sentence_bert_config.json"
    stated = _json(path).get("max_seq_length") if path.exists() else None
    return min(positions, stated if isinstance(stated, int) and stated > 2 else DEFAULT_MAX_TOKENS)


def _add_architecture(writer: gguf.GGUFWriter, model: SourceModel, name: str, precision: Precision) -> None:
    config = model.config
    writer.add_name(name)
    writer.add_file_type(_FILE_TYPE[precision])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(float(config.get("layer_norm_eps", 1e-12)))
    writer.add_causal_attention(False)
    writer.add_pooling_type(model.pooling)


def _add_tokenizer(writer: gguf.GGUFWriter, model: SourceModel) -> None:
    special = model.special
    control = set(special.values())
    tokens, types = [], []
    for number, token in enumerate(model.vocabulary):
        if number in control:
            tokens.append(token)
            types.append(gguf.TokenType.CONTROL)
        else:  # llama.cpp marks the start of a word where BERT marks its continuation
            tokens.append(token[2:] if token.startswith("##") else "\u2581" + token)
            types.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_type_count(model.config["type_vocab_size"])
    writer.add_unk_token_id(special["unk"])
    writer.add_sep_token_id(special["sep"])
    writer.add_pad_token_id(special["pad"])
    writer.add_mask_token_id(special["mask"])
    writer.add_bos_token_id(special["cls"])  # llama.cpp puts its "bos" in front of every text
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", model.lowercase)
    writer.add_bool("tokenizer.ggml.normalizer.strip_accents", model.strip_accents)


def _add_tensors(writer: gguf.GGUFWriter, model: SourceModel, weights: SafetensorsFile, precision: Precision) -> None:
    shapes = _expected_shapes(model.config)
    for stored in weights.tensors:
        name = gguf_tensor_name(stored)
        if name is None:
            continue
        shape = shapes.pop(name, None)
        values = weights.read(stored)
        if shape != values.shape:
            raise ModelFault(f"The tensor {stored} has the shape {values.shape}; config.json implies {shape}.")
        data, kind = _encode(name, values, precision)
        writer.add_tensor(name, data, raw_dtype=kind)
    if shapes:
        raise ModelFault(f"The weights lack {len(shapes)} tensors, {min(shapes)} among them.")


def gguf_tensor_name(stored: str) -> str | None:
    """The GGUF name of a tensor; None for those an encoder does not need. Raises ModelFault for unknown ones."""
    name = stored.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias")
    if name.startswith(_UNUSED_TENSORS):
        return None
    if name in _TOP_TENSORS:
        return _TOP_TENSORS[name]
    match = _LAYER_NAME.fullmatch(name)
    if match is None or match[2] not in _LAYER_MODULES:
        raise ModelFault(f"The weights hold a tensor {stored} that a BERT encoder does not have.")
    return f"blk.{match[1]}.{_LAYER_MODULES[match[2]]}.{match[3]}"


def _expected_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (config["vocab_size"], width),
        "position_embd.weight": (config["max_position_embeddings"], width),
        "token_types.weight": (config["type_vocab_size"], width),
        "token_embd_norm.weight": (width,),
        "token_embd_norm.bias": (width,),
    }
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
