"""The consistency loss: two passes with different dropout are to say the same (NCI, Wang et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dsi.model.heads.layout import Targets
from dsi.model.heads.table import Head
from dsi.objectives.softmax import negative_log_likelihood


@dataclass(frozen=True)
class Consistency:
    """The mean likelihood of two passes, and `weight` times the divergence between them, by docid."""

    weight: float
    passes = 2

    def __call__(self, states: Sequence[Tensor], head: Head, targets: Targets, batch: Mapping[str, Tensor]) -> Tensor:
        first, second = (head(each, targets) for each in states)
        likelihood = 0.5 * (negative_log_likelihood(first, targets) + negative_log_likelihood(second, targets))
        divergence = symmetric_divergence(first.values, second.values) / len(targets.codes)
        return likelihood + self.weight * divergence


def symmetric_divergence(one: Tensor, other: Tensor) -> Tensor:
    """Half the sum of both Kullback-Leibler divergences between log-probabilities of two passes, in float32: with
    bfloat16 probabilities near 1 their differences vanish or explode (the paper saw NaN)."""
    return 0.5 * ((one.exp() - other.exp()) * (one - other)).sum()
