"""One window for each data directory: a second start raises the first window.

A QLockFile decides who is first; it recovers from a killed owner, whose process id it finds gone. The
first listens on a local socket; who comes second connects to it, which is the whole message.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QLockFile, QObject, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_MS = 2000


class SingleInstance(QObject):
    """Context manager around the life of the window."""

    second_start = Signal()
    """Someone started the program again with the same data directory."""

    def __init__(self, lock_path: Path) -> None:
        super().__init__()
        self._lock = QLockFile(str(lock_path))
        self._lock.setStaleLockTime(0)  # only a dead owner makes a lock stale, not its age
        digest = hashlib.sha256(str(lock_path).encode("utf-8", "surrogateescape")).hexdigest()
        self._name = f"rag-studio-{digest[:24]}"
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._connected)
        self.is_first = False

    def __enter__(self) -> SingleInstance:
        # Where no lock file can be written (read-only, disk full) it cannot be known which was first.
        self.is_first = self._lock.tryLock(0) or self._lock.error() is not QLockFile.LockError.LockFailedError
        if self.is_first:
            # Left behind by an owner that was killed; the lock says that no program listens there now.
            QLocalServer.removeServer(self._name)
            if not self._server.listen(self._name):
                log.warning("a second start cannot raise this window: %s", self._server.errorString())
        else:
            self._knock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        if self.is_first:
            self._lock.unlock()

    def _knock(self) -> None:
        socket = QLocalSocket()
        socket.connectToServer(self._name)
        if socket.waitForConnected(_CONNECT_TIMEOUT_MS):
            socket.disconnectFromServer()
        else:
            log.warning("the program runs already, but its window does not answer: %s", socket.errorString())

    def _connected(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.disconnected.connect(socket.deleteLater)
            socket.disconnectFromServer()
            self.second_start.emit()
