"""Whether text recognition is switched on, and where Tesseract is: told to parsers through their environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

SWITCH = "RAG_STUDIO_OCR"
LANGUAGES = "RAG_STUDIO_OCR_LANGUAGES"
"""“auto” or “off”, and Tesseract's language codes separated by “+”."""


PLACES = {
    "darwin": ("/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin"),
    "win32": (os.path.join(os.environ.get("ProgramFiles", "C:\\"), "Tesseract-OCR"),),  # noqa: PTH118, SIM112
}
"""Where it is installed besides the search path: what a desktop starts has a shorter one than a terminal."""


def find_tesseract(environment: Mapping[str, str]) -> str | None:
    """The program; None where it is not installed, or switched off in `environment`."""
    if environment.get(SWITCH, "auto") == "off":
        return None
    path = os.pathsep.join((environment.get("PATH", os.defpath), *PLACES.get(sys.platform, ())))
    return shutil.which("tesseract", path=path)


def ocr_environment(switch: str, languages: str) -> Mapping[str, str]:
    """What a parser process is told; this process's own environment comes before the settings."""
    return {SWITCH: os.environ.get(SWITCH, switch), LANGUAGES: os.environ.get(LANGUAGES, languages)}
