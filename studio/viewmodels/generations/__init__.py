"""What the generations pane shows and does.

Belongs here: generations, comparison, gate, clean-up, bundles.
Does not: widgets (`ui.generations`).
"""

from studio.viewmodels.generations.cleanup import CleanupViewModel
from studio.viewmodels.generations.compare import DOCUMENT_CHANGES, Change, ChangeRow, CompareViewModel
from studio.viewmodels.generations.gate import DEFAULT_TOP, GateViewModel, PinRow
from studio.viewmodels.generations.model import GenerationRow, GenerationsViewModel
from studio.viewmodels.generations.transfers import SUFFIX, TransfersViewModel, is_bundle

__all__ = [
    "DEFAULT_TOP",
    "DOCUMENT_CHANGES",
    "SUFFIX",
    "Change",
    "ChangeRow",
    "CleanupViewModel",
    "CompareViewModel",
    "GateViewModel",
    "GenerationRow",
    "GenerationsViewModel",
    "PinRow",
    "TransfersViewModel",
    "is_bundle",
]
