"""A look ahead: what an ingest would read, and what it would take.

Belongs here: estimates from a sample.
Does not: anything that changes a knowledge base.
"""

from studio.services.preflight.service import NEEDS_OCR, NEEDS_PASSWORD, PreflightService

__all__ = [
    "NEEDS_OCR",
    "NEEDS_PASSWORD",
    "PreflightService",
]
