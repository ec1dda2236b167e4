"""From a query to results with citations.

Belongs here: candidates of both indexes, fusion's weights, filters, reranking, arranging, snippets, citations.
Does not: reading an index (`index`), whether results are good (`quality`).
"""

from studio.services.search import citations
from studio.services.search.citations import locators
from studio.services.search.rerank import Rerankers
from studio.services.search.search_log import SearchLog
from studio.services.search.service import MAX_LIMIT, MAX_QUERY_CHARS, SearchService
from studio.services.search.verification import CitingService, Verification, VerificationStatus

__all__ = [
    "MAX_LIMIT",
    "MAX_QUERY_CHARS",
    "CitingService",
    "Rerankers",
    "SearchLog",
    "SearchService",
    "Verification",
    "VerificationStatus",
    "citations",
    "locators",
]
