"""Search among documents of which some were added or deleted since the training, against brute force."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models import random_model, random_queries
from test_heads import HEADS, by_hand, docids_in, model_for
from test_plan import MIXTURES, random_prior
from test_rounded_rows import some_rows
from test_search import variable_docids, write
from torch.nn import functional

from dsi.docids.store import Docids
from dsi.docids.trie import build_trie
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.heads.pawa import PawaHead
from dsi.search import atomic, rounded_rows
from dsi.search.atomic import AtomicRows
from dsi.search.changes import NONE, Changes
from dsi.search.prior import PLAIN, Mixture, Prior
from dsi.search.ranking import Ranking
from dsi.search.rounded_rows import RoundedOnce, RoundedRows
from dsi.search.search_errors import search_errors
from dsi.search.searcher import Searcher

SHARES = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
"""The share of all documents that is deleted."""


def some_deleted(random: np.random.Generator, documents: int, share: float) -> np.ndarray:
    """That many deleted documents, all but one where the share is nearly 1."""
    count = documents - 1 if 0.9 <= share < 1 and random.random() < 0.5 else round(share * documents)
    return np.sort(random.choice(documents, size=count, replace=False))


@torch.inference_mode()
def of_living(
    model: DifferentiableSearchIndex, query: list[int], docids: Docids, changes: Changes = NONE
) -> np.ndarray:
    """The log-probability of every document, (documents,), -inf of deleted ones: by the softmax over all living rows,
    or along each docid, where siblings of the hierarchical softmax without a living document are no alternatives."""
    ids = torch.tensor([query])
    mask = torch.ones_like(ids)
    if docids.is_atomic:
        rows = model.docid_head.weight if changes.rows is None else torch.cat([model.docid_head.weight, changes.rows])
        logits = (model.first_states(ids, mask).float() @ rows.float().T)[0]
        logits[changes.deleted] = -torch.inf
        return logits.log_softmax(0).numpy()
    is_of_nodes = model.config.docid_head == "hierarchical_softmax"
    scores = np.zeros(len(docids.codes)) if is_of_nodes else by_hand(model, query, docids)
    living = np.setdiff1d(np.arange(len(scores)), changes.deleted)
    for document in living if is_of_nodes else ():
        path = docids.paths[document][docids.paths[document] >= 0]
        code = torch.from_numpy(np.array(docids.codes[document, : len(path)])).long()
        states = model.decoder_states(model.encode(ids, mask), mask, code[None])[0]
        for position, node in enumerate(path):
            of_prefix = (docids.paths[living, :position] == path[:position]).all(axis=1)
            nodes = np.unique(docids.paths[living[of_prefix], position])
            logits = model.docid_head.weight[nodes] @ states[position]
            scores[document] += float(logits.log_softmax(0)[np.searchsorted(nodes, node)])
    scores[changes.deleted] = -np.inf
    return scores


def check(ranking: Ranking, expected: np.ndarray, beam: int, prior: Prior, mixture: Mixture = PLAIN) -> None:
    """Only living documents are ranked, as many as wanted, by their totals; certified ones are the best of all."""
    living = np.flatnonzero(expected > -np.inf)
    with np.errstate(divide="ignore"):
        totals = np.log(np.exp(expected) + mixture.epsilon) + mixture.weight * prior.of_documents(
            np.arange(len(expected))
        )
    if not np.isin(prior.doc_index, living).any():
        totals = expected
    assert np.isin(ranking.doc_index, living).all()
    assert len(set(ranking.doc_index.tolist())) == len(ranking.doc_index) == min(beam, len(living))
    assert (np.diff(ranking.score) <= 0).all()
    decoded = ranking.log_prob > -np.inf
    found = ranking.doc_index[decoded]
    np.testing.assert_allclose(ranking.log_prob[decoded], expected[found], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ranking.score[decoded], totals[found], rtol=1e-5, atol=1e-5)
    best = np.sort(totals[living])[::-1][: ranking.certified]
    np.testing.assert_allclose(ranking.score[: ranking.certified], best, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@settings(max_examples=12)
@example(seed=3, documents=40, share=0.5, beam=10, mixture=Mixture(1.0, 1e-2))
@given(seed=st.integers(0, 999), documents=st.integers(3, 40), share=SHARES, beam=st.integers(1, 40), mixture=MIXTURES)
def test_living_docids_are_found_and_certified(  # type: ignore[no-untyped-def]
    tmp_path_factory, head: str, seed: int, documents: int, share: float, beam: int, mixture: Mixture
) -> None:
    random = np.random.default_rng(seed)
    docids = docids_in(tmp_path_factory.mktemp("docids"), documents)  # some share a docid
    model, queries = model_for(docids, head), random_queries(2, seed)
    changes = Changes(deleted=some_deleted(random, documents, share))
    priors = [random_prior(random, documents) for _ in queries]
    expected = [of_living(model, query, docids, changes) for query in queries]
    for max_beam in (0, 500):
        searcher = Searcher(model, docids, max_beam=max_beam, mixture=mixture, changes=changes)
        for ranking, log_probs in zip(searcher.search(queries, beam, 2), expected, strict=True):
            check(ranking, log_probs, beam, Prior.of({}))
        for ranking, log_probs, prior in zip(searcher.search(queries, beam, 2, priors), expected, priors, strict=True):
            check(ranking, log_probs, beam, prior, mixture)
            if max_beam:
                assert ranking.certified >= min(beam, 10, searcher.living)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), documents=st.integers(3, 40), share=SHARES, beam=st.integers(1, 40))
def test_leaves_of_the_living_are_ranked(tmp_path_factory, seed: int, documents: int, share: float, beam: int) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    docids = docids_in(tmp_path_factory.mktemp("docids"), documents)
    model, queries = model_for(docids, "hierarchical_softmax"), random_queries(2, seed)
    changes = Changes(deleted=some_deleted(random, documents, share))
    searcher = Searcher(model, docids, ranking="leaf", mixture=Mixture(1.0, 1e-2), changes=changes)
    priors = [random_prior(random, documents) for _ in queries]
    living = np.setdiff1d(np.arange(documents), changes.deleted)
    for query, plain in zip(queries, searcher.search(queries, beam, 2), strict=True):
        assert np.isin(plain.doc_index, living).all()
        assert len(set(plain.doc_index.tolist())) == len(plain.doc_index) == min(beam, len(living))
        ids = torch.tensor([query])
        with torch.inference_mode():
            [state] = model.first_states(ids, torch.ones_like(ids))
            logits = (model.docid_head.weight[torch.from_numpy(docids.trie.leaf_of).long()] @ state).numpy()
        np.testing.assert_allclose(plain.score, logits[plain.doc_index], atol=1e-4)
        if beam >= documents:
            np.testing.assert_allclose(plain.score, np.sort(logits[living])[::-1], atol=1e-4)
    for planned in searcher.search(queries, documents, 2, priors):
        assert sorted(planned.doc_index.tolist()) == living.tolist()


@pytest.mark.parametrize("head", [head for head in HEADS if head != "hierarchical_softmax"])
def test_unconstrained_search_finds_no_deleted_document(tmp_path: Path, head: str) -> None:
    docids = docids_in(tmp_path)
    model, queries = model_for(docids, head), random_queries(3)
    whole = Searcher(model, docids, constrained=False)
    changes = Changes(deleted=np.arange(0, 40, 2))
    for query, before, now in zip(
        queries, whole.search(queries, 60, 3), whole.changed(changes).search(queries, 60, 3), strict=True
    ):
        assert not changes.is_deleted(now.doc_index).any()
        assert set(before.doc_index.tolist()) - set(changes.deleted.tolist()) <= set(now.doc_index.tolist())
        assert now.is_docid.sum() <= before.is_docid.sum()
        np.testing.assert_allclose(now.score, of_living(model, query, docids)[now.doc_index], atol=1e-4)


def test_a_docid_stays_while_one_of_its_documents_lives(tmp_path: Path) -> None:
    docids = write(tmp_path, "semantic", [[0, 1], [0, 1], [0, 1], [1, 0], [1, 1]], 2)
    searcher, [query] = Searcher(random_model(2, 2), docids), random_queries(1)
    before = dict(searcher.search([query], 5, 1)[0].hits())
    [now] = searcher.changed(Changes(deleted=np.array([0, 1, 3]))).search([query], 2, 1)
    assert dict(now.hits()) == {document: before[document] for document in (2, 4)}
    [planned] = searcher.changed(Changes(deleted=np.array([0, 2]))).search([query], 5, 1, [Prior.of({0: 9.0, 1: 1.0})])
    assert sorted(planned.doc_index.tolist()) == [1, 3, 4]
    with pytest.raises(ValueError, match="document 0 is deleted"):
        searcher.changed(Changes(deleted=np.array([0]))).score(query, 0)


@pytest.mark.parametrize("kind", ["atomic", "naive"])
@pytest.mark.parametrize("constrained", [True, False])
def test_where_one_document_is_left_or_none(tmp_path: Path, kind: str, constrained: bool) -> None:
    codes = [[number] for number in range(30)] if kind == "atomic" else variable_docids(30, 7, seed=1)
    docids = write(tmp_path, kind, codes, 30 if kind == "atomic" else 7)
    model = random_model(docids.vocabulary.tokens, docids.vocabulary.length, 1)
    searcher, queries = Searcher(model, docids, constrained, mixture=Mixture(1.0, 0.1)), random_queries(3)
    priors = [Prior.of({0: 1.0, 4: 2.0})] * 3 if constrained else None
    one = searcher.changed(Changes(deleted=np.delete(np.arange(30), 7)))
    for ranking in [*one.search(queries, 9, 2, priors), *(one.search(queries, 9, 2) if constrained else ())]:
        assert constrained is False or ranking.doc_index.tolist() == [7]
        assert set(ranking.doc_index.tolist()) <= {7}
    for ranking in searcher.changed(Changes(deleted=np.arange(30))).search(queries, 9, 2, priors):
        assert len(ranking.doc_index) == len(ranking.is_docid) == ranking.certified == 0


@pytest.mark.parametrize("head", HEADS)
def test_steps_are_among_living_siblings(tmp_path: Path, head: str) -> None:
    docids, query = docids_in(tmp_path), random_queries(3)[2]
    model = model_for(docids, head)
    changes = Changes(deleted=np.setdiff1d(np.arange(40), [1, 2, 5, 17, 18, 33]))
    living = [document for document in range(40) if document not in changes.deleted]
    nodes = set(docids.paths[living].flatten().tolist())
    expected = of_living(model, query, docids, changes)
    for constrained in (True, isinstance(model.docid_head, PawaHead)):
        searcher = Searcher(model, docids, constrained, changes=changes)
        for document in living:
            score = searcher.score(query, document)
            assert score.log_prob == pytest.approx(expected[document], abs=1e-4)
            assert {step.best for step in score.steps} <= nodes


def test_search_errors_are_of_the_living(tmp_path: Path) -> None:
    docids = write(tmp_path, "naive", variable_docids(60, 7, seed=1), 7)
    model = random_model(7, docids.vocabulary.length, 1)
    searcher = Searcher(model, docids, changes=Changes(deleted=np.arange(3, 60)))
    errors, certified = search_errors(searcher, random_queries(4), max_beam=60, batch_size=2)
    assert certified == 1
    assert errors[-1][1:] == (0, 0, 1)


def living_below(paths: np.ndarray, node: int, deleted: np.ndarray) -> list[int]:
    below = np.flatnonzero((paths == node).any(axis=1)) if node else np.arange(len(paths))
    return sorted(set(below.tolist()) - set(deleted.tolist()))


@given(
    st.lists(st.lists(st.integers(1, 3), max_size=4).map(lambda docid: [*docid, 0]), min_size=1, max_size=40),
    st.integers(0, 1000),
    SHARES,
)
def test_nodes_without_documents(docids: list[list[int]], seed: int, share: float) -> None:
    codes = np.array([[*docid, *[-1] * (max(map(len, docids)) - len(docid))] for docid in docids])
    trie, deleted = build_trie(codes), some_deleted(np.random.default_rng(seed), len(docids), share)
    paths, emptied = trie.paths(codes), trie.without_documents(deleted).tolist()
    for node in range(len(trie.token)):
        living = living_below(paths, node, deleted)
        assert (node in emptied) == (not living)
        total, chosen = trie.below(node, 5, deleted)
        assert total == len(living)
        assert len(set(chosen)) == len(chosen) == min(5, total)
        assert set(chosen) <= set(living)
    assert emptied == sorted(emptied)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999),
    documents=st.integers(1, 60),
    added=st.integers(0, 40),
    share=SHARES,
    count=st.integers(1, 110),
    mixture=MIXTURES,
)
def test_living_rows_are_exact(  # type: ignore[no-untyped-def]
    tmp_path_factory, seed: int, documents: int, added: int, share: float, count: int, mixture: Mixture
) -> None:
    random = np.random.default_rng(seed)
    docids = write(tmp_path_factory.mktemp("docids"), "atomic", [[number] for number in range(documents)], documents)
    model, queries = random_model(documents, 1, seed), random_queries(3, seed)
    rows = torch.randn(added, 16, generator=torch.Generator().manual_seed(seed))
    changes = Changes(rows, some_deleted(random, documents + added, share))
    priors = [random_prior(random, documents + added) for _ in queries]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "ROWS_PER_CHUNK", 7)
        searcher = Searcher(model, docids, mixture=mixture, changes=changes)
        plain, planned = searcher.search(queries, count, 2), searcher.search(queries, count, 2, priors)
        expected = [of_living(model, query, docids, changes) for query in queries]
        for ranking, log_probs, prior, mixed in zip(plain, expected, priors, planned, strict=True):
            check(ranking, log_probs, count, Prior.of({}))
            check(mixed, log_probs, count, prior, mixture)
            assert ranking.certified == mixed.certified == min(count, searcher.living)
        for document in range(0, documents + added, 7):
            if not changes.is_deleted(np.array(document)):
                score = searcher.score(queries[0], document)
                assert score.log_prob == pytest.approx(expected[0][document], abs=1e-4)
                assert score.best is not None
                assert score.best[1] == pytest.approx(expected[0].max(), abs=1e-4)
                assert score.best[0] == plain[0].doc_index[0]


@settings(max_examples=40)
@example(seed=0, documents=300, added=4, share=0.0, count=1, spread=0.0)  # an added one weighs most in the sum
@given(
    seed=st.integers(0, 999),
    documents=st.integers(300, 700),
    added=st.integers(0, 40),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.97]),
    count=st.integers(1, 8),
    spread=st.sampled_from([0.0, 1.0]),
)
def test_what_is_proven_is_so_of_the_living(
    seed: int, documents: int, added: int, share: float, count: int, spread: float
) -> None:
    weight, random = some_rows(documents + added, 33, seed, spread), np.random.default_rng(seed)
    weight[documents:] *= random.choice([1, 3])
    states = torch.randn(5, 33, generator=torch.Generator().manual_seed(seed))
    states *= 20 / (states @ weight.T).amax(dim=1, keepdim=True)
    largest = (states @ weight.T).argmax(dim=1).numpy()
    deleted = np.union1d(some_deleted(random, documents + added, share), largest[: round(5 * share)])
    changes, base = Changes(weight[documents:], deleted), weight[:documents]
    logits = (states @ weight.T).index_fill(1, torch.from_numpy(deleted), -torch.inf)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"BLOCK": 256, "GROUPS": 4, "WORTHWHILE": 1}.items():
            patch.setattr(rounded_rows, name, value)
        found = RoundedRows(base).best(states, 2, changes) if share < 0.9 else None
        rows = AtomicRows(base, changes, RoundedOnce(base))
        documents_found, best, log_sum = rows.best(states, count)
    wanted = min(count, rows.living)
    assert documents_found.shape == (5, wanted)
    torch.testing.assert_close(best, logits.topk(wanted, dim=1).values, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(best, logits.gather(1, documents_found), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_sum, logits.logsumexp(dim=1), rtol=0, atol=0.2)  # few groups are read in full
    if found is not None:
        expected = logits[found.is_proven, :documents].topk(2, dim=1).values
        torch.testing.assert_close(found.logits[found.is_proven], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("worthwhile", [100, 1 << 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_added_and_deleted_again_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worthwhile: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(rounded_rows, "WORTHWHILE", worthwhile)
    docids = write(tmp_path, "atomic", [[number] for number in range(2_000)], 2_000)
    model, queries = random_model(2_000, 1), random_queries(5)
    model.docid_head.weight.data *= 4
    model.to(dtype)
    priors, rows = [Prior.of({3: 1.0, 1_990: 2.0})] * 5, 9 * torch.randn(300, 16)
    searcher = Searcher(model, docids, mixture=Mixture(0.5, 1e-3))
    again = searcher.changed(Changes(rows, np.arange(2_000, 2_300)))
    for count in (10, 3_000):
        for of_priors in (None, priors):
            both = (each.search(queries, count, 5, of_priors) for each in (searcher, again))
            for before, now in zip(*both, strict=True):
                assert before.doc_index.tolist() == now.doc_index.tolist()
                np.testing.assert_allclose(before.log_prob, now.log_prob, atol=1e-6)
                np.testing.assert_allclose(before.score, now.score, atol=1e-6)
    grown = searcher.changed(Changes(rows))
    assert any((ranking.doc_index >= 2_000).any() for ranking in grown.search(queries, 10, 5))
    for document in (5, 2_299):
        assert grown.score(queries[0], document).log_prob < 0


def test_bfloat16_orders_the_living_by_unrounded_logits() -> None:
    model, ids = random_model(4_000, 1).to(torch.bfloat16), torch.tensor(random_queries(1))
    added = model.docid_head.weight[:100].detach().float() * 1.001
    changes = Changes(added, np.arange(0, 4_000, 3))
    with torch.inference_mode():
        state = model.first_states(ids, torch.ones_like(ids)).float()
        logits = (state @ torch.cat([model.docid_head.weight.float(), added]).T)[0]
        logits[changes.deleted] = -torch.inf
    rows = AtomicRows(model.docid_head.weight, changes)
    documents, _ = atomic.top_documents(model, ids, torch.ones_like(ids), 200, rows=rows)
    assert documents[0].tolist() == logits.argsort(descending=True)[:200].tolist()


def test_nearest_living_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "ROWS_PER_CHUNK", 7)
    both = some_rows(60, 16, seed=1, spread=0.3)
    unit = functional.normalize(both, dim=1)
    cosines = (unit @ unit.T).fill_diagonal_(-torch.inf)
    changes = Changes(both[40:], np.array([0, 3, 6, 41, 59]))
    cosines[:, changes.deleted] = -torch.inf
    rows = AtomicRows(both[:40], changes)
    for doc_index in (1, 7, 39, 40, 58):
        documents, found = rows.nearest(doc_index, 5)
        np.testing.assert_allclose(found, cosines[doc_index].sort(descending=True).values[:5], atol=1e-6)
        np.testing.assert_allclose(found, cosines[doc_index][documents], atol=1e-6)
    assert len(rows.nearest(1, 100)[0]) == 54
    assert len(AtomicRows(both[:3], Changes(deleted=np.array([0, 2]))).nearest(1, 5)[0]) == 0


def test_rounded_rows_are_made_once_for_all_searchers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[RoundedRows]()

    def slowly(weight: torch.Tensor) -> RoundedRows:
        time.sleep(0.05)
        made.append(RoundedRows(weight))
        return made[-1]

    monkeypatch.setattr(RoundedRows, "of", slowly)
    docids = write(tmp_path, "atomic", [[number] for number in range(700)], 700)
    searcher = Searcher(random_model(700, 1), docids)
    searchers = [searcher.changed(Changes(deleted=np.array([number]))) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda each: each.search(random_queries(1), 3, 1)[0], searchers))
    searcher.changed(NONE).search(random_queries(1), 3, 1)
    assert len(made) == 1
    assert [ranking.doc_index.min() >= 0 for ranking in found] == [True] * 4
    assert all(number not in ranking.doc_index for number, ranking in enumerate(found))


def test_changes_that_are_none(tmp_path: Path) -> None:
    for numbers in ([2, 2], [3, 1], [-1, 4]):
        with pytest.raises(ValueError, match="increasing order"):
            Changes(deleted=np.array(numbers))
    assert not NONE.is_deleted(np.arange(3)).any()
    trees = write(tmp_path, "naive", variable_docids(5, 7, seed=1), 7)
    searcher = Searcher(random_model(7, trees.vocabulary.length), trees)
    with pytest.raises(ValueError, match="document 5 is deleted; the index has 5"):
        searcher.changed(Changes(deleted=np.array([5])))
    with pytest.raises(ValueError, match="atomic docids only"):
        searcher.changed(Changes(torch.zeros(2, 16)))
    (tmp_path / "atomic").mkdir()
    rows = Searcher(random_model(5, 1), write(tmp_path / "atomic", "atomic", [[number] for number in range(5)], 5))
    with pytest.raises(ValueError, match="document 7 is deleted; the index has 7"):
        rows.changed(Changes(torch.zeros(2, 16), np.array([7])))
    with pytest.raises(ValueError, match="added rows have 8 numbers, those of the model 16"):
        rows.changed(Changes(torch.zeros(2, 8)))
    grown = rows.changed(Changes(torch.zeros(2, 16)))
    assert len(grown.search(random_queries(1), 9, 1, [Prior.of({6: 1.0})])[0].doc_index) == 7
    with pytest.raises(ValueError, match="query 0 is of document 7; the index has 7"):
        grown.search(random_queries(1), 9, 1, [Prior.of({7: 1.0})])
