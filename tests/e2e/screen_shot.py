"""Save what is on the X screen as PNG files: one for each path read from standard input."""

from __future__ import annotations

import sys

from PySide6.QtGui import QGuiApplication

if __name__ == "__main__":
    application = QGuiApplication(sys.argv)
    print("ready", flush=True)
    for line in sys.stdin:
        application.processEvents()
        saved = application.primaryScreen().grabWindow(0).save(line.strip())
        print("saved" if saved else "failed", flush=True)
