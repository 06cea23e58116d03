"""A head with one row per docid token and a softmax over all docid tokens (Tay et al. 2022)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsi.model.config import DsiConfig
from dsi.model.heads.layout import Expansions, LogProbs, Targets


class PlainHead(nn.Module):
    """A softmax over all docid tokens, whatever the prefix."""

    def __init__(self, config: DsiConfig) -> None:
        super().__init__()
        self.shape = config.docid_tokens, config.d_model
        self.weight = nn.Parameter(torch.empty(self.shape))

    def forward(self, states: Tensor, targets: Targets) -> LogProbs:
        """The log-probabilities of a batch's docid tokens, from `states`, (queries, length, d_model)."""
        query, position = targets.tokens()
        logits = functional.linear(states[query, position], self.weight)
        values, alternatives = logits.float().log_softmax(dim=1), logits.shape[1]
        start = alternatives * torch.arange(len(query) + 1, device=states.device)
        return LogProbs(values.flatten(), start, start[:-1] + targets.codes[query, position], query, position)

    def multiplications(self) -> float:
        """The number of multiplications to score one docid token."""
        return math.prod(self.shape)

    def log_probs(self, states: Tensor, expansions: Expansions, level: int) -> Tensor:
        """The log-probability of each expansion, from `states`, (queries, beams, d_model)."""
        logits = functional.linear(
            states.float(), self.weight.to(states.device).float()
        )  # bfloat16 rounds logits of 16 to 32 to eighths
        return logits.gather(2, expansions.tokens) - logits.logsumexp(dim=-1, keepdim=True)
