"""The consistency loss: two passes with different dropout should predict the same (NCI, Wang et al. 2022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from dsi.model.heads.layout import Targets
from dsi.model.heads.table import Head
from dsi.objectives.single_pass import LabelLoss


@dataclass(frozen=True)
class Consistency:
    """The mean loss of two passes plus `weight` times the divergence between them, per docid."""

    loss: LabelLoss
    weight: float
    passes = 2

    def __call__(self, states: Sequence[Tensor], head: Head, targets: Targets, batch: Mapping[str, Tensor]) -> Tensor:
        first, second = (head(of_pass, targets) for of_pass in states)
        losses = [
            self.loss(of_pass, predicted, head, targets, batch)
            for of_pass, predicted in zip(states, (first, second), strict=True)
        ]
        divergence = symmetric_divergence(first.values, second.values) / len(targets.codes)
        return 0.5 * (losses[0] + losses[1]) + self.weight * divergence


def symmetric_divergence(one: Tensor, other: Tensor) -> Tensor:
    """Half the sum of both Kullback-Leibler divergences between float32 log-probabilities of two passes, a scalar."""
    # In bfloat16 the differences of probabilities near 1 vanish or explode (the paper saw NaN).
    return 0.5 * ((one.exp() - other.exp()) * (one - other)).sum()
