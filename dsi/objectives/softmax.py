"""The likelihood of the docids: softmax over the alternatives of every docid token (Tay et al. 2022)."""

from collections.abc import Mapping

from torch import Tensor

from dsi.model.heads.layout import LogProbs, Targets
from dsi.model.heads.table import Head


def negative_log_likelihood(
    states: Tensor, predicted: LogProbs, head: Head, targets: Targets, batch: Mapping[str, Tensor]
) -> Tensor:
    """The negative log-likelihood of a docid, the sum over its tokens, as a mean over the batch: a scalar."""
    return -predicted.of_targets.sum() / len(targets.codes)
