"""Docid kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Stages, tiny_documents
from hypothesis import given
from hypothesis import strategies as st

from dsi.config import DocidsConfig, ModelConfig
from dsi.docids.assign import assign
from dsi.docids.kmeans import cluster
from dsi.docids.naive import END, spell
from dsi.docids.store import Docids
from dsi.docids.trie import build_trie


def different(codes: np.ndarray) -> int:
    return len(np.unique(codes, axis=0))


@pytest.mark.parametrize("alphabet", ["characters", "pieces"])
def test_naive_docids_spell_the_collections_ids(tiny: Stages, alphabet: str) -> None:
    doc_ids = ["D1", "D10", "D101", "7"]
    vocabulary, codes = spell(doc_ids, alphabet, tiny.tokenizer)  # type: ignore[arg-type]
    build_trie(codes)  # although D1 begins D10
    for doc_id, code in zip(doc_ids, codes, strict=True):
        spelled = [vocabulary.strings[token] for token in code if token not in (-1, END)]
        assert "".join(spelled).replace("▁", "").lower() == doc_id.lower()
    piece = tiny.text.convert_tokens_to_ids(vocabulary.strings[1:])
    assert vocabulary.pieces[1:] == [number if number != tiny.text.unk_token_id else -1 for number in piece]


def test_ids_that_the_tokenizer_cannot_tell_apart_share_a_docid(tiny: Stages) -> None:
    _, codes = spell(["ba", "BA", "be"], "pieces", tiny.tokenizer)
    assert different(codes) == 2


@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 9), st.integers(1, 60))
def test_clusters_are_small_and_docids_unique(count: int, clusters: int, leaf_size: int, distinct: int) -> None:
    points = np.random.default_rng(count).normal(size=(min(distinct, count), 3)).astype(np.float32)
    embeddings = points[np.arange(count) % len(points)]  # identical documents, up to all of them
    vocabulary, codes = cluster(embeddings, clusters, leaf_size, seed=0)
    assert codes.shape == (count, vocabulary.length)
    assert codes.max() < vocabulary.tokens
    assert different(codes) == count
    trie = build_trie(codes)
    fan_out = np.diff(trie.first_child.astype(int))
    assert fan_out.max() <= max(clusters, leaf_size)


def test_near_documents_share_the_beginning_of_their_docids() -> None:
    centres = np.eye(4, dtype=np.float32)[np.repeat(np.arange(4), 20)]
    noise = np.random.default_rng(0).normal(scale=0.01, size=centres.shape).astype(np.float32)
    _, codes = cluster(centres + noise, clusters=4, leaf_size=20, seed=0)
    assert all(len(set(codes[group * 20 : group * 20 + 20, 0])) == 1 for group in range(4))


@pytest.mark.parametrize(
    "config",
    [
        DocidsConfig(kind="atomic"),
        DocidsConfig(kind="naive", alphabet="pieces"),
        DocidsConfig(kind="semantic", clusters=3, leaf_size=5),
        DocidsConfig(kind="semantic", clusters=3, leaf_size=5, embeddings="document_states"),
    ],
    ids=lambda config: f"{config.kind}-{config.embeddings}",
)
def test_assign_writes_what_docids_reads(tiny: Stages, tmp_path: Path, config: DocidsConfig) -> None:
    model = ModelConfig(d_model=16, d_kv=4, d_ff=16)
    counts = assign(tmp_path, docids=config, corpus=tiny.corpus, tokenizer=tiny.tokenizer, model=model)
    docids = Docids(tmp_path)
    assert counts["documents"] == len(docids.codes) == len(tiny_documents())
    assert docids.codes.max() < docids.vocabulary.tokens == counts["tokens"]
    assert docids.codes.shape[1] == docids.vocabulary.length == counts["length"]
    if docids.is_atomic:
        assert docids.codes[:, 0].tolist() == list(range(len(docids.codes)))
    else:
        assert sorted(docids.trie.documents) == list(range(len(docids.codes)))
