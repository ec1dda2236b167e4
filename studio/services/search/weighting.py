"""How much the vector side counts when no weight was chosen."""

from __future__ import annotations

import unicodedata

from studio.domain import Embedder
from studio.index.ranking import EVEN_WEIGHT, weight_of_vectors

_WORDS_LOOKED_AT = 64
_CHARS_LOOKED_AT = 2000


async def weight_for(embedder: Embedder, text: str) -> float:
    """The vector side's share for a query (what of it is embedded), in 0.2..0.5.

    It is the lower the more pieces the model's vocabulary cuts the query's words into (`fusion.weight_of_vectors`).
    Takes about 0.3 ms of the model's process. Raises WorkerDied, ModelFault.
    """
    words = words_of(text)
    if not words:
        return EVEN_WEIGHT
    [tokens] = await embedder.count_tokens([" ".join(words)])
    return weight_of_vectors(tokens / len(words))


def words_of(text: str) -> list[str]:
    """The first words of a text, without the punctuation between and inside them; accents and vowel signs stay.

    Punctuation is a token of its own and would make any language look strange; `snake_case` is two words. Text without
    spaces is one word.
    """
    head = unicodedata.normalize("NFC", text[:_CHARS_LOOKED_AT])
    spaced = "".join(sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in head)
    return spaced.split()[:_WORDS_LOOKED_AT]
