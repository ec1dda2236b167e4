"""Bundles: a generation in one file, to be taken elsewhere.

Belongs here: the format, its checks, writing and reading it.
Does not: when one is exported or imported (`services.generations`).
"""

from studio.index.bundle.files import BundleReader, BundleWriter
from studio.index.bundle.values import BUNDLE_VERSION, Census, Manifest, Unsound

__all__ = [
    "BUNDLE_VERSION",
    "BundleReader",
    "BundleWriter",
    "Census",
    "Manifest",
    "Unsound",
]
