"""What a model takes, told before it is loaded, against what the operating system says afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Type

from studio.domain import ModelInfo
from studio.embedding.client import EmbeddingClient
from studio.embedding.model_files import convert, footprint, read_footprint, read_header
from studio.embedding.model_files.footprint import footprint_of
from studio.embedding.model_files.gguf_convert import Precision
from studio.embedding.model_files.gguf_header import GgufHeader
from studio.memory import mapped_files, process_reading
from tests.helpers import tiny_decoder
from tests.unit.embedding.model_files import sparse_gguf

LONG = "The quick fox jumps over the lazy dog, again and again. " * 100


async def compare(info: ModelInfo) -> None:
    """Load a model, let it read texts of full length, and compare."""
    assert info.path is not None
    told = read_footprint(info.path, info.max_tokens)
    client = await EmbeddingClient.start(info)
    assert await client.footprint() == told
    await client.embed([LONG] * 40)
    assert client.pid is not None
    reading = process_reading(client.pid)
    files = mapped_files(client.pid)
    await client.close()
    assert reading is not None
    assert reading.resident == pytest.approx(told.total_bytes, rel=0.15)
    if files is not None:  # the system tells
        assert files[str(info.path)] == pytest.approx(info.size_bytes, rel=0.06)
        assert reading.mapped == pytest.approx(told.mapped_bytes, rel=0.15)
        assert reading.private == pytest.approx(told.private_bytes, rel=0.15)


async def test_the_default_model_takes_what_was_foretold(default_model: ModelInfo) -> None:
    await compare(default_model)


async def test_a_quantised_model_takes_what_was_foretold(
    default_model: ModelInfo, default_source: Path, tmp_path: Path
) -> None:
    path = tmp_path / "q8.gguf"
    convert(default_source, path, name="q8", precision=Precision.Q8_0)
    assert path.stat().st_size < 0.6 * default_model.size_bytes
    await compare(replace(default_model, name="q8", path=path, size_bytes=path.stat().st_size))


def test_llama_cpp_s_own_figures_are_met(tmp_path: Path) -> None:
    """Of these models its log says: compute buffers of 14.63 and 56.63 MiB."""
    for width, layers, mib in ((1024, 24, 14.63), (4096, 11, 56.63)):
        path = sparse_gguf.make_model(tmp_path / f"{width}.gguf", width=width, layers=layers, heads=16)
        told = read_footprint(path, 512)
        assert told.mapped_bytes == path.stat().st_size + footprint.LIBRARIES_BYTES
        beside = (
            footprint.PROCESS_BYTES
            + footprint.REQUESTS_BYTES
            + len(sparse_gguf.TOKENS) * (footprint.VOCABULARY_BYTES + 4 * 512)
            + 2 * 512 * 4 * width
        )
        assert (told.private_bytes - beside) / 2**20 == pytest.approx(mib, abs=0.01)


def test_matrices_that_llama_cpp_rearranges_count_twice(tmp_path: Path) -> None:
    """Its log says: CPU_REPACK model buffer of 162.00 MiB."""
    size = {}
    for kind in (Type.F16, Type.Q4_0):
        path = sparse_gguf.make_model(tmp_path / f"{kind.name}.gguf", width=1024, layers=24, heads=16, matrices=kind)
        size[kind] = read_footprint(path, 512)
    assert size[Type.Q4_0].private_bytes - size[Type.F16].private_bytes == 162 << 20
    assert size[Type.Q4_0].mapped_bytes < size[Type.F16].mapped_bytes / 3


def test_what_texts_may_have_counts_up_to_what_the_model_reads(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    sizes = [footprint_of(header, 1000, tokens).private_bytes for tokens in (32, 64, 100_000)]
    assert sizes[0] < sizes[1] == sizes[2], "the model has 64 positions"


def test_a_gated_layer_takes_a_second_row(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    up = header.tensors["blk.0.ffn_up.weight"]
    gated = replace(header, tensors={**header.tensors, "blk.0.ffn_gate.weight": up})
    more = footprint_of(gated, 1000, 64).private_bytes - footprint_of(header, 1000, 64).private_bytes
    assert more == 4 * 64 * header.number("feed_forward_length")


def test_a_decoder_keeps_keys_and_values(tmp_path: Path) -> None:
    header = read_header(tiny_decoder.make_model(tmp_path / "m.gguf", "qwen3"))
    encoder = GgufHeader({**header.metadata, "qwen3.attention.causal": False}, header.lengths, header.tensors)
    cells = 256  # 64 tokens, rounded up
    kept = footprint_of(header, 0, 64).private_bytes - footprint_of(encoder, 0, 64).private_bytes
    assert kept == 2 * cells * 2 * 2 * (64 + 64), "two bytes, two layers, two heads, a key and a value of 64 each"
