"""How strong an output row is: the probability that it takes from the queries of other documents.

The row of a document that was added has not learnt which queries are not its own, and is too weak or too strong beside
trained rows: at their mean length, those of an index of one-hot labels are about right, but those of one with a teacher
take the first places of a quarter of the old queries (6,000 MS MARCO passages, 1,000 of them added: RR@10 of the old
ones' queries .932 to .679). At the length at which a row takes `STRENGTH` times as much from others as a trained one
does, .834 becomes .822 and .932 becomes .922; the queries of the new ones have .637 and .629 then, and .659 and .663 at
2.25, where the old ones have .818 and .916.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

STRENGTH = 1.8
"""How much more a row may take that was added; its own queries need it, which the model has not learnt from either."""
ROWS_AT_ONCE = 1 << 14
SHORTEST, LONGEST, HALVINGS = 0.1, 10.0, 30


@dataclass(frozen=True)
class OtherQueries:
    """Queries by which the strength of rows is measured."""

    states: Tensor
    """Their states before the first docid token, (queries, d_model)."""
    owner: Tensor
    """The row number of the document that each is of, (queries,)."""

    def log_sums(self, rows: Tensor) -> Tensor:
        """The logarithm of the sum of exp(logit) over all documents' rows, (documents, d_model), for each query."""
        parts = [(self.states @ part.T.to(self.states)).logsumexp(dim=1) for part in rows.split(ROWS_AT_ONCE)]
        return torch.stack(parts).logsumexp(dim=0)

    def log_mass(self, rows: Tensor, numbers: Tensor, log_sums: Tensor) -> float:
        """The mean, over rows of the documents with these numbers, of the logarithm of the probability that they take
        from queries of other documents."""
        log_probs = rows @ self.states.T - log_sums
        return float(log_probs.masked_fill(numbers[:, None] == self.owner, -torch.inf).logsumexp(dim=1).mean())


def strong_enough(log_mass: Callable[[float], float], trained: Callable[[float], float]) -> float:
    """The factor, by which rows are as long as they are, at which the logarithm of what they take is that of trained
    rows with `STRENGTH`; both are functions of the factor."""
    low, high = SHORTEST, LONGEST
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        is_weak = log_mass(middle) < trained(middle) + math.log(STRENGTH)
        low, high = (middle, high) if is_weak else (low, middle)
    return low
