"""Docid heads in training and in search, against sums over documents written out by hand."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Stages, assign_tiny
from models import random_model, random_queries
from torch.utils.flop_counter import FlopCounterMode

from dsi.config import DocidsConfig, ModelConfig, TasksConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import encode_shards
from dsi.docids.clustered import by_position
from dsi.docids.semantic import tree_codes
from dsi.docids.store import Docids, Vocabulary, write_docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.build import DocidShape, build_model
from dsi.model.cost import forward_flops
from dsi.model.document_states import StateEncoder, document_states
from dsi.model.heads.layout import Targets
from dsi.model.heads.pawa import PawaHead
from dsi.model.warm_start import warm_start
from dsi.objectives.single_pass import SinglePass
from dsi.objectives.softmax import negative_log_likelihood
from dsi.runtime.processes import ALONE
from dsi.search.searcher import Searcher
from dsi.training.batches import Batches
from dsi.training.dev import dev_evaluator
from dsi.training.examples import write_examples
from dsi.training.targets import DocidTargets
from dsi.training.tasks import training_tasks

HEADS = ["plain", "hierarchical_softmax", "additive", "matrix"]


def docids_in(folder: Path, count: int = 40) -> Docids:
    """2D docids of two to four tokens, none the beginning of another: the last token is even, the others are odd."""
    random = np.random.default_rng(0)
    codes = np.full((count, 4), -1)
    for number, row in enumerate(codes):
        length = 1 + number % 3
        row[:length] = 2 * random.integers(0, 2, size=length) + 1
        row[length] = 2 * random.integers(0, 8)
    codes = by_position(codes)
    sizes = [int(column.max()) + 1 for column in codes.T]
    widths = [sizes[0], *(after - before for before, after in pairwise(sizes))]
    write_docids(folder, Vocabulary("semantic_2d", sizes[-1], 4, sizes=widths), codes)
    return Docids(folder)


def model_for(docids: Docids, head: str) -> DifferentiableSearchIndex:
    options: dict[str, Any] = {
        "docid_head": head if head in ("plain", "hierarchical_softmax") else "pawa",
        "docid_nodes": len(docids.trie.token),
        "docid_sizes": docids.vocabulary.sizes,
        "pawa": head if head in ("additive", "matrix") else "additive",
    }
    model = random_model(docids.vocabulary.tokens, docids.vocabulary.length, **options)
    with torch.no_grad():
        for projection in getattr(model.docid_head, "projections", []):
            projection.weight.normal_(std=0.1)
    return model


@torch.inference_mode()
def by_hand(model: DifferentiableSearchIndex, query: list[int], docids: Docids) -> np.ndarray:
    """Log-probability of every document, one token after the other."""
    ids = torch.tensor([query])
    encoded, trie, head = model.encode(ids, torch.ones_like(ids)), docids.trie, model.docid_head
    sizes = docids.vocabulary.sizes
    scores = np.zeros(len(docids.codes))
    for document, code in enumerate(torch.from_numpy(np.array(docids.codes)).long()):
        tokens = code[code >= 0]
        states = model.decoder_states(encoded, torch.ones_like(ids), tokens[None])[0]
        node = 0
        for position, (state, token) in enumerate(zip(states, tokens.tolist(), strict=True)):
            children = list(range(int(trie.first_child[node]), int(trie.first_child[node + 1])))
            start = sum(sizes[:position])
            if model.config.docid_head == "hierarchical_softmax":
                alternatives = {int(trie.token[child]): head.weight[child] @ state for child in children}
            elif isinstance(head, PawaHead):
                h, a = state.chunk(2)
                rows = head.weight[start : start + sizes[position]]
                if head.is_matrix:
                    logits = rows @ (h @ (head.projections[0].weight @ a).view(len(h), len(h)))
                else:
                    changes = (head.projections[position].weight @ a).view(sizes[position], len(h))
                    logits = (rows + changes) @ h
                alternatives = dict(enumerate(logits, start))
            else:
                alternatives = dict(enumerate(head.weight @ state))
            total = torch.stack(list(alternatives.values())).logsumexp(0)
            scores[document] += float(alternatives[token] - total)
            node = next(child for child in children if int(trie.token[child]) == token)
    return scores


@pytest.mark.parametrize("head", HEADS)
def test_wide_beam_equals_the_sum_by_hand(tmp_path: Path, head: str) -> None:
    docids = docids_in(tmp_path)
    model = model_for(docids, head)
    for query, ranking in zip(random_queries(3), Searcher(model, docids).search(random_queries(3), 50, 3), strict=True):
        expected = by_hand(model, query, docids)
        assert sorted(ranking.doc_index) == list(range(len(docids.codes)))
        np.testing.assert_allclose(ranking.score, expected[ranking.doc_index], atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_narrow_beams_of_several_queries(tmp_path: Path, head: str) -> None:
    random = np.random.default_rng(0)
    codes = by_position(tree_codes(random.normal(size=(300, 4)).astype(np.float32), 3, 6, seed=0)[0])
    sizes = np.diff([0, *(int(column.max()) + 1 for column in codes.T)]).tolist()
    vocabulary = Vocabulary("semantic_2d", int(codes.max()) + 1, codes.shape[1], sizes=sizes)
    write_docids(tmp_path, vocabulary, codes)
    docids, queries = Docids(tmp_path), random_queries(8)
    model = model_for(docids, head)
    for beam in (1, 5, 20):  # of which queries of a batch use different numbers
        together = Searcher(model, docids).search(queries, beam, 8)
        for query, ranking in zip(queries, together, strict=True):
            [alone] = Searcher(model, docids).search([query], beam, 1)
            np.testing.assert_array_equal(ranking.doc_index, alone.doc_index)
    if head != "hierarchical_softmax":
        free = Searcher(model, docids, constrained=False).search(queries, 20, 8)
        assert all(len(ranking.is_docid) > 0 for ranking in free)


@pytest.mark.parametrize("head", HEADS)
def test_loss_is_the_mean_by_hand(tiny: Stages, tmp_path: Path, head: str) -> None:
    docids = docids_in(tmp_path, count=60)
    model = model_for(docids, head)
    (tmp_path / "examples").mkdir()
    pairs = training_tasks(TasksConfig(), Corpus(tiny.corpus), tiny.doc2query, tiny.text, 12, seed=0)
    examples = write_examples(tmp_path / "examples", pairs, len(tiny.text))
    weights = {"d2q": 1.0}
    batch = Batches(
        examples, DocidTargets(docids, head == "hierarchical_softmax"), 8, pad=0, seed=0, steps=10, weights=weights
    )[0]
    batch["input_ids"] %= model.config.vocab_size
    loss = model(SinglePass(negative_log_likelihood), batch)
    loss.backward()
    expected = []
    for ids, mask, code in zip(batch["input_ids"], batch["attention_mask"], batch["codes"], strict=True):
        scores = by_hand(model, ids[mask.bool()].tolist(), docids)
        same = (np.array(docids.codes)[:, : len(code)] == code.numpy()).all(axis=1)
        expected.append(-scores[same.nonzero()[0][0]])
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-4)
    assert all(parameter.grad is not None for parameter in model.docid_head.parameters() if parameter.numel())


@pytest.mark.parametrize("head", HEADS)
def test_flops_are_those_of_the_matrices(tmp_path: Path, head: str) -> None:
    docids = docids_in(tmp_path)
    model = model_for(docids, head)
    ids = torch.tensor(random_queries(2)[1:])
    codes = torch.from_numpy(np.array(docids.codes[2:3])).long()  # of all positions
    products = FlopCounterMode(display=False)
    targets = Targets(codes)
    if head == "hierarchical_softmax":
        nodes = torch.from_numpy(docids.trie.paths(codes.numpy())).long()
        first_child = torch.from_numpy(docids.trie.first_child.astype(np.int64))
        parents = torch.cat([torch.zeros_like(nodes[:, :1]), nodes[:, :-1]], dim=1)
        targets = Targets(codes, nodes, first_child[parents], first_child[parents + 1] - first_child[parents])
    with products, torch.inference_mode():
        encoded = model.encode(ids, torch.ones_like(ids))
        model.docid_head(model.decoder_states(encoded, torch.ones_like(ids), codes), targets)
    attention = sum(count for name, count in products.get_flop_counts()["Global"].items() if "attention" in str(name))
    assert codes.min() >= 0
    counted = products.get_total_flops() - attention
    expected = forward_flops(model, ids.numel(), codes.numel())
    assert counted == pytest.approx(expected, rel=0.15)  # attention by products, and the tree's own siblings


def test_warm_started_tree_finds_documents_before_any_training(tiny: Stages, tmp_path: Path) -> None:
    corpus, config = Corpus(tiny.corpus), ModelConfig(head="hierarchical_softmax")
    kind = DocidsConfig(kind="semantic", clusters=4, leaf_size=6)
    assign_tiny(tmp_path, tiny, kind)
    docids = Docids(tmp_path)
    model = build_model(config, tiny.tokenizer, 0, DocidShape.of(docids, "hierarchical_softmax"))
    evaluate = dev_evaluator(corpus, docids, tiny.tokenizer, limit=100, length=32)
    assert evaluate is not None
    cold = evaluate(model)["RR@10"]
    states = document_states(
        encode_shards(tmp_path / "states", corpus, StateEncoder(model, tiny.tokenizer, 96), "states", ALONE)
    )
    warm_start(model, docids, states)
    paths = docids.trie.paths(np.asarray(docids.codes))
    for node in (int(paths[0, 0]), int(paths[7, 1])):
        below = torch.from_numpy((paths == node).any(axis=1))
        torch.testing.assert_close(model.docid_head.weight[node], states[below].mean(dim=0))
    assert evaluate(model)["RR@10"] > cold + 0.1


def test_leaves_rank_what_the_beam_finds(tmp_path: Path) -> None:
    docids = docids_in(tmp_path)
    model = model_for(docids, "hierarchical_softmax")
    last = (docids.paths >= 0).sum(axis=1) - 1
    leaves = torch.from_numpy(docids.paths[np.arange(len(docids.paths)), last]).long()
    searcher = Searcher(model, docids, ranking="leaf")
    for query, ranking in zip(random_queries(3), searcher.search(random_queries(3), 60, 3), strict=True):
        ids = torch.tensor([query])
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            state = model.decoder_states(model.encode(ids, mask), mask, torch.zeros(1, 1, dtype=torch.long))[0, 0]
            expected = (model.docid_head.weight[leaves] @ state).numpy()
        assert sorted(ranking.doc_index) == list(range(len(docids.codes)))
        np.testing.assert_allclose(ranking.score, np.sort(expected)[::-1], atol=1e-4)
        np.testing.assert_allclose(ranking.score, expected[ranking.doc_index], atol=1e-4)
        assert ranking.certified == 0
