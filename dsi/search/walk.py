"""What a beam does for one query: the branches of the docid tree that it looks at, level by level."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dsi.search.beam import Level


@dataclass(frozen=True)
class Branches:
    """The branches that a beam looks at on one level, best first: each array is (branches,)."""

    node: NDArray[np.int64]
    """The node of the docid trie that a branch leads to."""
    parent: NDArray[np.int64]
    """The node that it leads from; 0 is the root."""
    step_log_prob: NDArray[np.float32]
    """The log-probability of its docid token, given the query and the tokens before."""
    log_prob: NDArray[np.float32]
    """The log-probability of all tokens so far."""
    kept: NDArray[np.bool_]
    """Whether the beam goes on from there or, at the end of a docid, returns it."""

    def __len__(self) -> int:
        return len(self.node)

    def __getitem__(self, places: NDArray[np.int64]) -> "Branches":
        return Branches(*(each[places] for each in vars(self).values()))


class Watch:
    """Notes what a beam search for one query looks at."""

    def __init__(self) -> None:
        self._levels: list[Level] = []

    def __call__(self, level: Level) -> None:
        self._levels.append(level)

    def branches(self, found: NDArray[np.int64]) -> list[Branches]:
        """The branches of each level; `found` are the leaves that the search returned."""
        gone_on_from = [level.beam[0][level.is_open[0]].cpu().numpy() for level in self._levels[1:]]
        kept = [np.union1d(found, nodes) for nodes in (*gone_on_from, found[:0])]
        return [_of_first(level, nodes) for level, nodes in zip(self._levels, kept, strict=True)]


def _of_first(level: Level, kept: NDArray[np.int64]) -> Branches:
    """The branches of the first query."""
    exist = (level.expansions.exist & level.is_open.unsqueeze(-1))[0] & (level.expansions.nodes[0] >= 0)
    of_parents = level.beam[0].unsqueeze(-1).expand_as(exist)
    of_all = level.expansions.nodes[0], of_parents, level.of_moves[0], level.log_probs[0], level.scores[0]
    node, parent, step, log_prob, score = (each[exist].cpu() for each in of_all)
    order = torch.sort(score, descending=True, stable=True).indices
    nodes, parents, steps, log_probs = (each[order].numpy() for each in (node, parent, step, log_prob))
    return Branches(
        nodes, parents, steps.astype(np.float32), log_probs.astype(np.float32), np.asarray(np.isin(nodes, kept))
    )
