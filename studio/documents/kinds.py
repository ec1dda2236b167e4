"""Kinds of documents by file name, and the identity of a document."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath

OTHER = "other"

_PLAIN_TEXT = """
    txt text log nfo bib bbl textile wiki mediawiki pod man rdoc xml xsd xsl xslt dtd rng rdf rss atom opml
    svg kml gpx tei jats dbk docbook dita ditamap xliff xlf po pot strings resx plist fb2 opf ncx ics vcf ris nbib enw
    fountain creole dokuwiki sgml sgm gmi
"""

_SOURCE_CODE = """
    py pyi pyw ipy pyx pxd js mjs cjs ts mts cts tsx jsx c h cc cpp cxx c++ hpp hh hxx h++ inl ino cu cuh cs csx java kt
    kts scala sc groovy go rs rb rake gemspec php phtml pl pm t raku lua r jl m mm swift dart ex exs eex erl hrl hs lhs
    ml mli mll mly fs fsi fsx clj cljs cljc edn lisp lsp cl el scm ss rkt vb vbs bas cls frm pas pp dpr lpr ada adb ads
    f for f77 f90 f95 f03 f08 cob cbl cpy asm s nasm sh bash zsh fish ksh csh bat cmd ps1 psm1 psd1 awk sed tcl sql ddl
    plsql pgsql psql graphql gql proto thrift avdl capnp fbs wat wgsl glsl vert frag hlsl metal zig nim nims cr d v
    sv svh vh vhd vhdl sol vy move elm purs re res reason coffee litcoffee ls hx gd gdscript st sty dtx cmake gradle mk
    mak make ninja bazel bzl star dockerfile containerfile tf tfvars hcl nix dhall yaml yml toml ini cfg conf cnf
    properties env editorconfig service desktop reg css scss sass less styl vue svelte astro jsp asp aspx cshtml razor
    erb ejs hbs mustache j2 jinja jinja2 tmpl liquid twig haml slim pug jade json5 jsonc hjson cson jsonnet libsonnet
    diff patch qml pro pri rules lean agda idr thy coq apex abap sas do ado sps pig hql vim snippets applescript
    ahk au3 gnuplot ampl mzn stan maxima mac wl rexx j apl forth fth oz
    wast feature robot bats
"""

_NAMED_CODE = """
    makefile gnumakefile dockerfile containerfile jenkinsfile vagrantfile rakefile gemfile procfile brewfile justfile
    cmakelists.txt meson.build build workspace sconstruct go.mod go.sum requirements.txt
"""
_CODE_NAMES = frozenset(_NAMED_CODE.split())
"""Files that are known by their whole name."""

_MAILDIR = re.compile(r"\d{9,}\.[^/]+", re.ASCII)
_MAILBOX = "mbox"
"""What Apple Mail calls the mailbox in a folder that it exports."""

_EXTENSIONS: dict[str, str] = {
    **{f".{name}": "text" for name in _PLAIN_TEXT.split()},
    **{f".{name}": "code" for name in _SOURCE_CODE.split()},
    **dict.fromkeys((".srt", ".vtt", ".sub", ".ass", ".ssa", ".sbv", ".lrc"), "subtitles"),
    ".rst": "rst",
    ".rest": "rst",
    ".adoc": "asciidoc",
    ".asciidoc": "asciidoc",
    ".tex": "latex",
    ".ltx": "latex",
    ".latex": "latex",
    ".org": "org",
    ".mht": "mhtml",
    ".mhtml": "mhtml",
    ".msg": "msg",
    ".oft": "msg",
    ".geojson": "json",
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
    ".doc": "doc",
    ".dot": "doc",
    ".ppt": "ppt",
    ".pps": "ppt",
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
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".heic", ".heif"), "image"),
    ".json": "json",
    ".ipynb": "ipynb",
    ".eml": "eml",
    ".emlx": "eml",
    ".mbox": "mbox",
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz"), "archive"),
}

SUPPORTED_EXTENSIONS: frozenset[str] = frozenset(_EXTENSIONS)
"""File name endings that can be indexed: lower case, with the dot."""

ARCHIVE = "archive"

TABULAR_KINDS: frozenset[str] = frozenset({"jsonl", "csv", "tsv", "parquet", "mbox", ARCHIVE})
"""Kinds whose files hold many documents, one a row (or message, or file in an archive)."""


def file_kind(path: PurePath) -> str:
    """The kind a file's name promises, "other" where the name says nothing.

    The parser looks at the content and may find another kind (`ParsedDocument.kind`); this one
    needs no reading and is the same on every run, so it is fit for keys.
    """
    name = path.name.lower()
    if name in _CODE_NAMES:
        return "code"
    if name == _MAILBOX or (path.parent.name in ("cur", "new") and _MAILDIR.fullmatch(name)):
        return "mbox" if name == _MAILBOX else "eml"
    return _EXTENSIONS.get(path.suffix.lower(), OTHER)


def document_id(sha256: str, kind: str, row_key: str = "") -> str:
    """Identity of a document: 32 hexadecimal digits.

    For a file that is one document, `sha256` is the hash of the file and `row_key` is "". For a row
    of a tabular file `sha256` is the hash of the row's own text and `row_key` its external id or row
    number, so that an unchanged row keeps its identity when the file around it changes.
    """
    return hashlib.sha256(f"{sha256}\n{kind}\n{row_key}".encode("utf-8", "replace")).hexdigest()[:32]
