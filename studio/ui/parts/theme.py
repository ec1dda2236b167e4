"""How the program looks: colour tokens, palette, tinted icons, fonts; light, dark, or as the system says."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path

from PySide6.QtCore import QByteArray, QObject, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication, QStyleFactory

from studio.ui.parts.palette import DARK, LIGHT, style_sheet

log = logging.getLogger(__name__)

_FAMILY = "Inter"
_PALETTE_ROLES = (
    (QPalette.ColorRole.Window, "bg"),
    (QPalette.ColorRole.Base, "card"),
    (QPalette.ColorRole.AlternateBase, "panel"),
    (QPalette.ColorRole.Button, "card"),
    (QPalette.ColorRole.Text, "text"),
    (QPalette.ColorRole.WindowText, "text"),
    (QPalette.ColorRole.ButtonText, "text"),
    (QPalette.ColorRole.PlaceholderText, "muted"),
    (QPalette.ColorRole.Highlight, "accent"),
    (QPalette.ColorRole.HighlightedText, "onaccent"),
    (QPalette.ColorRole.ToolTipBase, "card"),
    (QPalette.ColorRole.ToolTipText, "text"),
    (QPalette.ColorRole.Mid, "border2"),
    (QPalette.ColorRole.Accent, "accent"),
    (QPalette.ColorRole.Link, "accent"),
)


class ThemeChoice(StrEnum):
    """What the person chose in the settings."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


class Theme(QObject):
    """The look of one application. `changed` is emitted after palette and style sheet are in place."""

    changed = Signal()

    def __init__(self, application: QApplication, resources: Path) -> None:
        super().__init__(application)
        self._application = application
        self._icons_dir = resources / "icons"
        self._tokens = LIGHT
        self._choice = ThemeChoice.SYSTEM
        self._sources: dict[str, bytes] = {}
        self._pixmaps: dict[tuple[str, str, int, float], QPixmap] = {}
        self._fonts: dict[tuple[int, int, bool], QFont] = {}
        application.setStyle(QStyleFactory.create("Fusion"))
        self._base_font = _load_fonts(resources / "fonts")
        application.setFont(self._base_font)
        application.setWindowIcon(QIcon(str(self._icons_dir / "app.svg")))
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._system_changed)

    @property
    def dark(self) -> bool:
        """Whether the dark colours are in use."""
        return self._tokens is DARK

    @property
    def choice(self) -> ThemeChoice:
        """What was asked for; `SYSTEM` follows the desktop."""
        return self._choice

    def apply(self, choice: ThemeChoice) -> None:
        """Put a choice into effect."""
        self._choice = choice
        scheme = QGuiApplication.styleHints().colorScheme()
        dark = choice is ThemeChoice.DARK or (choice is ThemeChoice.SYSTEM and scheme == Qt.ColorScheme.Dark)
        self._tokens = DARK if dark else LIGHT
        self._pixmaps.clear()
        palette = QPalette()
        for role, token in _PALETTE_ROLES:
            palette.setColor(role, self.color(token))
        for role in (QPalette.ColorRole.Text, QPalette.ColorRole.WindowText, QPalette.ColorRole.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, role, self.color("muted"))
        self._application.setPalette(palette)
        self._application.setStyleSheet(style_sheet(self._tokens))
        self.changed.emit()

    def _system_changed(self, _scheme: Qt.ColorScheme) -> None:
        if self._choice is ThemeChoice.SYSTEM:
            self.apply(self._choice)

    def color(self, token: str) -> QColor:
        """The colour of a role."""
        return QColor(self._tokens[token])

    def font(self, size_px: int, weight: QFont.Weight = QFont.Weight.Normal, *, tabular: bool = False) -> QFont:
        """The interface font; `tabular` gives digits of equal width."""
        key = (size_px, int(weight), tabular)
        font = self._fonts.get(key)
        if font is None:
            font = QFont(self._base_font)
            font.setPixelSize(size_px)
            font.setWeight(weight)
            if tabular:
                font.setFeature(QFont.Tag("tnum"), 1)
            self._fonts[key] = font
        return font

    def pixmap(self, name: str, token: str, size: int, ratio: float) -> QPixmap:
        """A Lucide icon in the colour of a role, `size` logical pixels square."""
        key = (name, token, size, ratio)
        pixmap = self._pixmaps.get(key)
        if pixmap is None:
            side = max(1, round(size * ratio))
            pixmap = QPixmap(side, side)
            pixmap.fill(Qt.GlobalColor.transparent)
            pixmap.setDevicePixelRatio(ratio)
            painter = QPainter(pixmap)
            QSvgRenderer(QByteArray(self._tinted(name, self._tokens[token]))).render(painter, QRectF(0, 0, size, size))
            painter.end()
            self._pixmaps[key] = pixmap
        return pixmap

    def icon(self, name: str, token: str = "text2", *, checked: str | None = None, size: int = 16) -> QIcon:
        """An icon for a button; `checked` is the role for its checked state."""
        icon = QIcon()
        for ratio in (1.0, 2.0):
            icon.addPixmap(self.pixmap(name, token, size, ratio), QIcon.Mode.Normal, QIcon.State.Off)
            icon.addPixmap(self.pixmap(name, checked or token, size, ratio), QIcon.Mode.Normal, QIcon.State.On)
            icon.addPixmap(self.pixmap(name, "border2", size, ratio), QIcon.Mode.Disabled)
        return icon

    def _tinted(self, name: str, color: str) -> bytes:
        source = self._sources.get(name)
        if source is None:
            source = (self._icons_dir / f"{name}.svg").read_bytes()
            self._sources[name] = source
        return source.replace(b"currentColor", color.encode()).replace(b'stroke-width="2"', b'stroke-width="1.75"')


def _load_fonts(folder: Path) -> QFont:
    """The bundled family, or the system's sans serif when it cannot be loaded."""
    loaded = [QFontDatabase.addApplicationFont(str(path)) for path in sorted(folder.glob("*.otf"))]
    if loaded and all(identifier >= 0 for identifier in loaded):
        font = QFont(_FAMILY)
    else:
        log.warning("the bundled fonts in %s cannot be loaded; using the system's", folder)
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    font.setStyleHint(QFont.StyleHint.SansSerif)
    font.setPixelSize(13)
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    return font
