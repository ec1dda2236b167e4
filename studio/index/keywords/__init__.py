"""The keyword index: words of a text, queries, and BM25 by Tantivy.

Belongs here: everything that imports tantivy.
Does not: which side counts how much (`ranking`).
"""

from studio.index.keywords.analysis import LEXICAL_VERSION, Analyzer
from studio.index.keywords.expansion import Expansion
from studio.index.keywords.lexical_reader import LexicalReader
from studio.index.keywords.lexical_writer import WRITER_HEAP_BYTES, LexicalWriter, has_every_field
from studio.index.keywords.query import ANY_OF, Condition, Operand, Pattern, Phrase, Query, date_bounds, parse
from studio.index.keywords.tantivy_internals import (
    FOOTER_MAGIC,
    FOOTER_MAX_BYTES,
    FOOTER_TAIL_BYTES,
    REPLACED,
    files_of_index,
    segment_files,
)
from studio.index.keywords.wording import has_phrase, words_of

__all__ = [
    "ANY_OF",
    "FOOTER_MAGIC",
    "FOOTER_MAX_BYTES",
    "FOOTER_TAIL_BYTES",
    "LEXICAL_VERSION",
    "REPLACED",
    "WRITER_HEAP_BYTES",
    "Analyzer",
    "Condition",
    "Expansion",
    "LexicalReader",
    "LexicalWriter",
    "Operand",
    "Pattern",
    "Phrase",
    "Query",
    "date_bounds",
    "files_of_index",
    "has_every_field",
    "has_phrase",
    "parse",
    "segment_files",
    "words_of",
]
