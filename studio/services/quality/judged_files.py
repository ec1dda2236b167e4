"""Files of judged queries: BEIR (JSON lines and tab-separated judgments) and TREC (topics, qrels, runs)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import quote, unquote

from studio.errors import InvalidRequest, NotFound, storage_fault
from studio.private import hand_over, make_folder
from studio.services.quality.evaluation import Judgments

MAX_GRADE = 1000
"""trec_eval counts documents by grade in an array as long as the highest one."""

BEIR_FILES = ("queries.jsonl", "qrels.tsv")
TREC_FILES = ("topics.tsv", "qrels.txt")
"""What an export writes into a folder."""

_TOPIC = re.compile(r"<num>\s*(?:Number:\s*)?([^<\n]+?)\s*(?:</num>\s*)?<title>\s*(?:Topic:\s*)?([^<]*)", re.IGNORECASE)


def read_queries(path: Path) -> dict[str, str]:
    """Query id → text, from JSON lines with `_id` and `text`, TREC topics, or lines of id, tab, text.

    Raises NotFound, StorageFault, InvalidRequest naming the line.
    """
    lines = lines_of(path)
    text = "\n".join(lines)
    if text.lstrip().startswith("<"):
        found = {number: " ".join(title.split()) for number, title in _TOPIC.findall(text)}
        if not found:
            raise InvalidRequest(f"{path} has no topic with <num> and <title>.")
        queries = found
    else:
        queries = dict(_query(path, number, line) for number, line in enumerate(lines, start=1) if line.strip())
    empty = next((query for query, asked in queries.items() if not asked.strip()), None)
    if empty is not None:
        raise InvalidRequest(f"The query “{empty}” in {path} is empty.", way_out="Give it a text, or take it out.")
    return queries


def _query(path: Path, number: int, line: str) -> tuple[str, str]:
    name, tab, asked = line.partition("\t")
    if tab and name.strip() and not line.lstrip().startswith("{"):
        return unquote(name.strip()), asked.strip()
    try:
        row = json.loads(line)
        return str(row["_id"]), str(row["text"])
    except (ValueError, KeyError, TypeError):
        raise InvalidRequest(
            f"{path}, line {number}, is not a query.",
            way_out='Each line: {"_id": "…", "text": "…"}, or an id, a tab and the text.',
        ) from None


def read_qrels(path: Path) -> Judgments:
    """Judgments from three tab-separated columns (BEIR) or four columns (TREC).

    Raises NotFound, StorageFault, InvalidRequest naming the line.
    """
    judgments: Judgments = {}
    for number, line in enumerate(lines_of(path), start=1):
        cells = line.split("\t") if line.count("\t") >= 2 else line.split()
        if not line.strip() or (number == 1 and cells[-1].strip() == "score"):
            continue
        if len(cells) == 4:
            cells = [unquote(cells[0]), _plain_document(cells[2]), cells[3]]
        try:
            query, document, grade = cells
            judgments.setdefault(query, {})[document] = _grade(grade)
        except ValueError:
            raise InvalidRequest(
                f"{path}, line {number}, is not a judgment.",
                way_out=f"Each line: query id, document id, grade (a whole number up to {MAX_GRADE}).",
            ) from None
    return judgments


def write_beir(folder: Path, queries: Mapping[str, str], judgments: Judgments) -> list[Path]:
    """Write `queries.jsonl` and `qrels.tsv` into a folder. Raises StorageFault, InvalidRequest for unwritable names."""
    for name in {*queries, *(document for _, document, _ in _flat(judgments))}:
        if re.search(r"[\t\r\n]", name):
            raise InvalidRequest(
                f"The name “{name}” cannot stand in a table.", way_out="Export in TREC form, which encodes it."
            )
    rows = [json.dumps({"_id": name, "text": text}, ensure_ascii=False) for name, text in queries.items()]
    lines = [
        "query-id\tcorpus-id\tscore",
        *(f"{name}\t{document}\t{grade}" for name, document, grade in _flat(judgments)),
    ]
    return [_written(folder / name, rows) for name, rows in zip(BEIR_FILES, (rows, lines), strict=True)]


def write_trec(folder: Path, queries: Mapping[str, str], judgments: Judgments) -> list[Path]:
    """Write `topics.tsv` (id, tab, text) and `qrels.txt` into a folder; white space in ids becomes %20 and the like.

    Raises StorageFault.
    """
    topics = [f"{_safe(name)}\t{' '.join(text.split())}" for name, text in queries.items()]
    lines = [f"{_safe(name)} 0 {_safe_document(document)} {grade}" for name, document, grade in _flat(judgments)]
    return [_written(folder / name, rows) for name, rows in zip(TREC_FILES, (topics, lines), strict=True)]


def write_run(path: Path, rankings: Mapping[str, Sequence[tuple[str, float]]], tag: str) -> Path:
    """Write a TREC run: query id, Q0, document id, rank, score, tag. Raises StorageFault.

    Scores in the file fall strictly, as trec_eval orders by them: equal ones are told apart in their last digits.
    """
    lines = []
    for query, ranking in rankings.items():
        last = float("inf")
        for rank, (document, score) in enumerate(ranking, start=1):
            last = min(round(score, 9), last - 1e-9)
            lines.append(f"{_safe(query)} Q0 {_safe_document(document)} {rank} {last:.9f} {_safe(tag)}")
    return _written(path, lines)


def lines_of(path: Path) -> list[str]:
    """The lines of a text file. Raises NotFound, StorageFault, and InvalidRequest when it is not UTF-8."""
    try:
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not a text file in UTF-8.", way_out="Save it as UTF-8.") from None
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except OSError as error:
        raise storage_fault(error, "reading the collection", path) from error


def _grade(text: str) -> int:
    grade = int(text)
    if grade > MAX_GRADE:
        raise ValueError(grade)
    return grade


def _flat(judgments: Judgments) -> Iterable[tuple[str, str, int]]:
    return ((name, document, grade) for name, grades in judgments.items() for document, grade in grades.items())


def _safe(name: str) -> str:
    """A query's id for a column that ends at white space."""
    return re.sub(r"\s|%(?=[0-9A-Fa-f]{2})", lambda match: quote(match[0], safe=""), name)


def _safe_document(name: str) -> str:
    """Ids keep their percent signs: those of web pages are full of them."""
    return _safe(name) if _is_path(name) else re.sub(r"\s", lambda match: quote(match[0], safe=""), name)


def _plain_document(name: str) -> str:
    """What `_safe_document` made safe; an id stays as it is."""
    return path if _is_path(path := unquote(name)) else name


def _is_path(name: str) -> bool:
    return PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()


def _written(path: Path, lines: Sequence[str]) -> Path:
    try:
        make_folder(path.parent)
        new = not path.exists()
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        if new:
            hand_over(path)
    except OSError as error:
        raise storage_fault(error, "writing the judgments", path) from error
    return path
