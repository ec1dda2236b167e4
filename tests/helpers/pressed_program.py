"""The program as a process that tells how short memory is: opens a data directory, ingests a folder, searches.

    python pressed_program.py DATA_DIR FOLDER HOLD_S INTERVAL_S

Memory is looked at every INTERVAL_S, and a level is left after HOLD_S. Waits for a line on stdin before it ingests.
Tells on stdout, one JSON document a line: `ready`, `running` when the job has embedded something, `ended`, and every
change of level and sacrifices with what a search of that moment finds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from studio.bootstrap import Services, open_services
from studio.domain import KbSettings, SearchRequest
from studio.memory import Level, MemoryCoordinator, coordinator
from studio.services.jobs import JobEnded, JobEvent, JobProgress

NAME = "Notes"


async def tell_changes(services: Services) -> None:
    """For ever."""
    changed = asyncio.Event()
    services.memory.subscribe(changed.set)
    while True:
        await changed.wait()
        changed.clear()
        steps = [step.name for step in services.memory.engaged]
        found = await services.search.search(SearchRequest((NAME,), "first note")) if steps else None
        told = {"level": services.memory.level.name, "steps": steps, "sentence": services.memory.sentence}
        print(json.dumps({**told, "found": len(found.results) if found is not None else 0}), flush=True)


async def main(data_dir: Path, folder: Path) -> None:
    """Ingest until the end."""
    ended: asyncio.Future[JobEnded] = asyncio.get_running_loop().create_future()
    paused: list[str] = []
    running = False

    def hear(event: JobEvent) -> None:
        nonlocal running
        if isinstance(event, JobEnded):
            ended.set_result(event)
        elif isinstance(event, JobProgress):
            if event.progress.chunks_done and not running:
                running = True
                print(json.dumps({"running": True}), flush=True)
            if event.progress.paused and event.progress.paused not in paused:
                paused.append(event.progress.paused)

    async with open_services(data_dir) as services:
        kb = await services.library.create(NAME, KbSettings(contextual=False))
        (folder.parent / "first.txt").write_text("The first note, for searches to find.", "utf-8")
        await services.ingest.ingest(kb.id, [folder.parent / "first.txt"])
        services.queue.subscribe(hear)
        await services.queue.start()
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(tell_changes(services))
            print(json.dumps({"ready": True}), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await services.queue.add(kb.id, [folder])
            job = await ended
            telling.cancel()
        documents = len(await services.library.documents(NAME))
        print(json.dumps({"ended": job.job.state.value, "documents": documents, "paused": paused}), flush=True)


if __name__ == "__main__":
    MemoryCoordinator.__init__.__kwdefaults__["hold_s"] = float(sys.argv[3])
    coordinator.INTERVALS_S = dict.fromkeys(Level, float(sys.argv[4]))
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
