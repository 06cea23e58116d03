"""Warm start: output rows that know their documents before any training.

The untrained model's state for a document is that document's output row (atomic docids), or the mean of the states of
the documents below a node is that node's (tree head). For the latter to hold at every step, all docid tokens read as
START does, so that the states of all steps agree. What a row has in common with its siblings cancels in the softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsi.docids.store import Docids
from dsi.model.architecture import START, DifferentiableSearchIndex


@torch.no_grad()
def warm_start(model: DifferentiableSearchIndex, docids: Docids, states: Tensor) -> None:
    """Set the rows of the docid head from `states`, (documents, d_model) float32, centred and of unit length."""
    if docids.is_atomic:
        model.docid_head.weight.copy_(states)
        return
    paths = torch.from_numpy(docids.paths).long()
    sums = torch.zeros(model.config.docid_nodes, states.shape[1])
    below = torch.zeros(model.config.docid_nodes, 1)
    for nodes in paths.T:
        inside = nodes >= 0
        sums.index_add_(0, nodes[inside], states[inside])
        below.index_add_(0, nodes[inside], torch.ones(int(inside.sum()), 1))
    model.docid_head.weight.copy_(sums / below.clamp(min=1))
    model.docid_embedding.weight[START + 1 :] = model.docid_embedding.weight[START]
