from __future__ import annotations

import pytest

from studio.domain import Candidate, ChunkInGeneration, Fusion, Hit
from studio.index.ranking import RRF_K, fuse, single, weight_of_vectors


def candidates(**scores: float) -> list[Hit]:
    return [Hit(ChunkInGeneration(0, name), score) for name, score in scores.items()]


def test_minmax_is_the_weighted_mean_of_normalised_scores() -> None:
    fused = fuse(candidates(a=0.9, b=0.5, c=0.1), candidates(b=30.0, d=20.0, a=10.0), weight=0.5, method=Fusion.MINMAX)
    scores = {item.chunk.chunk_id: item.score for item in fused}
    assert scores == pytest.approx({"b": 0.5 * 0.5 + 0.5 * 1.0, "a": 0.5, "d": 0.25, "c": 0.0})
    assert [item.chunk.chunk_id for item in fused] == ["b", "a", "d", "c"]


def test_the_weight_is_the_vector_sides_share() -> None:
    vector, keyword = candidates(a=1.0, b=0.0), candidates(b=9.0, a=1.0)
    assert fuse(vector, keyword, weight=1.0, method=Fusion.MINMAX)[0].chunk.chunk_id == "a"
    assert fuse(vector, keyword, weight=0.0, method=Fusion.MINMAX)[0].chunk.chunk_id == "b"


def test_rrf_uses_ranks_only() -> None:
    fused = fuse(candidates(a=1000.0, b=1.0), candidates(b=3.0), weight=0.5, method=Fusion.RRF)
    scores = {item.chunk.chunk_id: item.score for item in fused}
    assert scores["a"] == pytest.approx(0.5 / (RRF_K + 1))
    assert scores["b"] == pytest.approx(0.5 / (RRF_K + 2) + 0.5 / (RRF_K + 1))


def test_explanations_tell_both_sides() -> None:
    both, only = fuse(candidates(a=0.8, b=0.2), candidates(a=7.0), weight=0.3, method=Fusion.MINMAX)
    told = both.explained()
    assert (told.vector_rank, told.vector_score, told.vector_normalised) == (1, 0.8, 1.0)
    assert (told.keyword_rank, told.keyword_score, told.keyword_normalised) == (1, 7.0, 1.0)
    assert (told.weight, told.fusion) == (0.3, "minmax")
    assert only.explained().keyword_rank is None
    assert only.explained().keyword_score is None
    assert (only.explained().fused_rank, only.explained().fused_score) == (2, only.score)


def test_equal_scores_are_all_best_and_ordered_by_id() -> None:
    fused = fuse(candidates(b=0.5, a=0.5), [], weight=0.5, method=Fusion.MINMAX)
    assert [(item.chunk.chunk_id, item.score) for item in fused] == [("a", 0.5), ("b", 0.5)]


def test_one_side_alone_keeps_its_raw_scores() -> None:
    vector = single(candidates(a=0.9, b=0.4), vector=True)
    keyword = single(candidates(a=12.5), vector=False)
    assert [item.score for item in vector] == [0.9, 0.4]
    assert (vector[1].explained().vector_rank, vector[1].explained().fused_rank) == (2, 2)
    assert keyword[0].score == 12.5
    assert keyword[0].explained().vector_rank is None


def test_nothing_fuses_to_nothing() -> None:
    assert fuse([], [], weight=0.5, method=Fusion.MINMAX) == []
    assert single([], vector=True) == []


def test_adaptive_trusts_the_side_whose_first_hit_stands_out() -> None:
    sure = candidates(a=10.0, b=1.0, c=0.9, d=0.8, e=0.0)
    unsure = candidates(b=1.0, a=0.99, c=0.98, d=0.97, e=0.0)
    (first, *_) = fuse(sure, unsure, weight=0.5, method=Fusion.ADAPTIVE)
    assert (first.chunk.chunk_id, first.explained().fusion) == ("a", "adaptive")
    assert 0.5 < first.explained().weight <= 0.9
    mirrored = fuse(unsure, sure, weight=0.5, method=Fusion.ADAPTIVE)[0]
    assert mirrored.explained().weight == pytest.approx(1 - first.explained().weight)


def test_adaptive_is_the_fixed_weight_where_there_is_nothing_to_compare() -> None:
    both = candidates(a=2.0, b=1.0, c=0.0)
    assert fuse(both, both, weight=0.3, method=Fusion.ADAPTIVE)[0].explained().weight == pytest.approx(0.3)
    for weight in (0.0, 1.0):
        assert fuse(both, both, weight=weight, method=Fusion.ADAPTIVE)[0].explained().weight == weight
    assert fuse([], both, weight=0.4, method=Fusion.ADAPTIVE)[0].explained().weight == 0.4


def test_the_more_pieces_the_words_fall_into_the_less_the_vectors_count() -> None:
    shares = [weight_of_vectors(tokens) for tokens in (0.0, 1.0, 1.5, 1.6, 1.75, 1.9, 2.0, 12.0)]
    assert shares == pytest.approx([0.5, 0.5, 0.5, 0.44, 0.35, 0.26, 0.2, 0.2])


def test_the_same_candidates_in_another_order_fuse_to_the_same_ranking() -> None:
    vector = candidates(e=0.5, d=0.5, c=0.9, b=0.1, a=0.1)
    keyword = candidates(a=2.0, b=2.0, f=2.0, e=1.0)
    for method in Fusion:
        once = fuse(vector, keyword, weight=0.5, method=method)
        assert fuse(vector[::-1], keyword[::-1], weight=0.5, method=method) == once


@pytest.mark.parametrize("method", list(Fusion))
def test_asking_deeper_leaves_the_first_places_as_they_are(method: Fusion) -> None:
    vector = candidates(**{f"v{n:03}": 1 - n * n / 90_000 for n in range(300)})
    keyword = candidates(**{f"{'v' if n % 3 else 'k'}{n:03}": 30 - n / 11 for n in range(300)})
    shallow = fuse(vector[:100], keyword[:100], weight=0.4, method=method, depth=100)
    deep = fuse(vector, keyword, weight=0.4, method=method, depth=100)
    if method is not Fusion.RRF:  # of which every further rank adds something
        assert [item.chunk.chunk_id for item in deep[: len(shallow)]] == [item.chunk.chunk_id for item in shallow]
    assert {item.chunk.chunk_id for item in deep} > {item.chunk.chunk_id for item in shallow}
    assert [item.explained().fused_rank for item in deep] == list(range(1, len(deep) + 1))


def test_lists_may_come_in_any_order_and_name_a_chunk_twice() -> None:
    ordered = candidates(a=3.0, b=2.0, c=1.0)
    other = candidates(c=9.0, d=4.0)
    fused = fuse(ordered, other, weight=0.5, method=Fusion.MINMAX)
    assert fuse(ordered[::-1], other[::-1], weight=0.5, method=Fusion.MINMAX) == fused
    assert [item.rank for item in fused] == [1, 2, 3, 4]
    again = fuse([*candidates(c=0.5), *ordered], [], weight=0.5, method=Fusion.RRF)
    assert [(item.chunk.chunk_id, item.explained().vector_score) for item in again] == [
        ("a", 3.0),
        ("b", 2.0),
        ("c", 1.0),
    ]


def test_the_same_chunk_in_two_generations_is_two() -> None:
    found = [Candidate("a", 2.0, "doc"), Candidate("b", 1.0, "doc")]
    first, second = Hit.of(0, found), Hit.of(1, found)
    fused = fuse(first, second, weight=0.5, method=Fusion.MINMAX)
    assert [str(item.chunk) for item in fused] == ["0:a", "1:a", "0:b", "1:b"]
    assert (first[0].chunk, first[0].document_id) == (ChunkInGeneration(0, "a"), "doc")
    assert Hit.of(0, []) == []
