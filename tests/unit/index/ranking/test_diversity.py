from __future__ import annotations

import numpy as np
import pytest

from studio.index.ranking import diversified, folded, grouped, suspects

TEXT = "The licence may be ended by either side with thirty days of notice, in writing, to the address on file."


def unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def test_close_vectors_are_suspects_in_the_order_of_the_ranking() -> None:
    vectors = {"a": unit(1, 0), "b": unit(0, 1), "c": unit(1, 0.1), "d": unit(0.1, 1)}
    assert suspects(["d", "c", "b", "a"], vectors) == [("d", "b"), ("c", "a")]
    assert suspects(["a", "without a vector"], vectors) == []


def test_the_same_text_is_folded_into_the_first_that_says_it() -> None:
    texts = {"a": TEXT, "b": "Something else entirely.", "c": TEXT.upper(), "d": TEXT + " Amended."}
    kept, under = folded(["a", "b", "c", "d"], [("a", "c"), ("a", "d"), ("c", "d")], texts)
    assert kept == ["a", "b"]
    assert under == {"a": ("c", "d")}


def test_forms_with_other_numbers_in_them_are_not_the_same_text() -> None:
    first = "Invoice 1041 of 3 March: 14 hours at 80 euros, 1,120 in all, due on 2 April."
    second = "Invoice 1042 of 9 April: 22 hours at 95 euros, 2,090 in all, due on 9 May."
    assert folded(["a", "b"], [("a", "b")], {"a": first, "b": second}) == (["a", "b"], {})


def test_small_differences_do_not_add_up() -> None:
    words = [f"word{n}" for n in range(60)]
    texts = {
        name: " ".join(words[at:] + [f"new{n}" for n in range(at)]) for name, at in (("a", 0), ("b", 6), ("c", 12))
    }
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert folded(["a", "b", "c"], pairs, texts) == (["a", "c"], {"a": ("b",)})


def test_a_passage_whose_text_cannot_be_read_stays() -> None:
    assert folded(["a", "b"], [("a", "b")], {"a": TEXT}) == (["a", "b"], {})


@pytest.mark.parametrize(
    ("diversity", "order"), [(0.0, ["a", "b", "c"]), (0.5, ["a", "c", "b"]), (1.0, ["a", "c", "b"])]
)
def test_diversity_puts_another_view_before_the_same_one_again(diversity: float, order: list[str]) -> None:
    vectors = {"a": unit(1, 0), "b": unit(1, 0.05), "c": unit(0, 1)}
    assert diversified(["a", "b", "c"], [0.9, 0.8, 0.5], vectors, diversity) == order


def test_diversity_copes_with_missing_vectors_and_equal_scores() -> None:
    assert diversified(["a", "b"], [0.5, 0.5], {}, 0.5) == ["a", "b"]
    assert sorted(diversified(["a", "b", "c"], [1.0, 1.0, 1.0], {"b": unit(1, 0)}, 0.3)) == ["a", "b", "c"]


def test_each_document_has_one_place() -> None:
    documents = {"a1": "a", "b1": "b", "a2": "a", "a3": "a"}
    assert grouped(["a1", "b1", "a2", "a3", "lost"], documents) == (["a1", "b1", "lost"], {"a1": 2})
