"""What the search pane shows and does.

Belongs here: the question asked, results, filters, preview, explanation.
Does not: widgets (`ui.search`).
"""

from studio.viewmodels.search.citing import CitingViewModel
from studio.viewmodels.search.explanation import ExplanationText, SideLine, explain
from studio.viewmodels.search.filters import CLOSE_MATCHES, Arrangement, FilterChip, Filters, periods
from studio.viewmodels.search.model import SearchViewModel
from studio.viewmodels.search.opening import is_passive
from studio.viewmodels.search.preview import PageMatch, PdfContent, PreviewViewModel, TextContent
from studio.viewmodels.search.results import GRADE_ROLE, more_in_document, near_duplicates, passage_of

__all__ = [
    "CLOSE_MATCHES",
    "GRADE_ROLE",
    "Arrangement",
    "CitingViewModel",
    "ExplanationText",
    "FilterChip",
    "Filters",
    "PageMatch",
    "PdfContent",
    "PreviewViewModel",
    "SearchViewModel",
    "SideLine",
    "TextContent",
    "explain",
    "is_passive",
    "more_in_document",
    "near_duplicates",
    "passage_of",
    "periods",
]
