"""Tokenizers of published encoders: read from a model folder, written as the keys llama.cpp reads.

WordPiece (BERT: `vocab.txt`, or `tokenizer.json`) becomes its "bert" tokenizer, SentencePiece unigram (XLM-R:
`tokenizer.json`) its "t5" one, with the normaliser's table of characters.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from studio.errors import ModelFault

_WORDPIECE_SPECIAL = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_UNIGRAM_SPECIAL = {"unk": "<unk>", "sep": "</s>", "pad": "<pad>", "cls": "<s>", "mask": "<mask>"}
_UNUSED_SCORE = -1000.0
"""Of a row of the embedding matrix that no piece of text stands for."""


@dataclass(frozen=True, slots=True)
class WordPiece:
    """Words cut into pieces of a list, the longest first."""

    tokens: list[str]
    special: dict[str, int]
    lowercase: bool
    strip_accents: bool

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Add the tokenizer's keys."""
        control = set(self.special.values())
        tokens, types = [], []
        for number, token in enumerate(self.tokens):
            if number in control:
                tokens.append(token)
                types.append(gguf.TokenType.CONTROL)
            else:  # llama.cpp marks the start of a word where BERT marks its continuation
                tokens.append(token[2:] if token.startswith("##") else "\u2581" + token)
                types.append(gguf.TokenType.NORMAL)
        writer.add_tokenizer_model("bert")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_types(types)

    def write_end(self, writer: gguf.GGUFWriter) -> None:
        """Add the keys that follow the number of token types."""
        special = self.special
        writer.add_unk_token_id(special["unk"])
        writer.add_sep_token_id(special["sep"])
        writer.add_pad_token_id(special["pad"])
        writer.add_mask_token_id(special["mask"])
        writer.add_bos_token_id(special["cls"])  # llama.cpp puts its "bos" in front of every text
        writer.add_bool("tokenizer.ggml.normalizer.lowercase", self.lowercase)
        writer.add_bool("tokenizer.ggml.normalizer.strip_accents", self.strip_accents)


@dataclass(frozen=True, slots=True)
class Unigram:
    """The likeliest cut of a text into pieces with a log probability each."""

    tokens: list[str]
    scores: list[float]
    types: list[gguf.TokenType]
    special: dict[str, int]
    characters: bytes
    """SentencePiece's `precompiled_charsmap`; empty: characters stay as they are."""

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Add the tokenizer's keys."""
        writer.add_tokenizer_model("t5")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(self.tokens)
        writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)

    def write_end(self, writer: gguf.GGUFWriter) -> None:
        """Add the keys that follow the number of token types."""
        special = self.special
        writer.add_bos_token_id(special["cls"])
        writer.add_eos_token_id(special["sep"])
        writer.add_unk_token_id(special["unk"])
        writer.add_sep_token_id(special["sep"])
        writer.add_pad_token_id(special["pad"])
        if "mask" in special:
            writer.add_mask_token_id(special["mask"])
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(True)
        writer.add_add_sep_token(True)  # between the texts of a pair there are two
        writer.add_add_space_prefix(True)
        writer.add_remove_extra_whitespaces(True)
        if self.characters:
            writer.add_precompiled_charsmap(self.characters)


Tokenizer = WordPiece | Unigram


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises ModelFault, which names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFault(
            f"{path.name} is missing.",
            way_out="Point to the complete folder of a sentence-transformers model.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise ModelFault(f"{path.name} is not readable JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ModelFault(f"{path.name} does not hold a JSON object.")
    return value


def read_tokenizer(directory: Path, rows: int) -> Tokenizer:
    """The tokenizer of a model whose embedding matrix has so many rows.

    Raises ModelFault when it is of another kind, damaged, or does not fit.
    """
    settings = read_json(directory / "tokenizer_config.json")
    if (directory / "vocab.txt").exists():
        return _wordpiece(settings, _lines(directory / "vocab.txt"), rows)
    if not (directory / "tokenizer.json").exists():
        raise ModelFault(
            "There is neither vocab.txt nor tokenizer.json.",
            way_out="Point to the complete folder of a sentence-transformers model.",
        )
    published = read_json(directory / "tokenizer.json")
    model = published.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):
        return _unigram(settings, published, vocabulary, rows)
    if isinstance(model, dict) and model.get("type", "WordPiece") != "WordPiece":
        raise ModelFault(
            f"The tokenizer is of the kind {model['type']}; only WordPiece and Unigram can be converted.",
            way_out="If the model is published as a GGUF file, install that file instead.",
        )
    try:
        by_number = {int(number): str(token) for token, number in vocabulary.items()}  # type: ignore[union-attr]
        tokens = [by_number[number] for number in range(len(by_number))]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelFault("There is neither vocab.txt nor a usable vocabulary in tokenizer.json.") from error
    return _wordpiece(settings, tokens, rows)


def _lines(path: Path) -> list[str]:
    try:
        tokens = path.read_text(encoding="utf-8").replace("\r\n", "\n").split("\n")
    except ValueError as error:
        raise ModelFault(f"{path.name} is not UTF-8 text: {error}.") from error
    return tokens[:-1] if tokens[-1] == "" else tokens


def _wordpiece(settings: Mapping[str, Any], tokens: list[str], rows: int) -> WordPiece:
    if len(tokens) != rows:
        raise ModelFault(f"The vocabulary has {len(tokens)} entries where {rows} are announced.")
    _require_different(tokens)
    lowercase = bool(settings.get("do_lower_case", True))
    strip_accents = settings.get("strip_accents")
    return WordPiece(
        tokens=tokens,
        special=_special_tokens(settings, tokens, _WORDPIECE_SPECIAL),
        lowercase=lowercase,
        strip_accents=lowercase if strip_accents is None else bool(strip_accents),
    )


def _unigram(settings: Mapping[str, Any], published: Mapping[str, Any], vocabulary: list[Any], rows: int) -> Unigram:
    try:
        pieces = [(str(piece), float(score)) for piece, score in vocabulary]
        added = {int(token["id"]): str(token["content"]) for token in published.get("added_tokens", ())}
        characters = base64.b64decode(_characters(published.get("normalizer")))
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise ModelFault(f"tokenizer.json does not hold a usable vocabulary: {error}.") from error
    if max(len(pieces), 1 + max(added, default=0)) > rows:
        raise ModelFault(f"The vocabulary has {max(len(pieces), 1 + max(added))} entries where {rows} are announced.")
    tokens, scores, types = [], [], []
    for number in range(rows):
        if number in added:
            token, score, kind = added[number], 0.0, gguf.TokenType.CONTROL
        elif number < len(pieces):
            (token, score), kind = pieces[number], gguf.TokenType.NORMAL
        else:  # published matrices are rounded up
            token, score, kind = f"[PAD{number}]", _UNUSED_SCORE, gguf.TokenType.UNUSED
        tokens.append(token)
        scores.append(score)
        types.append(kind)
    _require_different(tokens)
    special = _special_tokens(settings, tokens, _UNIGRAM_SPECIAL)
    types[special["unk"]] = gguf.TokenType.UNKNOWN
    for name in ("cls", "sep", "pad", "mask"):
        types[special[name]] = gguf.TokenType.CONTROL
    return Unigram(tokens, scores, types, special, characters)


def _characters(normalizer: object) -> str:
    """The table of characters somewhere in a normaliser, or ""."""
    if isinstance(normalizer, dict):
        table = normalizer.get("precompiled_charsmap")
        if isinstance(table, str):
            return table
        return next((found for value in normalizer.values() if (found := _characters(value))), "")
    if isinstance(normalizer, list):
        return next((found for value in normalizer if (found := _characters(value))), "")
    return ""


def _require_different(tokens: Sequence[str]) -> None:
    """llama.cpp aborts its process when two tokens are the same."""
    if len(set(tokens)) != len(tokens):
        twice = next(token for token, count in Counter(tokens).items() if count > 1)
        raise ModelFault(f"The vocabulary has the entry {twice!r} more than once; the file is damaged.")


def _special_tokens(settings: Mapping[str, Any], tokens: list[str], usual: Mapping[str, str]) -> dict[str, int]:
    numbers = {token: number for number, token in enumerate(tokens)}
    special = {}
    for key, default in usual.items():
        token = settings.get(f"{key}_token", default)
        if isinstance(token, dict):
            token = token.get("content")
        if token not in numbers:
            raise ModelFault(f"The vocabulary lacks the special token {token}.")
        special[key] = numbers[token]
    return special
