"""Writing a Tantivy directory: linked from its parent, chunks added and deleted, sealed.

A new generation starts from its parent's directory: immutable segment files are hard links, `meta.json` and
`.managed.json` (which Tantivy replaces) are copies.

Ids of 32 hexadecimal digits are two columns of 64 bits: the ids of a hundred hits are read in 40 µs,
where a document store takes 200. Other ids are stored as they are.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from studio.domain import Chunk
from studio.index.keywords.analysis import Analyzer, analyzer_for, text_analyzer
from studio.index.keywords.faults import mapped
from studio.index.keywords.tantivy_internals import LEAST_HEAP_BYTES, REPLACED, files_of_index
from studio.links import link_or_copy

ANALYZER = "studio"
FIELDS = frozenset(("body", "characters", "common", "document_id", "inner"))
WRITER_HEAP_BYTES = 48 << 20
_HEX_ID = re.compile("[0-9a-f]{32}")


class LexicalWriter:
    """Builds one generation's directory. Blocking; one thread at a time.

    `parent` is a directory of the same language and of the present version, None to begin with nothing. `heap_bytes` is
    what it may hold before it writes a segment.
    """

    def __init__(
        self,
        path: Path,
        language: str,
        parent: Path | None,
        heap_bytes: int = WRITER_HEAP_BYTES,
    ) -> None:
        import tantivy

        self._path = path
        self._analyzer = analyzer_for(language)
        with mapped(path):
            if path.exists():
                shutil.rmtree(path)
            if parent is None:
                path.mkdir(parents=True)
                self._index: Any = tantivy.Index(_schema(), path=str(path))
            else:
                link_directory(parent, path)
                self._index = tantivy.Index.open(str(path))
            self._index.register_tokenizer(ANALYZER, text_analyzer(language))
            self._writer: Any = self._index.writer(heap_size=max(LEAST_HEAP_BYTES, heap_bytes), num_threads=1)

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Add chunks with their context; those of the same document must have been deleted before."""
        self.add_contents((chunk.chunk_id, chunk.document_id, chunk.indexed_text) for chunk in chunks)

    def add_contents(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Add (chunk id, document id, what the chunk is known by) rows."""
        with mapped(self._path):
            for chunk_id, document_id, content in rows:
                document = _document_of(chunk_id, document_id, content, self._analyzer)
                self._writer.add_document(document)

    def delete(self, document_ids: Iterable[str]) -> None:
        """Delete the chunks of documents."""
        with mapped(self._path):
            for document_id in document_ids:
                self._writer.delete_documents_by_term("document_id", document_id)

    def flush(self) -> None:
        """Write what is held in memory."""
        with mapped(self._path):
            self._writer.commit()

    def seal(self) -> None:
        """Commit, finish merges, let go of the lock. The writer cannot be used afterwards."""
        with mapped(self._path):
            self._writer.commit()
            self._writer.wait_merging_threads()
            self._writer = None

    def abandon(self) -> None:
        """Drop the writer and remove the directory."""
        self._writer = None
        self._index = None
        shutil.rmtree(self._path, ignore_errors=True)


def link_directory(source: Path, target: Path) -> None:
    """Clone an index directory by hard links; copies where the file system has none."""
    target.mkdir(parents=True)
    for file in files_of_index(source):
        if file.name in REPLACED:
            shutil.copy2(file, target / file.name)
            continue
        link_or_copy(file, target / file.name)


def has_every_field(directory: Path) -> bool:
    """Whether an index has the fields of today; False for one that cannot be read."""
    try:
        schema = json.loads((directory / "meta.json").read_bytes())["schema"]
        return {field["name"] for field in schema} >= FIELDS
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _schema() -> Any:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_bytes_field("name", stored=True, indexed=False)
    for column in ("chunk_high", "chunk_low", "document_high", "document_low"):
        builder.add_unsigned_field(column, fast=True)
    builder.add_text_field("inner", stored=False, tokenizer_name=ANALYZER, index_option="position")
    builder.add_text_field("characters", stored=False, tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("common", stored=False, tokenizer_name="whitespace", index_option="basic")
    builder.add_text_field("document_id", stored=False, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("body", stored=False, tokenizer_name=ANALYZER, index_option="position")
    return builder.build()


def _document_of(chunk_id: str, document_id: str, content: str, analyzer: Analyzer) -> Any:
    import tantivy

    document = tantivy.Document()
    document.add_text("document_id", document_id)
    if _HEX_ID.fullmatch(chunk_id) is None or _HEX_ID.fullmatch(document_id) is None:
        document.add_bytes("name", chunk_id.encode())
    else:
        for name, value in (("chunk", chunk_id), ("document", document_id)):
            document.add_unsigned(f"{name}_high", int(value[:16], 16))
            document.add_unsigned(f"{name}_low", int(value[16:], 16))
    if characters := analyzer.characters(content):
        document.add_text("characters", characters)
    if common := analyzer.common(content):
        document.add_text("common", " ".join(common))
    if analyzer.is_plain(content):
        document.add_text("body", content)
    else:
        document.add_pre_tokenized_text("body", _tokens(analyzer.words(content)))
    if inner := analyzer.inner(content):
        document.add_pre_tokenized_text("inner", _tokens(inner))
    return document


def _tokens(terms: Iterable[tuple[str, int]]) -> Any:
    import tantivy

    return tantivy.PreTokenizedString("", [tantivy.Token(term, position, 0, 0) for term, position in terms])
