"""Small random embedders of the decoder kinds in GGUF, and any model quantised by llama.cpp itself."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import llama_cpp as llama
import numpy as np

WIDTH, INNER, HEADS, POSITIONS = 256, 512, 4, 128
LAYERS = {"qwen3": 2, "gemma-embedding": 6}
"""Every sixth layer of Gemma sees the whole text; llama.cpp aborts in a model that has none."""
HEAD = WIDTH // HEADS


def _tensors(kind: str, tokens: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (tokens, WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS[kind]):
        block = {
            "attn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (WIDTH // 2, WIDTH),
            "attn_v": (WIDTH // 2, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "attn_q_norm": (HEAD,),
            "attn_k_norm": (HEAD,),
            "ffn_norm": (WIDTH,),
            "ffn_gate": (INNER, WIDTH),
            "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER),
        }
        if kind == "gemma-embedding":
            block |= {"post_attention_norm": (WIDTH,), "post_ffw_norm": (WIDTH,)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def _add_tokenizer(writer: gguf.GGUFWriter, kind: str) -> int:
    letters = list("abcdefghijklmnopqrstuvwxyz")
    if kind == "qwen3":
        tokens = ["<|endoftext|>", *letters, "Ġ", "th", "the"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_merges(["t h", "th e"])
        kinds = [gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(tokens) - 1)
        closing = 0
    else:
        tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *letters, "▁the"]
        tokens += [f"<0x{byte:02X}>" for byte in range(256)]
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([-float(number) for number in range(len(tokens))])
        kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.UNKNOWN]
        kinds += [gguf.TokenType.NORMAL] * (len(tokens) - 260) + [gguf.TokenType.BYTE] * 256
        writer.add_bos_token_id(2)
        writer.add_unk_token_id(3)
        writer.add_add_bos_token(True)
        closing = 1
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_eos_token_id(closing)
    writer.add_pad_token_id(0)
    writer.add_add_eos_token(True)
    return len(tokens)


def make_model(path: Path, kind: str) -> Path:
    """A model of the kind "qwen3" (causal, last-token pooling) or "gemma-embedding" (mean pooling), in F16."""
    writer = gguf.GGUFWriter(path, kind)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS[kind])
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1_000_000.0)
    if kind == "gemma-embedding":
        writer.add_sliding_window(64)
        writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.LAST if kind == "qwen3" else gguf.PoolingType.MEAN)
    random = np.random.default_rng(3)
    for name, shape in _tensors(kind, _add_tokenizer(writer, kind)).items():
        values = random.normal(0, 0.1, shape) if len(shape) == 2 else np.ones(shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float16 if len(shape) == 2 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quantised(source: Path, target: Path, kind: str) -> Path:
    """The model in `source` as llama.cpp's own quantiser writes it; `kind` is a name of LLAMA_FTYPE_MOSTLY_*."""
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama, f"LLAMA_FTYPE_MOSTLY_{kind}")
    parameters.nthread = 1
    status = llama.llama_model_quantize(os.fsencode(source), os.fsencode(target), parameters)
    assert status == 0, f"llama_model_quantize gave {status}"
    return target
