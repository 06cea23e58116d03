"""The softmax over output rows that are visited some at a time, each changed while its gradient is known.

The loss of a query is the divergence from its label's weights w of rows d, which add up to 1 (or to 0: padding), up to
their entropy: the sum of w(d) (log Z - z(d)), with the logits z and log Z their log-sum-exp. A first visit of all rows
gives log Z, a second one, in the backward pass, the gradient p - w of the logits, from which follow that of the states
and the step of the rows. Four products with the rows where a softmax that keeps all logits has three, but nothing of
the size queries x rows, no gradient and no moments. Processes that divide the rows gather all states, and add up their
parts of Z and of the states' gradients.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from dsi.errors import DsiError
from dsi.objectives.output_rows import OutputRows, Where, of_unit_length
from dsi.runtime.processes import Rank

LOGITS_AT_ONCE = 1 << 19
"""The number of logits of a visit: 2 MB, which stays in a processor's cache from one product to the next."""
ROWS_AT_ONCE = 1 << 16
"""The largest number of rows of a visit; on a GPU, its logits may be as many as `LOGITS_AT_ONCE` x 128."""


@dataclass(frozen=True)
class Label:
    """What a batch's states should predict: output rows and their weights, each (states, rows of a label)."""

    rows: Tensor
    weights: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> "Label | None":
        """The label of a teacher in a training batch; None where there is none."""
        return cls(batch["label_rows"], batch["label_weights"]) if "label_rows" in batch else None

    @classmethod
    def certain(cls, rows: Tensor) -> "Label":
        """The label that gives each state, (states,), one row."""
        return cls(rows.unsqueeze(1), torch.ones_like(rows, dtype=torch.float32).unsqueeze(1))

    @property
    def negative_entropy(self) -> Tensor:
        """The sum over all states of w log w, a scalar; it makes the loss a divergence."""
        return torch.xlogy(self.weights, self.weights).sum()


@dataclass(frozen=True)
class Visit:
    """Some own rows, in increasing order, and what is added to their logits (-inf leaves a row out), (rows,)."""

    where: Where
    offsets: Tensor | None = None

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.where.stop - self.where.start if isinstance(self.where, slice) else len(self.where)

    def places(self, rows: OutputRows, label: Tensor) -> tuple[Tensor, Tensor]:
        """The place of each of a label's rows among those visited, and whether it is there, of the shape of `label`."""
        own = label - rows.share.start
        if isinstance(self.where, slice):
            place = own - self.where.start
            return place.clamp(0, self.size - 1), (place >= 0) & (place < self.size)
        place = torch.searchsorted(self.where, own).clamp(max=self.size - 1)
        return place, self.where[place] == own


Visits = Callable[[OutputRows, Label], list[Visit]]
"""A function that chooses which own rows are visited, for the label of the states of all processes."""


def chunks(rows: OutputRows, label: Label, offsets: Tensor | None = None) -> list[Visit]:
    """Visits to all own rows; `offsets`, (own rows,), are added to their logits."""
    at_once = LOGITS_AT_ONCE * (128 if rows.weight.is_cuda else 1) // max(len(label.rows), 1)
    size = min(max(at_once, 256), ROWS_AT_ONCE)
    bounds = [slice(start, min(start + size, len(rows.weight))) for start in range(0, len(rows.weight), size)]
    return [Visit(each, None if offsets is None else offsets[each]) for each in bounds]


def softmax_loss(states: Tensor, label: Label, rows: OutputRows, visits: Visits) -> Tensor:
    """The sum of the divergences of a process's states, (states, d_model), from their label, a scalar.

    Its backward pass changes the rows; under DDP, whose gradients are means over the processes, the loss may be divided
    by the process's number of examples as usual. All processes that divide the rows call this together.

    Raises:
        DsiError: the loss is not finite; the rows are as before.
    """
    loss: Tensor = _Softmax.apply(states, label, rows, visits)
    return loss + label.negative_entropy


def check_finite(loss: Tensor) -> Tensor:
    """The loss of a step, a scalar, before its backward pass changes rows; DsiError if it is not finite."""
    if not loss.isfinite():
        raise DsiError(
            f"training: the loss is {float(loss.detach())}; the output rows are as they were before this step: lower"
            " training.learning_rate, or the other learning rates there, and start again"
        )
    return loss


def everyone(tensor: Tensor, rank: Rank) -> Tensor:
    """The rows of a tensor of every process, one process after the other, each padded with zeros to the longest."""
    if rank.processes == 1:
        return tensor
    longest = torch.tensor(len(tensor), device=tensor.device)
    torch.distributed.all_reduce(longest, torch.distributed.ReduceOp.MAX)
    padded = tensor.new_zeros(int(longest), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in range(rank.processes)]
    torch.distributed.all_gather(parts, padded)
    return torch.cat(parts)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, label: Label, rows: OutputRows, choose: Visits) -> Tensor:
        with torch.autocast(states.device.type, enabled=False):  # bfloat16 rounds logits of 16 to 32 to eighths
            all_states = everyone(states.detach().float(), rows.rank)
            wanted = Label(everyone(label.rows, rows.rank), everyone(label.weights, rows.rank))
            visits = choose(rows, wanted)
            rows.logits = len(all_states) * sum(each.size for each in visits)
            log_sums, of_label = _first_visit(all_states, wanted, rows, visits)
            if rows.rank.processes > 1:
                parts = everyone(log_sums.unsqueeze(0), rows.rank)
                log_sums = parts.logsumexp(dim=0)
                torch.distributed.all_reduce(of_label)
            losses = wanted.weights.sum(dim=1) * log_sums - of_label
            check_finite(losses.sum())  # in all processes, or in none
            own = slice(start := rows.rank.process * (len(all_states) // rows.rank.processes), start + len(states))
            loss = losses[own].sum()
        ctx.save_for_backward(all_states, log_sums)
        ctx.rest = wanted, rows, visits, own, states.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (all_states, log_sums), (wanted, rows, visits, own, dtype) = ctx.saved_tensors, ctx.rest
        with torch.autocast(all_states.device.type, enabled=False):
            of_states = _second_visit(all_states, log_sums, wanted, rows, visits)
            if rows.rank.processes > 1:
                torch.distributed.all_reduce(of_states)
        return (of_states[own] * gradients[0]).to(dtype), None, None, None


def _first_visit(states: Tensor, label: Label, rows: OutputRows, visits: Sequence[Visit]) -> tuple[Tensor, Tensor]:
    """The log-sum-exp over the rows visited, and the weighted sum of the label's logits among them, (states,) each."""
    count = len(states)
    log_sums, of_label = states.new_full((count,), -torch.inf), states.new_zeros(count)
    for visit in visits:
        logits = _logits(rows.read(visit.where), states, visit.offsets)
        place, is_here = visit.places(rows, label.rows)
        is_meant = is_here & (label.weights > 0)  # a row that no label has may be impossible: 0 x -inf
        of_label += (logits.gather(0, place.T).T.masked_fill(~is_meant, 0.0) * label.weights).sum(dim=1)
        log_sums = torch.logaddexp(log_sums, logits.logsumexp(dim=0))
    return log_sums, of_label


def _second_visit(states: Tensor, log_sums: Tensor, label: Label, rows: OutputRows, visits: Sequence[Visit]) -> Tensor:
    """The gradient of the summed losses for the states; the rows are changed."""
    of_states, (unit, length) = torch.zeros_like(states), of_unit_length(states)
    log_scale = log_sums - label.weights.sum(dim=1).log()  # no probability for padding, whose weights are 0
    for visit in visits:
        weight = rows.read(visit.where)
        gradient = _logits(weight, states, visit.offsets, log_scale).exp_()
        place, is_here = visit.places(rows, label.rows)
        gradient.scatter_add_(0, place.T, -(label.weights * is_here).T)
        of_states.addmm_(gradient.T, weight)
        rows.descend(visit.where, gradient, unit, length)
    return of_states


def _logits(weight: Tensor, states: Tensor, offsets: Tensor | None, log_scale: Tensor | None = None) -> Tensor:
    """The logits of rows for states, (rows, states) float32, with the rows' offsets added, less `log_scale`,
    (states,)."""
    logits = weight @ states.T if log_scale is None else torch.addmm(-log_scale, weight, states.T)
    return logits if offsets is None else logits + offsets.unsqueeze(1)
