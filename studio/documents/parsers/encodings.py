"""From bytes to text in any encoding (the only importer of charset_normalizer)."""

from __future__ import annotations

import codecs
import re

import charset_normalizer

from studio.documents.parsers.alphabets import latin_encoding

SAMPLE_BYTES = 1 << 16
STRAY_ZERO_EVERY = 1000
"""A text may hold one zero byte in so many; in binary data it is one in 256 or more."""
NOISE_SAMPLE_BYTES = 8192
MIN_NOISE_BYTES = 256
"""Of less the statistics say nothing."""

_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMON_SCRIPTS = re.compile(
    "[\t\n\r -~\u00a0-\u024f\u0370-\u03ff\u0400-\u052f\u0590-\u06ff\u0900-\u097f\u0e00-\u0e7f"
    "\u2010-\u2027\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uffee]"
)
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_SHIFT = re.compile(rb"\x1b\$(?:[@B]|(\)C))")
_CYRILLIC_ALONE = re.compile(rb"[\xc0-\xdf\xfb-\xff]")
"""Bytes that Russian in Windows-1251 is full of and Hebrew in Windows-1255 does without."""
_RARE_LATIN = frozenset({"iso8859_3", "iso8859_10", "iso8859_14", "iso8859_16"})
"""What Polish, Czech or Hungarian in Latin-2 is mistaken for; they were hardly ever written."""
_C1 = re.compile(rb"[\x80-\x9f]")
_NOT_FOR_TEXT = frozenset({"punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"})
"""Codecs that a hostile file could name: some take quadratic time, others read the text as program source."""
_MEANT = {
    **dict.fromkeys(("iso8859_1", "ascii"), "cp1252"), "iso8859_9": "cp1254", "iso8859_11": "cp874", "tis_620": "cp874",
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"), "big5": "cp950", "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip
"""What programs write under the names of these encodings: the larger ones that include them (WHATWG Encoding, 4.2)."""
_UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def bom_encoding(head: bytes) -> str | None:
    """The encoding a byte order mark announces."""
    return next((encoding for bom, encoding in _BOMS if head.startswith(bom)), None)


def wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark, by the zeros of Western text or by what the pairs decode to."""
    if b"\0" not in head or len(head) < 4:
        return None
    head = head[: len(head) & ~3]
    quarter, half = len(head) // 4, len(head) // 2
    zeros = [head[place::4].count(0) for place in range(4)]
    if zeros[3] == quarter and zeros[2] >= 0.9 * quarter and zeros[0] < 0.2 * quarter:
        return "utf-32-le"
    if zeros[0] == quarter and zeros[1] >= 0.9 * quarter and zeros[3] < 0.2 * quarter:
        return "utf-32-be"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if odd > 0.4 * half and even < 0.02 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.02 * half:
        return "utf-16-be"
    return next((name for name in ("utf-16-le", "utf-16-be") if _reads_as_text(head, name)), None)


def _reads_as_text(head: bytes, encoding: str) -> bool:
    """Whether bytes decode to characters of the common scripts and little else: random bytes hardly ever do."""
    try:
        text = head[: len(head) - 4].decode(encoding) if len(head) > 8 else head.decode(encoding)
    except UnicodeDecodeError:
        return False  # a lone surrogate: one in thirty pairs of random bytes
    return (
        len(text) >= 8
        and len(_COMMON_SCRIPTS.findall(text)) >= 0.98 * len(text)
        and any(c in text for c in " \n\u3000")
    )


def is_binary(head: bytes, *, is_named_text: bool = False) -> bool:
    """Whether the first bytes of a file are none of a text in any encoding.

    `is_named_text`: its name is that of a text; logs and sources do hold a stray zero byte.
    """
    if bom_encoding(head) or wide_encoding(head):
        return False
    zeros = head.count(b"\0")
    if zeros > (max(1, len(head) // STRAY_ZERO_EVERY) if is_named_text else 0):
        return True
    controls = len(head) - len(
        head.translate(None, bytes(range(0x00, 0x09)) + bytes(range(0x0E, 0x1B)) + b"\x1c\x1d\x1e\x1f\x7f")
    )
    return controls > 0.05 * len(head)


def is_noise(head: bytes) -> bool:
    """Whether bytes, many of them no ASCII, are a text in no encoding at all: random, encrypted or packed data."""
    sample = head[:NOISE_SAMPLE_BYTES]
    if bom_encoding(head) or wide_encoding(head[:4096]) or len(sample) < MIN_NOISE_BYTES:
        return False
    high = sum(map(len, _HIGH_RUN.findall(sample)))
    if high <= 0.3 * len(sample) or 2 * sum(map(len, _UTF8_SEQUENCE.findall(sample))) > high:
        return False
    return charset_normalizer.from_bytes(sample).best() is None


def guess_encoding(sample: bytes, *, complete: bool = True) -> str:
    """The most likely encoding of some text; "utf-8" also where a few bytes of it are wrong.

    `complete` False: the sample may end in the middle of a character.
    """
    known = bom_encoding(sample) or wide_encoding(sample[:4096])
    if known:
        return known
    if shift := _SHIFT.search(sample):
        return "iso2022_kr" if shift.group(1) else "iso2022_jp_2"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=complete)
        return "utf-8"
    except UnicodeDecodeError:
        pass
    runs = _HIGH_RUN.findall(sample)
    high = sum(map(len, runs))
    if 2 * sum(map(len, _UTF8_SEQUENCE.findall(sample))) > high:
        return "utf-8"
    # Single accented letters among ASCII: a Latin script. The statistics below are at their worst there.
    if high <= 0.3 * len(sample) and (latin := latin_encoding(sample)):
        return latin
    if high <= 0.3 * len(sample) and sum(len(run) == 1 for run in runs) > 0.8 * len(runs):
        return "cp1252"
    best = charset_normalizer.from_bytes(sample[:SAMPLE_BYTES]).best()
    encoding = best.encoding if best is not None else "cp1252"
    letters = b"".join(runs)
    if encoding == "cp1251" and len(letters) >= 30 and not _CYRILLIC_ALONE.search(letters):
        return "cp1255"
    if encoding in _RARE_LATIN and not _C1.search(letters):
        return "iso8859_2"
    return encoding


def decode(raw: bytes, declared: str | None = None) -> str:
    """Text of bytes in an unknown encoding; never fails.

    Order: what the bytes give away (byte order mark, zeros, escape sequences), strict UTF-8, the
    declared encoding, statistics. In mostly valid UTF-8 the stray bytes are taken for Windows-1252.
    """
    declared = (declared or "").strip().lower().replace("-", "_")
    evident = bom_encoding(raw) or wide_encoding(raw[:4096]) or _SHIFT.search(raw[:SAMPLE_BYTES])
    if declared and declared not in _NOT_FOR_TEXT and not evident:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
        try:
            return raw.decode(_meant(declared), "replace")
        except (LookupError, UnicodeError, ValueError):
            pass  # the declaration names no encoding we know: fall through to guessing
    return raw.decode(guess_encoding(raw[: 1 << 20], complete=len(raw) <= 1 << 20), STRAY_BYTES)


def _meant(declared: str) -> str:
    name = codecs.lookup(declared).name.replace("-", "_")
    return _MEANT.get(name, name)


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
