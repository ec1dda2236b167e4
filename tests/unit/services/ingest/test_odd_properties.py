"""What a file may be called, dated or say of itself, however absurd, costs at most itself."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.cli.output import plain
from studio.documents import frames
from studio.documents.chunking import make_chunks
from studio.documents.parsers.data import parse_parquet
from studio.documents.parsers.mail import iso_date
from studio.documents.parsers.tabular import parse_jsonl
from studio.domain import (
    Citation,
    CitationStyle,
    DocumentStatus,
    Explanation,
    FileProgress,
    FileState,
    JobKind,
    JobState,
    PageCounts,
    ParsedDocument,
    PartFailure,
    SearchResult,
    Span,
)
from studio.errors import DocumentFault, FailureCode
from studio.index.bundle.values import decode_document, encode_document
from studio.index.keywords import date_bounds
from studio.index.vectors import chunk_of
from studio.index.vectors.document_table import DocumentTable
from studio.index.vectors.rows import chunk_rows, document_rows, records_of
from studio.services.ingest import plan
from studio.services.ingest.plan import file_source
from studio.services.ingest.sources import failed_part, failed_record, indexed_record, moved_record
from studio.services.scan import ScannedFile, scanned, sha256_of
from studio.services.scan import walk as scan
from studio.services.scan.file_state import state_of
from studio.services.search.citations import citation
from studio.services.search.dates import period
from studio.services.search.filter_table import COLUMNS, FilterTable
from studio.viewmodels.ingest.file_rows import coverage
from studio.viewmodels.ingest.file_rows import document_rows as shown_rows
from tests.unit.services.workbench import Bench

TEXTS = (
    "", " ", "\0", "a\0b", "\ud800", "x\udfffy", "\n\r\t\x0b\x85\u2028", "\x1b[31m", "\u202egnp.\u2066",
    "a" * 200_000, "\U0001f600" * 500, "'; DROP TABLE documents --", "{}", "null", "NaN", "-1", "9" * 5_000,
    "\ufffe\uffff", "*?[x]!", "--all", "../..", "C:\\", "%s%n{0}", "<img src=x>",
)  # fmt: skip
DATES = (
    "0000-00-00", "0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31", "9999-12-31T23:59:59-14:00", "99999-01-01",
    "99991231", "00000000", "9999-W53-7", "1601-01-01T00:00:00Z", "2446-05-10", "2024-02-30", "31.12.9999",
    "Feb 30 2024", "31 Dec 9999", "D:99999999999999", "\u0661\u0669\u0669\u0669-\u0660\u0661-\u0660\u0661", "1e999",
    "24:00", "99999d", "9" * 400 + "d", "Mon, 99 Zzz 99999 99:99:99 +9999", "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 1 Jan 0001 00:00 +2359",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**80)
NAMES = (
    "line\nend.txt", "-rf.txt", "--help.txt", "*.txt", "[x]?.txt", "it's.txt", 'quo"ted.txt', "back\\slash.txt",
    "bell\x07\x1b[31m.txt", "\u202etxt.exe.txt", " lead.txt", "trail. ", "100%s{0}.txt", "x'; DROP TABLE d --.txt",
    "\U0001f600.txt", "e\u0301.txt", "\u00e9.txt", "\u00c9.txt", "a" * 251 + ".txt", "\u4e2d" * 83 + ".txt", "CON.txt",
    "nbsp\u00a0.txt", "~.txt", "%2e%2e%2f.txt", "#frag?query.txt",
)  # fmt: skip
TIMES_NS = (
    -(2**31) * 10**9, -1, 0, 1, 2**31 * 10**9, 2**32 * 10**9, 9_223_372_037 * 10**9, 15_032_385_535 * 10**9,
)  # fmt: skip
"""From 1901 to 2446, which is what ext4 knows; 2262 is where nanoseconds outgrow 64 bits."""


def odd_document(random: random.Random) -> ParsedDocument:
    """What a parser might make of a hostile file; the text itself is sound, which the frames need."""
    text = "A passage that can be found."
    some, number = random.choice, lambda: random.choice(NUMBERS)
    return ParsedDocument(
        text, (Span(0, len(text), random.choice((None, *NUMBERS)), some(TEXTS)),), ((0, len(text)),), "text",
        title=some(TEXTS), author=some(TEXTS), licence=some(TEXTS), created=some((*DATES, *TEXTS)),
        external_id=some(TEXTS), row=number(), pages=PageCounts(*(number() for _ in range(5))),
        metadata={some(TEXTS): some((*TEXTS, *DATES)) for _ in range(4)},
    )  # fmt: skip


def state(mtime_ns: int, size: int = 5, ctime_ns: int = 0, inode: int = 1) -> ScannedFile:
    status = SimpleNamespace(st_size=size, st_mtime_ns=mtime_ns, st_ctime_ns=ctime_ns, st_ino=inode, st_blocks=8)
    return state_of("/docs/a.txt", status)  # type: ignore[arg-type]


def test_what_a_document_says_of_itself_goes_into_rows_and_back() -> None:
    chance = random.Random(1)
    records = []
    for number in range(150):
        parsed = odd_document(chance)
        (arrived,) = frames.decode_documents(b"".join(frames.encode_documents([parsed])))
        at = state(chance.choice((*NUMBERS, *TIMES_NS)), 5, chance.choice(NUMBERS), chance.choice(NUMBERS[2:]))
        source = file_source(at, [], None)  # type: ignore[arg-type]
        identity = f"{number:032x}"
        record = replace(indexed_record(source, arrived, identity, "a" * 64), chunks=1)
        chunks = make_chunks(identity, arrived, [(0, len(arrived.text))], contextual=True)
        rows = chunk_rows("kb", chunks, np.ones((1, 4), np.float32), 4)
        assert [chunk_of(row) for row in rows.to_pylist()] == chunks
        assert decode_document(encode_document(record)) == record
        json.dumps(plain(record), ensure_ascii=False).encode()
        assert moved_record(record, source) == record
        _cited(record.title, record.source_path, record.created, identity)
        records.append(record)
    rows = document_rows(records)
    again = sorted(records_of(rows), key=lambda item: item.document_id)
    assert again == records
    assert [record.change_stamp for record in again] == [record.change_stamp for record in records]
    assert min(record.change_stamp for record in again) > 0
    assert DocumentTable(rows).records([records[7].document_id]) == [records[7]]
    table = FilterTable(rows.select(list(COLUMNS)))
    for key in ("title", "author", "path", "folder", "type", "tag", "meta.null"):
        for text in TEXTS:
            table.matching(key, text.encode("utf-8", "replace").decode())
    assert len(table.matching("after", "", -1e18)) == len(records)
    assert all(isinstance(item, str) for record in records for item in coverage([record]))
    assert shown_rows("kb", records)


def _cited(title: str, path: str, created: str, identity: str) -> None:
    place = Citation(title, path, title, "", title, None, 0, 5)
    result = SearchResult(
        identity, identity, "kb", "KB", 1, 1.0, "text", "text", (), {"author": title, "created": created}, place,
        Explanation("minmax", 0.5),
    )  # fmt: skip
    for style in CitationStyle:
        citation(result, style).encode()


def test_failures_with_odd_words_go_into_rows() -> None:
    source = file_source(state(2**70), [], None)  # type: ignore[arg-type]
    records = []
    for text in TEXTS:
        fault = frames.decode_fault(frames.encode_fault(DocumentFault(FailureCode.CORRUPT, text, way_out=text)))
        part = frames.decode_failure(frames.encode_failure(PartFailure(text, "corrupt", text)))
        records += [failed_record(source, fault), failed_part(source, part)]
    assert len(records_of(document_rows(records))) == len(records)


async def test_jobs_end_with_any_words(bench: Bench) -> None:
    jobs = bench.stores.catalog.jobs
    kb = await bench.library.get("Toy")
    for text in TEXTS:
        job = await jobs.create(kb.id, JobKind.INGEST, [text], {})
        file = FileProgress(text, FileState.FAILED, error="corrupt", reason=text)
        await jobs.update_files(job, [file])
        await jobs.set_state(job, JobState.PAUSED, error=text)
        await jobs.finish(job, JobState.FAILED, error=text)
        assert (await jobs.get(job)).paths == (text,)


def test_no_date_is_too_odd_to_be_asked() -> None:
    chance = random.Random(2)
    signs = "0123456789-/.:TZ+W JanFeb,\u0661\ud800"
    made = ["".join(chance.choice(signs) for _ in range(chance.randrange(24))) for _ in range(3_000)]
    for text in (*DATES, *TEXTS, *made):
        for found in (period(text), date_bounds(text[:200])):
            assert found is None or found[0] <= found[1]
        assert len(iso_date(text)) in (0, 10)


def test_rows_of_a_table_have_any_id(tmp_path: Path) -> None:
    ids = [
        "1" + "0" * 4_000, "1e400", "-0.0", "null", "true", '""', '"\\ud800"', '"\\u0000"', "[]", "[1,[2]]", '{"a":{}}',
        '"same"', '"same"', json.dumps("x" * 5_000), "NaN", "Infinity", '"--x"', '"a/b\\n"',
    ]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    lines = [f'{{"_id": {value}, "text": "The row number {n}.", "date": {value}}}' for n, value in enumerate(ids)]
    file.write_text("\n".join([*lines, '{"_id": ' + "9" * 5_000 + ', "text": "Too long a number."}']))
    found: list[ParsedDocument] = []
    with pytest.raises(DocumentFault, match="1 line is not valid JSON"):
        for parsed in parse_jsonl(file):
            found.append(parsed)
    assert len(found) == len(ids)
    assert len(frames.decode_documents(b"".join(frames.encode_documents(found)))) == len(ids)
    assert len({item.row for item in found}) == len(ids)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([-(2**31) + 1, 19_000, None], pa.date32()),
        pa.array([2**63 - 1, 1_700_000_000_000_000_001, -(2**63) + 1], pa.timestamp("ns")),
        pa.array([2**63 - 1, 0, -(2**63) + 1], pa.timestamp("us", tz="UTC")),
        pa.array([2**50, 0, -(2**50)], pa.timestamp("ms")),
        pa.array([2**64 - 1, 0, None], pa.uint64()),
        pa.array([float("inf"), float("nan"), -0.0]),
    ],
    ids=lambda column: str(column.type),
)
def test_rows_of_a_parquet_table_have_any_time(tmp_path: Path, column: pa.Array) -> None:
    file = tmp_path / "rows.parquet"
    texts = [f"The row with the number {number}." for number in range(3)]
    pq.write_table(pa.table({"id": column, "date": column, "text": texts}), file)
    found = [parsed for parsed in parse_parquet(file) if isinstance(parsed, ParsedDocument)]
    assert [parsed.text.partition("\n\n")[0] for parsed in found] == texts
    assert len(frames.decode_documents(b"".join(frames.encode_documents(found)))) == 3


async def test_names_and_times_that_a_file_system_allows_cost_nothing(bench: Bench, folder: Path) -> None:
    made: list[Path] = []
    for number, name in enumerate(NAMES):
        path = folder / name
        try:
            path.write_text(f"The text with the number {number} of a file.")
            at = TIMES_NS[number % len(TIMES_NS)]
            os.utime(path, ns=(at, at))
        except OSError:  # not on this file system
            continue
        made.append(path)
    assert len({path.stat().st_mtime_ns > 2**63 for path in made}) >= 1
    bad = os.fsencode(folder) + b"/not \xff text.txt"
    with open(bad, "wb") as file:  # noqa: PTH123
        file.write(b"Its name is no text.")
    report = await bench.ingest.ingest("Toy", [folder])
    assert (report.added, [item.error for item in report.failed]) == (len(made), ["unsupported"])
    assert "not " in report.failed[0].path
    again = await bench.ingest.ingest("Toy", [folder])
    assert (again.generation, again.unchanged) == (None, len(made))
    for path in made:
        path.write_text(f"{path.read_text()} And more.")
        os.utime(path, ns=(-(2**31) * 10**9, 15_032_385_535 * 10**9))
    changed = await bench.ingest.ingest("Toy", [folder])
    assert (changed.updated, changed.added) == (len(made), 0)
    assert len(await bench.sound()) == len(made)
    gone = await bench.ingest.remove("Toy", [str(path) for path in made])
    assert gone.removed == len(made)
    assert await bench.sound() == set()


async def test_members_of_an_archive_have_any_name_and_time(bench: Bench, folder: Path) -> None:
    names = [
        "a\nb.txt", "bad \udcff.txt", "bad \udcfe.txt", "x" * 6_000 + ".txt", "y/" * 90 + "z.txt", "-rf", "C:\\x.md",
    ]  # fmt: skip
    with tarfile.open(folder / "papers.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for number, name in enumerate(names):
            text = f"The member with the number {number}.".encode()
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text), (-1, 2**62, 0, 1e300)[number % 4]
            archive.addfile(member, io.BytesIO(text))
    report = await bench.ingest.ingest("Toy", [folder])
    assert (report.added, report.failed) == (len(names), ())
    assert len(await bench.sound()) == len(names)
    assert (await bench.ingest.ingest("Toy", [folder])).unchanged == len(names)


async def test_a_time_beyond_every_column_is_a_time(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1601, as an archive from Windows may say, and what a damaged file system may."""
    times = {"a.txt": -11_644_473_600 * 10**9, "b.txt": 2**63, "c.txt": 2**70, "d.txt": -(2**70)}

    def aged(path: str, status: os.stat_result) -> ScannedFile:
        names = [name for name in dir(status) if name.startswith("st_")]
        when = times[Path(path).name]
        values = {name: getattr(status, name) for name in names} | {"st_mtime_ns": when, "st_ctime_ns": when}
        return state_of(path, SimpleNamespace(**values))  # type: ignore[arg-type]

    for name in times:
        (folder / name).write_text(f"The text of {name} of long ago.")
    monkeypatch.setattr(scan, "state_of", aged)
    monkeypatch.setattr(plan, "scanned", lambda path: aged(str(path), path.stat()))
    assert (await bench.ingest.ingest("Toy", [folder])).added == 4
    assert (await bench.ingest.ingest("Toy", [folder])).unchanged == 4
    assert set((await bench.statuses()).values()) == {DocumentStatus.INDEXED}


def test_a_file_that_cannot_be_read_to_its_end_is_named() -> None:
    memory = Path("/proc/self/mem")  # reading its beginning is an input/output error
    if not memory.exists():
        pytest.skip("no such file here")
    with pytest.raises(OSError, match=r"/proc/self/mem"):
        sha256_of(memory)
    assert scanned(memory) is not None


async def test_a_bug_that_one_file_brings_to_light_costs_that_file(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text(f"The text of {name}.")

    def hashed(path: Path) -> str:
        if path.name == "b.txt":
            raise OverflowError("int too big to convert")
        return sha256_of(path)

    monkeypatch.setattr(plan, "sha256_of", hashed)
    report = await bench.ingest.ingest("Toy", [folder])
    assert report.added == 2
    assert [(Path(item.path).name, item.error) for item in report.failed] == [("b.txt", "crashed")]
    assert "OverflowError: int too big" in report.failed[0].reason
    assert "b.txt could not be read because of a bug" in caplog.text
