"""Bundles: one generation as one file that checks itself. `files` writes and reads it, `values` knows what it says."""
