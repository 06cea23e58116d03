"""Planned search against brute force: the total of every document, by teacher forcing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models import random_model, random_queries
from test_search import ROUNDING, brute_force, variable_docids, write

from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.beam import DeviceTrie
from dsi.search.fusion import linear, reciprocal_ranks
from dsi.search.plan import NO_NODE, Plan
from dsi.search.prior import PLAIN, Mixture, Prior
from dsi.search.ranking import Ranking
from dsi.search.searcher import Searcher

CPU = torch.device("cpu")
MIXTURES = st.builds(Mixture, st.sampled_from([0.0, 0.3, 1.0, 8.0]), st.sampled_from([0.0, 1e-4, 1e-2, 1.0]))


def random_prior(random: np.random.Generator, documents: int) -> Prior:
    """Scores of some documents, many of them equal."""
    size = int(random.integers(0, documents + 1))
    chosen = random.choice(documents, size=size, replace=False)
    return Prior.of({int(doc): float(random.integers(0, 8)) / 2 for doc in chosen})


def random_docids(folder: Path, random: np.random.Generator, documents: int) -> Docids:
    """Docids of one to four tokens, of which some documents share one."""
    codes = variable_docids(documents, 7, int(random.integers(1000)))
    shared = [codes[number] for number in random.integers(0, documents, size=documents)]
    return write(folder, "naive", shared if random.random() < 0.5 else codes, 7)


def totals_of(
    model: DifferentiableSearchIndex, query: list[int], docids: Docids, prior: Prior, by: Mixture
) -> np.ndarray:
    """The total of every document, shape (documents,), in double precision; without a prior the log-probability."""
    if not len(prior.doc_index):
        return brute_force(model, query, docids)
    probabilities = np.exp(brute_force(model, query, docids).astype(float))
    return np.log(probabilities + by.epsilon) + by.weight * prior.of_documents(np.arange(len(docids.codes)))


def check(ranking: Ranking, expected: np.ndarray) -> None:
    """Decoded documents have their totals, others no more than theirs; the certified ones are the best of all."""
    assert len(set(ranking.doc_index.tolist())) == len(ranking.doc_index)
    assert (np.diff(ranking.score) <= 0).all()
    decoded = ranking.log_prob > -np.inf
    np.testing.assert_allclose(ranking.score[decoded], expected[ranking.doc_index[decoded]], atol=ROUNDING)
    assert (ranking.score <= expected[ranking.doc_index] + ROUNDING).all()
    best = np.sort(expected)[::-1][: ranking.certified]
    np.testing.assert_allclose(ranking.score[: ranking.certified], best, atol=ROUNDING)


@settings(max_examples=40)
@example(seed=0, documents=99, beam=4, mixture=Mixture(1.0, 1.0))  # totals equal in float32, decoded and not
@example(seed=1596, documents=111, beam=3, mixture=Mixture(0.0, 1.0))
@example(seed=915256, documents=32, beam=5, mixture=Mixture(1.0, 1.0))  # queries of a batch with fewer hypotheses
@given(seed=st.integers(0, 10_000), documents=st.integers(1, 150), beam=st.integers(1, 40), mixture=MIXTURES)
def test_planned_beam_certifies_the_best_totals(tmp_path_factory, seed, documents, beam, mixture) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    docids = random_docids(tmp_path_factory.mktemp("docids"), random, documents)
    model, queries = random_model(7, docids.vocabulary.length, seed), random_queries(4, seed)
    priors = [random_prior(random, documents) for _ in queries]
    for max_beam in (0, 500):
        searcher = Searcher(model, docids, max_beam=max_beam, mixture=mixture)
        for query, prior, ranking in zip(queries, priors, searcher.search(queries, beam, 3, priors), strict=True):
            expected = totals_of(model, query, docids, prior, mixture)
            check(ranking, expected)
            if max_beam:  # widened until certified
                wanted = min(beam, 10, documents)
                assert ranking.certified >= wanted
                np.testing.assert_allclose(ranking.score[:wanted], np.sort(expected)[::-1][:wanted], atol=ROUNDING)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), documents=st.integers(1, 60), count=st.integers(1, 70), mixture=MIXTURES)
def test_atomic_docids_are_exact(tmp_path_factory, seed, documents, count, mixture) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    docids = write(tmp_path_factory.mktemp("docids"), "atomic", [[number] for number in range(documents)], documents)
    model, queries = random_model(documents, 1, seed), random_queries(3, seed)
    priors = [random_prior(random, documents) for _ in queries]
    rankings = Searcher(model, docids, mixture=mixture).search(queries, count, 2, priors)
    for query, prior, ranking in zip(queries, priors, rankings, strict=True):
        check(ranking, totals_of(model, query, docids, prior, mixture))
        assert ranking.certified == len(ranking.doc_index) == min(count, documents)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), documents=st.integers(1, 100))
def test_bounds_are_the_largest_prior_below_a_node(tmp_path_factory, seed, documents) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    docids = random_docids(tmp_path_factory.mktemp("docids"), random, documents)
    priors = [random_prior(random, documents) for _ in range(3)]
    plan = Plan.of(docids, priors, Mixture(2.0), CPU)
    trie = DeviceTrie(docids.trie, CPU)
    inner = torch.from_numpy(docids.trie.inner_nodes).expand(3, -1)
    got = np.zeros((3, len(docids.trie.token)))
    for level in range(len(trie.fan_out)):
        parents = inner[:, torch.isin(inner[0], torch.arange(*docids.trie.level_start[level : level + 2].tolist()))]
        children = trie.expansions(parents, level)
        gains = plan.gains(torch.zeros(children.nodes.shape), parents, children.nodes)
        rows = torch.arange(3)[:, None, None].expand_as(gains)
        got[rows[children.exist], children.nodes[children.exist]] = gains[children.exist]
    expected = np.zeros(got.shape)
    for row, prior in enumerate(priors):
        for doc_index, score in zip(prior.doc_index, prior.score, strict=True):
            path = docids.paths[doc_index]
            above = path[path >= 0]
            expected[row, above] = np.maximum(expected[row, above], 2 * score)
    np.testing.assert_allclose(got, expected)
    assert ((plan.nodes[:, 1:] > plan.nodes[:, :-1]) | (plan.nodes[:, 1:] == NO_NODE)).all()


@pytest.mark.parametrize("kind", ["atomic", "naive"])
def test_weight_0_is_the_plain_search(tmp_path: Path, kind: str) -> None:
    codes = [[number] for number in range(80)] if kind == "atomic" else variable_docids(80, 7, seed=1)
    docids = write(tmp_path, kind, codes, 80 if kind == "atomic" else 7)
    model, queries = random_model(docids.vocabulary.tokens, docids.vocabulary.length, 1), random_queries(5)
    priors = [random_prior(np.random.default_rng(number), 80) for number in range(5)]
    plain = Searcher(model, docids).search(queries, 20, 2)
    for one, other in zip(plain, Searcher(model, docids, mixture=PLAIN).search(queries, 20, 2, priors), strict=True):
        assert one.doc_index.tolist() == other.doc_index.tolist()
        assert one.score.tolist() == other.score.tolist()
        assert one.certified == other.certified


@pytest.mark.parametrize("kind", ["atomic", "naive"])
def test_queries_without_a_known_word_are_searched_without_a_prior(tmp_path: Path, kind: str) -> None:
    codes = [[number] for number in range(30)] if kind == "atomic" else variable_docids(30, 7, seed=1)
    docids = write(tmp_path, kind, codes, 30 if kind == "atomic" else 7)
    model, queries = random_model(docids.vocabulary.tokens, docids.vocabulary.length, 1), random_queries(2)
    plain = Searcher(model, docids).search(queries, 5, 2)
    planned = Searcher(model, docids, mixture=Mixture(2.0, 0.1)).search(queries, 5, 2, [Prior.of({}), Prior.of({})])
    for one, other in zip(plain, planned, strict=True):
        assert one.doc_index.tolist() == other.doc_index.tolist()
        assert one.score.tolist() == other.score.tolist()


def test_documents_that_share_a_docid_have_totals_of_their_own(tmp_path: Path) -> None:
    docids = write(tmp_path, "semantic", [[0, 1], [0, 1], [0, 1], [1, 0]], 2)
    [ranking] = Searcher(random_model(2, 2), docids, mixture=Mixture(1.0, 0.0)).search(
        random_queries(1), 10, 1, [Prior.of({1: 50.0, 2: 60.0})]
    )
    assert ranking.doc_index.tolist()[:2] == [2, 1]
    assert ranking.score[0] - ranking.score[1] == pytest.approx(10.0)
    assert len(ranking.doc_index) == 4
    [first] = Searcher(random_model(2, 2), docids, mixture=Mixture(1.0)).search(
        random_queries(1), 1, 1, [Prior.of({1: 50.0, 2: 60.0})]
    )
    assert first.doc_index.tolist() == [2]
    assert first.certified == 1


def test_a_document_that_no_beam_decodes_has_the_total_of_probability_0(tmp_path: Path) -> None:
    docids = write(tmp_path, "naive", variable_docids(150, 7, seed=3), 7)
    model, [query] = random_model(7, docids.vocabulary.length, 3), random_queries(1)
    searcher = Searcher(model, docids, mixture=Mixture(0.01, 1e-3))
    prior = Prior.of(dict.fromkeys(range(150), 1.0))
    [ranking] = searcher.search([query], 100, 1, [prior])
    [narrow] = searcher.search([query], 1, 1, [prior])
    assert len(ranking.doc_index) == 100
    assert narrow.log_prob[0] > -np.inf
    rest = ranking.log_prob == -np.inf
    np.testing.assert_allclose(ranking.score[rest], np.log(1e-3) + 0.01, rtol=1e-6)
    assert ranking.certified <= (~rest).sum()


def test_probabilities_far_below_epsilon_still_rank(tmp_path: Path) -> None:
    docids = write(tmp_path, "naive", variable_docids(150, 7, seed=3), 7)
    model = random_model(7, docids.vocabulary.length, 3)
    with torch.no_grad():
        model.docid_head.weight.mul_(10)  # log-probabilities of -6 to -300
    searcher = Searcher(model, docids, max_beam=500, mixture=Mixture(1.0, 0.1))
    for query in random_queries(5):
        expected = brute_force(model, query, docids)
        [ranking] = searcher.search([query], 10, 1, [Prior.of({7: 0.0})])
        assert ranking.certified == 10
        np.testing.assert_allclose(ranking.log_prob, np.sort(expected)[::-1][:10], rtol=1e-4)


def test_priors_that_are_none(tmp_path: Path) -> None:
    for weight, epsilon in ((-1.0, 0.0), (1.0, float("nan")), (float("inf"), 0.0)):
        with pytest.raises(ValueError, match="of a mixture is"):
            Mixture(weight, epsilon)
    numbers = np.array([1, 2])
    for scores, message in (([1.0, -0.5], "document 2 is -0.5"), ([np.nan, 1.0], "document 1 is nan")):
        with pytest.raises(ValueError, match=message):
            Prior(numbers, np.array(scores, dtype=np.float32))
    with pytest.raises(ValueError, match="increasing order"):
        Prior(np.array([2, 2]), np.ones(2, dtype=np.float32))
    with pytest.raises(ValueError, match="2 documents has 1 scores"):
        Prior(numbers, np.ones(1, dtype=np.float32))
    docids = write(tmp_path, "naive", variable_docids(5, 7, seed=1), 7)
    searcher = Searcher(random_model(7, docids.vocabulary.length), docids)
    with pytest.raises(ValueError, match="query 0 is of document 5; the index has 5"):
        searcher.search(random_queries(1), 3, 1, [Prior.of({5: 1.0})])
    with pytest.raises(ValueError, match="2 priors for 1 queries"):
        searcher.search(random_queries(1), 3, 1, [Prior.of({}), Prior.of({})])
    searcher.constrained = False
    with pytest.raises(ValueError, match="must be constrained"):
        searcher.search(random_queries(1), 3, 1, [Prior.of({})])


def test_fusions() -> None:
    ranking, other = [("a", -1.0), ("b", -3.0)], [("c", 4.0), ("b", 1.0)]
    assert linear(ranking, other, 0.5) == [("a", -1.0), ("c", -2.0), ("b", -2.5)]  # c counts as -4 of the index
    assert linear([], other, 1.0) == [("c", 3.0), ("b", 0.0)]
    assert reciprocal_ranks([ranking, other]) == [("b", 2 / 62), ("a", 1 / 61), ("c", 1 / 61)]
