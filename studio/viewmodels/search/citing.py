"""Whether what a result cites is still there, in words."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from studio.domain import SearchResult
from studio.services.search import VerificationStatus
from studio.viewmodels.base import ViewModel
from studio.viewmodels.ports import Citing
from studio.viewmodels.text import citation

_HEADS = {
    VerificationStatus.SAME: "Same.",
    VerificationStatus.MOVED: "Moved.",
    VerificationStatus.CHANGED: "Changed.",
    VerificationStatus.GONE: "Gone.",
}


class CitingViewModel(ViewModel):
    """Verifies citations, the latest asked for."""

    confirmed = Signal(str)
    """The cited passage is there, the same or elsewhere: what was found, in words."""
    doubted = Signal(str, str)
    """(head, detail): the cited passage is not there."""

    def __init__(self, citing: Citing, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._citing = citing

    def verify(self, result: SearchResult) -> None:
        """Look whether the passage of a result stands where its citation says."""
        self.launch("verify", self._verify(citation(result)))

    async def _verify(self, text: str) -> None:
        found = await self._citing.verify(text)
        head = _HEADS[found.status]
        if found.where is not None:
            self.confirmed.emit(f"{head} {found.detail}")
        else:
            self.doubted.emit(head, found.detail)
