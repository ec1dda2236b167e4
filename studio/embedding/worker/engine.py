"""Sentence embedding through llama.cpp: the only importer of `llama_cpp`, loaded in a worker process only.

The high-level `Llama` class is not used: it is half as fast with its defaults, cuts long texts without
their closing [SEP], and accepts models that give a vector per token. The C API is driven directly
instead: texts are tokenised, cut to the model's length with the closing token kept, sorted by length
and packed, so that one `llama_encode` call holds as many whole texts as fit `max_tokens`.

A model with rank pooling (a cross-encoder) reads query and passage as one sequence and gives a score:
[CLS] query [SEP] passage [SEP]. llama.cpp adds the embedding of segment 0 to every token, so a BERT trained with
segment 1 for the passage scores somewhat differently than where it was trained; those of the RoBERTa kind, which have
one segment, score the same.
"""

from __future__ import annotations

import ctypes
import functools
import os
import unicodedata
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from studio.domain import RANK_POOLING
from studio.embedding.worker.llama_internals import AMX, LOG_CONTINUED, LOG_ERROR, STRIP_ACCENTS_KEY, reason_of
from studio.errors import ModelFault

Tokens = NDArray[np.int32]

MAX_TEXTS_PER_PACK = 64
TEXT_CHARS_PER_TOKEN = 64
"""Text beyond this many characters a token cannot matter, unless it is almost all white space."""

QUERY_SHARE = 0.5
"""A query longer than this share of a reranker's length is cut, so that something of the passage is read."""

MIN_PAIR_TOKENS = 16

_POOLING = {
    llama.LLAMA_POOLING_TYPE_MEAN: "mean",
    llama.LLAMA_POOLING_TYPE_CLS: "cls",
    llama.LLAMA_POOLING_TYPE_LAST: "last",
    llama.LLAMA_POOLING_TYPE_RANK: RANK_POOLING,
}
_NONSPACING_MARKS = dict.fromkeys(
    code for code in range(0x300, 0x110000) if unicodedata.category(chr(code)) == "Mn"
)  # for str.translate: None deletes
_FLASH, _NO_FLASH = llama.LLAMA_FLASH_ATTN_TYPE_ENABLED, llama.LLAMA_FLASH_ATTN_TYPE_DISABLED


class LogTail:
    """Takes llama.cpp's log: silent, but remembers the first error, the most specific, for the message.

    The library has one log for the process and keeps the bare address of its callback, so the object
    that owns the callback is made once and never goes away (`log_tail`).
    """

    def __init__(self) -> None:
        self._error = ""
        self._level = 0
        self._callback = llama.llama_log_callback(self._take)
        llama.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _user_data: object) -> None:
        if level != LOG_CONTINUED:
            self._level = level
        if self._level == LOG_ERROR and not self._error:
            self._error = text.decode("utf-8", "replace").strip()

    def clear(self) -> None:
        """Forget what was logged so far."""
        self._error = ""

    def __str__(self) -> str:
        return reason_of(self._error) or "no reason was given"


@functools.cache
def log_tail() -> LogTail:
    """The log of this process."""
    return LogTail()


@functools.cache
def _has_amx() -> bool:
    """Whether the library computes with AMX tiles on this processor, for which it copies the weights.

    GCC 12 compiles that code so that every quantised model ends the process (ggml-org/llama.cpp#26954), and the copies
    cannot be given back as mapped pages can. Without it quantised models take as long; F16 some 10 % longer.
    """
    return AMX in llama.llama_print_system_info()


class Engine:
    """One loaded model. Not thread-safe: llama.cpp crashes when two threads share a context."""

    def __init__(self, path: Path, *, max_tokens: int, threads: int = 1, cautious: bool = False) -> None:
        """Load a GGUF file. `max_tokens` includes special tokens and is lowered to what the model can do.

        `cautious` does without what has crashed on some processors: weights rearranged for special instructions, and
        flash attention. Vectors stay the same but for rounding.

        Raises ModelFault when llama.cpp refuses the file or the model gives neither a vector nor a score of a text.
        A malicious or damaged file can end the process instead.
        """
        self._context: int | None = None
        self._model: int | None = None
        self._log = log_tail()
        self._log.clear()
        try:
            self._load(path, cautious)
            longest = min(max_tokens, int(llama.llama_model_n_ctx_train(self._model)))
            self._open_context(path, longest, threads, (_NO_FLASH,) if cautious else (_FLASH, _NO_FLASH))
        except ModelFault:
            self.close()
            raise
        self._vocabulary = llama.llama_model_get_vocab(self._model)
        self.dimension = int(llama.llama_model_n_embd(self._model))
        self.vocabulary_size = int(llama.llama_vocab_n_tokens(self._vocabulary))
        self._strips_accents = self._is_wordpiece() and self._metadata(STRIP_ACCENTS_KEY, b"true") == "true"
        self._closing = self._closing_token()
        self._opening, self._between = self._pair_tokens()
        self._special_tokens = len(self._tokenise(""))
        self._allocate_batch()

    def _load(self, path: Path, cautious: bool) -> None:
        llama.llama_backend_init()
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = 0
        parameters.use_extra_bufts = not (cautious or _has_amx())
        # Accents are stripped by `_prepare`, which follows Unicode where llama.cpp's own table does not.
        overrides: Any = (llama.llama_model_kv_override * 2)()  # the entry with the empty key ends the list
        overrides[0].tag = llama.LLAMA_KV_OVERRIDE_TYPE_BOOL
        overrides[0].key = STRIP_ACCENTS_KEY
        overrides[0].value.val_bool = False
        parameters.kv_overrides = overrides
        self._model = llama.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise ModelFault(f"{path.name} cannot be loaded as a model: {self._log}.")

    def _open_context(self, path: Path, max_tokens: int, threads: int, attentions: Sequence[int]) -> None:
        if max_tokens < 3:
            raise ModelFault(f"{path.name} takes texts of at most {max_tokens} tokens, too few for an embedding model.")
        parameters = llama.llama_context_default_params()
        # An encoder aborts when a batch exceeds n_ubatch; more than the model's length only costs memory.
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = max_tokens
        parameters.n_seq_max = min(MAX_TEXTS_PER_PACK, max_tokens, int(llama.llama_max_parallel_sequences()))
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.embeddings = True
        for attention in attentions:
            parameters.flash_attn_type = attention
            self._context = llama.llama_init_from_model(self._model, parameters)
            if self._context:
                break
        else:
            raise ModelFault(f"{path.name} cannot be used: {self._log}.")
        pooling = _POOLING.get(llama.llama_pooling_type(self._context))
        self._memory = llama.llama_get_memory(self._context)  # of a decoder; an encoder has none
        if pooling is None or (self._memory and pooling == RANK_POOLING):
            raise ModelFault(
                f"{path.name} is not a sentence embedding model: "
                f"its kind, {self.architecture}, gives no mean, CLS or last-token vector of a whole text.",
                way_out="Choose a model made for embeddings, such as all-MiniLM-L6-v2.",
            )
        labels = int(llama.llama_model_n_cls_out(self._model))
        if pooling == RANK_POOLING and max_tokens < MIN_PAIR_TOKENS:
            raise ModelFault(f"{path.name} takes pairs of at most {max_tokens} tokens, too few for a reranker.")
        if pooling == RANK_POOLING and labels != 1:
            raise ModelFault(
                f"{path.name} is a classifier with {labels} labels, where a reranker gives one score.",
                way_out="Choose a cross-encoder made for reranking.",
            )
        self.pooling: str = pooling
        self._width = 1 if pooling == RANK_POOLING else int(llama.llama_model_n_embd(self._model))
        self.max_tokens = max_tokens
        self._texts_per_pack = int(parameters.n_seq_max)

    def _allocate_batch(self) -> None:
        size = self.max_tokens
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._ones = np.ones(size, np.int32)
        self._output = np.ones(size, np.int8)
        self._sequence = np.arange(self._texts_per_pack, dtype=np.int32)
        self._sequence_address = np.zeros(size, np.uint64)  # token -> address of its cell in _sequence
        batch: Any = llama.llama_batch()
        integers = ctypes.POINTER(ctypes.c_int32)
        batch.token = self._token.ctypes.data_as(integers)
        batch.pos = self._position.ctypes.data_as(integers)
        batch.n_seq_id = self._ones.ctypes.data_as(integers)
        batch.seq_id = self._sequence_address.ctypes.data_as(ctypes.POINTER(integers))
        batch.logits = self._output.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        self._batch = batch

    @property
    def architecture(self) -> str:
        """`general.architecture` of the GGUF file."""
        return self._metadata(b"general.architecture", b"unknown")

    def _metadata(self, key: bytes, default: bytes) -> str:
        value = ctypes.create_string_buffer(256)
        found = llama.llama_model_meta_val_str(self._model, key, value, len(value))
        return (value.value if found >= 0 else default).decode("utf-8", "replace")

    def _is_wordpiece(self) -> bool:
        return bool(llama.llama_vocab_type(self._vocabulary) == llama.LLAMA_VOCAB_TYPE_WPM)

    def _closing_token(self) -> int | None:
        if self._is_wordpiece():
            return int(llama.llama_vocab_sep(self._vocabulary))
        if llama.llama_vocab_get_add_eos(self._vocabulary):
            return int(llama.llama_vocab_eos(self._vocabulary))
        return None

    def _pair_tokens(self) -> tuple[list[int], list[int]]:
        """What stands before a query and between it and a passage, as the vocabulary asks for it.

        BERT: [CLS] query [SEP] passage [SEP]; RoBERTa: <s> query </s></s> passage </s>.
        """
        opening = [int(llama.llama_vocab_bos(self._vocabulary))] if self._adds_opening() else []
        between = [] if self._closing is None else [self._closing]
        if not self._is_wordpiece() and llama.llama_vocab_get_add_sep(self._vocabulary):
            between.append(int(llama.llama_vocab_sep(self._vocabulary)))
        return opening, between

    def _adds_opening(self) -> bool:
        return self._is_wordpiece() or bool(llama.llama_vocab_get_add_bos(self._vocabulary))

    def _prepare(self, text: str) -> bytes:
        """The text as the model's tokeniser was trained to see it, in UTF-8.

        An uncased BERT tokeniser decomposes (NFD) and drops nonspacing marks (category Mn). llama.cpp does
        this from tables that miss Hangul and take spacing marks of Indic scripts for accents.
        """
        if self._strips_accents and not text.isascii():
            text = unicodedata.normalize("NFD", text).translate(_NONSPACING_MARKS)
        return text.encode("utf-8", "replace")

    def _tokenise(self, text: str, *, special: bool = True) -> Tokens:
        raw = self._prepare(text)
        size = len(raw) + 8  # rarely are there more tokens than bytes; then the negative count says how many
        while True:
            tokens = np.empty(size, np.int32)
            buffer = tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
            count = int(llama.llama_tokenize(self._vocabulary, raw, len(raw), buffer, size, special, False))
            if count >= 0:
                return tokens[:count]
            if -count <= size:
                raise ModelFault("A text could not be cut into tokens.")
            size = -count

    def tokens(self, text: str) -> Tokens:
        """Token ids as they are embedded: with special tokens, cut to `max_tokens`, closing token kept."""
        tokens = self._enough_tokens(text, special=True)
        if len(tokens) > self.max_tokens:
            tokens = tokens[: self.max_tokens].copy()
            if self._closing is not None:
                tokens[-1] = self._closing
        return tokens

    def _enough_tokens(self, text: str, *, special: bool) -> Tokens:
        """The tokens of a text, or of so much of it that there are `max_tokens`."""
        head = text[: TEXT_CHARS_PER_TOKEN * self.max_tokens]
        tokens = self._tokenise(head, special=special)
        if len(tokens) < self.max_tokens and len(head) < len(text):
            tokens = self._tokenise(text, special=special)
        return tokens

    def pairs(self, query: str, passages: Sequence[str]) -> list[Tokens]:
        """Token ids of the query with each passage, as a reranker reads them; the passage is cut to fit."""
        asked = self._enough_tokens(query, special=False)[: int(QUERY_SHARE * self.max_tokens)]
        closing = np.array([] if self._closing is None else [self._closing], np.int32)
        start = np.concatenate((self._opening, asked, self._between)).astype(np.int32)
        room = max(0, self.max_tokens - len(start) - len(closing))
        return [
            np.concatenate((start, self._enough_tokens(passage, special=False)[:room], closing)) for passage in passages
        ]

    def count_tokens(self, text: str) -> int:
        """Tokens of the whole text, without the special ones."""
        return max(0, len(self._tokenise(text)) - self._special_tokens)

    def begin(self, texts: Sequence[str]) -> Embedding:
        """Start embedding texts; the work is done by `Embedding.step`. Raises ModelFault for a reranker."""
        if self.pooling == RANK_POOLING:
            raise ModelFault("it is a reranker and gives no embeddings")
        return Embedding(self, [self.tokens(text) for text in texts], self._width)

    def begin_ranking(self, query: str, passages: Sequence[str]) -> Embedding:
        """Start scoring passages: its `vectors` become the scores, shape (len(passages), 1).

        Raises ModelFault for a model that is no reranker.
        """
        if self.pooling != RANK_POOLING:
            raise ModelFault("it is an embedding model and no reranker")
        return Embedding(self, self.pairs(query, passages), self._width)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts in one go, shape (len(texts), dimension), rows of unit length."""
        embedding = self.begin(texts)
        while embedding.step():
            pass
        return embedding.vectors

    def packs(self, lengths: Sequence[int]) -> list[list[int]]:
        """Group texts, given by their token counts, into packs that one call encodes; shortest first."""
        packs: list[list[int]] = []
        used = self.max_tokens
        for row in sorted(range(len(lengths)), key=lengths.__getitem__):
            if used + lengths[row] > self.max_tokens or len(packs[-1]) == self._texts_per_pack:
                packs.append([])
                used = 0
            packs[-1].append(row)
            used += lengths[row]
        return packs

    def encode(self, texts: Sequence[Tokens]) -> NDArray[np.float32]:
        """Vectors of one pack of tokenised texts, shape (len(texts), dimension), not normalised; of a reranker the
        scores, shape (len(texts), 1).
        """
        lengths = np.array([len(tokens) for tokens in texts], np.int64)
        total = int(lengths.sum())
        np.concatenate(texts, out=self._token[:total])
        starts = np.cumsum(lengths) - lengths
        self._position[:total] = np.arange(total) - np.repeat(starts, lengths)
        cells = self._sequence.ctypes.data + self._sequence.itemsize * np.arange(len(texts), dtype=np.uint64)
        self._sequence_address[:total] = np.repeat(cells, lengths)
        self._batch.n_tokens = total
        if self._memory:
            llama.llama_memory_clear(self._memory, False)
            status = llama.llama_decode(self._context, self._batch)
        else:
            status = llama.llama_encode(self._context, self._batch)
        if status != 0:
            raise ModelFault(f"The model failed on a text (llama.cpp gave {status}; {self._log}).")
        vectors = np.empty((len(texts), self._width), np.float32)
        for row in range(len(texts)):
            source = llama.llama_get_embeddings_seq(self._context, row)
            if not source:
                raise ModelFault("The model gave no vector for a text.")
            ctypes.memmove(vectors[row].ctypes.data, source, vectors[row].nbytes)
        return vectors

    def close(self) -> None:
        """Free the model; the engine must not be used afterwards. Idempotent."""
        if self._context:
            llama.llama_free(self._context)
            self._context = None
        if self._model:
            llama.llama_model_free(self._model)
            self._model = None


class Embedding:
    """An embed call, or one that scores, under way. Between two steps the engine is free for another call."""

    def __init__(self, engine: Engine, texts: list[Tokens], width: int) -> None:
        self._engine = engine
        self._texts = texts
        self._packs = deque(engine.packs([len(tokens) for tokens in texts]))
        self.vectors = np.zeros((len(texts), width), np.float32)

    def step(self) -> bool:
        """Encode the next pack. False when nothing was left and `vectors` is complete."""
        if not self._packs:
            return False
        rows = self._packs.popleft()
        vectors = self._engine.encode([self._texts[row] for row in rows])
        if self._engine.pooling != RANK_POOLING:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors /= np.maximum(norms, np.float32(1e-12))
        self.vectors[rows] = vectors
        return True
