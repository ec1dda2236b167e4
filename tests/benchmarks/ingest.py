"""Ingest against the embedding worker alone, on the same chunks, in one run; and against a plain script.

    .venv/bin/python tests/benchmarks/ingest.py [--passages 2000] [--corpus FILE.jsonl] [--files 300] [--folder DIR]
                                                [--rounds N] [--peer PYTHON]

First a table of passages (made of shuffled sentences of the sample library, or the first rows of a BEIR corpus), then
a folder of mixed files (made of the samples in eight formats, or one of yours) are ingested. Prints chunks per second,
the same of the embedding worker alone on the very same chunks right after, their ratio, and the seconds of each stage.
A machine is seldom as fast twice: with `--rounds` both are done several times in turn and their seconds added up.

With `--peer`, an interpreter that has chromadb and llama-cpp-python, a plain script ingests the same passages into
chromadb, embedding one text at a time with `Llama.embed` of the same model file; the ratio is printed.

Needs the default model (`rag-studio model install all-MiniLM-L6-v2`).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from studio.bootstrap import Services, open_services
from studio.domain import Embedder, KbSettings
from studio.paths import resources_dir
from tests.helpers.mixed_files import write_files
from tests.helpers.toy import contents_of

PEER = Path(__file__).with_name("chroma_peer.py")


def passages(rows: int, corpus: Path | None) -> list[str]:
    """Texts of about the length of a chunk."""
    if corpus is not None:
        with corpus.open(encoding="utf-8") as lines:
            found = [json.loads(line) for line in itertools.islice(lines, rows)]
        return [f"{row.get('title', '')} {row['text']}".strip() for row in found]
    text = " ".join(path.read_text("utf-8") for path in sorted((resources_dir() / "samples").glob("*.md")))
    sentences = [part.strip() for part in text.replace("\n", " ").split(". ") if len(part) > 30]
    rng = random.Random(1)
    return [". ".join(rng.sample(sentences, 8)) for _ in range(rows)]


async def alone(embedder: Embedder, texts: Sequence[str]) -> float:
    """Seconds the worker takes for these texts, some hundred at a time and nothing else to do."""
    ordered = sorted(texts, key=len)
    begun = time.perf_counter()
    for first in range(0, len(ordered), 512):
        await embedder.embed(ordered[first : first + 512])
    return time.perf_counter() - begun


async def compare(services: Services, name: str, source: Path, rounds: int) -> list[str]:
    """Ingest a source, then embed the chunks that came of it; `rounds` times. Returns the chunks' texts."""
    ingest_s = alone_s = embedded = 0.0
    for turn in range(1, rounds + 1):
        kb = await services.library.create(f"{name} {turn}", KbSettings(contextual=False))
        embedder = await services.ingest._work._builder._embedders.embedder(kb.settings.model)
        await embedder.embed(["warm up"] * 8)
        report = await services.ingest.ingest(kb.id, [source])
        async with services.library._stores.store(kb.id).reading() as snapshot:
            texts = [content for _, _, content in await contents_of(snapshot.tables)]
        distinct = list(dict.fromkeys(texts))
        ingest_s += report.seconds
        alone_s += await alone(embedder, distinct)
        embedded += report.embedded
    begun = time.perf_counter()
    again = await services.ingest.ingest(kb.id, [source])
    again_s = time.perf_counter() - begun
    worker, whole = rounds * len(distinct) / alone_s, embedded / ingest_s
    print(f"\n{name}: {report.added:,} documents, {len(texts):,} chunks, {len(report.failed)} failed")
    print(f"{'what':<28}{'embedded':>10}{'seconds':>10}{'chunks/s':>10}")
    print(f"{'embedding worker alone':<28}{rounds * len(distinct):>10}{alone_s:>10.2f}{worker:>10.1f}")
    print(f"{'ingest, end to end':<28}{embedded:>10.0f}{ingest_s:>10.2f}{whole:>10.1f}")
    print(f"{'ingest again, unchanged':<28}{again.embedded:>10}{again_s:>10.2f}")
    print("stages, seconds busy: " + ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in report.stages.items()))
    print(f"ratio {whole / worker:.3f}")
    return texts


def peer(python: Path, model: Path, texts: Sequence[str], ours_per_s: float) -> None:
    """The plain script on the same texts, in its own interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "texts.json")
        place.write_text(json.dumps(list(texts)), "utf-8")
        done = subprocess.run(
            [str(python), str(PEER), str(model), str(place), folder], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        print(f"\nThe plain script failed: {done.stderr.strip().splitlines()[-1:]}")
        return
    seconds = float(done.stdout.split()[-1])
    print(
        f"\nchromadb, one text at a time: {len(texts)} chunks in {seconds:.2f} s, {len(texts) / seconds:.1f} chunks/s"
    )
    print(f"ingest ÷ plain script {ours_per_s * seconds / len(texts):.2f}")


async def measure(options: argparse.Namespace) -> None:
    """Both sources, in one data directory."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "passages.jsonl")
        rows = enumerate(passages(options.passages, options.corpus))
        table.write_text("".join(json.dumps({"_id": str(n), "text": text}) + "\n" for n, text in rows), "utf-8")
        mixed = options.folder or write_files(Path(folder, "mixed"), options.files)
        async with open_services(Path(folder, "data")) as services:
            await services.search.warm_up()
            texts = await compare(services, "Passages", table, options.rounds)
            await compare(services, "Mixed files", mixed, options.rounds)
            model = next(item for item in await services.models.list() if item.name == KbSettings().model)
            if options.peer is not None and model.path is not None:
                sample = texts[:500]
                kb = await services.library.create("Against the plain script", KbSettings(contextual=False))
                few = Path(folder, "few.jsonl")
                few.write_text("".join(json.dumps({"_id": str(n), "text": t}) + "\n" for n, t in enumerate(sample)))
                report = await services.ingest.ingest(kb.id, [few])
                await asyncio.to_thread(peer, options.peer, model.path, sample, report.chunks_per_second)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=2000, metavar="N")
    parser.add_argument("--corpus", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--files", type=int, default=300, metavar="N")
    parser.add_argument("--folder", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=1, metavar="N")
    parser.add_argument("--peer", type=Path, metavar="PYTHON")
    asyncio.run(measure(parser.parse_args()))
    sys.stdout.flush()
