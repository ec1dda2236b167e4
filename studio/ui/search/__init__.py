"""The search pane: box, results, preview.

Belongs here: widgets of the search.
Does not: what is shown in them (`viewmodels.search`).
"""

from studio.ui.search.pane import SearchPane
from studio.ui.search.preview import PreviewPane

__all__ = [
    "PreviewPane",
    "SearchPane",
]
