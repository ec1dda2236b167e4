from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from studio.embedding.model_files import DEFAULT_MODEL, convert, read_header, sha256_of
from studio.embedding.model_files.gguf_convert import Precision
from studio.embedding.model_files.safetensors_file import SafetensorsFile
from studio.embedding.worker.engine import Engine
from studio.errors import ModelFault
from tests.helpers import tiny_bert

TEXTS = ["the quick fox jumps over the lazy dog.", "a house", "", "jumping jumped, housed", "the " * 40]


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("precision", "least"),
    [(Precision.F32, 0.99999), (Precision.F16, 0.9999), (Precision.BF16, 0.999), (Precision.Q8_0, 0.998)],
)
@pytest.mark.parametrize(("pooling", "cautious"), [("mean", False), ("cls", False), ("mean", True)])
def test_vectors_agree_with_an_independent_forward_pass(
    tmp_path: Path, precision: Precision, least: float, pooling: str, cautious: bool
) -> None:
    folder = tiny_bert.make_model(tmp_path / "model", pooling=pooling)
    convert(folder, tmp_path / "m.gguf", name="m", precision=precision)
    config = json.loads((folder / "config.json").read_text())
    weights = tiny_bert.random_weights(config)
    engine = Engine(tmp_path / "m.gguf", max_tokens=48, cautious=cautious)
    try:
        assert engine.pooling == pooling
        vectors = engine.embed(TEXTS)
        for text, vector in zip(TEXTS, vectors, strict=True):
            assert tiny_bert.forward(weights, config, engine.tokens(text), pooling) @ vector > least, text
    finally:
        engine.close()


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F64"])
def test_stored_precisions_are_read(tmp_path: Path, dtype: str) -> None:
    folder = tiny_bert.make_model(tmp_path / "model", dtype=dtype)
    weights = SafetensorsFile(folder / "model.safetensors")
    for name, values in tiny_bert.random_weights(json.loads((folder / "config.json").read_text())).items():
        np.testing.assert_allclose(weights.read(name), values, rtol=2**-7, atol=1e-4)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first = tiny_bert.make_model(tmp_path / "one")
    second = tiny_bert.make_model(tmp_path / "two")
    convert(first, tmp_path / "1.gguf", name="m")
    convert(second, tmp_path / "2.gguf", name="m")
    assert (tmp_path / "1.gguf").read_bytes() == (tmp_path / "2.gguf").read_bytes()


def test_the_default_model_converts_to_the_file_every_installation_has(default_source: Path, tmp_path: Path) -> None:
    model = convert(default_source, tmp_path / "m.gguf", name=DEFAULT_MODEL)
    assert sha256_of(tmp_path / "m.gguf") == "5fc1c1754cbc3e4ecc1637ac41507d4fcd29f567a20112fe002014c284dbb400"
    assert model.max_tokens == 256


def test_keys_and_vocabulary(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    assert header.architecture == "bert"
    assert header.number("context_length") == 64
    assert header.number("pooling_type") == 1
    assert header.metadata["tokenizer.ggml.seperator_token_id"] == tiny_bert.VOCABULARY.index("[SEP]")
    assert header.metadata["tokenizer.ggml.normalizer.strip_accents"] is True
    reader = gguf.GGUFReader(tiny_gguf)
    tokens = [
        bytes(reader.fields["tokenizer.ggml.tokens"].parts[i]).decode()
        for i in reader.fields["tokenizer.ggml.tokens"].data
    ]
    assert tokens[tiny_bert.VOCABULARY.index("##ing")] == "ing"
    assert tokens[tiny_bert.VOCABULARY.index("the")] == "▁the"
    assert tokens[tiny_bert.VOCABULARY.index("[CLS]")] == "[CLS]"


def test_the_vocabulary_may_come_from_tokenizer_json(tmp_path: Path, tiny_gguf: Path) -> None:
    folder = tiny_bert.make_model(tmp_path / "model", vocabulary_in="tokenizer.json")
    convert(folder, tmp_path / "m.gguf", name="tiny-bert")
    assert (tmp_path / "m.gguf").read_bytes() == tiny_gguf.read_bytes()


@pytest.mark.parametrize(
    ("file", "values", "sentence"),
    [
        ("config.json", {"model_type": "mpnet"}, "mpnet"),
        ("config.json", {"position_embedding_type": "relative_key"}, "relative positions"),
        ("config.json", {"hidden_act": "relu"}, "relu"),
        ("config.json", {"hidden_size": 0}, "hidden_size"),
        ("config.json", {"hidden_size": 32}, "shape"),
        ("config.json", {"num_hidden_layers": 3}, "lack"),
        ("config.json", {"num_hidden_layers": 1}, "shape"),
        ("config.json", {"vocab_size": 9}, "vocabulary"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pools"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "none"),
        ("tokenizer_config.json", {"sep_token": "</s>"}, "</s>"),
    ],
)
def test_unsupported_models_are_refused_with_a_sentence(
    tmp_path: Path, file: str, values: dict[str, Any], sentence: str
) -> None:
    folder = tiny_bert.make_model(tmp_path / "model")
    edit(folder / file, **values)
    with pytest.raises(ModelFault, match=sentence):
        convert(folder, tmp_path / "m.gguf", name="m")
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "a failed conversion must leave nothing behind"


def test_a_dense_module_is_refused(tmp_path: Path) -> None:
    folder = tiny_bert.make_model(tmp_path / "model")
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(ModelFault, match="Dense"):
        convert(folder, tmp_path / "m.gguf", name="m")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "1_Pooling/config.json", "vocab.txt"])
@pytest.mark.parametrize("content", [None, b"", b"{broken", b"[1]", b"\xff\xfe\x00"])
def test_missing_and_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = tiny_bert.make_model(tmp_path / "model")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(ModelFault):
        convert(folder, tmp_path / "m.gguf", name="m")


@pytest.mark.parametrize("content", [b"[{}]", b"{broken", b"[3]"])
def test_a_damaged_module_list_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = tiny_bert.make_model(tmp_path / "model")
    (folder / "modules.json").write_bytes(content)
    with pytest.raises(ModelFault, match="modules"):
        convert(folder, tmp_path / "m.gguf", name="m")


def test_weights_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    folder = tiny_bert.make_model(tmp_path / "model")
    weights = tiny_bert.random_weights(json.loads((folder / "config.json").read_text()))
    cases = {
        "not numbers": {**weights, "encoder.layer.0.output.dense.weight": np.full((64, 96), np.nan)},
        "too large": {**weights, "encoder.layer.0.output.dense.weight": np.full((64, 96), 1e6)},
        "does not have": {**weights, "lm_head.weight": np.zeros((2, 2))},
    }
    for sentence, tensors in cases.items():
        tiny_bert.write_safetensors(folder / "model.safetensors", tensors)
        with pytest.raises(ModelFault, match=sentence):
            convert(folder, tmp_path / "m.gguf", name="m")
    tiny_bert.write_safetensors(folder / "model.safetensors", weights, "I64")
    with pytest.raises(ModelFault, match="floating point"):
        convert(folder, tmp_path / "m.gguf", name="m")


@pytest.mark.parametrize("keep", [0, 4, 8, 30, 1000, -1])
def test_cut_safetensors_are_refused(tmp_path: Path, tiny_folder: Path, keep: int) -> None:
    whole = (tiny_folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:keep])
    with pytest.raises(ModelFault, match=r"model\.safetensors"):
        SafetensorsFile(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}',
        b"[" * 5000,
    ],
)
def test_absurd_safetensors_headers_are_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(ModelFault):
        SafetensorsFile(path)


def test_a_missing_tensor_is_named(tiny_folder: Path) -> None:
    with pytest.raises(ModelFault, match="nothing_here"):
        SafetensorsFile(tiny_folder / "model.safetensors").read("nothing_here")
