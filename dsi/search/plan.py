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
    """The nodes whose bound is above 0 but for the root, in increasing order, then NO_NODE: (queries, nodes)."""
    parents: Tensor
    """Their parents, which are in increasing order too, then NO_NODE: (queries, nodes)."""
    bounds: Tensor
    """Their bounds, (queries, nodes); 0 for NO_NODE."""

    @classmethod
    def of(cls, docids: Docids, priors: Sequence[Prior], mixture: Mixture, device: torch.device) -> Self:
        """The plan for queries with these priors."""
        rows = [_bounds(docids, prior) for prior in priors]
        width = max(1, *(len(nodes) for nodes, _ in rows))
        nodes, parents = (np.full((len(rows), width), NO_NODE) for _ in range(2))
        bounds = np.zeros((len(rows), width), dtype=np.float32)
        for row, (of_query, values) in enumerate(rows):
            nodes[row, : len(of_query)], bounds[row, : len(of_query)] = of_query, values
            parents[row, : len(of_query)] = docids.trie.parents(of_query)
        return cls(mixture, *(torch.from_numpy(each).to(device) for each in (nodes, parents, bounds)))

    def __getitem__(self, queries: Tensor) -> Self:
        """The plan for some of the queries, given by their numbers."""
        return type(self)(self.mixture, self.nodes[queries], self.parents[queries], self.bounds[queries])

    def gains(self, log_probs: Tensor, parents: Tensor, children: Tensor) -> Tensor:
        """What each of `children`, (queries, beams, children), of the nodes `parents`, (queries, beams), is worth at
        most, given the log-probability up to it: as `Mixture.gains`, in float64."""
        start = torch.searchsorted(self.parents, parents.contiguous())
        sizes = (torch.searchsorted(self.parents, parents.contiguous(), right=True) - start).flatten()
        beam = torch.repeat_interleave(sizes)  # of every child that has a bound, among the beams of all queries
        place = torch.arange(len(beam), device=beam.device) - (sizes.cumsum(0) - sizes - start.flatten())[beam]
        query = beam // parents.shape[1]
        child = self.nodes[query, place] - children[..., 0].flatten()[beam]
        exist = child < children.shape[2]  # a hypothesis that does not exist has the root for its node
        bounds = self.bounds.new_zeros(children.shape).flatten(0, 1)
        bounds[beam[exist], child[exist]] = self.bounds[query, place][exist]
        return self.mixture.gains(log_probs, bounds.view_as(log_probs))


def _bounds(docids: Docids, prior: Prior) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nodes above the documents of a prior, but for the root, in increasing order, and the largest score below
    each."""
    nodes, scores = _largest(docids.trie.leaf_of[prior.doc_index].astype(np.int64), prior.score)
    levels = [(nodes, scores)]
    while len(nodes):  # breadth-first numbers: the parents of nodes in order are in order
        nodes, scores = _largest_of_runs(docids.trie.parents(nodes), scores)
        nodes, scores = nodes[nodes > 0], scores[nodes > 0]
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
