"""How much memory a model's worker process will take, told from the header of its file before it is loaded.

The sizes were read off llama.cpp's own log (“compute buffer size”, “output buffer size”, “CPU_REPACK model buffer
size”) and checked against what /proc/PID/smaps shows of workers of BERTs from 384 × 6 to 4096 × 11. Measured after
texts of full length, in MB, and what is foretold here:

    model                            mapped  foretold   private  foretold
    384 × 6, F16, 30,522 tokens          72        72        71        72
    1024 × 24, F16, 67 tokens           634       634        53        52
    1024 × 24, Q4_0 (repacked)          200       199       220       222
    4096 × 11, F16, 67 tokens         4,467     4,467       107       108
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from gguf import GGMLQuantizationType as Type

from studio.embedding.model_files.gguf_header import GgufHeader, read_header

LIBRARIES_BYTES = 26_000_000
"""Program files a worker has mapped: Python, numpy, llama.cpp."""
PROCESS_BYTES = 28_000_000
"""What a worker has of its own before a model is loaded: the interpreter, its modules and the libraries' data."""
REQUESTS_BYTES = 4_000_000
"""Texts, tokens and vectors of the requests under way."""
VOCABULARY_BYTES = 160
"""Of one token in llama.cpp's two tables, text to number and back."""
CACHE_CELLS = 256
"""A cache holds a multiple of so many tokens."""
PACKED_TEXTS = 64
"""Rows of the matrix that takes the mean of each text; see MAX_TEXTS_PER_PACK of the engine."""

_REPACKED = {Type.Q4_0, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.Q2_K, Type.IQ4_NL}
"""Types of which llama.cpp makes a copy for wide vector instructions (ggml/src/ggml-cpu/repack.cpp)."""
_REPACKED_ON_ARM = {Type.Q8_0}


@dataclass(frozen=True, slots=True)
class ModelFootprint:
    """Memory of a worker in bytes. `mapped_bytes` are pages of files, which the system can drop and read again;
    `private_bytes` only the end of the process gives back.
    """

    mapped_bytes: int
    private_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.mapped_bytes + self.private_bytes


def read_footprint(path: Path, max_tokens: int) -> ModelFootprint:
    """The footprint of the model in a GGUF file. Blocking, some 30 ms. Raises ModelFault for a bad file, OSError."""
    return footprint_of(read_header(path), path.stat().st_size, max_tokens)


def footprint_of(header: GgufHeader, file_bytes: int, max_tokens: int) -> ModelFootprint:
    """The footprint of a model whose context and batch hold `max_tokens` tokens, as the engine sets them.

    An encoder has no key-value cache; a decoder keeps the keys and values of every layer in 16 bits. The compute
    buffer holds, of every token, three rows of the model's width and one of the feed-forward layer's (two when that
    is gated), a column of the matrix of means, and the attention mask in 16 bits; beside it the activations are
    converted to 16 bits, and llama.cpp keeps room for the logits of every token though no embedding model has any.
    """
    tokens = min(max_tokens, header.number("context_length", max_tokens))
    width, inner = header.number("embedding_length"), header.number("feed_forward_length")
    gated = any(".ffn_gate." in name for name in header.tensors)
    vocabulary = header.lengths.get("tokenizer.ggml.tokens", 0)
    compute = 4 * tokens * (3 * width + (1 + gated) * inner + PACKED_TEXTS) + 2 * tokens**2
    converted = 2 * tokens * inner
    logits = 4 * tokens * vocabulary
    cache = _cache_bytes(header, -(-tokens // CACHE_CELLS) * CACHE_CELLS)
    return ModelFootprint(
        mapped_bytes=file_bytes + LIBRARIES_BYTES,
        private_bytes=PROCESS_BYTES
        + REQUESTS_BYTES
        + VOCABULARY_BYTES * vocabulary
        + compute
        + converted
        + logits
        + cache
        + _repacked_bytes(header),
    )


def _cache_bytes(header: GgufHeader, cells: int) -> int:
    if header.metadata.get(f"{header.architecture}.attention.causal", True) is False:
        return 0
    heads = header.number("attention.head_count", 1)
    head = header.number("embedding_length") // max(1, heads)
    keys, values = (header.number(f"attention.{part}_length", head) for part in ("key", "value"))
    return 2 * cells * header.number("block_count") * header.number("attention.head_count_kv", heads) * (keys + values)


def _repacked_bytes(header: GgufHeader) -> int:
    """Of the matrices of the layers; tables in which rows are looked up stay as they are."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    kinds = _REPACKED | _REPACKED_ON_ARM if arm else _REPACKED
    return sum(
        tensor.size for name, tensor in header.tensors.items() if name.startswith("blk.") and tensor.kind in kinds
    )
