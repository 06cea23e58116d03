"""What a beam does for one query: the branches of the docid tree that it looks at, level by level."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dsi.search.beam import Level
from dsi.search.plan import Plan


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
    prior: NDArray[np.float32]
    """The largest prior of a document below; 0 without priors."""
    kept: NDArray[np.bool_]
    """Whether the beam goes on from there or, at the end of a docid, returns it."""

    def __len__(self) -> int:
        return len(self.node)

    def __getitem__(self, places: NDArray[np.int64]) -> "Branches":
        return Branches(*(each[places] for each in vars(self).values()))


class Watch:
    """Notes what a beam search for one query, with this plan if it has a prior, looks at."""

    def __init__(self, plan: Plan | None) -> None:
        self._plan, self._levels = plan, list[Level]()

    def __call__(self, level: Level) -> None:
        self._levels.append(level)

    def branches(self, found: NDArray[np.int64]) -> list[Branches]:
        """The branches of each level; `found` are the leaves that the search returned."""
        gone_on_from = [level.beam[0][level.is_open[0]].cpu().numpy() for level in self._levels[1:]]
        kept = [np.union1d(found, nodes) for nodes in (*gone_on_from, found[:0])]
        return [_of_first(level, nodes, self._plan) for level, nodes in zip(self._levels, kept, strict=True)]


def _of_first(level: Level, kept: NDArray[np.int64], plan: Plan | None) -> Branches:
    """The branches of the first query."""
    exist = (level.expansions.exist & level.is_open.unsqueeze(-1))[0] & (level.expansions.nodes[0] >= 0)
    of_parents = level.beam[0].unsqueeze(-1).expand_as(exist)
    of_all = level.expansions.nodes[0], of_parents, level.of_moves[0], level.log_probs[0], level.scores[0]
    node, parent, step, log_prob, score = (each[exist] for each in of_all)
    prior = torch.zeros_like(step) if plan is None else plan.largest(0, node)
    order = torch.sort(score, descending=True, stable=True).indices
    nodes, parents = (each[order].cpu().numpy() for each in (node, parent))
    steps, log_probs, priors = (each[order].float().cpu().numpy() for each in (step, log_prob, prior))
    return Branches(nodes, parents, steps, log_probs, priors, np.asarray(np.isin(nodes, kept)))
