"""Plans: the largest prior below every node of the docid trie, by which a beam looks ahead.

A docid's beginning, a node of the trie, is worth at most log(P(beginning) + epsilon) + weight * bound(node), where the
bound is the largest prior of a document below it. Along a path both terms only fall, so a beam that is ordered by this
sum keeps its certificate: what it drops can hold no document of a larger total. Only the nodes above a prior's
documents have a bound above 0, a few thousand for a query, whatever the size of the corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.docids.store import Docids
from dsi.search.prior import Mixture, Prior

NO_NODE = np.iinfo(np.int64).max
"""What fills the rows of queries with fewer nodes; larger than any node."""


@dataclass(frozen=True)
class Plan:
    """The bounds for a batch of queries."""

    mixture: Mixture
    nodes: Tensor
    """The nodes whose bound is above 0, in increasing order, then NO_NODE: (queries, nodes)."""
    bounds: Tensor
    """Their bounds, (queries, nodes); 0 for NO_NODE."""

    @classmethod
    def of(cls, docids: Docids, priors: Sequence[Prior], mixture: Mixture, device: torch.device) -> Self:
        """The plan for queries with these priors."""
        rows = [_bounds(docids, prior) for prior in priors]
        width = max(1, *(len(nodes) for nodes, _ in rows))
        nodes, bounds = np.full((len(rows), width), NO_NODE), np.zeros((len(rows), width), dtype=np.float32)
        for row, (of_query, values) in enumerate(rows):
            nodes[row, : len(of_query)], bounds[row, : len(of_query)] = of_query, values
        return cls(mixture, torch.from_numpy(nodes).to(device), torch.from_numpy(bounds).to(device))

    def __getitem__(self, queries: Tensor) -> Self:
        """The plan for some of the queries, given by their numbers."""
        return type(self)(self.mixture, self.nodes[queries], self.bounds[queries])

    def gains(self, log_probs: Tensor, nodes: Tensor) -> Tensor:
        """What each of `nodes`, (queries, beams, children), is worth at most, given the log-probability up to it: as
        `Mixture.gains`, in float64."""
        wanted = nodes.flatten(1)
        place = torch.searchsorted(self.nodes, wanted).clamp_(max=self.nodes.shape[1] - 1)
        bounds = self.bounds.gather(1, place).masked_fill_(self.nodes.gather(1, place) != wanted, 0.0)
        return self.mixture.gains(log_probs, bounds.view_as(log_probs))


def _bounds(docids: Docids, prior: Prior) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nodes above the documents of a prior, in increasing order, and the largest score below each."""
    nodes, scores = _largest(docids.trie.leaf_of[prior.doc_index].astype(np.int64), prior.score)
    levels = [(nodes, scores)]
    while nodes.any():  # breadth-first numbers: the parents of nodes in order are in order
        nodes, scores = _largest_of_runs(docids.trie.parents(nodes), scores)
        levels.append((nodes, scores))
    # where docids differ in length, a node is met from several leaves at different steps
    return _largest(*(np.concatenate(parts) for parts in zip(*levels, strict=True)))


def _largest(nodes: NDArray[np.int64], scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The different nodes in increasing order, and the largest score of each."""
    order = np.argsort(nodes, kind="stable")
    return _largest_of_runs(nodes[order], scores[order])


def _largest_of_runs(
    nodes: NDArray[np.int64], scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """`_largest` of nodes that are in order."""
    starts = np.flatnonzero(np.diff(nodes, prepend=-1))
    return nodes[starts], np.maximum.reduceat(scores, starts) if len(starts) else scores
