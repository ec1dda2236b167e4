"""Commands around citations: write one, tell what became of some."""

from __future__ import annotations

import sys

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE, FAILED
from studio.cli.output import say
from studio.domain import CitationStyle
from studio.errors import InvalidRequest
from studio.services.search import Verification, VerificationStatus, locators

_STANDS = (VerificationStatus.SAME, VerificationStatus.MOVED)


async def cite(services: Services, options: Options) -> int:
    """Cite a passage, or verify every citation in a text; FAILED when a cited passage is not there any more."""
    if options.verify is not None:
        if options.kb is not None:
            raise InvalidRequest("Either cite a passage or verify a text, not both at once.")
        return await _verify(services, options)
    if options.kb is None or options.chunk is None:
        raise InvalidRequest(
            "Name a knowledge base and a passage, or give a text to verify.",
            way_out="rag-studio cite KB CHUNK_ID, or rag-studio cite --verify TEXT.",
        )
    style = CitationStyle(options.style)
    text = await services.citing.cite(options.kb, options.chunk, style)
    say(options, {"style": style, "citation": text}, text)
    return DONE


async def _verify(services: Services, options: Options) -> int:
    text = sys.stdin.read() if options.verify == "-" else options.verify
    each = [str(found) for found in locators(text)] or [text]
    results = [await services.citing.verify(one) for one in each]
    value = [{"status": item.status, "detail": item.detail, "where": item.where} for item in results]
    say(options, value, "\n".join(map(_line, results)))
    return DONE if all(item.status in _STANDS for item in results) else FAILED


def _line(item: Verification) -> str:
    return f"{item.status}: {item.detail}"
