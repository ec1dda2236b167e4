"""The program, with a note of every text that has been embedded: `noting.py NOTES ARGUMENTS…`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence

from studio.domain import Vectors
from studio.embedding.client import EmbeddingClient


def main() -> int:
    """Run the command line; the hashes of a batch are appended in one write once its vectors are here."""
    notes = open(sys.argv[1], "ab", buffering=0)  # noqa: SIM115, PTH123
    embed = EmbeddingClient.embed

    async def noted(
        self: EmbeddingClient, texts: Sequence[str], *, interactive: bool = False, query: bool = False
    ) -> Vectors:
        vectors = await embed(self, texts, interactive=interactive, query=query)
        if not interactive:
            notes.write(b"".join(hashlib.sha256(text.encode()).hexdigest().encode() + b"\n" for text in texts))
        return vectors

    EmbeddingClient.embed = noted  # type: ignore[method-assign]
    from studio.__main__ import main as program

    sys.argv = ["rag-studio", *sys.argv[2:]]
    return program() or 0


if __name__ == "__main__":
    sys.exit(main())
