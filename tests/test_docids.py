"""Docid kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Stages, tiny_documents
from hypothesis import given
from hypothesis import strategies as st

from dsi.config import BodyConfig, DocidsConfig
from dsi.docids.assign import assign, by_position
from dsi.docids.naive import END, spell
from dsi.docids.residual import residual_codes
from dsi.docids.semantic import tree_codes
from dsi.docids.store import Docids
from dsi.docids.trie import build_trie
from dsi.errors import DsiError


def different(codes: np.ndarray) -> int:
    return len(np.unique(codes, axis=0))


@pytest.mark.parametrize("alphabet", ["characters", "pieces"])
def test_naive_docids_spell_the_collections_ids(tiny: Stages, alphabet: str) -> None:
    doc_ids = ["D1", "D10", "D101", "7"]
    strings, pieces, codes = spell(doc_ids, alphabet, tiny.tokenizer)  # type: ignore[arg-type]
    build_trie(codes)  # although D1 begins D10
    for doc_id, code in zip(doc_ids, codes, strict=True):
        spelled = [strings[token] for token in code if token not in (-1, END)]
        assert "".join(spelled).replace("▁", "").lower() == doc_id.lower()
    piece = tiny.text.convert_tokens_to_ids(strings[1:])
    assert pieces[1:] == [number if number != tiny.text.unk_token_id else -1 for number in piece]


def test_ids_that_the_tokenizer_cannot_tell_apart_share_a_docid(tiny: Stages) -> None:
    *_, codes = spell(["ba", "BA", "be"], "pieces", tiny.tokenizer)
    assert different(codes) == 2


@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 9), st.integers(1, 60), st.sampled_from(["f2", "f4"]))
def test_clusters_are_small_and_docids_unique(
    count: int, clusters: int, leaf_size: int, distinct: int, dtype: str
) -> None:
    points = np.random.default_rng(count).normal(size=(min(distinct, count), 3)).astype(dtype)
    embeddings = points[np.arange(count) % len(points)]  # identical documents, up to all of them
    codes = tree_codes(embeddings, clusters, leaf_size, seed=0)
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
    codes = residual_codes(points[np.arange(count) % len(points)], levels, codebook, seed=0)
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
        codes = residual_codes(points, levels, 8, seed=0)[:, :levels]
        _, group = np.unique(codes, axis=0, return_inverse=True)
        group = group.ravel()
        centres = np.stack([points[group == number].mean(axis=0) for number in range(group.max() + 1)])
        errors.append(float(((points - centres[group]) ** 2).sum()))
    assert errors[0] > 1.3 * errors[1] > 1.3 * 1.3 * errors[2]


def test_near_documents_share_the_beginning_of_their_docids() -> None:
    centres = np.eye(4, dtype=np.float32)[np.repeat(np.arange(4), 20)]
    noise = np.random.default_rng(0).normal(scale=0.01, size=centres.shape).astype(np.float32)
    codes = tree_codes(centres + noise, clusters=4, leaf_size=20, seed=0)
    assert all(len(set(codes[group * 20 : group * 20 + 20, 0])) == 1 for group in range(4))


@pytest.mark.parametrize(
    "config",
    [
        DocidsConfig(kind="atomic"),
        DocidsConfig(kind="naive", alphabet="pieces"),
        DocidsConfig(kind="semantic", clusters=3, leaf_size=5),
        DocidsConfig(kind="semantic_2d", clusters=3, leaf_size=5, embeddings="document_states"),
        DocidsConfig(kind="residual", levels=2, codebook=4),
    ],
    ids=lambda config: f"{config.kind}-{config.embeddings}",
)
def test_assign_writes_what_docids_reads(tiny: Stages, tmp_path: Path, config: DocidsConfig) -> None:
    body = BodyConfig(d_model=16, d_kv=4, d_ff=16)
    counts = assign(tmp_path, docids=config, corpus=tiny.corpus, tokenizer=tiny.tokenizer, body=body)
    docids = Docids(tmp_path)
    assert counts["documents"] == len(docids.codes) == len(tiny_documents())
    assert docids.codes.max() < docids.vocabulary.tokens == counts["tokens"]
    assert docids.codes.shape[1] == docids.vocabulary.length == counts["length"]
    if docids.is_atomic:
        assert docids.codes[:, 0].tolist() == list(range(len(docids.codes)))
    else:
        assert sorted(docids.trie.documents) == list(range(len(docids.codes)))


def test_embeddings_from_a_file(tiny: Stages, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(len(tiny_documents()), 4)).astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    config = DocidsConfig(
        kind="semantic", clusters=3, leaf_size=5, embeddings="file", embedding_file=str(tmp_path / "vectors.npy")
    )
    assign(tmp_path, docids=config, corpus=tiny.corpus, tokenizer=tiny.tokenizer)
    np.testing.assert_array_equal(Docids(tmp_path).codes, tree_codes(vectors, 3, 5, seed=0))


def test_a_file_of_other_documents_embeddings_is_refused(tiny: Stages, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.ones((3, 4), dtype=np.float32))
    config = DocidsConfig(kind="semantic", embeddings="file", embedding_file=str(tmp_path / "vectors.npy"))
    with pytest.raises(DsiError, match=r"vectors\.npy holds float32 of shape \(3, 4\).* 60 documents"):
        assign(tmp_path, docids=config, corpus=tiny.corpus, tokenizer=tiny.tokenizer)
