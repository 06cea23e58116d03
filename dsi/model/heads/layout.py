"""What docid heads are given and what they answer, in one layout for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """The docids of a batch, each (queries, length) and padded at the end with -1."""

    codes: Tensor
    """Docid tokens."""
    nodes: Tensor | None = None
    """Trie nodes that these lead to. They and the rest are for the hierarchical softmax head only."""
    first_sibling: Tensor | None = None
    siblings: Tensor | None = None
    """How many there are, itself included."""

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> Targets:
        """Those of a training batch, which has more beside them."""
        return cls(**{field.name: batch[field.name] for field in fields(cls) if field.name in batch})

    def tokens(self) -> tuple[Tensor, Tensor]:
        """Query and position of every docid token, each (tokens,), in the order of `LogProbs`."""
        position, query = (self.codes.T >= 0).nonzero(as_tuple=True)
        return query, position


@dataclass(frozen=True)
class LogProbs:
    """What a head says about a batch's docid tokens: a log-probability of every alternative of each token.

    All heads have the same layout. Tokens are in the order of their position in the docid, then of their query: first
    the first tokens of all docids, then the second ones of the docids that go on. The alternatives of token t are
    `values[start[t]:start[t + 1]]`; what they are is the head's: docid tokens (plain), children of the parent node
    (tree), docid tokens of the position (pawa).
    """

    values: Tensor
    """(alternatives of all tokens,) float32."""
    start: Tensor
    """(tokens + 1,) int64 where in `values` the alternatives of each token begin, then their number."""
    target: Tensor
    """(tokens,) int64 where in `values` the true alternative is."""
    query: Tensor
    """(tokens,) int64 row of the batch that each token belongs to."""
    position: Tensor
    """(tokens,) int64 position of each token in its docid, from 0."""

    @property
    def of_targets(self) -> Tensor:
        """(tokens,) log-probabilities of the true alternatives."""
        return self.values.gather(0, self.target)


@dataclass(frozen=True)
class Expansions:
    """The continuations of each beam, each of shape (queries, beams, expansions)."""

    nodes: Tensor
    """Trie nodes; -1 off the trie."""
    tokens: Tensor
    exist: Tensor
    """Where this is false, the others mean nothing."""
    end: Tensor
    """Whether the docid is complete with it."""
