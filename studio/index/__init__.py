"""Storage and retrieval: catalog, vectors, BM25, and the generations that tie them together."""
