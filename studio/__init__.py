"""RAG Studio: local-first knowledge bases with cited hybrid search."""

__version__ = "0.1.0"
