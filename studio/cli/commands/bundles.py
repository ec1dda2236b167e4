"""Commands around bundles: one generation in one file, for another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.commands.library import kb_value
from studio.cli.exit_codes import DONE
from studio.cli.output import ProgressLine, error_value, plain, print_error, print_json, say, size
from studio.errors import StudioError
from studio.services.generations import BundleInfo


async def export(services: Services, options: Options) -> int:
    """Write one generation to a file."""
    with _progress("exporting") as progress:
        info = await services.bundles.export(
            options.kb, options.file, options.generation, overwrite=options.overwrite, progress=progress
        )
    say(options, info, f"Exported {_told(info)} to {info.file} ({size(info.bytes)}).")
    return DONE


async def verify(services: Services, options: Options) -> int:
    """Check every checksum of a bundle; a refused one is an answer too when JSON is asked for."""
    try:
        with _progress("verifying") as progress:
            info = await services.bundles.verify(options.file, progress=progress)
    except StudioError as error:
        if not options.json:
            raise
        print_error(error, as_json=False)
        print_json({"ok": False, "error": error_value(error)})
        return error.exit_code
    say(options, {"ok": True, **plain(info)}, f"{info.file} is whole: {_told(info)} ({size(info.bytes)}).")
    return DONE


async def load(services: Services, options: Options) -> int:
    """Make a knowledge base from a bundle."""
    with _progress("importing") as progress:
        imported = await services.bundles.load(options.file, options.name, progress=progress)
    value = {
        **kb_value(imported.kb),
        "generation": imported.generation,
        "model_installed": imported.model_installed,
        "note": imported.note,
        "bundle": plain(imported.bundle),
    }
    text = f"Imported {_told(imported.bundle)} as “{imported.kb.name}”."
    say(options, value, f"{text}\n{imported.note}".rstrip())
    return DONE


def _told(info: BundleInfo) -> str:
    return f"{info.name}, generation {info.generation} with {info.documents} documents and {info.chunks} chunks"


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    line = ProgressLine()
    try:
        yield lambda done, total: line.transfer(done, total, what)
    finally:
        line.close()
