"""The objectives of heads whose output rows are outside the model's parameters (see `dsi.objectives.output_rows`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dsi.model.heads.hierarchical_softmax import alternatives, of_siblings
from dsi.model.heads.layout import LogProbs, Targets
from dsi.model.heads.table import Head
from dsi.objectives.output_rows import OutputRows
from dsi.objectives.row_softmax import Label, Visits, check_finite, softmax_loss
from dsi.objectives.siblings import siblings_to_read


@dataclass(frozen=True)
class OverRows:
    """The softmax over the rows of a plain head: over documents, from a teacher's label where the batch has one, if
    docids are atomic; else over docid tokens."""

    rows: OutputRows
    visits: Visits
    passes = 1

    def __call__(self, states: Sequence[Tensor], head: Head, targets: Targets, batch: Mapping[str, Tensor]) -> Tensor:
        query, position = targets.tokens()
        label = Label.of(batch) or Label.certain(targets.codes[query, position])
        return softmax_loss(states[0][query, position], label, self.rows, self.visits) / len(targets.codes)


@dataclass(frozen=True)
class OverTree:
    """The softmax over the siblings on a docid's path, whose rows alone are read and changed, plus, from a teacher's
    label, the divergence over the rows of leaves (see `dsi.objectives.distillation.OverLeaves`).

    Args:
        visits: which leaves the divergence is over; None without a teacher.
        widest: the largest number of siblings that are all read; of more, the targets and so many draws are.
    """

    rows: OutputRows
    visits: Visits | None
    widest: int | None
    seed: int
    passes = 1

    def __call__(self, states: Sequence[Tensor], head: Head, targets: Targets, batch: Mapping[str, Tensor]) -> Tensor:
        count = len(targets.codes)
        query, position = targets.tokens()
        random = np.random.default_rng([self.seed, 5, self.rows.steps])
        nodes, offsets, among = siblings_to_read(targets, self.widest, random)
        weight = self.rows.read(nodes).requires_grad_()
        with torch.autocast(weight.device.type, enabled=False):
            predicted = of_siblings(states[0].float(), among, weight, offsets)
        loss = check_finite(-predicted.of_targets.sum())
        sizes = _gradient_sizes(predicted, among, len(nodes))
        self.rows.descend_later(nodes, weight, count, states[0][query, position], sizes)
        if self.visits is not None:
            label = Label.of(batch)
            assert label is not None
            loss = loss + softmax_loss(states[0][:, 0], label, self.rows, self.visits)
        return loss / count


def _gradient_sizes(predicted: LogProbs, targets: Targets, nodes: int) -> Tensor:
    """The sum over a batch of the sizes of the gradients of the summed losses for each node's logit, (nodes,)."""
    probabilities = predicted.values.detach().exp()
    sizes = probabilities.index_put((predicted.target,), 1 - probabilities[predicted.target])
    return sizes.new_zeros(nodes).index_add(0, alternatives(targets)[1], sizes)
