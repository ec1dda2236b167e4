"""Passwords of protected files that are given with a command."""

from __future__ import annotations

import asyncio
import getpass
import sys
from pathlib import Path

from studio.cli.arguments import Options
from studio.cli.output import note
from studio.errors import InvalidRequest, NotFound, storage_fault

SEEN = (
    "rag-studio: a password on the command line is seen in the list of processes and kept in the history of the shell. "
    "Better: --password-file FILE, or --ask-password."
)
_MOST_CHARS = 1 << 20


async def given_passwords(options: Options) -> list[str]:
    """Those of the command line, of files and of the person who is asked, in this order.

    Raises InvalidRequest for a file without any, NotFound, StorageFault.
    """
    if options.password:
        note(SEEN)
    found = list(options.password)
    for file in options.password_file:
        found += await asyncio.to_thread(_read, file)
    if options.ask_password and (asked := await asyncio.to_thread(getpass.getpass, "Password: ", sys.stderr)):
        found.append(asked)
    return found


def _read(file: Path) -> list[str]:
    """The lines of a file; a password may begin and end with spaces."""
    try:
        if str(file) == "-":
            text = sys.stdin.read(_MOST_CHARS)
        else:
            with file.open(encoding="utf-8-sig") as opened:
                text = opened.read(_MOST_CHARS)
    except FileNotFoundError:
        raise NotFound(f"There is no file {file} with a password.") from None
    except OSError as error:
        raise storage_fault(error, "reading passwords", file) from error
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"{file} is not text in UTF-8.", way_out="Save it as UTF-8, a password on a line."
        ) from None
    lines = [line for line in text.split("\n") if line]
    if not lines:
        raise InvalidRequest(f"{file} holds no password.", way_out="Write one on a line of its own.")
    return lines
