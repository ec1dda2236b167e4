"""The scripts in `packaging/` are no package: they are imported by path, as a user's Python runs them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "packaging"))
