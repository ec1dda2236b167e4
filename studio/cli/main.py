"""Arguments, exit codes and error messages of the command line.

Exit codes: 0 done, 1 failed with a message, 2 usage, 3 partly done (some files failed; they are listed).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from studio import __version__
from studio.concurrency import keep_gui_responsive
from studio.errors import InvalidRequest, StudioError, storage_fault
from studio.paths import DataPaths

Window = Callable[[Path | None, bool], int]
Screenshots = Callable[[Path | None, str, str, Path], list[Path]]

DONE, FAILED, PARTLY = 0, 1, 3
INTERRUPTED = 130


def run(arguments: Sequence[str], *, window: Window, screenshots: Screenshots) -> int:
    """Parse, dispatch, report. `window` and `screenshots` start the graphical side and are only called for it."""
    try:
        options = build_parser().parse_args(list(arguments))
    except SystemExit as exit_:
        return int(exit_.code or 0)
    as_json = getattr(options, "json", False)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    from studio.cli.output import print_error

    try:
        if options.command is None:
            keep_gui_responsive()
            return window(options.data_dir, options.sample)
        from studio.cli.commands import execute

        return execute(options, screenshots)
    except StudioError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except OSError as error:
        print_error(storage_fault(error, f"running {options.command or 'the window'}"), as_json=as_json)
        return FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("rag-studio: stopped. What was indexed before is intact.\n")
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
        sys.stderr.write(details)
        where = ""
    return StudioError(f"An internal error stopped the program: {type(error).__name__}: {error}.", way_out=where)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    # Global options work before and after the command. After it they must have no default of their own, or it would
    # overwrite what was given before; and set_defaults on one parser would change the actions both share.
    shared = _global_options(argparse.SUPPRESS, argparse.SUPPRESS)
    parser = argparse.ArgumentParser(
        prog="rag-studio",
        description="Local-first knowledge bases with cited hybrid search.",
        parents=[_global_options(None, False)],
    )
    parser.add_argument("--version", action="version", version=f"rag-studio {__version__}")
    parser.add_argument("--sample", action="store_true", help="open the window on the sample knowledge base")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[shared])

    demo = command("demo", "run the main job without a display and render the window to PNG files")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR")

    kb = command("kb", "knowledge bases").add_subparsers(dest="action", metavar="ACTION", required=True)
    kb.add_parser("list", parents=[shared])
    create = kb.add_parser("create", parents=[shared])
    create.add_argument("name")
    create.add_argument("--model")
    create.add_argument("--chunk-tokens", type=int, metavar="N")
    create.add_argument("--chunk-overlap", type=int, metavar="N")
    create.add_argument("--metric", choices=("cosine", "l2", "dot"))
    create.add_argument("--language", metavar="CODE")
    rename = kb.add_parser("rename", parents=[shared])
    rename.add_argument("name")
    rename.add_argument("new_name")
    delete = kb.add_parser("delete", parents=[shared])
    delete.add_argument("name")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    kb.add_parser("info", parents=[shared]).add_argument("name")

    ingest = command("ingest", "make a knowledge base match files and folders")
    ingest.add_argument("kb")
    ingest.add_argument("paths", nargs="*", type=Path)
    ingest.add_argument("--recursive", action=argparse.BooleanOptionalAction, default=True)
    ingest.add_argument("--include", action="append", default=[], metavar="GLOB")
    ingest.add_argument("--exclude", action="append", default=[], metavar="GLOB")
    ingest.add_argument("--no-promote", action="store_true", help="leave the new generation ready, not active")
    ingest.add_argument("--jobs", type=int, default=2, metavar="N", help="files read side by side")
    ingest.add_argument("--resume", action="store_true", help="run the last unfinished job again")

    command("documents", "list documents").add_argument("kb")
    remove = command("remove", "remove documents")
    remove.add_argument("kb")
    remove.add_argument("documents", nargs="+", metavar="DOCUMENT")

    search = command("search", "search one or more knowledge bases")
    search.add_argument("kb", help="name, or several separated by commas")
    search.add_argument("query")
    search.add_argument("--mode", choices=("hybrid", "vector", "keyword"), default="hybrid")
    search.add_argument("--limit", type=int, default=10, metavar="N")
    search.add_argument("--offset", type=int, default=0, metavar="N")
    search.add_argument("--filter", action="append", default=[], metavar="K=V")
    search.add_argument("--weight", type=float, default=0.5, metavar="0..1", help="share of the vector side")
    search.add_argument("--fusion", choices=("minmax", "rrf", "adaptive"), default="minmax")
    search.add_argument("--explain", action="store_true", help="print every score (JSON has them always)")
    search.add_argument("--generation", type=int, metavar="G")

    command("generations", "list generations").add_argument("kb")
    promote = command("promote", "make a generation active")
    promote.add_argument("kb")
    promote.add_argument("generation", type=int)
    rollback = command("rollback", "go back to an older generation")
    rollback.add_argument("kb")
    rollback.add_argument("generation", type=int, nargs="?")
    gc = command("gc", "delete generations that are not kept any more")
    gc.add_argument("kb", nargs="?")
    gc.add_argument("--dry-run", action="store_true")

    evaluate = command("evaluate", "measure retrieval quality with judged queries")
    evaluate.add_argument("kb")
    evaluate.add_argument("--queries", type=Path, required=True, metavar="F.jsonl")
    evaluate.add_argument("--qrels", type=Path, required=True, metavar="F.tsv")
    evaluate.add_argument("--modes", default="hybrid,vector,keyword")
    evaluate.add_argument("--k", type=int, default=10)
    evaluate.add_argument("--weight", type=float, default=0.5, metavar="0..1")
    evaluate.add_argument("--fusion", choices=("minmax", "rrf", "adaptive"), default="minmax")

    model = command("model", "embedding models").add_subparsers(dest="action", metavar="ACTION", required=True)
    model.add_parser("list", parents=[shared])
    model.add_parser("install", parents=[shared]).add_argument("source", help="name, file, folder or URL")
    use = model.add_parser("use", parents=[shared])
    use.add_argument("kb")
    use.add_argument("name")
    model.add_parser("remove", parents=[shared]).add_argument("name")

    command("doctor", "check what must always hold").add_argument("--repair", action="store_true")

    config = command("config", "settings").add_subparsers(dest="action", metavar="ACTION", required=True)
    config.add_parser("get", parents=[shared]).add_argument("key", nargs="?")
    setting = config.add_parser("set", parents=[shared])
    setting.add_argument("key")
    setting.add_argument("value")
    config.add_parser("path", parents=[shared])
    return parser


def _global_options(data_dir: object, as_json: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", default=data_dir, help="where everything is kept")
    parser.add_argument("--json", action="store_true", default=as_json, help="one JSON document on stdout")
    return parser


def key_value(text: str) -> tuple[str, str]:
    """A KEY=VALUE argument. Raises InvalidRequest."""
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise InvalidRequest(f"“{text}” is not a filter.", way_out="Write KEY=VALUE, for example type=pdf.")
    return key, value
