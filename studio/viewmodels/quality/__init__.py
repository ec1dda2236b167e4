"""What the quality pane shows and does.

Belongs here: judged queries and measured runs.
Does not: widgets (`ui.quality`).
"""

from studio.viewmodels.quality.measured import (
    MEASURES,
    WEIGHTS,
    Choice,
    MeasuredModel,
    MeasuredRow,
    MoveRow,
    Point,
    QueryRow,
    asides,
    points,
    verdict,
    weight_points,
)
from studio.viewmodels.quality.model import QualityViewModel

__all__ = [
    "MEASURES",
    "WEIGHTS",
    "Choice",
    "MeasuredModel",
    "MeasuredRow",
    "MoveRow",
    "Point",
    "QualityViewModel",
    "QueryRow",
    "asides",
    "points",
    "verdict",
    "weight_points",
]
