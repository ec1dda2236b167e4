"""The keyword index: words of a text, queries, and BM25 by Tantivy.

Belongs here: everything that imports tantivy.
Does not: which side counts how much (`ranking`).
"""

from studio.index.keywords.analysis import LEXICAL_VERSION, Analyzer
from studio.index.keywords.query import ANY_OF, Condition, Operand, Pattern, Phrase, Query, date_bounds, parse
from studio.index.keywords.reader import LexicalReader
from studio.index.keywords.wording import has_phrase, words_of
from studio.index.keywords.writer import WRITER_HEAP_BYTES, LexicalWriter

__all__ = [
    "ANY_OF",
    "LEXICAL_VERSION",
    "WRITER_HEAP_BYTES",
    "Analyzer",
    "Condition",
    "LexicalReader",
    "LexicalWriter",
    "Operand",
    "Pattern",
    "Phrase",
    "Query",
    "date_bounds",
    "has_phrase",
    "parse",
    "words_of",
]
