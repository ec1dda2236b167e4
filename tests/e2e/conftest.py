from __future__ import annotations

from pathlib import Path

import pytest
from command import Program


@pytest.fixture
def program(data_dir: Path) -> Program:
    """The command line on an empty data directory with the default model."""
    return Program(data_dir)
