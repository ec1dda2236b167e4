"""A second program that offers a file for dragging: a window at the place and with the file it is told."""

from __future__ import annotations

import sys

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QDrag, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel


class Source(QLabel):
    """Starts a drag as soon as the mouse moves with its button down."""

    def __init__(self, path: str) -> None:
        super().__init__("drag me")
        self._path = path

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(self._path)])
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.exec(Qt.DropAction.CopyAction)


if __name__ == "__main__":
    application = QApplication(sys.argv)
    source = Source(sys.argv[1])
    source.setGeometry(int(sys.argv[2]), int(sys.argv[3]), 120, 120)
    source.show()
    application.processEvents()
    print("ready", flush=True)
    sys.exit(application.exec())
