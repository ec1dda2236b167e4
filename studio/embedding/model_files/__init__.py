"""The files of models: downloaded, converted to GGUF, measured.

Belongs here: formats and sources of models.
Does not: which models there are (`models`), running one (`worker`).
"""

from studio.embedding.model_files import sources
from studio.embedding.model_files.catalogue import (
    DEFAULT_MODEL,
    KNOWN_MODELS,
    MULTILINGUAL_MODEL,
    KnownModel,
)
from studio.embedding.model_files.downloads import download, partial_path
from studio.embedding.model_files.files import copy_file, sha256_of
from studio.embedding.model_files.footprint import ModelFootprint, read_footprint
from studio.embedding.model_files.gguf_convert import DEFAULT_MAX_TOKENS, convert
from studio.embedding.model_files.gguf_header import read_header
from studio.embedding.model_files.progress import Monitor, ProgressCallback

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "DEFAULT_MODEL",
    "KNOWN_MODELS",
    "MULTILINGUAL_MODEL",
    "KnownModel",
    "ModelFootprint",
    "Monitor",
    "ProgressCallback",
    "convert",
    "copy_file",
    "download",
    "partial_path",
    "read_footprint",
    "read_header",
    "sha256_of",
    "sources",
]
