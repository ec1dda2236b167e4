"""The process of a model from this side: started, asked, ended.

Belongs here: launching, loading, requests to one process.
Does not: which models are loaded at a time (`pool`).
"""

from studio.embedding.client.client import EmbeddingClient, ModelClient, RankingClient
from studio.embedding.client.launch import probe, usual_threads
from studio.embedding.client.loading import reserve

__all__ = [
    "EmbeddingClient",
    "ModelClient",
    "RankingClient",
    "probe",
    "reserve",
    "usual_threads",
]
