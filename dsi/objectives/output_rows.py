"""The output rows of a docid head outside the model's parameters, each changed in the visit that finds its gradient.

AdamW takes 16 bytes a number (itself, its gradient, two moments) and changes every row at every step. Here a number
takes 4 bytes, or 2 in bfloat16, rounded up or down at random so that steps below its spacing add up (ELMO, Zhang et al.
2025); processes divide the rows among them (Partial FC, An et al. 2022).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed
from torch import Tensor, nn

from dsi.runtime.processes import ALONE, Rank

Rule = Literal["sgd", "adagrad"]
AT_ONCE = 1 << 16
"""The number of rows that go from one process to another at once."""

Where = slice | Tensor
"""Some of a process's own rows: a range, or numbers without repetitions, (rows,) int64."""


@dataclass(frozen=True)
class Share:
    """The rows that a process has of `total`: those from `start` to before `stop`."""

    total: int
    start: int
    stop: int

    @classmethod
    def of(cls, total: int, rank: Rank = ALONE) -> "Share":
        """The share of a process.

        >>> [Share.of(5, Rank(process, 2)) for process in range(2)]
        [Share(total=5, start=0, stop=2), Share(total=5, start=2, stop=5)]
        """
        return cls(total, *(total * number // rank.processes for number in (rank.process, rank.process + 1)))


class OutputRows:
    """A process's share of the output rows, with a step rule and a learning rate of their own.

    A step takes from a row the gradient of the sum (not the mean) of the losses of a batch, times `rate` and divided by
    the mean squared length of the batch's states: the row of a document that is improbable, and that one query of the
    batch asks for, gains `rate` in logit, whatever the width, the batch and the number of documents (normalised least
    mean squares). It never gains or loses more: where many queries of a batch have gradients for the logit of the same
    row, a docid token or an inner node, the step is divided by the sum of their sizes, about twice the curvature. Rule
    sgd is that; adagrad divides it by the root of 1 plus the sum of a row's squared gradients so far, those of states
    of length 1, so that a row which changes often changes less: one number a row.

    Args:
        weight: all rows, (rows, d_model); the own ones are copied, unless they are all and fit as they are.
        dtype: float32 or bfloat16.
        rate: the learning rate at its height; `schedule` is the share of it that steps take now.
        rank: the place of this process among those that divide the rows.
        seed: the seed of the rounding.
    """

    def __init__(
        self,
        weight: Tensor,
        rule: Rule,
        rate: float,
        dtype: torch.dtype = torch.float32,
        rank: Rank = ALONE,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        self.share, self.rank, self.seed = Share.of(len(weight), rank), rank, seed
        own = weight.detach()[self.share.start : self.share.stop]
        is_taken = len(own) == len(weight) and own.dtype == dtype and own.device == torch.empty(0, device=device).device
        self.weight = own if is_taken else torch.empty(own.shape, dtype=dtype, device=device).copy_(own)
        self.squares = torch.ones(len(self.weight), device=device) if rule == "adagrad" else None
        """1 plus the sum of the squared gradients of each row, (own rows,) float32, for adagrad."""
        self.rate, self.schedule = rate, 1.0
        self.steps = 0
        """The number of steps so far, of which the draws of a step are a function."""
        self.logits = 0
        """The number of logits of the last step's visits."""
        self._noise: Tensor | None = None
        self._later: list[tuple[Where, Tensor, Tensor]] = []

    @property
    def is_float32(self) -> bool:
        """Whether rows are in float32."""
        return self.weight.dtype == torch.float32

    def read(self, where: Where) -> Tensor:
        """Some own rows in float32, (rows, d_model); a view of them where that is possible."""
        return self.weight[where].float()

    @torch.no_grad()
    def descend(self, where: Where, of_logits: Tensor, unit: Tensor, length: Tensor) -> None:
        """Change the rows at `where` by the gradient of the summed losses for their logits, (rows, queries), which are
        products with states, (queries, d_model) float32, of this mean `length` when `unit` (see `of_unit_length`);
        `of_logits` is changed too."""
        step = self.rate * self.schedule / length
        of_logits /= of_logits.norm(p=1, dim=1, keepdim=True).clamp_(min=1)
        if self.squares is None and self.is_float32 and isinstance(where, slice):
            self.weight[where].addmm_(of_logits, unit * step, alpha=-1)  # no array of the gradient
        else:
            self._change(where, of_logits @ unit, step)

    def descend_later(self, where: Tensor, copy: Tensor, losses: int, states: Tensor, sizes: Tensor) -> None:
        """Let the gradient that a copy of the rows at `where` is going to have, that of the mean of so many losses,
        change them in `end_step`. Their logits are products with `states`, (queries, d_model), and `sizes`, (rows,),
        the sums over the queries of the sizes of the gradients of the summed losses for them."""
        _, length = of_unit_length(states.detach().float())
        factor = losses / length / sizes.clamp(min=1).unsqueeze(1)

        def keep(copy: Tensor) -> None:
            assert copy.grad is not None
            self._later.append((where, copy.grad * factor, self.rate * self.schedule / length))
            copy.grad = None

        copy.register_post_accumulate_grad_hook(keep)

    @torch.no_grad()
    def end_step(self) -> None:
        """Do what `descend_later` was asked for; called once after each backward pass."""
        for change in self._later:
            self._change(*change)
        self._later.clear()
        self._noise = None
        self.steps += 1

    @contextmanager
    def lent_to(self, head: nn.Module) -> Iterator[None]:
        """Let a head have all rows for a while; those of other processes come to the first one's main memory, and only
        there does the head have them."""
        if self.rank.process == 0:
            whole, start = self.weight, 0
            if self.rank.processes > 1:
                whole = torch.empty(self.share.total, self.weight.shape[1], dtype=self.weight.dtype, device="cpu")
                for part in self.whole():
                    whole[start : (start := start + len(part))] = part
            head.register_parameter("weight", nn.Parameter(whole, requires_grad=False))
        else:
            assert not list(self.whole())  # it sends them
        try:
            yield
        finally:
            head.register_parameter("weight", None)

    def whole(self) -> Iterator[Tensor]:
        """All rows, some at a time, in main memory, in the first process; the others must ask for them too, and get
        none."""
        return self._whole(self.weight)

    def whole_squares(self) -> Iterator[Tensor]:
        """`squares` of all rows, as `whole` gives them."""
        assert self.squares is not None
        return self._whole(self.squares)

    def _whole(self, own: Tensor) -> Iterator[Tensor]:
        for process in range(self.rank.processes):
            share = Share.of(self.share.total, Rank(process, self.rank.processes))
            for start in range(share.start, share.stop, AT_ONCE):
                stop = min(start + AT_ONCE, share.stop)
                if self.rank.process == process:
                    part = own[start - share.start : stop - share.start]
                    if process == 0:
                        yield part.cpu()
                    else:
                        torch.distributed.send(part.contiguous().view(torch.uint8), 0)
                elif self.rank.process == 0:
                    part = own.new_empty(stop - start, *own.shape[1:])
                    torch.distributed.recv(part.view(torch.uint8), process)
                    yield part.cpu()

    def _change(self, where: Where, gradient: Tensor, step: Tensor) -> None:
        """Take a step from the rows at `where` against their gradient for states of length 1."""
        if self.squares is not None:
            self.squares[where] += gradient.square().sum(dim=1)
            step = step / self.squares[where].sqrt().unsqueeze(1)
        changed = self.weight[where].float() - step * gradient
        self.weight[where] = changed if self.is_float32 else self._rounded(changed)

    def _rounded(self, values: Tensor) -> Tensor:
        """`values` in bfloat16, each rounded up with a probability of its distance from the next lower number."""
        if self._noise is None or len(self._noise) < len(values):
            # the same for all chunks of rows of a step: drawing anew for a million rows would take as long as they do
            seed = hash((self.seed, self.steps)) & (2**63 - 1)
            generator = torch.Generator(values.device).manual_seed(seed)
            self._noise = torch.randint(
                1 << 16, values.shape, dtype=torch.int32, device=values.device, generator=generator
            )
        return stochastically_rounded(values, self._noise[: len(values)])


def stochastically_rounded(values: Tensor, noise: Tensor) -> Tensor:
    """float32 `values` in bfloat16: towards zero or away from it, by `noise`, int32 from 0 to 65,535, of their shape.

    A bfloat16 is the upper half of a float32; the lower half is the chance that the noise carries into it.
    """
    return ((values.contiguous().view(torch.int32) + noise) & -65536).view(torch.float32).bfloat16()


def of_unit_length(states: Tensor) -> tuple[Tensor, Tensor]:
    """float32 states divided by the root of their mean square, padding of zeros left out, and that root, a scalar."""
    squares = states.square().sum(dim=1)
    length = (squares.sum() / (squares > 0).sum().clamp(min=1)).sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    return states / length, length
