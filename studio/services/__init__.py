"""Use cases: what a person can do, without a window and without a command line."""
