"""What the program uses of llama.cpp beyond its C interface: levels and form of its log, a line about the processor.

`tests/compat/test_canary_llama.py` names what an upgrade has changed. Loads no library.
"""

from __future__ import annotations

LOG_ERROR = 4
LOG_CONTINUED = 5
"""Of a log callback's calls (`ggml_log_level` in ggml.h): an error, and the rest of the message before."""

AMX = b"AMX_INT8 = 1"
"""Part of what `llama_print_system_info` says where the library computes with AMX tiles."""

STRIP_ACCENTS_KEY = b"tokenizer.ggml.normalizer.strip_accents"
"""A key of a model's metadata; given as an override when the model is loaded, it has its tokenizer keep accents."""


def reason_of(message: str) -> str:
    """What an error in the log says, without the name of the C function that says it."""
    return message.split(": ", 1)[-1]
