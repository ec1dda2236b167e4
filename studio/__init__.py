"""RAG Studio: local-first knowledge bases with cited hybrid search."""

import tempfile
from pathlib import Path

__version__ = "0.1.0"

try:
    tempfile.gettempdir()
except FileNotFoundError:
    # Python finds none where every disk is full, and libraries that ask while they are imported end the program.
    # A write into this one then says that the disk is full; on Linux it is memory and has room.
    tempfile.tempdir = next((place for place in ("/dev/shm", "/tmp") if Path(place).is_dir()), str(Path.home()))
