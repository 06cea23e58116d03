"""Distillation: the model's distribution over all documents comes close to a teacher's over its best ones.

The divergence is Kullback and Leibler's, from the label's weights w of documents d to the model's probabilities p:
the sum of w(d) log(w(d) / p(d)). A label of one document makes it the negative log-likelihood.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from dsi.model.heads.layout import LogProbs, Targets
from dsi.model.heads.table import Head
from dsi.objectives.softmax import negative_log_likelihood


def divergence(log_probs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """The mean divergence of a batch, a scalar, from log-probabilities (queries, rows) of all output rows; `batch` has
    the label: `label_rows` and `label_weights`, (queries, documents)."""
    weights, of_label = batch["label_weights"], log_probs.gather(1, batch["label_rows"])
    # a document that no label has may be impossible: 0 x -inf
    missed = torch.where(weights > 0, weights * of_label, 0.0)
    return (torch.xlogy(weights, weights) - missed).sum() / len(weights)


def over_documents(
    states: Tensor, predicted: LogProbs, head: Head, targets: Targets, batch: Mapping[str, Tensor]
) -> Tensor:
    """The divergence for atomic docids, whose first and only token has all documents for alternatives."""
    return divergence(predicted.values.view(len(targets.codes), -1), batch)


class OverLeaves:
    """The likelihood of the path of a document that the label draws, plus the divergence over the rows of all leaves,
    by which `search.ranking=leaf` orders documents.

    Args:
        is_leaf: whether each trie node is a leaf, (nodes,) bool.
    """

    def __init__(self, is_leaf: Tensor) -> None:
        self.is_leaf = is_leaf

    def __call__(
        self, states: Tensor, predicted: LogProbs, head: Head, targets: Targets, batch: Mapping[str, Tensor]
    ) -> Tensor:
        """The loss of a pass, a scalar."""
        logits = functional.linear(states[:, 0], head.weight).float()
        self.is_leaf = self.is_leaf.to(logits.device)
        log_probs = logits.masked_fill(~self.is_leaf, -torch.inf).log_softmax(dim=1)
        return negative_log_likelihood(states, predicted, head, targets, batch) + divergence(log_probs, batch)
