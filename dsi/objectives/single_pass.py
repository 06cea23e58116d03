"""The objective that reads a batch once, and what its loss may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dsi.model.heads.layout import LogProbs, Targets
from dsi.model.heads.table import Head


class LabelLoss(Protocol):
    """How far the predictions of a pass over a batch are from its labels."""

    def __call__(
        self, states: Tensor, predicted: LogProbs, head: Head, targets: Targets, batch: Mapping[str, Tensor]
    ) -> Tensor:
        """The loss, a scalar, from the decoder states (queries, length, width) and what the head makes of them."""


@dataclass(frozen=True)
class SinglePass:
    """The loss of one pass."""

    loss: LabelLoss
    passes = 1

    def __call__(self, states: Sequence[Tensor], head: Head, targets: Targets, batch: Mapping[str, Tensor]) -> Tensor:
        return self.loss(states[0], head(states[0], targets), head, targets, batch)
