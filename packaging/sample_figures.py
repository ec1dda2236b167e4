"""The vector figures of the sample papers, drawn with reportlab's canvas. Lengths in points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INK = (0.13, 0.15, 0.22)
SHADE = (0.87, 0.89, 0.97)
PALE = (0.96, 0.96, 0.98)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure: its size and how to draw it with the origin at its lower left corner."""

    width: float
    height: float
    draw: Callable[[Any], None]


def box(canvas: Any, x: float, y: float, width: float, height: float, *lines: str, fill: Any = PALE) -> None:
    """A rounded box with centred lines of text; (x, y) is its lower left corner."""
    canvas.setStrokeColorRGB(*INK)
    canvas.setFillColorRGB(*fill)
    canvas.setLineWidth(0.8)
    canvas.roundRect(x, y, width, height, 4, stroke=1, fill=1)
    canvas.setFillColorRGB(*INK)
    first = y + height / 2 + (len(lines) - 1) * 4.6 - 2.7
    for index, line in enumerate(lines):
        canvas.setFont("Helvetica-Bold" if index == 0 and len(lines) > 1 else "Helvetica", 7.6)
        canvas.drawCentredString(x + width / 2, first - index * 9.2, line)


def arrow(canvas: Any, *points: tuple[float, float], dashed: bool = False) -> None:
    """A polyline with a head at its last point."""
    canvas.saveState()
    canvas.setStrokeColorRGB(*INK)
    canvas.setFillColorRGB(*INK)
    canvas.setLineWidth(0.8)
    if dashed:
        canvas.setDash(2.5, 2)
    for start, end in itertools.pairwise(points):
        canvas.line(*start, *end)
    canvas.setDash()
    (x0, y0), (x1, y1) = points[-2:]
    angle = math.atan2(y1 - y0, x1 - x0)
    head = canvas.beginPath()
    head.moveTo(x1, y1)
    for turn in (2.75, -2.75):
        head.lineTo(x1 + 5.5 * math.cos(angle + turn), y1 + 5.5 * math.sin(angle + turn))
    head.close()
    canvas.drawPath(head, stroke=0, fill=1)
    canvas.restoreState()


def label(canvas: Any, x: float, y: float, text: str) -> None:
    """A small text that starts at (x, y)."""
    canvas.setFillColorRGB(*INK)
    canvas.setFont("Helvetica-Oblique", 6.8)
    canvas.drawString(x, y, text)


def _states(canvas: Any) -> None:
    box(canvas, 10, 138, 88, 30, "Interpret", "count loop headers")
    box(canvas, 140, 138, 88, 30, "Record", "one iteration")
    box(canvas, 140, 72, 88, 30, "Compile", "trace to machine code")
    box(canvas, 10, 72, 88, 30, "Run", "compiled traces", fill=SHADE)
    box(canvas, 10, 6, 88, 30, "Side exit", "restore the frames")
    arrow(canvas, (98, 158), (140, 158))
    label(canvas, 101, 161, "loop is hot")
    arrow(canvas, (140, 146), (98, 146))
    label(canvas, 106, 139, "abort")
    arrow(canvas, (184, 138), (184, 102))
    label(canvas, 188, 118, "loop closed")
    arrow(canvas, (140, 87), (98, 87))
    arrow(canvas, (54, 138), (54, 102))
    label(canvas, 58, 118, "types match")
    arrow(canvas, (54, 72), (54, 36))
    label(canvas, 58, 52, "guard fails")
    arrow(canvas, (10, 21), (2, 21), (2, 153), (10, 153))
    arrow(canvas, (98, 21), (236, 21), (236, 153), (228, 153))
    label(canvas, 150, 25, "exit is hot")


def _nested(canvas: Any) -> None:
    box(canvas, 6, 128, 84, 26, "Outer header", "tree T2", fill=SHADE)
    box(canvas, 6, 84, 84, 26, "guard prime[i]")
    box(canvas, 6, 40, 84, 26, "call tree T1", "guard on its exit")
    box(canvas, 6, 0, 84, 22, "jump to header")
    box(canvas, 148, 84, 84, 26, "Inner header", "tree T1", fill=SHADE)
    box(canvas, 148, 40, 84, 26, "guard k < 100")
    box(canvas, 148, 0, 84, 22, "store, add, jump")
    for top, bottom in ((128, 110), (84, 66), (40, 22)):
        arrow(canvas, (48, top), (48, bottom))
    arrow(canvas, (190, 84), (190, 66))
    arrow(canvas, (190, 40), (190, 22))
    arrow(canvas, (232, 11), (240, 11), (240, 97), (232, 97))
    arrow(canvas, (6, 11), (-4, 11), (-4, 141), (6, 141))
    arrow(canvas, (90, 59), (118, 59), (118, 97), (148, 97))
    label(canvas, 122, 100, "call")
    arrow(canvas, (148, 47), (90, 47), dashed=True)
    label(canvas, 104, 39, "return")
    arrow(canvas, (90, 97), (108, 97), (108, 141), (90, 141), dashed=True)
    label(canvas, 112, 120, "branch trace")


def _fusion(canvas: Any) -> None:
    box(canvas, 78, 150, 84, 22, "Question")
    box(canvas, 4, 104, 96, 28, "Inverted index", "BM25, top 100", fill=SHADE)
    box(canvas, 140, 104, 96, 28, "Vector index", "cosine, top 100", fill=SHADE)
    box(canvas, 4, 58, 96, 26, "scale to 0 .. 1")
    box(canvas, 140, 58, 96, 26, "scale to 0 .. 1")
    box(canvas, 60, 6, 120, 28, "Weighted mean", "one list with citations")
    arrow(canvas, (78, 161), (52, 161), (52, 132))
    arrow(canvas, (162, 161), (188, 161), (188, 132))
    arrow(canvas, (52, 104), (52, 84))
    arrow(canvas, (188, 104), (188, 84))
    arrow(canvas, (52, 58), (52, 20), (60, 20))
    arrow(canvas, (188, 58), (188, 20), (180, 20))
    label(canvas, 24, 40, "1 - w")
    label(canvas, 193, 40, "w")


def _generations(canvas: Any) -> None:
    box(canvas, 0, 40, 130, 60, "Nursery", "new objects, collected often", fill=SHADE)
    box(canvas, 210, 40, 180, 60, "Old generation", "survivors, collected rarely")
    arrow(canvas, (130, 82), (210, 82))
    label(canvas, 146, 86, "promotion")
    arrow(canvas, (300, 40), (300, 14), (65, 14), (65, 40), dashed=True)
    label(canvas, 138, 18, "remembered set: old to young")


FIGURES = {
    "states": Drawing(240, 172, _states),
    "nested": Drawing(240, 158, _nested),
    "fusion": Drawing(240, 176, _fusion),
    "generations": Drawing(392, 104, _generations),
}
