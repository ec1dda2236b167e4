"""The BM25 side: Tantivy directories, one per generation.

The only importer of `tantivy`. A new generation starts from its parent's directory: immutable segment
files are hard links, `meta.json` and `.managed.json` (which Tantivy replaces) are copies.

Text is analysed as words: accents folded, lower-cased, stop words dropped, stemmed in the knowledge base's
language. Scripts without spaces are indexed as overlapping pairs of characters, which finds substrings.
Queries are built from terms, never parsed, so no input is a syntax error.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from studio.domain import Candidate, Chunk
from studio.errors import StorageFault, StudioError, storage_fault

LEXICAL_VERSION = 1
"""Schema of the index and the analysis that made its terms; a program reads its own version and older ones."""

WRITER_HEAP_BYTES = 48 << 20
LANGUAGES = {
    "ar": "arabic", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish", "fi": "finnish",
    "fr": "french", "hu": "hungarian", "it": "italian", "nl": "dutch", "no": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""Languages that can be stemmed; any other code is indexed without stemming."""

_STOP_WORD_LISTS = frozenset(LANGUAGES.values()) - {"arabic", "greek", "romanian", "tamil", "turkish"}
_ANALYZER = "studio"
_COPIED = ("meta.json", ".managed.json")
_OTHER_PLACES = ("/dev/shm",)  # memory, where the disk that is full also holds the temporary files
_REMOVAL_ATTEMPTS = 5
_MAX_QUERY_TERMS = 256
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\U00020000-\U0002fa1f"
_CJK_RUN = re.compile(f"[{_CJK}]+")
_WORD = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+")
_PHRASE = re.compile(r'"([^"]+)"')


class Analyzer:
    """Splits text into terms the way the index does."""

    def __init__(self, language: str) -> None:
        self._analyzer = _text_analyzer(language)
        self._terms_of = functools.lru_cache(8192)(self._analyse_word)

    def terms(self, text: str) -> list[str]:
        """Terms of a text in order, repeated ones included."""
        return list(self._analyzer.analyze(_spaced(text)))

    def highlights(self, text: str, terms: Iterable[str]) -> list[tuple[int, int]]:
        """Code-point ranges of the words of `text` that stand for one of `terms`, in order."""
        wanted = frozenset(terms)
        ranges: list[tuple[int, int]] = []
        for match in _WORD.finditer(text):
            word = match.group()
            if _CJK_RUN.fullmatch(word):
                ranges.extend(_pair_ranges(word, match.start(), wanted))
            elif not wanted.isdisjoint(self._terms_of(word)):
                ranges.append(match.span())
        return ranges

    def _analyse_word(self, word: str) -> tuple[str, ...]:
        return tuple(self.terms(word))


class LexicalReader:
    """One generation's BM25 index; safe to use from several threads.

    Raises StorageFault when the directory is gone or damaged. One that cannot be written is read all the same.
    """

    def __init__(self, path: Path, language: str) -> None:
        self._path = path
        self.analyzer = Analyzer(language)
        self._drop_mirror: Callable[[], object] = lambda: None
        with _mapped(path):
            try:
                self._open(path, language)
            except ValueError as error:
                # To load the segments Tantivy makes a lock file beside them, or cannot: read-only, not ours, disk full.
                if "Lockfile" not in str(error) or "IoError" not in str(error):
                    raise
                mirror = mirrored(path)
                self._drop_mirror = weakref.finalize(self, _remove, mirror)
                self._open(mirror, language)

    def _open(self, path: Path, language: str) -> None:
        import tantivy

        index = tantivy.Index.open(str(path))
        index.register_tokenizer(_ANALYZER, _text_analyzer(language))
        self._index: Any = index
        self._searcher: Any = index.searcher()

    def close(self) -> None:
        """Let go of the mapped files."""
        self._index = self._searcher = None
        self._drop_mirror()

    @property
    def chunks(self) -> int:
        """How many chunks the index holds."""
        return int(self._searcher.num_docs)

    def search(self, query: str, *, limit: int, document_ids: Sequence[str] | None = None) -> list[Candidate]:
        """The `limit` best chunks by BM25, best first. Blocking, about a millisecond.

        Words are joined by OR, a repeated word counts as often as it occurs, words in double quotes
        must occur as that phrase. A query without a word finds nothing.
        """
        import tantivy

        with _mapped(self._path):
            built = self._query(query)
            if built is None:
                return []
            if document_ids is not None:
                allowed = tantivy.Query.term_set_query(self._index.schema, "document_id", list(document_ids))
                built = tantivy.Query.boolean_query(
                    [
                        (tantivy.Occur.Must, built),
                        (tantivy.Occur.Must, tantivy.Query.const_score_query(allowed, 0.0)),
                    ]
                )
            hits = self._searcher.search(built, limit, count=False).hits
            return [Candidate(self._chunk_id(address), float(score)) for score, address in hits]

    def _query(self, text: str) -> Any:
        import tantivy

        schema = self._index.schema
        clauses = []
        for phrase in _PHRASE.findall(text):
            words: list[Any] = self.analyzer.terms(phrase)[:_MAX_QUERY_TERMS]
            if len(words) == 1:
                clauses.append((tantivy.Occur.Must, tantivy.Query.term_query(schema, "body", words[0])))
            elif words:
                clauses.append((tantivy.Occur.Must, tantivy.Query.phrase_query(schema, "body", words, slop=0)))
        counts = Counter(self.analyzer.terms(_PHRASE.sub(" ", text)))
        for term, count in counts.most_common(_MAX_QUERY_TERMS):
            query = tantivy.Query.term_query(schema, "body", term, index_option="freq")
            clauses.append((tantivy.Occur.Should, tantivy.Query.boost_query(query, float(count))))
        return tantivy.Query.boolean_query(clauses) if clauses else None

    def chunk_ids(self) -> list[str]:
        """Every chunk id (for checks)."""
        import tantivy

        if self.chunks == 0:
            return []
        hits = self._searcher.search(tantivy.Query.all_query(), self.chunks, count=False).hits
        return [self._chunk_id(address) for _, address in hits]

    def _chunk_id(self, address: Any) -> str:
        return str(self._searcher.doc(address).get_first("chunk_id"))


class LexicalWriter:
    """Builds one generation's directory. Blocking; one thread at a time."""

    def __init__(self, path: Path, language: str, parent: Path | None) -> None:
        import tantivy

        self._path = path
        self._document = tantivy.Document
        with _mapped(path):
            if path.exists():
                shutil.rmtree(path)
            if parent is None:
                path.mkdir(parents=True)
                self._index: Any = tantivy.Index(_schema(), path=str(path))
            else:
                link_directory(parent, path)
                self._index = tantivy.Index.open(str(path))
            self._index.register_tokenizer(_ANALYZER, _text_analyzer(language))
            self._writer: Any = self._index.writer(heap_size=WRITER_HEAP_BYTES, num_threads=1)

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Add chunks with their context; those of the same document must have been deleted before."""
        self.add_contents((chunk.chunk_id, chunk.document_id, chunk.indexed_text) for chunk in chunks)

    def add_contents(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Add (chunk id, document id, what the chunk is known by) rows."""
        with _mapped(self._path):
            for chunk_id, document_id, content in rows:
                document = self._document()
                document.add_text("chunk_id", chunk_id)
                document.add_text("document_id", document_id)
                document.add_text("body", _spaced(content))
                self._writer.add_document(document)

    def delete(self, document_ids: Iterable[str]) -> None:
        """Delete the chunks of documents."""
        with _mapped(self._path):
            for document_id in document_ids:
                self._writer.delete_documents_by_term("document_id", document_id)

    def seal(self) -> None:
        """Commit, finish merges, let go of the lock. The writer cannot be used afterwards."""
        with _mapped(self._path):
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
    for file in _segments_of(source):
        if file.name in _COPIED:
            shutil.copy2(file, target / file.name)
            continue
        try:
            os.link(file, target / file.name)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
                raise
            shutil.copy2(file, target / file.name)


def mirrored(source: Path) -> Path:
    """A private temporary directory that reads as the index in `source`, by symbolic links. The caller deletes it.

    Copies where there are no links. Raises OSError when no temporary place has room.
    """
    failure: OSError | None = None
    for place in dict.fromkeys((tempfile.gettempdir(), *_OTHER_PLACES)):
        target: Path | None = None
        try:
            target = Path(tempfile.mkdtemp(prefix="rag-studio-", dir=place))
            for file in _segments_of(source):
                if file.name in _COPIED or not _linked_symbolically(file, target / file.name):
                    shutil.copyfile(file, target / file.name)
            return target
        except OSError as error:  # full as well, or not there
            failure = failure or error
            if target is not None:
                shutil.rmtree(target, ignore_errors=True)
    raise failure or FileNotFoundError(errno.ENOENT, "there is no temporary directory")


def _remove(mirror: Path) -> None:
    """Delete a mirrored directory. Tantivy's thread may put its lock file there between emptying and removing it."""
    for _ in range(_REMOVAL_ATTEMPTS):
        shutil.rmtree(mirror, ignore_errors=True)
        if not mirror.exists():
            return


def _linked_symbolically(file: Path, link: Path) -> bool:
    try:
        link.symlink_to(file.absolute())
    except (OSError, NotImplementedError):  # Windows asks for a privilege
        return False
    return True


def _segments_of(directory: Path) -> Iterator[Path]:
    """The files of an index but for locks and what a dead writer left."""
    return (file for file in directory.iterdir() if not file.name.endswith(".lock") and file.name[:4] != ".tmp")


def _schema() -> Any:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("chunk_id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("document_id", stored=False, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("body", stored=False, tokenizer_name=_ANALYZER, index_option="position")
    return builder.build()


def _text_analyzer(language: str) -> Any:
    import tantivy

    name = LANGUAGES.get(language.split("-")[0].lower())
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    builder = builder.filter(tantivy.Filter.remove_long(64)).filter(tantivy.Filter.lowercase())
    if name in _STOP_WORD_LISTS:
        builder = builder.filter(tantivy.Filter.stopword(name))
    if name is not None:
        builder = builder.filter(tantivy.Filter.stemmer(name))
    return builder.filter(tantivy.Filter.ascii_fold()).build()


def _spaced(text: str) -> str:
    """Runs of CJK characters as overlapping pairs separated by spaces; lone surrogates as "?"."""

    def pairs(match: re.Match[str]) -> str:
        run = match.group()
        if len(run) == 1:
            return f" {run} "
        return " " + " ".join(run[at : at + 2] for at in range(len(run) - 1)) + " "

    return _CJK_RUN.sub(pairs, text.encode("utf-8", "replace").decode("utf-8"))


def _pair_ranges(run: str, offset: int, wanted: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Ranges of a CJK run whose pairs are wanted, joined where they overlap."""
    start = end = -1
    for at in range(max(1, len(run) - 1)):
        if run[at : at + 2] not in wanted:
            continue
        if at > end:
            if start >= 0:
                yield offset + start, offset + end
            start = at
        end = min(at + 2, len(run))
    if start >= 0:
        yield offset + start, offset + end


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    """Tantivy raises ValueError (and sometimes OSError) with the cause in the text."""
    try:
        yield
    except StudioError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise _gone(path) from error
        raise storage_fault(error, "using the keyword index", path) from error
    except (ValueError, RuntimeError) as error:
        text = str(error)
        if "DoesNotExist" in text:
            raise _gone(path) from error
        if "No space left" in text or "StorageFull" in text:
            raise storage_fault(OSError(errno.ENOSPC, text), "using the keyword index", path) from error
        raise StorageFault(
            f"The keyword index in {path} failed: {text.splitlines()[0][:300]}",
            way_out="Run: rag-studio doctor --repair.",
        ) from error


def _gone(path: Path) -> StorageFault:
    return StorageFault(
        f"The keyword index {path} is gone, or files of it are.", way_out="Run: rag-studio doctor --repair."
    )
