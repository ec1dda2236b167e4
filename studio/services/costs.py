"""What work takes in memory: figures that several services plan with."""

from __future__ import annotations

APPLICATION_BYTES, MODEL_EXTRA_BYTES, READER_BYTES, FILE_BYTES = 330_000_000, 120_000_000, 110_000_000, 1_000
"""Peaks of memory during an ingest of 82 files in 14 formats: the program itself, the model's process beside its
weights, a process that reads, and what is kept in mind of a file."""

MODEL, PARSERS, MODEL_FILES = "model", "parsers", "model files"
"""Names in the ledger: the worker processes, and what the first has mapped of models."""
