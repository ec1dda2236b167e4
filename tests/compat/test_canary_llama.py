"""What the program uses of llama.cpp beyond its C interface is still so: run first after an upgrade."""

from __future__ import annotations

import ctypes
import mmap
import re
from pathlib import Path

import llama_cpp
import pytest

from studio.embedding.worker import llama_internals as internals


def test_an_error_has_its_level_and_names_the_function_before_the_reason(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + b"\0" * 100)
    heard: list[tuple[int, str]] = []
    listen = llama_cpp.llama_log_callback(lambda level, text, _: heard.append((level, text.decode())))
    llama_cpp.llama_log_set(listen, ctypes.c_void_p(0))
    try:
        parameters = llama_cpp.llama_model_default_params()
        assert llama_cpp.llama_model_load_from_file(str(damaged).encode(), parameters) is None
    finally:
        llama_cpp.llama_log_set(llama_cpp.llama_log_callback(0), ctypes.c_void_p(0))
    errors = [text for level, text in heard if level == internals.LOG_ERROR]
    assert errors
    assert {level for level, _ in heard} <= {internals.LOG_ERROR, internals.LOG_CONTINUED, 0, 1, 2, 3}
    assert re.match(r"\w+: \S", errors[0])
    assert internals.reason_of(errors[0]) == errors[0].split(": ", 1)[1]


def test_the_processor_is_told_in_a_line() -> None:
    told = llama_cpp.llama_print_system_info()
    assert re.search(rb"\b[A-Z0-9_]+ = 1 \|", told)
    assert re.fullmatch(rb"AMX_INT8 = 1", internals.AMX)
    if "amx_int8" in _flags():
        assert internals.AMX in told


def _flags() -> str:
    information = Path("/proc/cpuinfo")
    return information.read_text() if information.exists() else ""


def test_the_key_for_accents_is_known() -> None:
    libraries = [file for file in Path(llama_cpp.__file__).parent.glob("lib/*llama*") if not file.is_symlink()]
    assert libraries
    # The library composes the key from two parts.
    prefix, _, last = internals.STRIP_ACCENTS_KEY.rpartition(b".")
    assert prefix.startswith(b"tokenizer.ggml.")
    assert any(_contains(file, last) for file in libraries)


def _contains(file: Path, text: bytes) -> bool:
    with file.open("rb") as binary, mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(text) >= 0


@pytest.mark.parametrize("name", ["n_gpu_layers", "use_extra_bufts", "kv_overrides"])
def test_a_model_is_loaded_with_these(name: str) -> None:
    assert hasattr(llama_cpp.llama_model_default_params(), name)


@pytest.mark.parametrize("name", ["n_ctx", "n_batch", "n_ubatch", "kv_unified", "n_threads", "flash_attn_type"])
def test_a_context_is_opened_with_these(name: str) -> None:
    assert hasattr(llama_cpp.llama_context_default_params(), name)
