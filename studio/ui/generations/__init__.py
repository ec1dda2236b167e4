"""The generations pane and its dialogs.

Belongs here: widgets of generations.
Does not: what is shown in them (`viewmodels.generations`).
"""

from studio.ui.generations.bundles import ask_export, ask_import, offer_import
from studio.ui.generations.pane import GenerationsPane

__all__ = [
    "GenerationsPane",
    "ask_export",
    "ask_import",
    "offer_import",
]
