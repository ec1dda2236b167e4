"""What several folders of tests share: the program, its models, knowledge bases to try things on, file systems, files.

Does not belong here: tests, and what one folder needs for itself, which lies beside its tests.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder of the project."""
