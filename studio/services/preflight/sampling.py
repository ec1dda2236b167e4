"""What many files hold, judged by a few that are read within a given time."""

from __future__ import annotations

import asyncio
import math
import re
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from studio.documents.chunking import cut, make_chunks
from studio.documents.kinds import OTHER, file_kind
from studio.domain import DocumentParser, Embedder, KbSettings, ModelInfo, ParsedDocument, Vectors
from studio.errors import DocumentFault, FailureCode, InvariantViolated, ModelFault, WorkerDied
from studio.services.scan import ScannedFile, readable

MOST_FILES = 100
READERS = 2
FEWEST_FILES = 8
"""A sample of less is worth as much time again: processes may have to be started first."""
LEAST_S = 1.0
"""A file gets half of the time that is left, and this much if there is so much."""
COUNT_S = 1.5
"""What the model may take to count the tokens of a document; a job may keep it busy."""
SIZE_FLOOR = 2_000
"""Bytes that a file weighs in any case, for the passage or two that the smallest has."""
HEAD_KINDS = frozenset({"text", "code", "markdown", "rst", "asciidoc", "latex", "org", "jsonl", "csv", "tsv"})
"""Kinds of which the beginning can be read as a file of its own."""
HEAD_BYTES = 256 << 10
MOST_CHARS = 60_000
"""Of one document, cut into passages: some 20 ms."""
TEXTS_PER_FILE = 4
TEXT_SHARE, OTHER_SHARE = 0.25, 0.02
"""Of a file that is not plain text, and of one whose name says nothing: text in its bytes, as far as one can guess."""
BYTES_PER_CHUNK = 800
"""Where nothing could be read: what plain English text has, in passages of 240 tokens."""
_LETTERS, _SPACES = re.compile("[A-Za-z]"), re.compile(r"\s")
LETTERS_PER_TOKEN = 3.0
"""In the vocabulary of BERT models: less than the four of plain English, for names, tables and other languages. Digits,
signs and letters of other scripts are a token each, nearly. Fitted to 4,247 passages of 14 formats."""


@dataclass(slots=True)
class Amount:
    """Something that adds up over files: passages, bytes of their texts (UTF-8), seconds to read the files."""

    chunks: float = 0.0
    text_bytes: float = 0.0
    seconds: float = 0.0

    def add(self, other: Amount, times: float = 1.0) -> None:
        """Add another one, scaled."""
        self.chunks += other.chunks * times
        self.text_bytes += other.text_bytes * times
        self.seconds += other.seconds * times


@dataclass(slots=True)
class Reading:
    """What reading one file told; `fault` is why it cannot be indexed."""

    file: ScannedFile
    amount: Amount = field(default_factory=Amount)
    fault: FailureCode | None = None
    texts: list[str] = field(default_factory=list)


def kind_of(file: ScannedFile) -> str:
    """The kind a file's name promises."""
    name = PurePath(file.source_path).name if "\\" in file.source_path else file.source_path.rpartition("/")[2]
    dot = name.rfind(".")
    return _kind(f"x{name[dot:].lower()}" if dot > 0 else name)


@lru_cache(maxsize=4096)
def _kind(name: str) -> str:
    return file_kind(PurePath(name))


def weight(file: ScannedFile) -> int:
    """What a file counts for in the sample: bytes of text, as far as one can guess."""
    kind = kind_of(file)
    share = 1.0 if kind in HEAD_KINDS else OTHER_SHARE if kind == OTHER else TEXT_SHARE
    return SIZE_FLOOR + int(file.size_bytes * share)


def spread(files: Sequence[ScannedFile], most: int) -> list[ScannedFile]:
    """Up to `most` files, chosen with a chance in proportion to their weight, evenly over kinds and sizes.

    Systematic sampling on the files in the order of kind and size; the places come in the order of van der Corput's
    sequence (1935), so that any beginning of the list is spread evenly too.
    """
    ordered = sorted(files, key=lambda file: (kind_of(file), file.size_bytes))
    ends = list(accumulate(weight(file) for file in ordered))
    chosen: dict[int, None] = {}
    for number in range(1, 8 * most + 1):
        if len(chosen) == min(most, len(ordered)):
            break
        chosen[bisect_right(ends, int(_van_der_corput(number) * ends[-1]))] = None
    for index in range(len(ordered)):  # small ones beside a giant are seldom hit
        if len(chosen) >= min(most, len(ordered)):
            break
        chosen[index] = None
    return [ordered[index] for index in chosen]


def _van_der_corput(number: int) -> float:
    place, step = 0.0, 0.5
    while number:
        place += step * (number & 1)
        number >>= 1
        step /= 2
    return place


class ByLength:
    """Stands in for a model that is not at hand: counts tokens by the length of texts."""

    def __init__(self, dimension: int, max_tokens: int, size_bytes: int = 0) -> None:
        self._model = ModelInfo("by length", "", dimension, max_tokens, "", size_bytes, "", False, None)

    @property
    def model(self) -> ModelInfo:
        return self._model

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        """It cannot."""
        raise InvariantViolated("There is no model to embed with.")

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """About as many as the texts have."""
        return [_tokens(text) for text in texts]

    async def close(self) -> None:
        """There is nothing to close."""


def _tokens(text: str) -> int:
    letters, spaces = len(_LETTERS.findall(text)), len(_SPACES.findall(text))
    return math.ceil(letters / LETTERS_PER_TOKEN + 0.9 * (len(text) - letters - spaces))


class Sampler:
    """Reads files until a time is over. `readings` are those that could be read to their end, or failed by then."""

    def __init__(
        self,
        parser: DocumentParser,
        embedder: asyncio.Task[Embedder],
        settings: KbSettings,
        passwords: Sequence[str],
        roots: Sequence[Path],
    ) -> None:
        self._parser = parser
        self._starting = embedder
        self._instead: Embedder | None = None
        self._settings = settings
        self._passwords = passwords
        self._roots = tuple(roots)
        self.readings: list[Reading] = []

    async def read(self, files: Sequence[ScannedFile], deadline: float, patience_s: float) -> None:
        """Read a spread of `files` until `deadline` (of `time.monotonic`), or up to `patience_s` longer for a few."""
        waiting = iter(await asyncio.to_thread(spread, files, MOST_FILES))
        # One folder for the beginnings of all files: what reads them may open what this job is about and nothing else.
        with TemporaryDirectory(prefix="rag-studio-", ignore_cleanup_errors=True) as heads:
            roots = (*self._roots, Path(heads))
            async with asyncio.TaskGroup() as group:
                for _ in range(READERS):
                    group.create_task(self._read_all(waiting, deadline, patience_s, roots))

    async def _read_all(
        self, waiting: Iterator[ScannedFile], deadline: float, patience_s: float, roots: Sequence[Path]
    ) -> None:
        for file in waiting:
            left = deadline - time.monotonic()
            if left <= 0 and len(self.readings) < FEWEST_FILES:
                left += patience_s
            if left <= 0:
                return
            try:
                async with asyncio.timeout(max(left / 2, min(left, LEAST_S))):
                    self.readings.append(await self._reading(file, roots))
            except TimeoutError:
                pass  # it takes too long to be an example

    async def _reading(self, file: ScannedFile, roots: Sequence[Path]) -> Reading:
        if kind_of(file) not in HEAD_KINDS or file.size_bytes <= 2 * HEAD_BYTES:
            return await self._whole(file, file.path, roots)
        with TemporaryDirectory(dir=roots[-1], ignore_cleanup_errors=True) as folder:
            place = Path(folder, file.path.name)
            length = await asyncio.to_thread(_copy_head, file.path, place)
            reading = await self._whole(file, place, roots)
        if length:
            amount = Amount()
            amount.add(reading.amount, file.size_bytes / length)
            reading.amount = amount
        return reading

    async def _whole(self, file: ScannedFile, place: Path, roots: Sequence[Path]) -> Reading:
        reading = Reading(file)
        started = time.monotonic()
        found = self._parser.parse(place, passwords=self._passwords, roots=roots)
        try:
            async with aclosing(found) as events:  # type: ignore[type-var]
                while (event := await anext(events, None)) is not None:
                    reading.amount.seconds += time.monotonic() - started
                    if isinstance(event, ParsedDocument):
                        await self._document(reading, event)
                    started = time.monotonic()
        except DocumentFault as fault:
            reading.fault = fault.code
        except OSError:
            reading.fault = FailureCode.NO_PERMISSION
        if reading.fault is None and not reading.amount.chunks:
            reading.fault = FailureCode.NO_TEXT
        return reading

    async def _document(self, reading: Reading, parsed: ParsedDocument) -> None:
        part = _beginning(parsed)
        embedder = await asyncio.shield(self._starting) if self._instead is None else self._instead
        try:
            async with asyncio.timeout(COUNT_S):
                ranges = await cut(part, embedder, self._settings)
        except (TimeoutError, ModelFault, WorkerDied):
            self._instead = ByLength(embedder.model.dimension, embedder.model.max_tokens)
            ranges = await cut(part, self._instead, self._settings)
        chunks = make_chunks("", part, ranges, contextual=self._settings.contextual)
        texts = [chunk.indexed_text for chunk in chunks]
        found = Amount(len(texts), sum(len(text.encode("utf-8", "replace")) for text in texts))
        reading.amount.add(found, len(parsed.text) / max(1, len(part.text)))
        room = TEXTS_PER_FILE - len(reading.texts)
        reading.texts += texts[:: max(1, len(texts) // TEXTS_PER_FILE)][:room]


def estimate(readings: Sequence[Reading], files: Sequence[ScannedFile]) -> Amount:
    """What all `files` hold: those that were read what they told, others what their weight and kind suggest.

    Of files chosen in proportion to their weight, the mean of amount ÷ weight is that of all (Hansen, Hurwitz, 1943).
    """
    rates: defaultdict[str, list[tuple[Reading, float]]] = defaultdict(list)
    total = Amount()
    for reading in readings:
        total.add(reading.amount)
        rates[kind_of(reading.file)].append((reading, 1 / weight(reading.file)))
    done = {reading.file.source_path for reading in readings}
    left: Counter[str] = Counter()
    for file in files:
        if file.source_path not in done:
            left[kind_of(file)] += weight(file)
    for kind, weights in left.items():
        known = rates[kind]
        for reading, share in known:
            total.add(reading.amount, share * weights / len(known))
        if not known and kind != OTHER:
            total.add(Amount(1 / BYTES_PER_CHUNK, 1.0), weights)
    return total


async def seconds_per_byte(embedder: Embedder, readings: Sequence[Reading], deadline: float) -> float | None:
    """How long the model takes for a byte of text, tried on passages of the sample; None when there are none."""
    by_length = sorted((text for reading in readings for text in reading.texts), key=len)
    texts = by_length[:: max(1, len(by_length) // 24)]
    if not texts:
        return None
    await embedder.embed(texts[:1], interactive=True)  # the first one also waits for the model
    turns = [texts[start::4] for start in range(4)]
    seconds, size = 0.0, 0
    for turn in turns:
        if not turn or (size and time.monotonic() > deadline):
            break
        started = time.monotonic()
        await embedder.embed(turn, interactive=True)
        seconds += time.monotonic() - started
        size += sum(len(text.encode("utf-8", "replace")) for text in turn)
    return seconds / max(1, size)


def examples(readings: Sequence[Reading]) -> dict[FailureCode, list[str]]:
    """Why files of the sample cannot be indexed, and which."""
    found: defaultdict[FailureCode, list[str]] = defaultdict(list)
    for reading in readings:
        if reading.fault is not None:
            found[reading.fault].append(readable(reading.file.source_path))
    return found


def _beginning(parsed: ParsedDocument) -> ParsedDocument:
    """The first part of a long document."""
    if len(parsed.text) <= MOST_CHARS:
        return parsed
    segments = tuple(segment for segment in parsed.segments if segment[1] <= MOST_CHARS) or parsed.segments[:1]
    end = segments[-1][1]
    spans = tuple(replace(span, end=min(span.end, end)) for span in parsed.spans if span.start < end)
    return replace(parsed, text=parsed.text[:end], segments=segments, spans=spans)


def _copy_head(path: Path, place: Path) -> int:
    """Copy whole lines from the beginning of a file; returns their length."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    head = head[: head.rfind(b"\n") + 1] or head
    place.write_bytes(head)
    return len(head)
