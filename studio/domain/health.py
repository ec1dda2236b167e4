"""What doctor finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LostDocument:
    """A document that a repair could bring back in part or not at all, and why."""

    knowledge_base: str
    path: str
    document_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant as `doctor` found it. `repair` says what would mend it, "" if nothing is wrong."""

    name: str
    ok: bool
    detail: str
    repair: str = ""
    lost: tuple[LostDocument, ...] = ()
