"""BERTs of any size whose matrices are zeros that take no space on the disk."""

from __future__ import annotations

import math
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from tests.helpers import tiny_bert

POSITIONS = 512
TOKENS = ["▁" + token if token.isalpha() else token.removeprefix("##") for token in tiny_bert.VOCABULARY]


def make_model(path: Path, *, width: int, layers: int, heads: int, matrices: Type = Type.F16) -> Path:
    """A loadable model; the weights and biases of its norms are random, so that vectors are not zero."""
    writer = gguf.GGUFWriter(path, "bert")
    _describe(writer, width, layers, heads)
    small, large = _shapes(width, layers)
    places: dict[str, int] = {}
    end = 0
    for name, shape in {**small, **large}.items():
        kind = matrices if name in large else Type.F32
        block, size = gguf.GGML_QUANT_SIZES[kind]
        bytes_ = math.prod(shape) // block * size
        stored = shape if kind in (Type.F16, Type.F32) else gguf.quant_shape_to_byte_shape(shape, kind)
        dtype = np.dtype({Type.F16: np.float16, Type.F32: np.float32}.get(kind, np.uint8))
        writer.add_tensor_info(name, stored, dtype, bytes_, raw_dtype=kind)
        places[name] = end
        end += _aligned(bytes_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    random = np.random.default_rng(3)
    with path.open("r+b") as file:
        start = _aligned(file.seek(0, 2))
        file.truncate(start + end)  # a hole
        for name, shape in small.items():
            if len(shape) == 1:
                file.seek(start + places[name])
                file.write(random.normal(0, 1, shape).astype("<f4").tobytes())
    return path


def _describe(writer: gguf.GGUFWriter, width: int, layers: int, heads: int) -> None:
    vocabulary = tiny_bert.VOCABULARY
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(4 * width)
    writer.add_head_count(heads)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    special = [token.startswith("[") for token in vocabulary]
    writer.add_token_types([gguf.TokenType.CONTROL if one else gguf.TokenType.NORMAL for one in special])
    writer.add_token_type_count(2)
    for add, token in (
        (writer.add_pad_token_id, "[PAD]"),
        (writer.add_unk_token_id, "[UNK]"),
        (writer.add_bos_token_id, "[CLS]"),
        (writer.add_sep_token_id, "[SEP]"),
        (writer.add_mask_token_id, "[MASK]"),
    ):
        add(vocabulary.index(token))


def _shapes(width: int, layers: int) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Tensors that stay float32, and the matrices."""
    small: dict[str, tuple[int, ...]] = {"position_embd.weight": (POSITIONS, width), "token_types.weight": (2, width)}
    large: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(TOKENS), width)}
    small |= {f"token_embd_norm.{part}": (width,) for part in ("weight", "bias")}
    inner = 4 * width
    matrices = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (width, width))
    matrices |= {"ffn_up": (inner, width), "ffn_down": (width, inner)}
    for layer in range(layers):
        for name, shape in matrices.items():
            large[f"blk.{layer}.{name}.weight"] = shape
            small[f"blk.{layer}.{name}.bias"] = shape[:1]
        for norm in ("attn_output_norm", "layer_output_norm"):
            small |= {f"blk.{layer}.{norm}.{part}": (width,) for part in ("weight", "bias")}
    return small, large


def _aligned(offset: int) -> int:
    return -(-offset // 32) * 32
