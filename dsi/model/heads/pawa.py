"""Prefix-aware output rows (PAWA; NCI, Wang et al. 2022; Pradeep et al. 2023, section 3.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsi.model.config import DsiConfig
from dsi.model.heads.layout import Expansions, LogProbs, Targets

PAWA_ROWS = 256
"""The number of hypotheses whose rows are computed at once; each needs d_model numbers per token of the position."""


class PawaHead(nn.Module):
    """A softmax over the docid tokens of a position, whose output rows W depend on the prefix decoder's state a.

    The logits of decoder state h are h (W + A a), with a d x tokens x d tensor A per position (additive, NCI's released
    form), or h M(a) W, with one d x d matrix made from a (matrix, the paper's form). The rows of other positions are
    not computed, which leaves 1/length of the work and of the parameters.
    """

    def __init__(self, config: DsiConfig) -> None:
        super().__init__()
        self.sizes = config.docid_sizes or []
        self.weight = nn.Parameter(torch.empty(sum(self.sizes), config.d_model))
        width = config.d_model
        outputs = [width] if config.pawa == "matrix" else self.sizes
        self.projections = nn.ModuleList(nn.Linear(width, size * width, bias=False) for size in outputs)
        self.is_matrix = config.pawa == "matrix"

    def forward(self, states: Tensor, targets: Targets) -> LogProbs:
        """The log-probabilities of a batch's docid tokens, from `states`, (queries, length, 2 x d_model)."""
        query, position = targets.tokens()
        counts = torch.bincount(position, minlength=targets.codes.shape[1]).tolist()
        values = [
            self._logits(states[queries, level], level).log_softmax(dim=1).flatten()
            for level, queries in enumerate(query.split(counts))
        ]
        sizes = torch.tensor(self.sizes, device=query.device)
        first_token, start = sizes.cumsum(0) - sizes, functional.pad(sizes[position].cumsum(0), (1, 0))
        within = targets.codes[query, position] - first_token[position]
        return LogProbs(torch.cat(values), start, start[:-1] + within, query, position)

    def multiplications(self) -> float:
        """The number of multiplications to score one docid token, a mean over the positions."""
        projected = sum(projection.numel() for projection in self.projections.parameters())
        return self.weight.numel() / len(self.sizes) + projected / len(self.projections)

    def log_probs(self, states: Tensor, expansions: Expansions, level: int) -> Tensor:
        """The log-probability of each expansion, from `states`, (queries, beams, 2 x d_model)."""
        parts = states.flatten(0, 1).split(PAWA_ROWS)
        log_probs = torch.cat([self._logits(part, level).log_softmax(dim=1) for part in parts])
        within = expansions.tokens - sum(self.sizes[:level])
        legal = (within >= 0) & (within < self.sizes[level])  # tokens of other positions are impossible here
        by_beam = log_probs.unflatten(0, states.shape[:2])
        return by_beam.gather(2, torch.where(legal, within, 0)).masked_fill(~legal, -torch.inf)

    def _logits(self, states: Tensor, position: int) -> Tensor:
        """The logits of `states`, (rows, 2 x d_model), at one position: (rows, tokens of the position) float32."""
        state, prefix = states.chunk(2, dim=1)
        start, size = sum(self.sizes[:position]), self.sizes[position]
        rows = self.weight[start : start + size]
        if self.is_matrix:
            changed = self.projections[0](prefix).unflatten(1, (state.shape[1], -1))
            return functional.linear(torch.bmm(state.unsqueeze(1), changed).squeeze(1), rows).float()
        changed = rows + self.projections[position](prefix).unflatten(1, (size, -1))
        return torch.bmm(changed, state.unsqueeze(2)).squeeze(2).float()
