"""A row a node of the docid trie, softmax over siblings: the constraint is in the loss and in the search."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsi.model.config import DsiConfig
from dsi.model.heads.layout import Expansions, LogProbs, Targets


class HierarchicalSoftmaxHead(nn.Module):
    """Only the rows of the children of nodes on the path, or on the beam, are read."""

    def __init__(self, config: DsiConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.docid_nodes, config.d_model))
        self.siblings = config.docid_siblings

    def forward(self, states: Tensor, targets: Targets) -> LogProbs:
        """`states` are (queries, length, d_model)."""
        assert targets.nodes is not None
        assert targets.first_sibling is not None
        assert targets.siblings is not None
        query, position = targets.tokens()
        node, first, count = (
            each[query, position] for each in (targets.nodes, targets.first_sibling, targets.siblings)
        )
        start = functional.pad(count.cumsum(0), (1, 0))
        # all docids begin at the root: one product in place of a gather
        at_root = functional.linear(states[:, 0], self.weight[first[0] :][: count[0]]).float().log_softmax(dim=1)
        below = slice(len(states), None)
        owner = torch.repeat_interleave(count[below])
        sibling = torch.arange(len(owner), device=owner.device) - (start[below][:-1] - start[len(states)])[owner]
        rows = self.weight[first[below][owner] + sibling]
        logits = (states[query[below], position[below]][owner] * rows).sum(dim=1).float()
        values = logits - _logsumexp_by(owner, logits, len(count[below]))[owner]
        return LogProbs(torch.cat([at_root.flatten(), values]), start, start[:-1] + node - first, query, position)

    def multiplications(self) -> float:
        """Of one docid token, on average."""
        return self.siblings * self.weight.shape[1]

    def log_probs(self, states: Tensor, expansions: Expansions, level: int) -> Tensor:
        """Log-probability of each move, for `states` of shape (queries, beams, d_model)."""
        logits = states.new_full(expansions.nodes.shape, -torch.inf, dtype=torch.float32)
        for query in range(len(states)):  # one at a time bounds the memory
            beam, move = expansions.exist[query].nonzero(as_tuple=True)
            rows = self.weight[expansions.nodes[query, beam, move]]
            logits[query, beam, move] = (states[query, beam].float() * rows.float()).sum(dim=1)
        return logits.log_softmax(dim=-1)


def _logsumexp_by(owner: Tensor, values: Tensor, owners: int) -> Tensor:
    """logsumexp of the values of each owner, shape (owners,)."""
    largest = values.new_full((owners,), -torch.inf).scatter_reduce(0, owner, values.detach(), "amax")
    return largest + torch.zeros_like(largest).index_add(0, owner, (values - largest[owner]).exp()).log()
