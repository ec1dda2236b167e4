"""The quality pane.

Belongs here: widgets of judged queries and measured runs.
Does not: what is shown in them (`viewmodels.quality`).
"""

from studio.ui.quality.pane import QualityPane

__all__ = [
    "QualityPane",
]
