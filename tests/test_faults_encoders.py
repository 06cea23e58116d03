"""Vectors of documents: those of a sentence-transformers model as its files say, and files of numbers, whole."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Stages, assign_tiny, tiny_documents

from dsi.baselines import run_baselines as run_baselines_module
from dsi.baselines.dense import check_dense, mean_tokens
from dsi.baselines.run_baselines import run_baselines
from dsi.config import BaselinesConfig, DocidsConfig, EmbeddingsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import as_float16, read_vectors
from dsi.embeddings import sentence_encoder as module
from dsi.embeddings.embed import check_embeddings, embed
from dsi.embeddings.sentence_encoder import check_encoder, sentence_encoder
from dsi.errors import DsiError
from dsi.search.run_files import read_run

CONFIG = "config_sentence_transformers.json"


class Encoder(torch.nn.Module):
    """A model whose queries and documents are encoded in different ways, of the given length, in float32."""

    similarity_fn_name = "cosine"
    prompts = {"query": "to find : ", "document": ""}  # noqa: RUF012
    max_seq_length = 6

    def __init__(self, scale: float = 1.0, spoilt: int | None = None) -> None:
        super().__init__()
        self.scale, self.spoilt = scale, spoilt

    def tokenizer(self, texts: list[str]) -> dict[str, list[list[str]]]:
        return {"input_ids": [text.split() for text in texts]}

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        raise AssertionError("neither a query nor a document")

    def encode_document(self, texts: list[str], **_: Any) -> np.ndarray:
        numbers = np.array([[len(text), ord(text[0]), ord(text[-1])] for text in texts], dtype=np.float32)
        vectors = self.scale * numbers / np.linalg.norm(numbers, axis=1, keepdims=True)
        if self.spoilt is not None:
            vectors[self.spoilt, 1] = np.nan
        return vectors

    def encode_query(self, texts: list[str], **_: Any) -> np.ndarray:
        return -self.encode_document(texts)


def use(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> None:
    for place in (module, run_baselines_module):
        monkeypatch.setattr(place, "sentence_encoder", lambda name, key: encoder)


def dense(out: Path, tiny: Stages) -> dict[str, dict[str, float]]:
    out.mkdir(exist_ok=True)
    run_baselines(out, baselines=BaselinesConfig(systems=["dense"], depth=60), split=None, corpus_folder=tiny.corpus)
    return read_run(out / "dense.run")


def embedded(out: Path, tiny: Stages, **keys: Any) -> np.ndarray:
    out.mkdir(exist_ok=True)
    embed(out, embeddings=EmbeddingsConfig(**keys), corpus_folder=tiny.corpus)
    return read_vectors(out)


def from_file(tiny: Stages, out: Path, vectors: np.ndarray) -> None:
    np.save(out / "mine.npy", vectors)
    assign_tiny(out / "docids", tiny, DocidsConfig(kind="semantic"), kind="file", file=str(out / "mine.npy"))


# One test a report


def test_dense_prompts(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, corpus = Encoder(), Corpus(tiny.corpus)
    use(monkeypatch, encoder)
    vectors = encoder.encode_document(list(corpus.contents()))
    np.testing.assert_allclose(embedded(tmp_path / "e", tiny, kind="sentence_transformers"), vectors, atol=1e-3)
    run = dense(tmp_path / "b", tiny)
    for query in corpus.queries("test"):
        scores = vectors @ encoder.encode_query([query.text])[0]
        np.testing.assert_allclose(list(run[query.query_id].values()), np.sort(scores)[::-1], atol=2e-3)
    assert mean_tokens(encoder, ["a b", "a b c d e f g"]) == 5.5  # with the prompt, and cut


def test_nan_embeddings(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.ones((60, 4), dtype=np.float32)
    vectors[[3, 7]] = np.nan
    with pytest.raises(DsiError, match=r"^embeddings\.file: .* row 3 \(document D30\), row 7 \(document D70\)$"):
        from_file(tiny, tmp_path, vectors)
    use(monkeypatch, Encoder(spoilt=5))
    with pytest.raises(DsiError, match=r"embed: .* row 5 \(document D50\)$"):
        embedded(tmp_path / "e", tiny, kind="sentence_transformers")
    with pytest.raises(DsiError, match=r"dense index: .* row 5 \(document D50\)$"):
        dense(tmp_path / "b", tiny)


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_embeddings_overflow(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    encoder, corpus = Encoder(scale), Corpus(tiny.corpus)
    use(monkeypatch, encoder)
    vectors = embedded(tmp_path / "e", tiny, kind="sentence_transformers")
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, encoder.encode_document(list(corpus.contents())))
    assert len(dense(tmp_path / "b", tiny)["test0"]) == 60
    with np.errstate(over="ignore"):
        half = np.where(np.arange(240) == 29, 1e6, 1).reshape(60, 4).astype(np.float16)
    with pytest.raises(DsiError, match=r"infinite as float16, in row 7 \(document D70\)$"):
        from_file(tiny, tmp_path, half)


# Further cases of the kind


def test_a_query_without_a_finite_vector(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder()
    monkeypatch.setattr(encoder, "encode_query", lambda texts, **_: np.full((len(texts), 3), np.nan, np.float32))
    use(monkeypatch, encoder)
    with pytest.raises(DsiError, match=r"the dense model gives query '\w+ \w+ \w+' .* NaN or infinite"):
        dense(tmp_path, tiny)


def test_float16_is_kept_where_it_is_precise() -> None:
    random = np.random.default_rng(0)
    assert as_float16(random.normal(size=(9, 64)).astype(np.float32)).dtype == np.float16
    mixed = random.normal(size=(9, 64)).astype(np.float32)
    mixed[4] *= 1e-7
    assert as_float16(mixed).dtype == np.float32
    assert as_float16(np.zeros((2, 3), dtype=np.float32)).dtype == np.float16


def test_zero_vectors_are_counted(tiny: Stages, tmp_path: Path) -> None:
    vectors = np.ones((60, 4), dtype=np.float32)
    vectors[[3, 7]] = 0
    np.save(tmp_path / "mine.npy", vectors)
    (tmp_path / "e").mkdir()
    config = EmbeddingsConfig(kind="file", file=str(tmp_path / "mine.npy"))
    assert embed(tmp_path / "e", embeddings=config, corpus_folder=tiny.corpus)["zero_vectors"] == 2


class Bomb:
    """An object that, unpickled, ends the process."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return sys.exit, ("unpickled",)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (np.array([[Bomb()]] * 60, dtype=object), "cannot read .* Python objects"),
        (np.ones(60), r"shape \(60,\)"),
        (np.ones((60, 2, 2)), r"shape \(60, 2, 2\)"),
        (np.ones((61, 2)), r"shape \(61, 2\).* each of the 60 documents"),
        (np.ones((60, 2), dtype=complex), "complex128"),
        (np.ones((60, 2), dtype=bool), "bool"),
    ],
    ids=["objects", "1-D", "3-D", "rows", "complex", "bool"],
)
def test_files_that_hold_something_else(tiny: Stages, tmp_path: Path, vectors: np.ndarray, said: str) -> None:
    with pytest.raises(DsiError, match=rf"^embeddings\.file: .*{said}"):
        from_file(tiny, tmp_path, vectors)
    with pytest.raises(DsiError, match=r"^embeddings\.file: "):
        check_embeddings(EmbeddingsConfig(kind="file", file=str(tmp_path / "mine.npy")), documents=60)


@pytest.mark.parametrize("spoil", ["cut", "text", "missing", "pointer", "folder"])
def test_files_that_are_damaged(tiny: Stages, tmp_path: Path, spoil: str) -> None:
    file = tmp_path / "mine.npy"
    np.save(file, np.ones((60, 40), dtype=np.float32))
    if spoil == "cut":
        file.write_bytes(file.read_bytes()[:4_000])
    elif spoil == "text":
        file.write_text("0.5 0.25\n" * 60)
    elif spoil == "pointer":
        file.write_text("version https://git-lfs.github.com/spec/v1\n")
    else:
        file.unlink()
    if spoil == "folder":
        file.mkdir()
    with pytest.raises(DsiError, match=rf"^embeddings\.file: .*{file}"):
        embedded(tmp_path / "e", tiny, kind="file", file=str(file))
    with pytest.raises(DsiError, match=rf"^embeddings\.file: .*{file}"):
        check_embeddings(EmbeddingsConfig(kind="file", file=str(file)))


@pytest.mark.parametrize(
    "vectors",
    [
        np.asfortranarray(np.random.default_rng(0).normal(size=(60, 4))),
        np.random.default_rng(0).normal(size=(60, 4)).astype(">f4"),
    ],
    ids=["Fortran order, float64", "big endian"],
)
def test_other_layouts_of_the_same_numbers(tiny: Stages, tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "mine.npy", vectors)
    found = embedded(tmp_path / "e", tiny, kind="file", file=str(tmp_path / "mine.npy"))
    np.testing.assert_array_equal(found, vectors.astype(np.float32))


def test_models_are_checked_before_they_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsi.runtime.extras.find_spec", lambda name: name)
    monkeypatch.setattr(module, "cached_file", lambda name, file, **_: file if name == "org/name" else None)
    check_encoder("org/name", "embeddings.model")
    with pytest.raises(DsiError, match=r"^baselines\.dense_model: cannot load 'no/such-model'"):
        check_dense("no/such-model")
    with pytest.raises(DsiError, match=r"^embeddings\.model: there is no folder \./nowhere"):
        check_embeddings(EmbeddingsConfig(kind="sentence_transformers", model="./nowhere"))
    kind = "sentence_transformers.models.Transformer"
    (tmp_path / "modules.json").write_text(json.dumps([{"type": kind, "path": ""}]))
    (tmp_path / CONFIG).write_text('{"similarity_fn_name": "euclidean"}')
    with pytest.raises(DsiError, match=r"baselines\.dense_model: this model is made for euclidean distance"):
        check_dense(str(tmp_path))
    (tmp_path / CONFIG).write_text('{"similarity_fn_name": "dot"}')
    check_dense(str(tmp_path))
    (tmp_path / "1_Dense").mkdir()
    weights = tmp_path / "1_Dense/model.safetensors"
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DsiError, match="git lfs pull"):
        check_dense(str(tmp_path))
    weights.unlink()
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "custom_st.Module", "path": ""}]))
    with pytest.raises(DsiError, match=r"needs code of its own, custom_st\.Module"):
        check_dense(str(tmp_path))


def test_models_of_the_library(tiny: Stages, tmp_path: Path) -> None:
    """With sentence-transformers only, which is an extra."""
    library = pytest.importorskip("sentence_transformers")
    from safetensors.torch import load_file, save_file
    from sentence_transformers.models import Dense, Normalize, Pooling, StaticEmbedding, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word for document in tiny_documents() for word in document.text.split()})
    bert = tmp_path / "bert"
    bert.mkdir()
    (bert / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "query", ":", *words]))
    BertTokenizerFast(str(bert / "vocab.txt")).save_pretrained(bert)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**shape, vocab_size=len(words) + 7), add_pooling_layer=False).save_pretrained(bert)
    tokenizer = BertTokenizerFast.from_pretrained(bert).backend_tokenizer
    for name, modules in {
        "max": [Transformer(str(bert)), Pooling(8, pooling_mode="max"), Dense(8, 5), Normalize()],
        "static": [StaticEmbedding(tokenizer, embedding_dim=6)],
    }.items():
        model = library.SentenceTransformer(modules=modules, prompts={"query": "query : "})
        model.save(str(tmp_path / name))
        check_dense(str(tmp_path / name))
        vectors = embedded(tmp_path / f"{name}-e", tiny, kind="sentence_transformers", model=str(tmp_path / name))
        expected = model.encode_document(list(Corpus(tiny.corpus).contents()))
        np.testing.assert_allclose(vectors, expected, atol=3e-3)
        baselines = BaselinesConfig(systems=["dense"], dense_model=str(tmp_path / name))
        (tmp_path / f"{name}-b").mkdir()
        run_baselines(tmp_path / f"{name}-b", baselines=baselines, split=None, corpus_folder=tiny.corpus)
    weights = load_file(tmp_path / "max/model.safetensors")
    places = {"embeddings.position_ids": torch.arange(512).expand(1, -1).contiguous()}  # of old versions, as MiniLM's
    save_file(weights | places, tmp_path / "max/model.safetensors", metadata={"format": "pt"})
    sentence_encoder(str(tmp_path / "max"), "embeddings.model")
    weights.pop("encoder.layer.0.output.dense.weight")
    save_file(weights, tmp_path / "max/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DsiError, match=r"embeddings\.model: .* lacks the weight encoder\.layer\.0\.output\.dense"):
        sentence_encoder(str(tmp_path / "max"), "embeddings.model")
