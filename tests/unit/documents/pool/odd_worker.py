"""A parser worker whose plain-text parser does what a text tells it: hang, die, or take memory (MiB)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from studio.documents import parser_worker
from studio.documents.parsers import PARSERS, passwords
from studio.documents.parsers.base import make_document
from studio.domain import ParsedDocument, ParseProgress, ParserEvent, PartFailure


def parse(path: Path) -> Iterator[ParserEvent]:
    for line in path.read_text().splitlines():
        word, _, argument = line.partition(" ")
        if word == "die":
            os._exit(3)
        elif word == "hang":
            time.sleep(600)
        elif word == "take":
            held = [b"x" * (1 << 20) for _ in range(int(argument))]
            time.sleep(float(os.environ.get("HOLD", "0")))
            del held
        elif word == "child":
            code = f"held = b'x' * ({argument} << 20)\nimport time\ntime.sleep(600)"
            subprocess.run([sys.executable, "-c", code], check=False)
        elif word == "once":  # fatal on the first reading only
            mark = Path(argument)
            if not mark.exists():
                mark.touch()
                os._exit(3)
        elif word == "pages":
            for page in range(int(argument)):
                time.sleep(0.15)
                yield ParseProgress(page + 1, int(argument))
        elif word == "litter":
            (Path(tempfile.mkdtemp()) / "left").write_bytes(b"x" * 1000)
            print(tempfile.gettempdir(), file=sys.stderr)
        elif word == "fail":
            yield PartFailure(argument, "corrupt", "It is damaged.")
        elif word == "passwords":
            yield text(" ".join(passwords.current()) or "none")
        else:
            yield text(line)


def text(content: str) -> ParsedDocument:
    return make_document(content, (), "text")


if __name__ == "__main__":
    PARSERS["text"] = parse  # type: ignore[index]
    parser_worker.BATCH_DOCUMENTS = int(os.environ.get("BATCH", parser_worker.BATCH_DOCUMENTS))
    sys.exit(parser_worker.main(sys.argv[1:]))
