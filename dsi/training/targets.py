"""What the model is to predict for a batch, from the documents of its examples."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsi.docids.store import Docids
from dsi.teacher.labels import TeacherLabels

Integers = NDArray[np.integer[Any]]
Arrays = dict[str, NDArray[Any]]
"""The arrays of a batch by name, each with one row per example."""


class MakeTargets(Protocol):
    """Makes the targets of a batch."""

    def __call__(self, rows: Integers, doc_index: Integers, draws: NDArray[np.float64]) -> Arrays:
        """The targets of the examples in `rows`, which are texts of the documents `doc_index`; `draws` are random
        numbers from 0 to 1, one an example."""


class DocidTargets:
    """The docids of documents as the model's forward pass wants them (see `Targets` in dsi.model.heads.layout).

    Args:
        docids: the docids of all documents.
        with_nodes: whether to add the trie nodes and their siblings, as the hierarchical softmax head needs.
    """

    def __init__(self, docids: Docids, with_nodes: bool = False) -> None:
        self.codes = np.asarray(docids.codes)
        self.docids = docids if with_nodes else None

    def __call__(self, rows: Integers, doc_index: Integers, draws: NDArray[np.float64]) -> Arrays:
        """Arrays of shape (documents, tokens of the longest of their docids), padded at the end with -1."""
        codes = self.codes[doc_index].astype(np.int64)
        codes = codes[:, : int((codes >= 0).any(axis=0).sum())]
        if self.docids is None:
            return {"codes": codes}
        nodes = self.docids.paths[doc_index, : codes.shape[1]].astype(np.int64)
        first, siblings = self.docids.trie.siblings(nodes)
        return {"codes": codes, "nodes": nodes, "first_sibling": first, "siblings": siblings}


def output_rows(docids: Docids, with_nodes: bool) -> Integers | None:
    """The output row that stands for each document alone, (documents,): that of its atomic docid, or, `with_nodes`,
    that of its leaf; None where documents have no such row."""
    if docids.is_atomic:
        return np.asarray(docids.codes[:, 0])
    if not with_nodes:
        return None
    lengths = (docids.codes >= 0).sum(axis=1, keepdims=True)
    return np.take_along_axis(docids.paths, lengths - 1, axis=1)[:, 0]


class TeacherTargets:
    """The documents by which a teacher answers the examples, and their weights (see `dsi.objectives.distillation`).

    Docids of several tokens have no room for all documents of a teacher, whose paths would cost as much as so many
    examples. One is drawn by the weights instead, whose mean over the draws is the sum over all of them.

    Args:
        target: the docids of documents.
        rows_of: the output row of each document (see `output_rows`).
        draw: whether to draw a document for `target`, which else is the own one.
    """

    def __init__(self, labels: TeacherLabels, target: DocidTargets, rows_of: Integers | None, draw: bool) -> None:
        self.labels, self.target, self.rows_of, self.draw = labels, target, rows_of, draw

    def __call__(self, rows: Integers, doc_index: Integers, draws: NDArray[np.float64]) -> Arrays:
        """The targets of one document an example; where documents have output rows, also `label_rows`, int64, and
        `label_weights`, float32, each (examples, 1 + documents of the teacher)."""
        documents, weights = self.labels(rows, doc_index)
        target = drawn(documents, weights, draws) if self.draw else doc_index
        arrays = self.target(rows, target, draws)
        if self.rows_of is not None:
            arrays |= {"label_rows": self.rows_of[documents].astype(np.int64), "label_weights": weights}
        return arrays


def drawn(documents: Integers, weights: NDArray[np.float32], draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """One document of each row, as probable as its weight; `draws` are random numbers from 0 to 1.

    >>> drawn(np.array([[7, 8, 9]] * 3), np.array([[0.25, 0.5, 0.25]] * 3), np.array([0.2, 0.3, 0.8])).tolist()
    [7, 8, 9]
    """
    reached = weights.astype(np.float64).cumsum(axis=1)
    place = (reached <= draws[:, None] * reached[:, -1:]).sum(axis=1)
    return np.take_along_axis(documents, place[:, None], axis=1)[:, 0].astype(np.int64)
