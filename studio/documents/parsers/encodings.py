"""From bytes to text in any encoding (the only importer of charset_normalizer)."""

from __future__ import annotations

import codecs
import re

import charset_normalizer

SAMPLE_BYTES = 1 << 16

_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def bom_encoding(head: bytes) -> str | None:
    """The encoding a byte order mark announces."""
    return next((encoding for bom, encoding in _BOMS if head.startswith(bom)), None)


def utf16_without_bom(head: bytes) -> str | None:
    """UTF-16 given away by NUL bytes on one side of nearly every pair, as in Western text."""
    head = head[: len(head) & ~1]
    if len(head) < 4:
        return None
    pairs = len(head) // 2
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > 0.4 * pairs and even < 0.02 * pairs:
        return "utf-16-le"
    if even > 0.4 * pairs and odd < 0.02 * pairs:
        return "utf-16-be"
    return None


def is_binary(head: bytes) -> bool:
    """Whether the first bytes of a file are none of a text in any encoding."""
    if bom_encoding(head) or utf16_without_bom(head):
        return False
    if b"\0" in head:
        return True
    controls = len(head) - len(
        head.translate(None, bytes(range(0x00, 0x09)) + bytes(range(0x0E, 0x1B)) + b"\x1c\x1d\x1e\x1f\x7f")
    )
    return controls > 0.05 * len(head)


def guess_encoding(sample: bytes, *, complete: bool = True) -> str:
    """The most likely encoding of some text; "utf-8" also where a few bytes of it are wrong.

    `complete` False: the sample may end in the middle of a character.
    """
    known = bom_encoding(sample) or utf16_without_bom(sample[:4096])
    if known:
        return known
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=complete)
        return "utf-8"
    except UnicodeDecodeError:
        pass
    runs = _HIGH_RUN.findall(sample)
    high = sum(map(len, runs))
    if 2 * sum(map(len, _UTF8_SEQUENCE.findall(sample))) > high:
        return "utf-8"
    # Single accented letters among ASCII: Western. The statistics below are at their worst there.
    if high <= 0.3 * len(sample) and sum(len(run) == 1 for run in runs) > 0.8 * len(runs):
        return "cp1252"
    best = charset_normalizer.from_bytes(sample[:SAMPLE_BYTES]).best()
    return best.encoding if best is not None else "cp1252"


def decode(raw: bytes, declared: str | None = None) -> str:
    """Text of bytes in an unknown encoding; never fails.

    Order: byte order mark, strict UTF-8, the declared encoding, statistics. In mostly valid UTF-8
    the stray bytes are taken for Windows-1252.
    """
    if not bom_encoding(raw) and declared:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
        try:
            return raw.decode(declared, "replace")
        except (LookupError, UnicodeError, ValueError):
            pass  # the declaration names no encoding we know: fall through to guessing
    return raw.decode(guess_encoding(raw[: 1 << 20], complete=len(raw) <= 1 << 20), STRAY_BYTES)


def _stray_bytes(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        wrong = error.object[error.start : error.end]
        if error.encoding.startswith("utf-8"):
            return wrong.decode("cp1252", "replace"), error.end
        return "\ufffd", error.end
    raise error


STRAY_BYTES = "studio-stray-bytes"
"""Name of the error handler: stray bytes in UTF-8 are read as Windows-1252."""
codecs.register_error(STRAY_BYTES, _stray_bytes)
