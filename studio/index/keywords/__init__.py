"""The keyword index: words of a text, queries, and BM25 by Tantivy.

Belongs here: everything that imports tantivy.
Does not: which side counts how much (`ranking`).
"""

from studio.index.keywords.analysis import LEXICAL_VERSION, Analyzer
from studio.index.keywords.query import ANY_OF, Condition, Operand, Pattern, Phrase, Query, date_bounds, parse
from studio.index.keywords.reader import Expansion, LexicalReader
from studio.index.keywords.wording import has_phrase, words_of
from studio.index.keywords.writer import WRITER_HEAP_BYTES, LexicalWriter, has_every_field

__all__ = [
    "ANY_OF",
    "LEXICAL_VERSION",
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
    "has_every_field",
    "has_phrase",
    "parse",
    "words_of",
]
