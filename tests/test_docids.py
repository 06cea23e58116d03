"""Docid kinds."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import Stages, assign_tiny, tiny_documents
from hypothesis import given
from hypothesis import strategies as st

from dsi.config import DocidsConfig, EmbeddingsConfig
from dsi.corpus import vectors as vectors_module
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import encode_shards, join_shards, read_vectors
from dsi.docids.clustered import by_position
from dsi.docids.kind import NewDocument
from dsi.docids.kinds import opened
from dsi.docids.naive import END, spell
from dsi.docids.residual import residual_codes
from dsi.docids.semantic import tree_codes
from dsi.docids.store import Docids
from dsi.docids.trie import build_trie
from dsi.embeddings.embed import embed, encoder
from dsi.embeddings.tfidf import Tfidf
from dsi.errors import DsiError
from dsi.runtime.processes import Rank


def different(codes: np.ndarray) -> int:
    return len(np.unique(codes, axis=0))


@pytest.mark.parametrize("alphabet", ["characters", "tokens"])
def test_naive_docids_spell_the_collections_ids(tiny: Stages, alphabet: str) -> None:
    doc_ids = ["D1", "D10", "D101", "7"]
    strings, token_ids, codes = spell(doc_ids, alphabet, tiny.text)  # type: ignore[arg-type]
    build_trie(codes)  # although D1 begins D10
    for doc_id, code in zip(doc_ids, codes, strict=True):
        spelled = [strings[token] for token in code if token not in (-1, END)]
        assert "".join(spelled).replace("▁", "").lower() == doc_id.lower()
    token_id = tiny.text.convert_tokens_to_ids(strings[1:])
    assert token_ids[1:] == [number if number != tiny.text.unk_token_id else -1 for number in token_id]


def test_ids_that_the_tokenizer_cannot_tell_apart_share_a_docid(tiny: Stages) -> None:
    *_, codes = spell(["ba", "BA", "be"], "tokens", tiny.text)
    assert different(codes) == 2


@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 9), st.integers(1, 60), st.sampled_from(["f2", "f4"]))
def test_clusters_are_small_and_docids_unique(
    count: int, clusters: int, leaf_size: int, distinct: int, dtype: str
) -> None:
    points = np.random.default_rng(count).normal(size=(min(distinct, count), 3)).astype(dtype)
    embeddings = points[np.arange(count) % len(points)]  # identical documents, up to all of them
    codes = tree_codes(embeddings, clusters, leaf_size, seed=0)[0]
    assert len(codes) == count == different(codes)
    trie = build_trie(codes)
    assert max(trie.fan_out) <= max(clusters, leaf_size)
    flat = by_position(codes)
    assert different(flat) == count
    for token in range(int(flat.max()) + 1):  # every token belongs to one position and is used
        assert (flat == token).any(axis=0).sum() == 1


@given(st.integers(1, 60), st.integers(1, 4), st.integers(2, 9), st.integers(1, 60))
def test_residual_docids_are_unique(count: int, levels: int, codebook: int, distinct: int) -> None:
    points = np.random.default_rng(count).normal(size=(min(distinct, count), 3)).astype(np.float32)
    codes = residual_codes(points[np.arange(count) % len(points)], levels, codebook, seed=0)[0]
    assert different(codes) == count
    assert codes.shape[1] in (levels, levels + 1)
    assert codes[:, :levels].max() < codebook
    assert (codes[:, :levels] >= 0).all()
    build_trie(codes)
    _, group, sizes = np.unique(codes[:, :levels], axis=0, return_inverse=True, return_counts=True)
    if codes.shape[1] > levels:  # only those with equal codes have a suffix
        assert ((codes[:, levels] >= 0) == (sizes[group.ravel()] > 1)).all()


def test_each_residual_level_brings_the_codes_nearer() -> None:
    points = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    errors = []
    for levels in (1, 2, 3):
        codes = residual_codes(points, levels, 8, seed=0)[0][:, :levels]
        _, group = np.unique(codes, axis=0, return_inverse=True)
        group = group.ravel()
        centres = np.stack([points[group == number].mean(axis=0) for number in range(group.max() + 1)])
        errors.append(float(((points - centres[group]) ** 2).sum()))
    assert errors[0] > 1.3 * errors[1] > 1.3 * 1.3 * errors[2]


def test_near_documents_share_the_beginning_of_their_docids() -> None:
    centres = np.eye(4, dtype=np.float32)[np.repeat(np.arange(4), 20)]
    noise = np.random.default_rng(0).normal(scale=0.01, size=centres.shape).astype(np.float32)
    codes = tree_codes(centres + noise, clusters=4, leaf_size=20, seed=0)[0]
    assert all(len(set(codes[group * 20 : group * 20 + 20, 0])) == 1 for group in range(4))


@pytest.mark.parametrize(
    ("config", "vectors"),
    [
        (DocidsConfig(kind="atomic"), "tfidf"),
        (DocidsConfig(kind="naive"), "tfidf"),
        (DocidsConfig(kind="naive", alphabet="tokens"), "tfidf"),
        (DocidsConfig(kind="semantic", clusters=3, leaf_size=5), "tfidf"),
        (DocidsConfig(kind="semantic_2d", clusters=3, leaf_size=5), "document_states"),
        (DocidsConfig(kind="residual", levels=2, codebook=4), "tfidf"),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_what_assigned_docids_finds_them_again(
    tiny: Stages, tmp_path: Path, config: DocidsConfig, vectors: str
) -> None:
    counts = assign_tiny(tmp_path, tiny, config, kind=vectors)
    docids, corpus = Docids(tmp_path), Corpus(tiny.corpus)
    assert counts["documents"] == len(docids.codes) == len(tiny_documents())
    assert docids.codes.max() < docids.vocabulary.tokens == counts["tokens"]
    assert docids.codes.shape[1] == docids.vocabulary.length == counts["length"]
    if docids.is_atomic:
        assert docids.codes[:, 0].tolist() == list(range(len(docids.codes)))
    else:
        assert sorted(docids.trie.documents) == list(range(len(docids.codes)))
    kind = opened(tmp_path)
    made = encoder(tmp_path / "embeddings")(list(corpus.contents())) if config.is_clustered else [None] * len(corpus)
    for number, (code, document, vector) in enumerate(zip(docids.codes, corpus, made, strict=True)):
        way = kind.way(NewDocument(number, document.doc_id, vector))
        tokens = code[code >= 0].tolist()
        assert tokens[: len(way)] == way
        assert len(tokens) - len(way) == (config.kind in ("semantic", "semantic_2d")) or config.kind == "residual"


def test_a_letter_that_no_id_has_is_an_error(tiny: Stages, tmp_path: Path) -> None:
    assign_tiny(tmp_path, tiny, DocidsConfig(kind="naive"))
    kind = opened(tmp_path)
    with pytest.raises(DsiError, match=r"^document 'D1Z': no id of the index has 'Z'.* give "):
        kind.way(NewDocument(99, "D1Z"))


@given(st.integers(2, 80), st.integers(2, 5), st.integers(1, 9), st.integers(1, 80))
def test_descending_the_clusters_leads_to_a_documents_own_leaf(
    count: int, clusters: int, leaf_size: int, distinct: int
) -> None:
    points = np.random.default_rng(count).normal(size=(min(distinct, count), 3)).astype(np.float32)
    vectors = points[np.arange(count) % len(points)]
    codes, tree = tree_codes(vectors, clusters, leaf_size, seed=0)
    assert len(tree.centroids) == len(tree.first_child) - 1
    groups = [np.flatnonzero((vectors == vector).all(axis=1)) for vector in vectors]
    for vector, same in zip(vectors, groups, strict=True):
        way = tree.way(vector)
        # identical documents may have been dealt out over several leaves: the way leads to one of these
        assert any(codes[number, : len(way)].tolist() == way for number in same)


def test_vectors_from_a_file(tiny: Stages, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(len(tiny_documents()), 4)).astype(np.float16)
    np.save(tmp_path / "mine.npy", vectors)
    config = DocidsConfig(kind="semantic", clusters=3, leaf_size=5)
    assign_tiny(tmp_path / "docids", tiny, config, kind="file", file=str(tmp_path / "mine.npy"))
    np.testing.assert_array_equal(Docids(tmp_path / "docids").codes, tree_codes(vectors, 3, 5, seed=0)[0])
    with pytest.raises(DsiError, match="came from a file"):
        encoder(tmp_path / "docids/embeddings")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((3, 4), dtype=np.float32), r"holds float32 of shape \(3, 4\).* 60 documents"),
        (np.ones((60, 0), dtype=np.float32), r"holds float32 of shape \(60, 0\)"),
        (np.ones((60, 4), dtype=np.int64), "holds int64 .* floating-point"),
        (np.where(np.arange(240) == 29, np.nan, 1).reshape(60, 4), "infinite as float32, in row 7 .document D70"),
        (np.full((60, 4), 1e300), "infinite as float32, in row 0 "),
        (None, "is empty"),
    ],
)
def test_a_file_without_a_vector_for_each_document_is_refused(
    tiny: Stages, tmp_path: Path, vectors: np.ndarray | None, message: str
) -> None:
    file = tmp_path / "vectors.npy"
    file.touch()
    if vectors is not None:
        np.save(file, vectors)
    with pytest.raises(DsiError, match=rf"^embeddings\.file: .*{message}"):
        assign_tiny(tmp_path / "docids", tiny, DocidsConfig(kind="semantic"), kind="file", file=str(file))


def test_tfidf_of_many_documents_is_fitted_to_some(
    tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in (("all", 200_000), ("some", 30)):
        (tmp_path / name).mkdir()
        monkeypatch.setattr("dsi.embeddings.embed.FITTED", limit)
        counts = embed(tmp_path / name, embeddings=EmbeddingsConfig(), corpus_folder=tiny.corpus)
        assert counts["documents"] == len(Corpus(tiny.corpus))
    whole, some = (read_vectors(tmp_path / name) for name in ("all", "some"))
    texts = list(Corpus(tiny.corpus).contents())
    np.testing.assert_allclose(encoder(tmp_path / "some")(texts), np.asarray(some, dtype=np.float32), atol=1e-6)
    norms = np.linalg.norm(some, axis=1)  # of documents that share no word with those it is fitted to, 0
    np.testing.assert_allclose(norms[norms > 0], 1, atol=1e-5)
    assert np.corrcoef((whole @ whole.T).flatten(), (some @ some.T).flatten())[0, 1] > 0.5


@pytest.mark.parametrize("kind", ["tfidf", "document_states"])
def test_what_made_the_vectors_makes_them_again(tiny: Stages, tmp_path: Path, kind: str) -> None:
    assign_tiny(tmp_path, tiny, DocidsConfig(kind="semantic"), kind=kind)
    vectors = read_vectors(tmp_path / "embeddings")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    again = encoder(tmp_path / "embeddings")([document.content() for document in tiny_documents()])
    np.testing.assert_allclose(again, vectors, atol=2e-5)


def test_documents_without_a_word_have_vectors_too() -> None:
    fitted, vectors = Tfidf.fit(["...", "!"], 2, seed=0)
    assert vectors.tolist() == fitted(["?", "word"]).tolist() == [[1.0], [1.0]]


def test_processes_share_the_vectors(tiny: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "SHARD", 25)
    corpus, encoded = Corpus(tiny.corpus), list[int]()

    def lengths(texts: list[str]) -> np.ndarray:
        encoded.append(len(texts))
        return np.array([[len(text)] for text in texts], dtype=np.float32)

    with ThreadPoolExecutor() as pool:
        ranks = [Rank(process, 2) for process in range(2)]
        found = list(pool.map(lambda rank: encode_shards(tmp_path, corpus, lengths, "x", rank), ranks))
    assert found[0] == found[1]
    assert sorted(encoded) == [10, 25, 25]
    joined = join_shards(tmp_path / "all.npy", found[0])
    assert joined[:, 0].tolist() == [len(content) for content in corpus.contents()]
