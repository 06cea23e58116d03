"""A head with one row per node of the docid trie and a softmax over siblings, in training as in search."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsi.model.config import DsiConfig
from dsi.model.heads.layout import Expansions, LogProbs, Targets


class HierarchicalSoftmaxHead(nn.Module):
    """Reads only the rows of the children of the nodes that are on the docid's path or on the beam."""

    def __init__(self, config: DsiConfig) -> None:
        super().__init__()
        self.shape = config.docid_nodes, config.d_model
        self.weight = nn.Parameter(torch.empty(self.shape))
        self.siblings = config.docid_siblings

    def forward(self, states: Tensor, targets: Targets) -> LogProbs:
        """The log-probabilities of a batch's docid tokens, from `states`, (queries, length, d_model)."""
        return of_siblings(states, targets, self.weight)

    def multiplications(self) -> float:
        """The mean number of multiplications to score one docid token."""
        return self.siblings * self.shape[1]

    def log_probs(self, states: Tensor, expansions: Expansions, level: int) -> Tensor:
        """The log-probability of each expansion, from `states`, (queries, beams, d_model)."""
        logits = states.new_full(expansions.nodes.shape, -torch.inf, dtype=torch.float32)
        for query in range(len(states)):  # one at a time bounds the memory
            beam, expansion = expansions.exist[query].nonzero(as_tuple=True)
            rows = self.weight[expansions.nodes[query, beam, expansion]]
            logits[query, beam, expansion] = (states[query, beam].float() * rows.float()).sum(dim=1)
        return logits.log_softmax(dim=-1)


def of_siblings(states: Tensor, targets: Targets, weight: Tensor, offsets: Tensor | None = None) -> LogProbs:
    """The log-probabilities of a batch's docid tokens, from `states`, (queries, length, d_model), and the rows of the
    nodes that `targets` number, (nodes, d_model); `offsets`, (nodes,), are added to their logits."""
    assert targets.nodes is not None
    assert targets.first_sibling is not None
    assert targets.siblings is not None
    query, position = targets.tokens()
    node, first, count = (each[query, position] for each in (targets.nodes, targets.first_sibling, targets.siblings))
    start = functional.pad(count.cumsum(0), (1, 0))
    token, nodes = alternatives(targets)
    # All docids begin at the root, so one product replaces a gather.
    root = slice(int(first[0]), int(first[0] + count[0]))
    at_root = functional.linear(states[:, 0], weight[root]).float()
    token, nodes = token[at_root.numel() :], nodes[at_root.numel() :]
    logits = (states[query[token], position[token]] * weight[nodes]).sum(dim=1).float()
    if offsets is not None:
        at_root, logits = at_root + offsets[root], logits + offsets[nodes]
    values = logits - _grouped_logsumexp(logits, token, len(count))[token]
    values = torch.cat([at_root.log_softmax(dim=1).flatten(), values])
    return LogProbs(values, start, start[:-1] + node - first, query, position)


def alternatives(targets: Targets) -> tuple[Tensor, Tensor]:
    """The token, a number among `targets.tokens()`, and the node of each of the values of `of_siblings`."""
    assert targets.first_sibling is not None
    assert targets.siblings is not None
    first, count = (each[targets.tokens()] for each in (targets.first_sibling, targets.siblings))
    token = torch.repeat_interleave(count)
    start = count.cumsum(0) - count
    return token, first[token] + torch.arange(len(token), device=token.device) - start[token]


def _grouped_logsumexp(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """The logsumexp of the values of each group, (groups,); `group` is the group of each value.

    >>> _grouped_logsumexp(torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0, 1, 1]), groups=2)
    tensor([3.0000, 0.6931])
    """
    largest = values.new_full((groups,), -torch.inf).scatter_reduce(0, group, values.detach(), "amax")
    return largest + torch.zeros_like(largest).index_add(0, group, (values - largest[group]).exp()).log()
