"""Texts to vectors: the model catalog, the worker process that runs the model, and its client."""
