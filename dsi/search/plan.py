"""Plans: the largest prior below every node of the docid trie, by which a beam looks ahead.

A docid's beginning, a node of the trie, is worth at most log(P(beginning) + epsilon) + weight * bound(node), where the
bound is the largest prior of a document below it. Along a path both terms only fall, so a beam that is ordered by this
sum keeps its certificate: what it drops can hold no document of a larger total. Only the nodes above a prior's
documents have a bound above 0, a few thousand for a query, whatever the size of the corpus.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dsi.docids.store import Docids
from dsi.search.prior import Mixture, Prior

NO_NODE = 1 << 62
"""What fills the rows of queries with fewer nodes: larger than any node, and exact as the float that padding takes."""


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
        nodes, bounds = zip(*(_bounds(docids, prior) for prior in priors), strict=True)
        parents = [docids.trie.parents(of_query) for of_query in nodes]
        rows = padded(nodes, NO_NODE), padded(parents, NO_NODE), padded(bounds, 0)
        return cls(mixture, *(each.to(device) for each in rows))

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

    def largest(self, query: int, nodes: Tensor) -> Tensor:
        """The largest prior of a document below each of `nodes`, (nodes,), for a query, given by its number."""
        place = torch.searchsorted(self.nodes[query], nodes).clamp(max=self.nodes.shape[1] - 1)
        return torch.where(self.nodes[query, place] == nodes, self.bounds[query, place], 0)


def padded(rows: Iterable[NDArray[Any]], value: int) -> Tensor:
    """Rows of different lengths as one tensor, filled up with a value.

    >>> padded([np.array([1, 2]), np.array([3])], 0).tolist()
    [[1, 2], [3, 0]]
    """
    return pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True, padding_value=value)


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
