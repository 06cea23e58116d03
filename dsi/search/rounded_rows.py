"""Output rows rounded to int8: a quarter of the bytes to read for a query, and a proof that nothing was missed.

A row w is scale x r + e, with whole numbers r; a state x is y + f likewise. The logit x w differs from that of the
rounded ones by at most |x| |e| + |f| |scale x r| (Cauchy and Schwarz). The groups of rows with the largest upper bounds
are scored in full; where the upper bound of the next group is below the logit of the last document wanted, no other
document can be among the best.
"""

from threading import Lock
from typing import NamedTuple, Self

import torch
from torch import Tensor

from dsi.search.changes import NONE, Changes

GROUP, BLOCK = 16, 1 << 14
"""A group is 16 rows, a sixteenth of a block apart, so that the largest logits of groups are found without a detour."""
GROUPS = 64
"""The number of groups that are scored in full, or twice the number of documents wanted if that is more: enough for all
of 512 queries to 171,650 documents to be proven for 10 documents, for 98 % of them for 100."""
WORTHWHILE = 1 << 16
"""The number of rows from which a rounded copy is made."""
MANY = 1 / 64
"""The share of all documents that are too many to look for among rounded rows."""
LOGITS_AT_ONCE = 1 << 19
"""The number of logits that are computed at once, few enough to stay in the processor's cache."""
ROUNDING = 1e-5
"""The error of products in float32, which bounds allow for too, as a share of the product of the lengths."""


class Found(NamedTuple):
    """The best documents of some states, as far as the rounded rows tell."""

    documents: Tensor
    """Their row numbers, (queries, count), best first."""
    logits: Tensor
    """Their logits, (queries, count) float32, not rounded."""
    log_sum: Tensor
    """The logarithm of the sum of exp(logit) over all rows, (queries,), where rows far from the best are rounded."""
    is_proven: Tensor
    """Whether no other document can be among them, (queries,)."""


class RoundedRows:
    """A rounded copy of output rows on the CPU, (rows, width); of these themselves some are read for each query."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, blocks = weight, -(-len(weight) // BLOCK)
        self.rounded = torch.zeros(blocks * BLOCK, weight.shape[1], dtype=torch.int8)
        self.scale = torch.zeros(blocks * BLOCK)
        self.lengths = torch.zeros(2, blocks, BLOCK // GROUP)
        """The largest lengths of an error, and of a rounded row, in each group of each block."""
        for block in range(blocks):
            rows = weight[block * BLOCK : (block + 1) * BLOCK].float()
            part = slice(block * BLOCK, block * BLOCK + len(rows))
            rounded, self.scale[part] = _rounded(rows)
            self.rounded[part] = rounded
            near, lengths = rounded * self.scale[part, None], torch.zeros(2, BLOCK)
            lengths[1, : len(rows)] = torch.linalg.vector_norm(near, dim=1)
            lengths[0, : len(rows)] = torch.linalg.vector_norm(rows - near, dim=1) + ROUNDING * lengths[1, : len(rows)]
            self.lengths[:, block] = lengths.view(2, GROUP, -1).amax(dim=1)

    @classmethod
    def of(cls, weight: Tensor) -> Self | None:
        """The rounded rows, or None where they are too few, or where products of int8 have no fast implementation."""
        is_fast = weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
        return cls(weight.detach()) if is_fast and len(weight) >= WORTHWHILE else None

    def best(self, states: Tensor, count: int, changes: Changes = NONE) -> Found:
        """The `count` documents, few of all that are not deleted, with the largest logits for each state, (queries,
        width) float32."""
        rounded, scale = _rounded(states)
        near = rounded * scale[:, None]
        upper, log_sum = self._read_all(rounded.to(torch.int8), scale, changes)
        bounds = torch.stack([states.norm(dim=1), (states - near).norm(dim=1)], dim=1)
        upper = upper.addmm_(bounds, self.lengths.flatten(1))
        upper, groups = upper.topk(max(2 * count, GROUPS) + 1, dim=1)
        rows = self._rows_of(groups[:, :-1])
        is_row = rows < len(self.weight)
        if len(changes.deleted):
            is_row &= ~torch.from_numpy(changes.is_deleted(rows.numpy()))
        rows = rows.clamp_(max=len(self.weight) - 1)
        in_full, of_rounded = (
            torch.einsum("qd,qnd->qn", vectors, matrix[rows].float()) * factor
            for vectors, matrix, factor in ((states, self.weight, 1.0), (near, self.rounded, self.scale[rows]))
        )
        in_full = in_full.masked_fill(~is_row, -torch.inf)
        # The largest logits weigh most in the sum: those that are known are counted as they are.
        known, counted = ((logits - log_sum[:, None]).double().exp() for logits in (in_full, of_rounded))
        rest = (1 - counted.masked_fill(~is_row, 0).sum(dim=1)).clamp(min=0)
        log_sum = log_sum + (rest + known.sum(dim=1)).log().float()
        logits, places = in_full.topk(count, dim=1)
        return Found(rows.gather(1, places), logits, log_sum, upper[:, -1] <= logits[:, -1])

    def _read_all(self, states: Tensor, scale: Tensor, changes: Changes = NONE) -> tuple[Tensor, Tensor]:
        """The largest logit of each group, (queries, groups), and the logarithm of the sum of exp(logit), (queries,),
        of rounded rows and `states`, (queries, width) int8, of this scale, (queries,). Deleted rows do not count."""
        queries, blocks = len(states), self.lengths.shape[1]
        largest, log_sums = torch.empty(queries, blocks, BLOCK // GROUP), list[Tensor]()
        step = max(LOGITS_AT_ONCE // queries // BLOCK, 1)
        for start in range(0, blocks, step):
            stop = min(start + step, blocks)
            part = slice(BLOCK * start, BLOCK * stop)
            logits = torch._int_mm(states, self.rounded[part].T) * self.scale[part]
            logits *= scale[:, None]
            logits[:, len(self.weight) - part.start :] = -torch.inf  # what fills the last block
            if len(changes.deleted):
                within = changes.deleted_within(part.start, min(part.stop, len(self.weight)))
                logits.index_fill_(1, torch.from_numpy(within), -torch.inf)
            torch.amax(logits.view(queries, stop - start, GROUP, -1), dim=2, out=largest[:, start:stop])
            log_sums.append(logits.logsumexp(dim=1))
        return largest.flatten(1), torch.stack(log_sums).logsumexp(dim=0)

    def _rows_of(self, groups: Tensor) -> Tensor:
        """The row numbers in groups, (queries, groups x GROUP)."""
        apart = BLOCK // GROUP
        first = groups // apart * BLOCK + groups % apart
        return (first.unsqueeze(2) + apart * torch.arange(GROUP)).flatten(1)


class RoundedOnce:
    """The rounded rows of a weight, made when they are first asked for, and once, whichever thread asks first."""

    def __init__(self, weight: Tensor) -> None:
        self._weight, self._lock, self._is_made = weight, Lock(), False
        self._rows: RoundedRows | None = None

    def __call__(self) -> RoundedRows | None:
        """What `RoundedRows.of` returns."""
        if not self._is_made:
            with self._lock:
                if not self._is_made:
                    self._rows, self._is_made = RoundedRows.of(self._weight), True
        return self._rows


def _rounded(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors, (vectors, width) float32, as whole numbers from -127 to 127, still float32, and the scale of each."""
    scale = (vectors.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return (vectors / scale[:, None]).round_(), scale
