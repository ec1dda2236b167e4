"""Files under a password, made by hand."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from pathlib import Path

from msoffcrypto.method.ecma376_agile import ECMA376Agile

_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")


def locked_pdf(path: Path, text: str, user: str, owner: str) -> Path:
    """A page of text that `user` opens; with "" it only wants `owner` for changes. ISO 32000-1, 7.6.3, revision 2."""
    lock = _rc4(hashlib.md5(_padded(owner)).digest()[:5], _padded(user))
    key = hashlib.md5(_padded(user) + lock + (-4).to_bytes(4, "little", signed=True) + b"id").digest()[:5]
    stream = _rc4(
        hashlib.md5(key + (4).to_bytes(3, "little") + bytes(2)).digest()[:10],
        b"BT /F 12 Tf 50 700 Td (%s) Tj ET" % text.encode("latin-1"),
    )
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R"
        b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>" % (lock.hex().encode(), _rc4(key, _PADDING).hex().encode()),
    ]
    data = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    identity = b"id".hex().encode()
    trailer = b"trailer<</Size 6/Root 1 0 R/Encrypt 5 0 R/ID[<%s><%s>]>>" % (identity, identity)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(places)
    path.write_bytes(data + table + trailer + b"\nstartxref\n%d\n%%%%EOF" % len(data))
    return path


def locked_office(path: Path, password: str) -> Path:
    """The Office file at `path`, in its place under a password."""
    with zipfile.ZipFile(path, "a") as archive:  # what encrypts it here spoils smaller ones
        archive.writestr("padding", random.Random(1).randbytes(4096))
    path.write_bytes(ECMA376Agile.encrypt(password, io.BytesIO(path.read_bytes()), spin_count=100))
    return path


def _padded(password: str) -> bytes:
    return (password.encode("latin-1") + _PADDING)[:32]


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
