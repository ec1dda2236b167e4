"""Settings, memory and health in dialogs and popovers.

Belongs here: what concerns the whole program.
Does not: settings of one pane.
"""

from studio.ui.settings.health_dialog import HealthDialog
from studio.ui.settings.memory_popover import MemoryGauge, MemoryPopover
from studio.ui.settings.settings_dialog import SettingsDialog

__all__ = [
    "HealthDialog",
    "MemoryGauge",
    "MemoryPopover",
    "SettingsDialog",
]
