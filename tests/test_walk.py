"""Walks: what they say of a beam, against explanations and against what the search finds."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Stages
from growing import EVERY, NEW, OLD, built, query_of, records
from test_explain import asked, make_run

import dsi
from dsi.errors import DsiError
from dsi.index.index import Index
from dsi.index.walk import Branch
from dsi.index.walking import DROPPED, KEPT

K = 5


@pytest.fixture(scope="module")
def run(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny corpus with a tree of docids, which has learnt nothing."""
    return make_run(tmp_path_factory.mktemp("tree"), tiny, "semantic")


@pytest.fixture(scope="module", params=["bm25", "none", "leaf"])
def tree(request: pytest.FixtureRequest, run: Path) -> Index:
    keys = {"bm25": {}, "none": {"prior": "none"}, "leaf": {"prior": "none", "ranking": "leaf"}}
    return dsi.load(run, **keys[request.param])


@pytest.fixture(scope="module")
def atomic(tiny: Stages, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return dsi.load(make_run(tmp_path_factory.mktemp("atomic"), tiny, "atomic"))


@pytest.mark.parametrize("beam", [5, 7, 40])
def test_a_walk_is_what_the_beam_of_a_search_does(tree: Index, beam: int) -> None:
    query, trie = asked(tree), tree.searcher.searcher.docids.trie
    hits = tree.search(query, k=K, beam=beam)
    walk = tree.walk(query, k=K, beam=beam)
    assert (walk.kind, walk.beam, walk.documents) == ("tree", max(beam, K), ())
    for hit in hits:
        way = [branch for level in walk.levels for branch in level.branches if hit.rank in branch.hits]
        explained = tree.explain(query, hit.doc_id)
        if len(way) < len(explained.steps):  # a document of the prior that the beam has not reached
            assert walk.prior
            continue
        assert hit.doc_id in way[-1].doc_ids
        assert all(branch.kept for branch in way)
        assert [branch.token for branch in way] == [step.token for step in explained.steps]
        steps = [step.probability for step in explained.steps]
        np.testing.assert_allclose([branch.step for branch in way], steps, rtol=1e-4)
        assert way[-1].probability == pytest.approx(explained.probability, rel=1e-4)
        assert [branch.documents for branch in way] == [step.documents for step in explained.steps]
        if explained.prior is not None:
            assert way[-1].prior == pytest.approx(explained.prior.score, rel=1e-5)
        assert [branch.prior for branch in way] == sorted((branch.prior for branch in way), reverse=True)
        assert [branch.parent for branch in way] == [0, *(branch.node for branch in way[:-1])]
    for level in walk.levels:
        worth = [branch.of_index + branch.of_prior for branch in level.branches]
        assert worth == sorted(worth, reverse=True)
        assert min(worth) >= 0
        assert len(level.branches) <= KEPT + K + DROPPED
        assert 1 <= level.kept <= 2 * beam  # docids that end here, and nodes to go on from
        for branch in level.branches:
            assert branch.documents == trie.below(branch.node, 1)[0]
            assert bool(branch.doc_ids) == bool(trie.is_leaf[branch.node])
    reached = [branch for level in walk.levels for branch in level.branches]
    assert {branch.parent for branch in reached} <= {0, *(branch.node for branch in reached)}


def test_what_a_narrow_beam_drops_is_shown_as_dropped(tree: Index) -> None:
    walk = tree.walk(asked(tree), k=1, beam=1)
    for level in walk.levels[:-1]:
        assert level.kept >= 1
        assert [branch.kept for branch in level.branches if not branch.doc_ids].count(True) == 1
        assert level.dropped == 0 or not all(branch.kept for branch in level.branches)
    assert walk.certificate


def test_deleted_documents_are_no_part_of_a_walk_and_added_ones_are(tmp_path: Path) -> None:
    index, query = dsi.load(built(tmp_path / "index", "tree")), query_of(OLD[7])

    def branches() -> list[Branch]:
        return [branch for level in index.walk(query, k=EVERY, beam=EVERY).levels for branch in level.branches]

    assert any(OLD[7].doc_id in branch.doc_ids for branch in branches())
    index.delete(OLD[7].doc_id)
    index.add(records(NEW[:1]))
    assert not any(OLD[7].doc_id in branch.doc_ids for branch in branches())
    assert any(NEW[0].doc_id in branch.doc_ids for branch in branches())
    assert sum(branch.documents for branch in branches() if branch.parent == 0) == len(OLD)


def test_the_parts_of_atomic_documents_are_their_totals(atomic: Index) -> None:
    query, mixture = asked(atomic), atomic.searcher.searcher.mixture
    hits, walk = atomic.search(query, k=K), atomic.walk(query, k=K)
    assert (walk.kind, walk.levels, walk.certified, walk.prior) == ("atomic", (), K, "bm25")
    assert [document.doc_id for document in walk.documents] == [hit.doc_id for hit in hits]
    for document, hit in zip(walk.documents, hits, strict=True):
        assert document.of_index + document.of_prior + mixture.floor == pytest.approx(hit.score, abs=1e-4)
        assert document.probability == pytest.approx(atomic.explain(query, hit.doc_id).probability, rel=1e-3)
    plain = dsi.load(atomic._now.parts.folder, prior="none").walk(query, k=K)
    for document in plain.documents:
        assert document.of_index == pytest.approx(document.probability)
        assert document.of_prior == document.prior == 0


def test_what_has_no_walk(tree: Index, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the query has no word"):
        tree.walk(" ")
    with pytest.raises(ValueError, match="k must be a whole number above 0"):
        tree.walk("a", k=0)
    tree.save(tmp_path / "ids", include_documents=False)
    with pytest.raises(DsiError, match="without its documents, which a walk needs"):
        dsi.load(tmp_path / "ids").walk("a")
