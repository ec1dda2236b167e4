"""Kinds of documents by file name, and the identity of a document."""

from __future__ import annotations

import hashlib
from pathlib import PurePath

OTHER = "other"

_PLAIN_TEXT = """
    txt text log rst tex ltx latex bib org adoc asciidoc textile wiki srt vtt sub ass diff patch
    py pyi ipy js mjs cjs ts tsx jsx c h cc cpp cxx hpp hh cs java kt kts scala go rs rb php pl pm lua r jl m mm swift
    dart ex exs erl hs ml mli fs clj lisp el scm vb bas pas f90 f95 f03 asm s sh bash zsh fish bat cmd ps1 sql
    graphql proto thrift cmake gradle mk make dockerfile tf nix yaml yml toml ini cfg conf properties env
    xml xsd xsl svg css scss less vue svelte
"""

_EXTENSIONS: dict[str, str] = {
    **{f".{name}": "text" for name in _PLAIN_TEXT.split()},
    ".pdf": "pdf",
    ".docx": "docx",
    ".docm": "docx",
    ".dotx": "docx",
    ".pptx": "pptx",
    ".pptm": "pptx",
    ".ppsx": "pptx",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xlsb": "xlsx",
    ".xls": "xls",
    ".odt": "odt",
    ".ott": "odt",
    ".odp": "odp",
    ".ods": "ods",
    ".epub": "epub",
    ".rtf": "rtf",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".xht": "html",
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdown": "markdown",
    ".mkd": "markdown",
    ".mdx": "markdown",
    ".qmd": "markdown",
    ".rmd": "markdown",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".json": "json",
    ".ipynb": "ipynb",
    ".eml": "eml",
    ".mbox": "mbox",
}

SUPPORTED_EXTENSIONS: frozenset[str] = frozenset(_EXTENSIONS)
"""File name endings that can be indexed: lower case, with the dot."""

TABULAR_KINDS: frozenset[str] = frozenset({"jsonl", "csv", "tsv", "parquet", "mbox"})
"""Kinds whose files hold many documents, one a row (or message)."""


def file_kind(path: PurePath) -> str:
    """The kind a file's name promises, "other" where the name says nothing.

    The parser looks at the content and may find another kind (`ParsedDocument.kind`); this one
    needs no reading and is the same on every run, so it is fit for keys.
    """
    return _EXTENSIONS.get(path.suffix.lower(), OTHER)


def document_id(sha256: str, kind: str, row_key: str = "") -> str:
    """Identity of a document: 32 hexadecimal digits.

    For a file that is one document, `sha256` is the hash of the file and `row_key` is "". For a row
    of a tabular file `sha256` is the hash of the row's own text and `row_key` its external id or row
    number, so that an unchanged row keeps its identity when the file around it changes.
    """
    return hashlib.sha256(f"{sha256}\n{kind}\n{row_key}".encode("utf-8", "replace")).hexdigest()[:32]
