"""Parts that every pane is made of: theme, widgets, rows, dialogs.

Belongs here: what two panes use.
Does not: what knows a view-model of one pane.
"""

from studio.ui.parts.caret import RestingCaret
from studio.ui.parts.dialogs import ask_keep, ask_name, confirm, modal_dialog, show_shortcuts
from studio.ui.parts.drop_zone import DropZone, accept_files, dropped_paths
from studio.ui.parts.flow_layout import FlowLayout
from studio.ui.parts.plain_text import PlainLabel, message_box, set_tip
from studio.ui.parts.popover import Popover
from studio.ui.parts.reveal_file import open_folder, reveal, show_directory
from studio.ui.parts.rows import DEMI_BOLD, MEDIUM, RIGHT, TONE_ICONS, Index, RowDelegate, RowState
from studio.ui.parts.theme import Theme, ThemeChoice
from studio.ui.parts.widgets import (
    Banner,
    ElidedLabel,
    ItemList,
    WindowKeys,
    button,
    column,
    forbid,
    label,
    number_field,
    panel,
    popup_menu,
    row,
    segmented,
    set_flag,
    tool_button,
)

__all__ = [
    "DEMI_BOLD",
    "MEDIUM",
    "RIGHT",
    "TONE_ICONS",
    "Banner",
    "DropZone",
    "ElidedLabel",
    "FlowLayout",
    "Index",
    "ItemList",
    "PlainLabel",
    "Popover",
    "RestingCaret",
    "RowDelegate",
    "RowState",
    "Theme",
    "ThemeChoice",
    "WindowKeys",
    "accept_files",
    "ask_keep",
    "ask_name",
    "button",
    "column",
    "confirm",
    "dropped_paths",
    "forbid",
    "label",
    "message_box",
    "modal_dialog",
    "number_field",
    "open_folder",
    "panel",
    "popup_menu",
    "reveal",
    "row",
    "segmented",
    "set_flag",
    "set_tip",
    "show_directory",
    "show_shortcuts",
    "tool_button",
]
