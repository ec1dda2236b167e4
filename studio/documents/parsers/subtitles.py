"""Subtitles and timed lyrics as the text that is spoken, located by time.

SubRip (.srt), WebVTT (.vtt), SubStation Alpha (.ass, .ssa), MicroDVD and SubViewer (.sub), .sbv, .lrc.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers import plain
from studio.documents.parsers.base import TextBuilder, choose_title, clean, make_document, read_all
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument

SPAN_S = 60.0
"""A new span begins about every minute."""
DEFAULT_FPS = 23.976
"""Frames a second of a MicroDVD file that does not state them: that of most films."""
MAX_SECONDS = 100 * 3600

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[.,:](\d{1,3}))?"
_ARROW = re.compile(rf"[ \t]*{_TIME}[ \t]*-+>[ \t]*{_TIME}")
_COMMA = re.compile(rf"[ \t]*{_TIME}[ \t]*,[ \t]*{_TIME}[ \t]*\Z")
_FRAMES = re.compile(r"[{\[](\d{1,9})[}\]][{\[](\d{1,9})[}\]](.*)")
_LYRICS = re.compile(r"((?:\[\d{1,3}:\d{1,2}(?:[.:]\d{1,3})?\])+)(.*)")
_LYRICS_TIME = re.compile(r"\[(\d{1,3}):(\d{1,2})")
_STATED = re.compile(r"^(?:\[(?:ti|TITLE)[:\]] ?|Title:[ \t]*)([^\]\n]+)", re.MULTILINE)
_AUTHOR = re.compile(r"^(?:\[(?:ar|AUTHOR)[:\]] ?|Original Script:[ \t]*)([^\]\n]+)", re.MULTILINE)
_VOICE = re.compile(r"<v(?:\.[\w.]+)?[ \t]+([^<>]+)>")
_TAGS = re.compile(r"</?[a-zA-Z0-9][^<>\n]*>|\{\\[^{}\n]*\}|\{[a-zA-Z]:[^{}\n]*\}|<\d[\d:.]+>")

Cue = tuple[float, float, str]


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; a file without a single cue is taken as plain text."""
    source = clean(decode(read_all(path)))
    builder = TextBuilder()
    begun: float | None = None
    said: list[str] = []
    marks: list[str] = []
    end = 0.0

    def flush() -> None:
        if begun is not None and said:
            builder.begin(anchor=f"{_clock(begun)} – {_clock(max(end, begun))}")
            builder.block("\n".join(said), gap="\n")
        said.clear()

    for start, stop, text in _cues(source):
        if begun is None or start - begun >= SPAN_S or start < begun:
            flush()
            begun, end = start, stop
        end = max(end, stop)
        for line in _shown(text):
            if line not in marks:  # rolling captions repeat the line before
                said.append(line)
            marks = [*marks[-1:], line]
    flush()
    text, spans = builder.build()
    if not text:
        yield from plain.parse(path)
        return
    stated, author = _STATED.search(source[:5000]), _AUTHOR.search(source[:5000])
    yield make_document(
        text,
        spans,
        "subtitles",
        title=choose_title(stated.group(1) if stated else "", "", path),
        author=author.group(1) if author else "",
    )


def _cues(source: str) -> Iterator[Cue]:
    """(start, end, text) of every cue, in seconds, in the order of the file."""
    if re.search(r"^Dialogue:", source, re.MULTILINE):
        yield from _script_cues(source)
        return
    lines = source.split("\n")
    frames = [found for line in lines if (found := _FRAMES.match(line))]
    if frames:
        yield from _frame_cues(frames)
        return
    if not any("-->" in line or _COMMA.match(line) for line in lines):
        yield from _lyrics(lines)
        return
    times: tuple[float, float] | None = None
    body: list[str] = []
    for number, line in enumerate(lines):
        found = _ARROW.match(line) or _COMMA.match(line)
        if found:
            if times is not None:
                yield *times, "\n".join(body)
            groups = found.groups()
            times, body = (_seconds(groups[:4]), _seconds(groups[4:])), []
        elif not line.strip():
            if times is not None:
                yield *times, "\n".join(body)
            times, body = None, []
        elif times is not None and not _is_number(lines, number):
            body.append(line.replace("[br]", "\n"))
    if times is not None:
        yield *times, "\n".join(body)


def _is_number(lines: list[str], at: int) -> bool:
    """Whether a line is the number of the next cue, where no blank line separates the two."""
    return lines[at].strip().isdigit() and at + 1 < len(lines) and _ARROW.match(lines[at + 1]) is not None


def _script_cues(source: str) -> Iterator[Cue]:
    """Cues of SubStation Alpha, whose Format line names the columns."""
    columns = ["layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text"]
    in_events = False
    for line in source.split("\n"):
        if line.startswith("["):
            in_events = line.strip().lower() == "[events]"
        elif in_events and line.lower().startswith("format:"):
            columns = [name.strip().lower() for name in line[7:].split(",")][:30]
        elif line.startswith("Dialogue:"):
            values = dict(zip(columns, line[9:].split(",", len(columns) - 1), strict=False))
            start, end = (re.match(_TIME, values.get(name, "").strip()) for name in ("start", "end"))
            text = values.get("text", "").replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
            if start and end:
                yield _seconds(start.groups()), _seconds(end.groups()), text


def _frame_cues(frames: list[re.Match[str]]) -> Iterator[Cue]:
    """Cues of MicroDVD, timed in frames; a first cue {1}{1} states the frames a second."""
    fps = DEFAULT_FPS
    for found in frames:
        first, last, text = int(found.group(1)), int(found.group(2)), found.group(3)
        if first == last and first <= 1 and re.fullmatch(r"\d{2,3}([.,]\d+)?", text.strip()):
            fps = float(text.strip().replace(",", ".")) or DEFAULT_FPS
            continue
        yield min(first / fps, MAX_SECONDS), min(last / fps, MAX_SECONDS), text.replace("|", "\n")


def _lyrics(lines: list[str]) -> Iterator[Cue]:
    for line in lines:
        if found := _LYRICS.match(line):
            minutes, seconds = map(int, _LYRICS_TIME.findall(found.group(1))[0])
            yield 60.0 * minutes + seconds, 60.0 * minutes + seconds, found.group(2)


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, _ = (int(group or 0) for group in groups)
    return float(min(3600 * hours + 60 * minutes + seconds, MAX_SECONDS))


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def _shown(text: str) -> Iterator[str]:
    """The lines of a cue without markup; a voice becomes "Name: "."""
    for line in _TAGS.sub("", _VOICE.sub(r"\1: ", text)).split("\n"):
        line = html.unescape(line).strip()
        if line:
            yield line
