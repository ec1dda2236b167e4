"""Names in ZIP files: programs write them as UTF-8, say so in one of two ways or not at all, or in what their own
system writes with."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable

from studio.documents.parsers.alphabets import latin_encoding

_UTF8_NAME = 0x800
_UNICODE_PATH = 0x7075
_SAMPLED = 2000
_RUSSIAN_WORD = re.compile("[А-ЯЁ]?[а-яё]+|[А-ЯЁ]+")
_NOT_ASCII_WORD = re.compile(r"[^\x00-\x7f]+")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_JAPANESE = re.compile("[\u3040-\u30ff]")
_COMMON_KANJI = range(0x88, 0x98)
"""First bytes of the characters of Shift JIS that are in use."""


def own_encoding(infos: Iterable[zipfile.ZipInfo]) -> str:
    """What the names that are not UTF-8 are written in, judged by all of them together; "cp437" if nothing tells."""
    raw = [info.filename.encode("cp437") for info in infos if not _says_utf8(info) and not info.filename.isascii()]
    sample = b"\n".join([name for name in raw if not _is_utf8(name)][:_SAMPLED])
    if not sample:
        return "cp437"
    for encoding in ("cp866", "cp1251"):
        if _is_russian(sample, encoding):
            return encoding
    runs = _HIGH_RUN.findall(sample)
    if 2 * sum(len(run) == 1 for run in runs) > len(runs):  # an accented letter here and there
        return latin_encoding(sample) or _east_asian(sample) or "cp437"
    return _east_asian(sample) or latin_encoding(sample) or "cp437"


def zip_name(info: zipfile.ZipInfo, encoding: str) -> str:
    """The name of a member; `encoding` is that of names that are not UTF-8."""
    if _says_utf8(info) or info.filename.isascii():
        return _stated(info) or info.filename
    raw = info.filename.encode("cp437")
    return _stated(info) or (raw.decode() if _is_utf8(raw) else raw.decode(encoding, "replace"))


def _says_utf8(info: zipfile.ZipInfo) -> bool:
    return bool(info.flag_bits & _UTF8_NAME)


def _stated(info: zipfile.ZipInfo) -> str:
    """The name as the extra field for it gives it ("Info-ZIP Unicode Path"), if that belongs to this name."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind != _UNICODE_PATH or len(field) < 6 or field[0] != 1:
            continue
        written = info.orig_filename.encode("utf-8" if _says_utf8(info) else "cp437", "replace")
        if struct.unpack_from("<L", field, 1)[0] == zlib.crc32(written) and _is_utf8(field[5:]):
            return field[5:].decode()
    return ""


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_russian(sample: bytes, encoding: str) -> bool:
    words = _NOT_ASCII_WORD.findall(sample.decode(encoding, "replace"))
    return all(map(_RUSSIAN_WORD.fullmatch, words)) and any(len(word) > 2 for word in words)


def _east_asian(sample: bytes) -> str:
    """The double-byte encoding that names are in; one that holds little but rare characters is none."""
    try:
        sample.decode("gb2312")
    except UnicodeDecodeError:
        pass
    else:
        leads = [part[0] for word in _HIGH_RUN.findall(sample) for part in re.findall(rb"..", word)]
        return "cp949" if all(lead in range(0xB0, 0xC9) for lead in leads) else "gb18030"
    for encoding in ("cp932", "cp950", "cp949", "gb18030"):
        try:
            text = sample.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "cp932" or _JAPANESE.search(text) or _common_kanji(text):
            return encoding
    return ""


def _common_kanji(text: str) -> bool:
    characters = [character.encode("cp932") for character in text if character > "\u2e80"]
    common = sum(len(raw) == 2 and raw[0] in _COMMON_KANJI for raw in characters)
    return 2 * common > len(characters)
