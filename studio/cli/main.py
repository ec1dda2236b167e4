"""The start of the command line: exit codes and error messages.

Exit codes: 0 done, 1 failed with a message, 2 usage, 3 partly done (some files failed; they are listed).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
import traceback
from collections.abc import Sequence

from studio.cli.arguments import build_parser
from studio.cli.exit_codes import FAILED, INTERRUPTED, Screenshots, Window
from studio.concurrency import keep_gui_responsive
from studio.errors import StudioError, storage_fault
from studio.paths import DataPaths
from studio.terminal import VisibleFormatter, visible


def run(arguments: Sequence[str], *, window: Window, screenshots: Screenshots) -> int:
    """Parse, dispatch, report. `window` and `screenshots` start the graphical side and are only called for it."""
    try:
        options = build_parser().parse_args(list(arguments))
    except SystemExit as exit_:
        return int(exit_.code or 0)
    as_json = getattr(options, "json", False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    from studio.cli.output import print_error

    try:
        if options.command is None:
            keep_gui_responsive()
            return window(options.data_dir, options.sample)
        from studio.cli.dispatch import execute

        return execute(options, screenshots)
    except StudioError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except OSError as error:
        print_error(storage_fault(error, f"running {options.command or 'the window'}"), as_json=as_json)
        return FAILED
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        went_on = isinstance(error, KeyboardInterrupt) and options.command == "ingest" and not options.dry_run
        more = f" Go on with: rag-studio ingest {shlex.quote(options.kb)} --resume" if went_on else ""
        sys.stderr.write(f"rag-studio: stopped. What was indexed before is intact.{visible(more)}\n")
        return INTERRUPTED
    except Exception as error:
        print_error(_bug(error, options), as_json=as_json)
        return FAILED


def _bug(error: Exception, options: argparse.Namespace) -> StudioError:
    """An unexpected error: the details go to a log file, the person gets a sentence."""
    details = "".join(traceback.format_exception(error))
    log = DataPaths.resolve(getattr(options, "data_dir", None)).logs / "errors.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(details + "\n")
        where = f"The details are in {log}."
    except OSError:
        sys.stderr.write(visible(details))
        where = ""
    return StudioError(f"An internal error stopped the program: {type(error).__name__}: {error}.", way_out=where)
