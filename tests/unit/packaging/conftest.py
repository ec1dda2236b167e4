"""The scripts in `packaging/` are no package: they are imported by path, as a user's Python runs them."""

from __future__ import annotations

import sys

from tests.helpers import ROOT

sys.path.insert(0, str(ROOT / "packaging"))
