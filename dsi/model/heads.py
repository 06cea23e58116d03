"""Docid heads: from decoder states to the probability of the next docid token.

PlainHead   a row a docid token, softmax over all of them (Tay et al. 2022)
TreeHead    a row a node of the docid trie, softmax over siblings: the constraint is in the loss and in the search
PawaHead    prefix-aware rows (PAWA; NCI, Wang et al. 2022; Pradeep et al. 2023, section 3.3), softmax over a position
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Predictions:
    """What a head says about every docid token of a batch, in float32."""

    log_probabilities: Tensor
    """Of all alternatives of all tokens, in any shape."""
    of_targets: Tensor
    """(tokens of all docids,) of the true ones."""


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

    def forward(self, states: Tensor, targets: Targets) -> Predictions:
        """`states` are (queries, length, d_model)."""
        codes = targets.codes[targets.codes >= 0]
        logits = functional.linear(states[targets.codes >= 0], self.weight)
        predicted = logits.float().log_softmax(dim=1)
        return Predictions(predicted, predicted.gather(1, codes.unsqueeze(1)).squeeze(1))

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

    def forward(self, states: Tensor, targets: Targets) -> Predictions:
        """`states` are (queries, length, d_model)."""
        assert targets.nodes is not None
        assert targets.first_sibling is not None
        assert targets.siblings is not None
        # all queries begin at the root: one product in place of a gather
        rows = self.weight[targets.first_sibling[0, 0] :][: targets.siblings[0, 0]]
        at_root = functional.linear(states[:, 0], rows).float().log_softmax(dim=1)
        chosen = (targets.nodes[:, :1] - targets.first_sibling[:, :1]).long()
        inside = targets.nodes[:, 1:] >= 0
        state, first, count = (
            states[:, 1:][inside],
            targets.first_sibling[:, 1:][inside],
            targets.siblings[:, 1:][inside],
        )
        owner = torch.repeat_interleave(count)
        start = count.cumsum(0) - count
        node = first[owner] + torch.arange(len(owner), device=owner.device) - start[owner]
        logits = (state[owner] * self.weight[node]).sum(dim=1).float()
        below = logits - _logsumexp_by(owner, logits, len(count))[owner]
        of_targets = below[start + targets.nodes[:, 1:][inside] - first]
        return Predictions(
            torch.cat([at_root.flatten(), below]), torch.cat([at_root.gather(1, chosen).squeeze(1), of_targets])
        )

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

    def forward(self, states: Tensor, targets: Targets) -> Predictions:
        """`states` are (queries, length, 2 x d_model): the decoder's and the prefix decoder's."""
        predicted, of_targets = [], []
        for position in range(targets.codes.shape[1]):
            codes = targets.codes[:, position]
            scores = self._logits(states[codes >= 0, position], position).log_softmax(dim=1)
            predicted.append(scores.flatten())
            within = codes[codes >= 0] - sum(self.sizes[:position])
            of_targets.append(scores.gather(1, within.unsqueeze(1)).squeeze(1))
        return Predictions(torch.cat(predicted), torch.cat(of_targets))

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
