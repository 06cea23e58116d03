"""The inputs and outputs of docid heads, in one layout for all heads."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """The docids of a batch; each array is (queries, length), padded at the end with -1, or with 0 for siblings."""

    codes: Tensor
    """The docid tokens."""
    nodes: Tensor | None = None
    """The trie node that each token leads to; this and the rest are for the hierarchical softmax head only."""
    first_sibling: Tensor | None = None
    """The first child of each node's parent."""
    siblings: Tensor | None = None
    """The number of children of each node's parent."""

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> Self:
        """The targets in a training batch, which has other arrays too."""
        return cls(**{field.name: batch[field.name] for field in fields(cls) if field.name in batch})

    def tokens(self) -> tuple[Tensor, Tensor]:
        """The query and the position of every docid token, each (tokens,), in the order of `LogProbs`.

        >>> import torch
        >>> Targets(torch.tensor([[5, 6], [7, -1]])).tokens()
        (tensor([0, 1, 0]), tensor([0, 0, 1]))
        """
        position, query = (self.codes.T >= 0).nonzero(as_tuple=True)
        return query, position


@dataclass(frozen=True)
class LogProbs:
    """The log-probabilities of a batch's docid tokens and of all their alternatives.

    Tokens are in the order of their position in the docid, then of their query: the first tokens of all docids, then
    the second tokens of the docids that have one. The alternatives of token t are `values[start[t]:start[t + 1]]`: all
    docid tokens (plain), the node and its siblings (hierarchical_softmax), or the docid tokens of the position (pawa).
    """

    values: Tensor
    """The log-probabilities of the alternatives of all tokens, (alternatives,) float32."""
    start: Tensor
    """The place in `values` where the alternatives of each token begin, then its length: (tokens + 1,) int64."""
    target: Tensor
    """The place in `values` of each token itself, (tokens,) int64."""
    query: Tensor
    """The row of the batch that each token belongs to, (tokens,) int64."""
    position: Tensor
    """The position of each token in its docid, from 0: (tokens,) int64."""

    @property
    def of_targets(self) -> Tensor:
        """The log-probability of each token, (tokens,)."""
        return self.values.gather(0, self.target)


@dataclass(frozen=True)
class Expansions:
    """The next tokens that the search may add to each beam; each array is (queries, beams, expansions)."""

    nodes: Tensor
    """The trie node that each expansion leads to, -1 if it leaves the trie."""
    tokens: Tensor
    """The docid token of each expansion."""
    exist: Tensor
    """Whether there is such an expansion; where this is false, the other arrays mean nothing."""
    end: Tensor
    """Whether the docid is complete with this token."""
