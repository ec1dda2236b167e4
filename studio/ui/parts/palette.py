"""Colours by role, for light and dark, and the style sheet written in them."""

from __future__ import annotations

import re
from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "bg": "#ffffff", "side": "#f6f6f8", "panel": "#f1f1f4", "card": "#ffffff",
    "border": "#e4e4ea", "border2": "#d6d6de",
    "text": "#1b1c22", "text2": "#4d505c", "muted": "#6b6f7c",
    "accent": "#4f46e5", "accenthover": "#4338ca", "onaccent": "#ffffff", "soft": "#eeeefc", "softtext": "#4338ca",
    "hover": "#ededf1", "sel": "#e6e6ec", "mark": "#fdeaa7",
    "good": "#15803d", "goodsoft": "#e3f5e9", "bad": "#c02626", "badsoft": "#fdeaea",
    "warn": "#92580b", "warnsoft": "#fdf3dc", "page": "#e9e9ee",
}  # fmt: skip

DARK: Mapping[str, str] = {
    "bg": "#17181c", "side": "#121316", "panel": "#1f2025", "card": "#1d1e23",
    "border": "#2a2b32", "border2": "#3a3c45",
    "text": "#e8e9ed", "text2": "#b9bcc6", "muted": "#8b8f9c",
    "accent": "#6d6bf2", "accenthover": "#7d7bf6", "onaccent": "#ffffff", "soft": "#26264a", "softtext": "#b4b3ff",
    "hover": "#24252b", "sel": "#2a2b33", "mark": "#5c4a10",
    "good": "#5bd08a", "goodsoft": "#17301f", "bad": "#f28b8b", "badsoft": "#3a1d1f",
    "warn": "#f0c26b", "warnsoft": "#352a13", "page": "#101114",
}  # fmt: skip

_STYLE = """
* { outline: 0; }
QWidget { color: @text; }
QMainWindow, QDialog, #center, #page { background: @bg; }
#sidebar, #statusbar { background: @side; }
#sidebar { border-right: 1px solid @border; }
#preview { background: @panel; border-left: 1px solid @border; }
#preview QScrollArea, #pageground { background: @page; border: 0; }
#statusbar { border-top: 1px solid @border; }
#previewhead { background: @bg; border-bottom: 1px solid @border; }
#previewfoot { background: @bg; border-top: 1px solid @border; }
QLabel#brand { font-weight: 600; font-size: 15px; }
QLabel#h1 { font-weight: 600; font-size: 20px; }
QLabel#h2 { font-weight: 600; font-size: 16px; }
QLabel#section { color: @muted; font-size: 11px; font-weight: 600; }
QLabel#muted { color: @muted; font-size: 12px; }
QLabel#body { color: @text2; font-size: 13px; }
QLabel#bad { color: @bad; font-size: 12px; }
QLabel#title { font-weight: 600; font-size: 13px; }
#searchbox { background: @card; border: 1px solid @border2; border-radius: 10px; }
#searchbox[focused="true"] { border: 1px solid @accent; }
#searchbox QLineEdit { background: transparent; border: 0; font-size: 15px;
    selection-background-color: @accent; selection-color: @onaccent; }
QLabel#kbd { color: @muted; background: @panel; border: 1px solid @border; border-radius: 5px; padding: 1px 6px;
    font-size: 11px; }
#segmented { background: @panel; border-radius: 8px; }
#segmented QPushButton { border: 1px solid transparent; border-radius: 6px; padding: 4px 14px; color: @text2;
    background: transparent; font-weight: 500; }
#segmented QPushButton:hover { color: @text; }
#segmented QPushButton:checked { background: @card; color: @text; border: 1px solid @border; }
#segmented QPushButton[bad="true"] { color: @bad; }
#segmented QPushButton:focus { border: 1px solid @accent; }
QPushButton#nav { text-align: left; border: 1px solid transparent; border-radius: 7px; padding: 7px 9px;
    font-weight: 500; color: @text2; background: transparent; }
QPushButton#nav:hover { background: @hover; }
QPushButton#nav:checked { background: @sel; color: @text; font-weight: 600; }
QPushButton#nav:focus { border: 1px solid @accent; }
QPushButton#primary { background: @accent; color: @onaccent; border: 1px solid @accent; border-radius: 7px;
    padding: 6px 14px; font-weight: 600; }
QPushButton#primary:hover { background: @accenthover; border-color: @accenthover; }
QPushButton#primary:focus { border: 1px solid @text; }
QPushButton#primary:disabled { background: @sel; color: @muted; border-color: @sel; }
QPushButton#ghost, QDialogButtonBox QPushButton { background: @card;
    border: 1px solid @border2; border-radius: 7px; padding: 6px 12px; color: @text2; font-weight: 500; }
QPushButton#ghost:hover, QDialogButtonBox QPushButton:hover, QToolButton:hover { background: @hover; }
QPushButton#ghost:disabled, QDialogButtonBox QPushButton:disabled { color: @border2; border-color: @border; }
QPushButton#chip { background: transparent; border: 1px solid @border; border-radius: 12px; padding: 3px 10px;
    color: @text2; font-size: 12px; }
QPushButton#chip:hover { background: @hover; }
QPushButton#chip:disabled { color: @muted; }
QPushButton#link:disabled { color: @muted; }
QPushButton#chip[active="true"], QPushButton#chip:checked { background: @soft; border-color: @soft; color: @softtext; }
QPushButton#chip::menu-indicator { width: 0; }
QPushButton#link { border: 1px solid transparent; border-radius: 5px; background: transparent; color: @accent;
    padding: 2px 6px; font-weight: 500; }
QPushButton#link:hover { background: @hover; }
QToolButton { border: 1px solid transparent; border-radius: 6px; padding: 4px; background: transparent;
    color: @text2; }
QToolButton:disabled { color: @border2; }
QToolButton:focus, QPushButton#ghost:focus, QPushButton#chip:focus, QPushButton#link:focus,
QDialogButtonBox QPushButton:focus { border: 1px solid @accent; }
QDialogButtonBox { dialogbuttonbox-buttons-have-icons: 0; }
QListView { background: transparent; border: 0; }
QListView#completions { background: @card; border: 1px solid @border2; color: @text;
    selection-background-color: @soft; selection-color: @softtext; }
QPushButton#genchip { background: @goodsoft; color: @good; border: 1px solid transparent; border-radius: 9px;
    padding: 1px 9px; font-size: 12px; font-weight: 500; }
QPushButton#genchip[calm="true"] { background: @panel; color: @muted; }
QPushButton#genchip:focus { border: 1px solid @accent; }
QPushButton#warnchip { background: @warnsoft; color: @warn; border: 1px solid transparent; border-radius: 9px;
    padding: 1px 9px; font-size: 12px; font-weight: 500; }
QPushButton#warnchip:focus { border: 1px solid @accent; }
#statusbar QLabel { font-size: 12px; color: @muted; }
#statusbar QLabel#notice { color: @warn; font-weight: 500; }
#statusbar QLabel#notice[level="critical"] { color: @bad; }
QPushButton#gauge { border: 1px solid transparent; border-radius: 6px; background: transparent; color: @muted;
    font-size: 12px; padding: 3px 78px 3px 8px; text-align: left; }
QPushButton#gauge:hover { background: @hover; }
QPushButton#gauge:focus { border: 1px solid @accent; }
#listframe { background: @card; border: 1px solid @border2; border-radius: 8px; }
#drop { border: 1.5px dashed @border2; border-radius: 12px; background: @side; }
#drop[hot="true"] { border-color: @accent; background: @soft; }
#preflight { background: @side; border: 1px solid @border2; border-radius: 10px; }
#preflight QLabel#fact { color: @text; font-size: 13px; font-weight: 500; }
#preflight QLabel#warn { color: @warn; font-size: 12px; }
#banner { background: @warnsoft; border: 1px solid @border; border-radius: 8px; }
#banner QLabel { color: @warn; font-size: 12px; }
#banner QPushButton#link { color: @warn; font-weight: 600; }
#banner QPushButton#link:hover { background: @card; }
#banner[kind="strip"] { border: 0; border-bottom: 1px solid @border; border-radius: 0; }
#banner[kind="calm"] { background: @panel; }
#banner[kind="calm"] QLabel { color: @text2; }
#banner[kind="bad"] { background: @badsoft; }
#banner[kind="bad"] QLabel { color: @bad; }
#popover { background: @card; border: 1px solid @border2; border-radius: 10px; }
#popover:focus { border: 1px solid @accent; }
#popover QLabel#fact { color: @text; font-size: 13px; font-weight: 500; }
QLabel#term { background: @mark; color: @text; border-radius: 5px; padding: 1px 6px; font-size: 12px; }
QSlider::groove:horizontal { height: 4px; background: @border2; border-radius: 2px; }
QSlider::sub-page:horizontal { background: @accent; border-radius: 2px; }
QSlider::handle:horizontal { width: 14px; height: 14px; margin: -6px 0; border-radius: 8px; background: @card;
    border: 1px solid @accent; }
QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus { background: @accent; }
#toast { background: @card; border: 1px solid @border2; border-radius: 10px; }
#toast QLabel { font-size: 13px; color: @text; }
#toast QLabel#muted { font-size: 12px; color: @muted; }
QPlainTextEdit#text { background: @card; color: @text; border: 0; padding: 10px 16px;
    selection-background-color: @accent; selection-color: @onaccent; }
QDialog QLineEdit { background: @card; border: 1px solid @border2; border-radius: 7px; padding: 5px 9px;
    selection-background-color: @accent; selection-color: @onaccent; }
QPlainTextEdit#queries { background: @card; border: 1px solid @border2; border-radius: 7px; padding: 4px 6px;
    selection-background-color: @accent; selection-color: @onaccent; }
QDialog QLineEdit:focus, QPlainTextEdit#queries:focus { border: 1px solid @accent; }
QDialog QAbstractSpinBox { background: @card; border: 1px solid @border2; border-radius: 7px; padding: 4px 7px;
    selection-background-color: @accent; selection-color: @onaccent; }
QDialog QAbstractSpinBox:focus { border: 1px solid @accent; }
QDialog QAbstractSpinBox:disabled { color: @muted; background: @panel; border-color: @border; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button { width: 20px; border: 0; background: transparent; }
QAbstractSpinBox::up-arrow { width: 0; height: 0; border-left: 4px solid @card; border-right: 4px solid @card;
    border-bottom: 5px solid @muted; }
QAbstractSpinBox::down-arrow { width: 0; height: 0; border-left: 4px solid @card; border-right: 4px solid @card;
    border-top: 5px solid @muted; }
QMenu { background: @card; border: 1px solid @border2; border-radius: 8px; padding: 4px; }
QMenu::item { padding: 6px 22px 6px 12px; border-radius: 5px; color: @text; }
QMenu::item:selected { background: @soft; color: @softtext; }
QMenu::item:disabled { color: @muted; }
QMenu::separator { height: 1px; background: @border; margin: 4px 6px; }
QProgressBar { background: @border2; border: 0; border-radius: 2px; }
QProgressBar::chunk { background: @accent; border-radius: 2px; }
QSplitter::handle { background: transparent; }
QToolTip { background: @card; color: @text; border: 1px solid @border2; padding: 4px 6px; }
QScrollBar:vertical { width: 10px; background: transparent; margin: 2px; }
QScrollBar:horizontal { height: 10px; background: transparent; margin: 2px; }
QScrollBar::handle { background: @border2; border-radius: 3px; min-height: 32px; min-width: 32px; }
QScrollBar::handle:hover { background: @muted; }
QAbstractScrollArea::corner { background: transparent; border: 0; }
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page { width: 0; height: 0;
    background: none; }
"""


def style_sheet(tokens: Mapping[str, str]) -> str:
    """The style sheet with every `@role` replaced by its colour."""
    return re.sub(r"@(\w+)", lambda match: tokens[match[1]], _STYLE)
