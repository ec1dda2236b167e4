"""Text recognition by Tesseract, where it is installed (the only caller of it). Optional, page by page."""

from __future__ import annotations

import os
import subprocess

import pypdfium2

from studio.documents.ocr_settings import LANGUAGES, find_tesseract
from studio.documents.parsers.base import clean

DOTS_PER_INCH = 300
"""What Tesseract's documentation asks for."""
MAX_PIXELS = 25_000_000
"""A poster is rendered more coarsely; A4 at 300 dots per inch has 8.7 million."""
PAGE_LIMIT_S = 50.0
LIST_LIMIT_S = 20.0
_POINTS_PER_INCH = 72


class Recogniser:
    """Tesseract with the languages it has of those that are wanted."""

    def __init__(self, program: str, languages: str, *, finds_orientation: bool) -> None:
        self._command = [program, "stdin", "stdout", "-l", languages]
        if finds_orientation:  # or pages that lie upside down come out as gibberish
            self._command += ["--psm", "1"]

    def text(self, page: pypdfium2.PdfPage) -> str:
        """The text on a page; "" where there is none, or where recognition fails or takes too long."""
        try:
            picture = _picture(page)
        except (MemoryError, pypdfium2.PdfiumError):
            return ""
        return next(iter(self.pages(picture)), "")

    def pages(self, picture: bytes) -> list[str]:
        """The text on each page of a file of pictures; [] where recognition fails or takes too long."""
        try:
            done = _run(self._command, PAGE_LIMIT_S, picture)
        except (OSError, subprocess.SubprocessError, MemoryError):
            return []
        if done.returncode != 0:
            return []
        pages = done.stdout.decode("utf-8", "replace").split("\f")  # which stands behind each page, the last one too
        texts = [clean(page).strip() for page in (pages[:-1] if len(pages) > 1 and not pages[-1].strip() else pages)]
        return [text if any(map(str.isalnum, text)) else "" for text in texts]


_known: dict[tuple[str, str], Recogniser] = {}


def recogniser() -> Recogniser | None:
    """The recogniser, None where Tesseract is not installed, has no usable language, or is switched off.

    One that is missing is looked for again each time: it may be installed while this process lives.
    """
    program, languages = find_tesseract(os.environ), os.environ.get(LANGUAGES, "eng")
    if program is None:
        return None
    if (program, languages) not in _known:
        try:
            listed = _run([program, "--list-langs"], LIST_LIMIT_S)
        except (OSError, subprocess.SubprocessError):
            return None
        present = [line.strip() for line in listed.stdout.decode("utf-8", "replace").splitlines()[1:] if line.strip()]
        wanted = [code for code in languages.split("+") if code in present]
        chosen = wanted or [code for code in present if code not in ("osd", "equ")][:1]
        if not chosen:
            return None
        _known[program, languages] = Recogniser(program, "+".join(chosen), finds_orientation="osd" in present)
    return _known[program, languages]


def _run(command: list[str], limit_s: float, picture: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        input=picture,
        capture_output=True,
        timeout=limit_s,
        check=False,
        # One thread: the machine has other things to do, and files are read side by side anyway.
        env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _picture(page: pypdfium2.PdfPage) -> bytes:
    """A page as a portable graymap."""
    width, height = page.get_size()
    scale = DOTS_PER_INCH / _POINTS_PER_INCH
    scale *= min(1.0, (MAX_PIXELS / max(1.0, width * height * scale * scale)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        rows = memoryview(bitmap.buffer).cast("B")
        lines = (rows[y * bitmap.stride : y * bitmap.stride + bitmap.width] for y in range(bitmap.height))
        return b"P5 %d %d 255\n" % (bitmap.width, bitmap.height) + b"".join(lines)
    finally:
        bitmap.close()
