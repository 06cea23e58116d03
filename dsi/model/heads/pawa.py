"""Prefix-aware rows (PAWA; NCI, Wang et al. 2022; Pradeep et al. 2023, section 3.3), softmax over a position."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsi.model.config import DsiConfig
from dsi.model.heads.layout import Expansions, LogProbs, Targets

PAWA_ROWS = 256
"""Hypotheses whose output rows are made at once: each needs (tokens of the position) x d_model numbers."""


class PawaHead(nn.Module):
    """The prefix decoder's state a changes the rows W of a position: additive, h (W + A a) with A a d x tokens x d
    tensor a position (NCI's released form), or matrix, h M(a) W with one d x d matrix made of a (the paper's form).

    Rows of other positions are never made: with k tokens a position that is 1/length of the work and parameters.
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
        """`states` are (queries, length, 2 x d_model): the decoder's and the prefix decoder's."""
        query, position = targets.tokens()
        of_position = torch.bincount(position, minlength=targets.codes.shape[1]).tolist()
        values = [
            self._logits(states[some, number], number).log_softmax(dim=1).flatten()
            for number, some in enumerate(query.split(of_position))
        ]
        sizes = torch.tensor(self.sizes, device=query.device)
        first_token, start = sizes.cumsum(0) - sizes, functional.pad(sizes[position].cumsum(0), (1, 0))
        within = targets.codes[query, position] - first_token[position]
        return LogProbs(torch.cat(values), start, start[:-1] + within, query, position)

    def multiplications(self) -> float:
        """Of one docid token, on average over the positions."""
        made = sum(projection.numel() for projection in self.projections.parameters())
        return self.weight.numel() / len(self.sizes) + made / len(self.projections)

    def log_probs(self, states: Tensor, expansions: Expansions, level: int) -> Tensor:
        """Log-probability of each move, for `states` of shape (queries, beams, 2 x d_model)."""
        rows = states.flatten(0, 1).split(PAWA_ROWS)
        scores = torch.cat([self._logits(some, level).log_softmax(dim=1) for some in rows]).unflatten(
            0, states.shape[:2]
        )
        within = expansions.tokens - sum(self.sizes[:level])
        legal = (within >= 0) & (within < self.sizes[level])  # tokens of other positions are impossible here
        return scores.gather(2, torch.where(legal, within, 0)).masked_fill(~legal, -torch.inf)

    def _logits(self, states: Tensor, position: int) -> Tensor:
        """(rows, tokens of the position) float32."""
        state, prefix = states.chunk(2, dim=1)
        start, size = sum(self.sizes[:position]), self.sizes[position]
        rows = self.weight[start : start + size]
        if self.is_matrix:
            changed = self.projections[0](prefix).unflatten(1, (state.shape[1], -1))
            return functional.linear(torch.bmm(state.unsqueeze(1), changed).squeeze(1), rows).float()
        changed = rows + self.projections[position](prefix).unflatten(1, (size, -1))
        return torch.bmm(changed, state.unsqueeze(2)).squeeze(2).float()
