"""Which command is which coroutine. Each calls a service, prints what it returns and chooses the exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from studio.bootstrap import Services, open_services
from studio.cli.arguments import Options
from studio.cli.commands import (
    bundles,
    citing,
    compare,
    doctor,
    gate,
    generations,
    ingest,
    jobs,
    library,
    memory,
    quality,
    searching,
    tags,
    tuning,
    watch,
)
from studio.cli.exit_codes import DONE, Screenshots
from studio.cli.output import note, say
from studio.config import Config, setting
from studio.paths import DataPaths

Command = Callable[[Services, Options], Awaitable[int]]


def execute(options: Options, screenshots: Screenshots) -> int:
    """Run the command of `options`; returns the exit code."""
    if options.command == "config":
        return _config(options)
    if options.command == "doctor":
        return asyncio.run(doctor.doctor(options))
    if options.command == "demo":
        return ingest.demo(options, screenshots)
    return asyncio.run(_with_services(options))


async def _with_services(options: Options) -> int:
    async with open_services(options.data_dir) as services:
        code = await _COMMANDS[options.command](services, options)
        if services.read_only is not None:
            note(f"rag-studio: {services.read_only}")
        return code


def _config(options: Options) -> int:
    config = Config(DataPaths.resolve(options.data_dir).config)
    if options.action == "path":
        say(options, {"path": config.path}, str(config.path))
    elif options.action == "set":
        config.set(options.key, options.value)
        if options.key == "remember_queries" and DataPaths.resolve(options.data_dir).catalog.exists():
            asyncio.run(_forget_queries(options.data_dir))
        say(options, {options.key: config.get(options.key)}, f"{options.key} = {config.get(options.key)}")
        if when := setting(options.key).when:
            note(when)
    else:
        values = {options.key: config.get(options.key)} if options.key else config.all()
        say(options, values, "\n".join(f"{key} = {value}" for key, value in values.items()))
    return DONE


async def _forget_queries(data_dir: Path | None) -> None:
    """Remove what was searched for before that was switched off."""
    async with open_services(data_dir) as services:
        await services.health.forget_queries()


_COMMANDS: dict[str, Command] = {
    "kb": library.kb,
    "ingest": ingest.ingest,
    "jobs": jobs.jobs,
    "watch": watch.watch,
    "documents": library.documents,
    "tag": tags.tag,
    "remove": ingest.remove,
    "search": searching.search,
    "generations": generations.generations,
    "promote": generations.promote,
    "rollback": generations.rollback,
    "diff": compare.diff,
    "gc": generations.gc,
    "gate": gate.gate,
    "tune": tuning.tune,
    "export": bundles.export,
    "verify": bundles.verify,
    "import": bundles.load,
    "cite": citing.cite,
    "evaluate": quality.evaluate,
    "judge": quality.judge,
    "queries": quality.queries,
    "model": library.model,
    "memory": memory.memory,
}
