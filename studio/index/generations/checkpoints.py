"""How far the build of a job is: what the catalog keeps so that a killed job goes on from there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tables of a build at a moment when every document row in them was complete.

    `base` is the generation the build stands on. `open_documents` have chunks in the table and no row yet;
    `open_paths` are files some of whose rows are there and others not. `counts` is what the job did so far.
    """

    generation: int
    base: int | None
    chunks_version: int
    documents_version: int
    started_s: float
    open_documents: tuple[str, ...] = ()
    open_paths: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    def encode(self) -> str:
        """As the catalog keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Checkpoint | None:
        """None for "" and for what another version of the program may have written."""
        try:
            values = json.loads(text)
            return cls(
                **{
                    **values,
                    "open_documents": tuple(values["open_documents"]),
                    "open_paths": tuple(values["open_paths"]),
                }
            )
        except (ValueError, TypeError, KeyError):
            return None
