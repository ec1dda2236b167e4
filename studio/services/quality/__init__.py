"""How good the results are: judged queries, measures, and the gate that a new generation has to pass.

Belongs here: judgments, evaluation, pinned queries.
Does not: how a result is found (`search`), promoting a generation (`generations`).
"""

from studio.services.quality.evaluation import (
    AbReport,
    Difference,
    Evaluation,
    Measured,
    QueryMove,
    RunSummary,
    Setting,
    grid,
    parse_setting,
)
from studio.services.quality.gate import (
    MIN_JUDGED,
    GateReport,
    GateService,
    MissingDocument,
    PinOutcome,
    held_sentence,
    quality_sentence,
)
from studio.services.quality.judged_files import lines_of
from studio.services.quality.judging import JudgedForm, Loaded
from studio.services.quality.service import QualityService, side_by_side

__all__ = [
    "MIN_JUDGED",
    "AbReport",
    "Difference",
    "Evaluation",
    "GateReport",
    "GateService",
    "JudgedForm",
    "Loaded",
    "Measured",
    "MissingDocument",
    "PinOutcome",
    "QualityService",
    "QueryMove",
    "RunSummary",
    "Setting",
    "grid",
    "held_sentence",
    "lines_of",
    "parse_setting",
    "quality_sentence",
    "side_by_side",
]
