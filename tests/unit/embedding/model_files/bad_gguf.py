"""GGUF files that are wrong in every way we could think of."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np


def language_model(path: Path) -> Path:
    """A tiny decoder (architecture llama) that loads and has no sentence pooling."""
    width, inner, tokens = 64, 96, ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    types = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    writer.add_token_types([*types, gguf.TokenType.NORMAL])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {
        "token_embd.weight": (len(tokens), width),
        "output.weight": (len(tokens), width),
        "output_norm.weight": (width,),
        "blk.0.attn_norm.weight": (width,),
        "blk.0.ffn_norm.weight": (width,),
        **{f"blk.0.attn_{part}.weight": (width, width) for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate.weight": (inner, width),
        "blk.0.ffn_up.weight": (inner, width),
        "blk.0.ffn_down.weight": (width, inner),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, np.full(shape, 0.1, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def patched(good: Path, path: Path, key: str, value: int) -> Path:
    """A copy of a good file with one uint32 of its metadata changed."""
    data = bytearray(good.read_bytes())
    at = data.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key)
    assert struct.unpack_from("<I", data, at)[0] == 4, "not a uint32"
    struct.pack_into("<I", data, at + 4, value)
    path.write_bytes(data)
    return path


def _random(_good: Path, path: Path) -> None:
    path.write_bytes(np.random.default_rng(5).bytes(200_000))


def _random_after_magic(_good: Path, path: Path) -> None:
    path.write_bytes(b"GGUF\x03\0\0\0" + np.random.default_rng(5).bytes(200_000))


def _cut(part: float) -> Callable[[Path, Path], None]:
    def make(good: Path, path: Path) -> None:
        data = good.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])

    return make


def _patch(key: str, value: int) -> Callable[[Path, Path], None]:
    return lambda good, path: patched(good, path, key, value) and None


BAD: dict[str, Callable[[Path, Path], None]] = {
    "empty": lambda _, path: path.write_bytes(b"") and None,
    "random": _random,
    "random after the magic": _random_after_magic,
    "magic only": lambda _, path: path.write_bytes(b"GGUF") and None,
    "no tensors": lambda _, path: path.write_bytes(b"GGUF\x03\0\0\0" + bytes(16)) and None,
    "version 1": lambda _, path: path.write_bytes(b"GGUF\x01\0\0\0" + bytes(16)) and None,
    "counts of 2^63": lambda _, path: path.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 16) and None,
    "cut in the header": _cut(0.05),
    "cut in the middle": _cut(0.5),
    "cut at the end": _cut(0.999),
    "language model": lambda _, path: language_model(path) and None,
    "no pooling": _patch("bert.pooling_type", 0),
    "absurd pooling": _patch("bert.pooling_type", 77_777),
    "2^31 layers": _patch("bert.block_count", 2**31),
    "no heads": _patch("bert.attention.head_count", 0),
    "absurd heads": _patch("bert.attention.head_count", 4_000_000_000),
    "absurd width": _patch("bert.embedding_length", 2**31),
    "width of nothing": _patch("bert.embedding_length", 0),
    "absurd closing token": _patch("tokenizer.ggml.seperator_token_id", 4_000_000_000),
    "absurd opening token": _patch("tokenizer.ggml.bos_token_id", 1_000_000),
    "no positions": _patch("bert.context_length", 0),
}
