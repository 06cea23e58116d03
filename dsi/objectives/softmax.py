"""The likelihood of the docids: softmax over the alternatives of every docid token (Tay et al. 2022)."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from dsi.model.heads.layout import LogProbs, Targets
from dsi.model.heads.table import Head


class Softmax:
    """The negative log-likelihood of a docid, a mean over the batch."""

    passes = 1

    def __call__(self, states: Sequence[Tensor], head: Head, targets: Targets, batch: Mapping[str, Tensor]) -> Tensor:
        return negative_log_likelihood(head(states[0], targets), targets)


def negative_log_likelihood(predicted: LogProbs, targets: Targets) -> Tensor:
    """The negative log-likelihood of a docid, the sum over its tokens, as a mean over the batch: a scalar."""
    return -predicted.of_targets.sum() / len(targets.codes)
