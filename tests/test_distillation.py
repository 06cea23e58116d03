"""Learning from a teacher: its weights of documents against sums by hand, and against one document alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Stages
from models import random_model, random_queries
from numpy.typing import NDArray
from test_heads import HEADS, by_hand, docids_in, model_for

from dsi.config import TasksConfig, TrainingConfig
from dsi.corpus.store import Corpus
from dsi.docids.store import Docids, Vocabulary, write_docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.objectives.choice import objective_of
from dsi.training.batches import Batches
from dsi.training.examples import write_examples
from dsi.training.targets import DocidTargets, TeacherTargets, output_rows
from dsi.training.tasks import training_tasks

DOCUMENTS = 40
HARD, SOFT = TrainingConfig(), TrainingConfig(labels="teacher")
Labels = Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


def atomic(folder: Path) -> Docids:
    write_docids(folder, Vocabulary("atomic", DOCUMENTS, 1), np.arange(DOCUMENTS)[:, None])
    return Docids(folder)


def one_hot(rows: NDArray[Any], doc_index: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The label that is the own document alone, the fourth of five."""
    others = (doc_index[:, None] + np.arange(1, 5)) % DOCUMENTS
    documents = np.concatenate([others[:, :3], doc_index[:, None], others[:, 3:]], axis=1)
    return documents, np.tile(np.array([0, 0, 0, 1, 0], dtype=np.float32), (len(rows), 1))


def soft(rows: NDArray[Any], doc_index: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights of five documents that differ between rows."""
    weights = np.array([[1 + row % 3, 2, 3, 4, 0] for row in rows], dtype=np.float32)
    return (doc_index[:, None] + np.arange(5)) % DOCUMENTS, weights / weights.sum(axis=1, keepdims=True)


def batch_of(
    docids: Docids, head: str, labels: Labels | None, rows: NDArray[Any], draws: NDArray[Any]
) -> dict[str, Any]:
    """A batch of a query with these rows, each of which has the document of the same number."""
    is_tree = head == "hierarchical_softmax"
    target: Any = DocidTargets(docids, is_tree)
    if labels is not None:
        target = TeacherTargets(labels, target, output_rows(docids, is_tree), not docids.is_atomic)  # type: ignore[arg-type]
    ids = torch.tensor(random_queries(2)[1:] * len(rows))
    arrays = target(rows, rows % DOCUMENTS, draws)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        **{name: torch.from_numpy(array) for name, array in arrays.items()},
    }


def loss_and_gradients(
    model: DifferentiableSearchIndex, training: TrainingConfig, docids: Docids, batch: dict[str, Any]
) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    loss = model(objective_of(training, model.config.docid_head, docids), batch)
    loss.backward()
    return loss.item(), [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("consistency", [0.0, 0.3])
def test_a_label_of_one_document_is_the_softmax(tmp_path: Path, consistency: float) -> None:
    docids, rows = atomic(tmp_path), np.array([3, 7, 20, 3])
    model = random_model(DOCUMENTS, 1)
    hard, soft_one = (
        loss_and_gradients(
            model,
            TrainingConfig(labels=labels, consistency=consistency),
            docids,
            batch_of(docids, "plain", one_hot if labels == "teacher" else None, rows, np.zeros(4)),
        )
        for labels in ("document", "teacher")
    )
    assert soft_one[0] == pytest.approx(hard[0], abs=1e-6)
    for one, other in zip(hard[1], soft_one[1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_the_divergence_over_documents_by_hand(tmp_path: Path) -> None:
    docids, rows = atomic(tmp_path), np.array([3, 7, 38])
    model = random_model(DOCUMENTS, 1)
    batch = batch_of(docids, "plain", soft, rows, np.zeros(3))
    loss, _ = loss_and_gradients(model, SOFT, docids, batch)
    ids = batch["input_ids"]
    log_probs = (model.first_states(ids, torch.ones_like(ids)) @ model.docid_head.weight.T).log_softmax(dim=1)
    documents, weights = soft(rows, rows)
    expected = [
        sum(w * (np.log(w) - float(log_probs[query, d].detach())) for d, w in zip(*row, strict=True) if w)
        for query, row in enumerate(zip(documents, weights, strict=True))
    ]
    assert loss == pytest.approx(np.mean(expected), abs=1e-5)
    assert loss > 0


def test_the_divergence_over_leaves_by_hand(tmp_path: Path) -> None:
    docids, rows = docids_in(tmp_path), np.array([3, 7, 38])
    model = model_for(docids, "hierarchical_softmax")
    draws = np.array([0.15, 0.55, 0.95])
    batch = batch_of(docids, "hierarchical_softmax", soft, rows, draws)
    loss, gradients = loss_and_gradients(model, SOFT, docids, batch)
    ids, trie = batch["input_ids"], docids.trie
    leaves = [node for node in range(len(trie.token)) if trie.first_child[node] == trie.first_child[node + 1]]
    leaf_of = [max(path) for path in docids.paths]
    state = model.first_states(ids, torch.ones_like(ids))
    log_probs = (state @ model.docid_head.weight[leaves].T).log_softmax(dim=1)
    documents, weights = soft(rows, rows)
    expected = 0.0
    for query, (row, weight, draw) in enumerate(zip(documents, weights, draws, strict=True)):
        for document, w in zip(row, weight, strict=True):
            expected += w and w * (np.log(w) - float(log_probs[query, leaves.index(leaf_of[document])].detach()))
        drawn = row[int((weight.cumsum() <= draw).sum())]
        expected -= by_hand(model, ids[query].tolist(), docids)[drawn]
    assert loss == pytest.approx(expected / 3, abs=1e-4)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("head", HEADS)
def test_the_mean_over_draws_is_the_sum_over_all_documents(tmp_path: Path, head: str) -> None:
    docids = docids_in(tmp_path)
    model = model_for(docids, head)
    rows = np.array([3, 7, 38, 11])
    draws = np.random.default_rng(0).random((1_000, len(rows)))
    own = DocidTargets(docids, head == "hierarchical_softmax")
    documents, weights = soft(rows, rows)
    of_document = by_hand(model, random_queries(2)[1], docids)
    exact = -(weights * of_document[documents]).sum(axis=1)  # the exact form: all paths of the label
    many = np.repeat(rows[None], len(draws), axis=0).flatten()
    targets = TeacherTargets(soft, own, None, draw=True)(many, many % DOCUMENTS, draws.flatten())  # type: ignore[arg-type]
    codes = np.pad(targets["codes"], ((0, 0), (0, 4 - targets["codes"].shape[1])), constant_values=-1)
    place = {tuple(code): number for number, code in reversed([*enumerate(docids.codes.tolist())])}
    losses = -of_document[[place[tuple(code)] for code in codes.tolist()]].reshape(draws.shape)
    error = losses.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(losses.mean(axis=0) - exact) < 4 * error + 1e-6).all()
    batch = batch_of(docids, head, soft, many[:400], draws.flatten()[:400])
    loss, _ = loss_and_gradients(model, HARD, docids, batch)
    assert loss == pytest.approx(losses.flatten()[:400].mean(), abs=1e-4)  # and a step learns what was drawn


def test_draws_do_not_depend_on_the_processes(tiny: Stages, tmp_path: Path) -> None:
    pairs = training_tasks(TasksConfig(), Corpus(tiny.corpus), tiny.doc2query, tiny.text, 12, seed=0)
    examples = write_examples(tmp_path, pairs, vocabulary=len(tiny.text))
    target = TeacherTargets(
        lambda rows, own: ((own[:, None] + np.arange(6)) % 60, np.full((len(rows), 6), 1 / 6, np.float32)),  # type: ignore[arg-type]
        DocidTargets(tiny.docids),
        None,
        draw=True,
    )

    def drawn(**options: Any) -> set[tuple[int, ...]]:
        part = Batches(examples, target, 8, pad=0, seed=0, steps=9, weights={"d2q": 1.0}, **options)
        items = [part[options.get("accumulation", 1) * 2 + item] for item in range(options.get("accumulation", 1))]
        return {
            (int(row), *codes)
            for each in items
            for row, codes in zip(each["rows"], each["codes"].tolist(), strict=True)
        }

    whole = drawn()
    assert whole == drawn(process=0, processes=2) | drawn(process=1, processes=2) == drawn(accumulation=4)
    assert len(whole) == 8
