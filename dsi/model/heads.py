"""Docid heads: from decoder states to the probability of the next docid token.

PlainHead   a row a docid token, softmax over all of them (Tay et al. 2022)
TreeHead    a row a node of the docid trie, softmax over siblings: the constraint is in the loss and in the search
PawaHead    prefix-aware rows (PAWA; NCI, Wang et al. 2022; Pradeep et al. 2023, section 3.3), softmax over a position
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from dsi.model.architecture import DsiConfig

PAWA_ROWS = 256
"""Hypotheses whose output rows are made at once: each needs (tokens of the position) x d_model numbers."""


@dataclass(frozen=True)
class Targets:
    """The docids of a batch, each (queries, length) and padded at the end with -1."""

    codes: Tensor
    """Docid tokens."""
    nodes: Tensor | None = None
    """Trie nodes that these lead to. They and the rest are for the tree head only."""
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
class Moves:
    """What each beam can do next, each of shape (queries, beams, moves)."""

    nodes: Tensor
    """Trie nodes; -1 off the trie."""
    tokens: Tensor
    exist: Tensor
    """Where this is false, the others mean nothing."""
    end: Tensor
    """Whether the docid is complete with it."""


class PlainHead(nn.Module):
    def __init__(self, config: DsiConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.docid_tokens, config.d_model))

    def forward(self, states: Tensor, targets: Targets) -> LogProbs:
        """`states` are (queries, length, d_model)."""
        query, position = targets.tokens()
        logits = functional.linear(states[query, position], self.weight)
        values, alternatives = logits.float().log_softmax(dim=1), logits.shape[1]
        start = alternatives * torch.arange(len(query) + 1, device=states.device)
        return LogProbs(values.flatten(), start, start[:-1] + targets.codes[query, position], query, position)

    def multiplications(self) -> float:
        """Of one docid token."""
        return self.weight.numel()

    def gains(self, states: Tensor, moves: Moves, level: int) -> Tensor:
        """Log-probability of each move, for `states` of shape (queries, beams, d_model)."""
        logits = functional.linear(states.float(), self.weight.float())  # bfloat16 rounds logits of 16 to 32 to eighths
        return logits.gather(2, moves.tokens) - logits.logsumexp(dim=-1, keepdim=True)


class TreeHead(nn.Module):
    """Only the rows of the children of nodes on the path, or on the beam, are read."""

    def __init__(self, config: DsiConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.docid_nodes, config.d_model))
        self.siblings = config.docid_siblings

    def forward(self, states: Tensor, targets: Targets) -> LogProbs:
        """`states` are (queries, length, d_model)."""
        assert targets.nodes is not None
        assert targets.first_sibling is not None
        assert targets.siblings is not None
        query, position = targets.tokens()
        node, first, count = (
            each[query, position] for each in (targets.nodes, targets.first_sibling, targets.siblings)
        )
        start = functional.pad(count.cumsum(0), (1, 0))
        # all docids begin at the root: one product in place of a gather
        at_root = functional.linear(states[:, 0], self.weight[first[0] :][: count[0]]).float().log_softmax(dim=1)
        below = slice(len(states), None)
        owner = torch.repeat_interleave(count[below])
        sibling = torch.arange(len(owner), device=owner.device) - (start[below][:-1] - start[len(states)])[owner]
        rows = self.weight[first[below][owner] + sibling]
        logits = (states[query[below], position[below]][owner] * rows).sum(dim=1).float()
        values = logits - _logsumexp_by(owner, logits, len(count[below]))[owner]
        return LogProbs(torch.cat([at_root.flatten(), values]), start, start[:-1] + node - first, query, position)

    def multiplications(self) -> float:
        """Of one docid token, on average."""
        return self.siblings * self.weight.shape[1]

    def gains(self, states: Tensor, moves: Moves, level: int) -> Tensor:
        """Log-probability of each move, for `states` of shape (queries, beams, d_model)."""
        logits = states.new_full(moves.nodes.shape, -torch.inf, dtype=torch.float32)
        for query in range(len(states)):  # one at a time bounds the memory
            beam, move = moves.exist[query].nonzero(as_tuple=True)
            rows = self.weight[moves.nodes[query, beam, move]]
            logits[query, beam, move] = (states[query, beam].float() * rows.float()).sum(dim=1)
        return logits.log_softmax(dim=-1)


class PawaHead(nn.Module):
    """The prefix decoder's state a changes the rows W of a position: additive, h (W + A a) with A a d x tokens x d
    tensor a position (NCI's released form), or matrix, h M(a) W with one d x d matrix made of a (the paper's form).

    Rows of other positions are never made: with k tokens a position that is 1/length of the work and parameters.
    """

    def __init__(self, config: DsiConfig) -> None:
        super().__init__()
        self.sizes = config.docid_sizes or []
        self.weight = nn.Parameter(torch.empty(sum(self.sizes), config.d_model))
        width = config.d_model
        outputs = [width] if config.pawa == "matrix" else self.sizes
        self.projections = nn.ModuleList(nn.Linear(width, size * width, bias=False) for size in outputs)
        self.is_matrix = config.pawa == "matrix"

    def forward(self, states: Tensor, targets: Targets) -> LogProbs:
        """`states` are (queries, length, 2 x d_model): the decoder's and the prefix decoder's."""
        query, position = targets.tokens()
        of_position = torch.bincount(position, minlength=targets.codes.shape[1]).tolist()
        values = [
            self._logits(states[some, number], number).log_softmax(dim=1).flatten()
            for number, some in enumerate(query.split(of_position))
        ]
        sizes = torch.tensor(self.sizes, device=query.device)
        first_token, start = sizes.cumsum(0) - sizes, functional.pad(sizes[position].cumsum(0), (1, 0))
        within = targets.codes[query, position] - first_token[position]
        return LogProbs(torch.cat(values), start, start[:-1] + within, query, position)

    def multiplications(self) -> float:
        """Of one docid token, on average over the positions."""
        made = sum(projection.numel() for projection in self.projections.parameters())
        return self.weight.numel() / len(self.sizes) + made / len(self.projections)

    def gains(self, states: Tensor, moves: Moves, level: int) -> Tensor:
        """Log-probability of each move, for `states` of shape (queries, beams, 2 x d_model)."""
        rows = states.flatten(0, 1).split(PAWA_ROWS)
        scores = torch.cat([self._logits(some, level).log_softmax(dim=1) for some in rows]).unflatten(
            0, states.shape[:2]
        )
        within = moves.tokens - sum(self.sizes[:level])
        legal = (within >= 0) & (within < self.sizes[level])  # tokens of other positions are impossible here
        return scores.gather(2, torch.where(legal, within, 0)).masked_fill(~legal, -torch.inf)

    def _logits(self, states: Tensor, position: int) -> Tensor:
        """(rows, tokens of the position) float32."""
        state, prefix = states.chunk(2, dim=1)
        start, size = sum(self.sizes[:position]), self.sizes[position]
        rows = self.weight[start : start + size]
        if self.is_matrix:
            changed = self.projections[0](prefix).unflatten(1, (state.shape[1], -1))
            return functional.linear(torch.bmm(state.unsqueeze(1), changed).squeeze(1), rows).float()
        changed = rows + self.projections[position](prefix).unflatten(1, (size, -1))
        return torch.bmm(changed, state.unsqueeze(2)).squeeze(2).float()


Head = PlainHead | TreeHead | PawaHead
HEADS: dict[str, type[Head]] = {"plain": PlainHead, "tree": TreeHead, "pawa": PawaHead}


def _logsumexp_by(owner: Tensor, values: Tensor, owners: int) -> Tensor:
    """logsumexp of the values of each owner, shape (owners,)."""
    largest = values.new_full((owners,), -torch.inf).scatter_reduce(0, owner, values.detach(), "amax")
    return largest + torch.zeros_like(largest).index_add(0, owner, (values - largest[owner]).exp()).log()
