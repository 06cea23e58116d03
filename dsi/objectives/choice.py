"""The objective that a configuration asks for."""

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dsi.config import TrainingConfig
from dsi.docids.kmeans import kmeans
from dsi.docids.store import Docids
from dsi.model.architecture import Objective
from dsi.objectives.consistency import Consistency
from dsi.objectives.distillation import OverLeaves, over_documents
from dsi.objectives.output_rows import OutputRows
from dsi.objectives.over_rows import OverRows, OverTree
from dsi.objectives.row_softmax import Visits, chunks
from dsi.objectives.sampling import Clusters, Integers, Sampler
from dsi.objectives.single_pass import LabelLoss, SinglePass
from dsi.objectives.softmax import negative_log_likelihood


def objective_of(
    training: TrainingConfig,
    head: str,
    docids: Docids,
    rows: OutputRows | None = None,
    clusters: Clusters | None = None,
) -> Objective:
    """The objective that a training step with these configuration keys minimises; `rows` are the output rows, unless
    training.softmax=full, and `clusters` those to sample from (see `cluster_rows`)."""
    if rows is not None:
        return _over_rows(training, head, docids, rows, clusters)
    loss = _label_loss(training, head, docids)
    return Consistency(loss, training.consistency) if training.consistency else SinglePass(loss)


def _over_rows(
    training: TrainingConfig, head: str, docids: Docids, rows: OutputRows, clusters: Clusters | None
) -> Objective:
    visits: Visits = chunks
    if clusters is not None:
        visits = Sampler(clusters, training.uniform_negatives, training.neighbour_negatives, training.seed)
    if head != "hierarchical_softmax":
        return OverRows(rows, visits)
    widest = training.uniform_negatives if training.softmax == "sampled" else None
    if training.labels == "document":
        return OverTree(rows, None, widest, training.seed)
    if clusters is None:
        impossible = torch.zeros(len(rows.weight), device=rows.weight.device)
        impossible[torch.from_numpy(~docids.trie.is_leaf)] = -torch.inf
        visits = partial(chunks, offsets=impossible)
    return OverTree(rows, visits, widest, training.seed)


def cluster_rows(training: TrainingConfig, head: str, docids: Docids, weight: Tensor) -> Integers:
    """The cluster of each output row for training.softmax=sampled, -1 for rows that are not drawn, (rows,).

    For atomic docids it is that of k-means over the rows `weight`, (rows, d_model); for leaves their parent; docid
    tokens are all in one.
    """
    if head == "hierarchical_softmax":
        leaves = np.flatnonzero(docids.trie.is_leaf)
        parents = np.full(len(docids.trie.token), -1)
        parents[leaves] = np.unique(docids.trie.parents(leaves), return_inverse=True)[1]
        return parents
    if not docids.is_atomic or not training.neighbour_negatives:
        return np.zeros(len(weight), dtype=np.int32)
    random, vectors = np.random.default_rng([training.seed, 6]), weight.numpy()
    labels, _ = kmeans(lambda rows: vectors[rows], len(vectors), math.isqrt(len(vectors)), random)
    return labels.astype(np.int32)


def _label_loss(training: TrainingConfig, head: str, docids: Docids) -> LabelLoss:
    if training.labels == "teacher" and docids.is_atomic:
        return over_documents
    if training.labels == "teacher" and head == "hierarchical_softmax":
        return OverLeaves(torch.from_numpy(docids.trie.is_leaf))
    return negative_log_likelihood  # a teacher's label has chosen the document
