"""Opens Office files that are protected by a password (the only importer of msoffcrypto)."""

from __future__ import annotations

import io
from pathlib import Path

import msoffcrypto
from msoffcrypto.exceptions import InvalidKeyError

from studio.documents.parsers import passwords
from studio.documents.parsers.base import encrypted, locked, read_all

DEFAULT_PASSWORD = "VelvetSweatshop"
"""What Office encrypts with when a file is only protected against changes: such a file opens without asking.
[MS-XLSB] 2.2.10 and [MS-OFFCRYPTO] name it."""


def decrypted(path: Path, what: str) -> io.BytesIO:
    """The plain file, in memory only. `what` names the format in messages.

    Raises DocumentFault: ENCRYPTED when none of the given passwords opens it, TOO_LARGE.
    """
    data = read_all(path)
    for password in filter(None, (DEFAULT_PASSWORD, *passwords.current())):
        try:
            return _opened(data, password)
        except InvalidKeyError:
            continue
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # what damaged structures raise inside the library has no common type
            raise locked(what) from error
    raise encrypted(what)


def _opened(data: bytes, password: str) -> io.BytesIO:
    """The plain file. Raises InvalidKeyError if the password is wrong, and whatever else."""
    plain = io.BytesIO()
    file = msoffcrypto.OfficeFile(io.BytesIO(data))
    # Not `verify_password`: the library then refuses every password of files that use SHA-1 (Office 2010). It
    # looks at what comes out in any case.
    file.load_key(password=password)
    file.decrypt(plain)
    return plain


def is_protected(path: Path) -> bool:
    """Whether a file in a container of the old formats is encrypted; also False if it is too damaged to tell."""
    try:
        return bool(msoffcrypto.OfficeFile(io.BytesIO(read_all(path))).is_encrypted())
    except (MemoryError, RecursionError):
        raise
    except Exception:  # what damaged structures raise inside the library has no common type
        return False
