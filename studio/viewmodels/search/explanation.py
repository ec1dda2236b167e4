"""Why a result stands where it stands, in words and numbers a person can follow."""

from __future__ import annotations

from dataclasses import dataclass

from studio.domain import Fusion, SearchResult
from studio.index.ranking import RRF_K

_FUSIONS = {
    Fusion.MINMAX.value: "Weighted sum of normalised scores",
    Fusion.RRF.value: "Weighted sum of reciprocal ranks",
    Fusion.ADAPTIVE.value: "Weighted sum of normalised scores, weight by how far the first hits stand out",
}


@dataclass(frozen=True, slots=True)
class SideLine:
    """What one side of the search made of a result. `share` is its part of the weight in 0..1, `fill` how full its
    bar is; `found` is False where the side did not find it."""

    name: str
    found: bool
    rank: str
    score: str
    normalised: str
    fill: float
    share: float

    @property
    def spoken(self) -> str:
        """The line as a screen reader says it."""
        if not self.found:
            return f"{self.name}: not among its candidates."
        scores = f"score {self.score}, normalised {self.normalised}, share {self.share:.0%}"
        return f"{self.name}: rank {self.rank}, {scores}."


@dataclass(frozen=True, slots=True)
class ExplanationText:
    """What the explanation of a result says: title, a sentence, the sides, further facts by name, matched terms."""

    title: str
    summary: str
    sides: tuple[SideLine, ...]
    facts: tuple[tuple[str, str], ...]
    terms: tuple[str, ...]

    @property
    def spoken(self) -> str:
        """All of it, as a screen reader says it."""
        lines = [f"{self.title}.", self.summary, *(side.spoken for side in self.sides)]
        lines += [f"{name}: {value}." for name, value in self.facts]
        if self.terms:
            lines.append(f"Matched words: {', '.join(self.terms)}.")
        return " ".join(lines)


def explain(result: SearchResult, place: int) -> ExplanationText:
    """The explanation of the result at `place` (from 1) of the list."""
    why = result.explanation
    meaning = _side("Meaning", why.fusion, why.vector_rank, why.vector_score, why.vector_normalised, why.weight, 3)
    words = _side("Words", why.fusion, why.keyword_rank, why.keyword_score, why.keyword_normalised, 1 - why.weight, 1)
    fused = why.fusion in _FUSIONS
    sides = (meaning, words) if fused else tuple(side for side in (meaning, words) if side.found)
    return ExplanationText(
        title=f"Why this is result {place}",
        summary=_summary(meaning.found, words.found),
        sides=sides,
        facts=tuple(_facts(result, place, meaning, words, fused=fused)),
        terms=why.matched_terms,
    )


def _side(
    name: str, fusion: str, rank: int | None, score: float | None, normalised: float | None, share: float, digits: int
) -> SideLine:
    if rank is None or score is None:
        return SideLine(name, False, "", "", "", 0.0, share)
    reciprocal = fusion == Fusion.RRF
    value = normalised or 0.0
    fill = value * (RRF_K + 1) if reciprocal else value
    shown = f"{value:.4f}" if reciprocal else f"{value:.2f}"
    return SideLine(name, True, f"#{rank}", f"{score:.{digits}f}", shown, min(max(fill, 0.0), 1.0), share)


def _summary(meaning: bool, words: bool) -> str:
    if meaning and words:
        return "Found by meaning and by words."
    if words:
        return "Found by its words; by meaning it is not among the candidates."
    return "Found by its meaning; none of its words put it among the candidates."


def _facts(
    result: SearchResult, place: int, meaning: SideLine, words: SideLine, *, fused: bool
) -> list[tuple[str, str]]:
    why = result.explanation
    facts = []
    if fused:
        facts.append(("Fusion", _FUSIONS[why.fusion]))
        score = why.fused_score if why.fused_score is not None else result.score
        parts = [f"{side.share:.2f} × {side.normalised or '0'}" for side in (meaning, words)]
        digits = 4 if why.fusion == Fusion.RRF else 3
        facts.append(("Fused score", f"{' + '.join(parts)} = {score:.{digits}f}"))
    if why.fused_rank is not None and (fused or why.rerank_score is not None or why.fused_rank != place):
        moved = f", shown as #{place}" if why.fused_rank != place else ""
        facts.append(("Fused rank", f"#{why.fused_rank}{moved}"))
    if why.rerank_score is not None:
        facts.append(("Reranker score", f"{why.rerank_score:.3f}"))
    if why.vector_score is not None:
        facts.append(("Similarity", f"{why.vector_score:.3f}"))
    if why.filters:
        facts.append(("Passed", ", ".join(why.filters)))
    if result.more_in_document:
        facts.append(("Grouped", f"{result.more_in_document:,} more of this document behind it"))
    if result.duplicates:
        facts.append(("Folded", f"{len(result.duplicates):,} near-identical behind it"))
    return facts
