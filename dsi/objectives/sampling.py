"""The output rows that stand for all of them in a step of the sampled softmax.

The rows that a batch's labels name are in the sample for sure. Of the others some are drawn: uniformly, and among the
neighbours of the labels' first rows, which are those of the same cluster. A row that is drawn adds exp(logit) x (how
often it was drawn) / (how often that was expected, of both kinds of draws) to a query's sum over all rows, whose
expectation is exact, whatever the clusters. All queries of a batch share the sample: one product, and rows read once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsi.objectives.output_rows import OutputRows
from dsi.objectives.row_softmax import Label, Visit

Integers = NDArray[np.integer[Any]]


def with_draws(
    sure: Integers, draws: Integers, expected: Callable[[Integers], NDArray[np.float64]]
) -> tuple[Integers, NDArray[np.float32]]:
    """Rows of which some are there for `sure` and others by `draws`, without repetitions and in increasing order, and
    what to add to their logits: 0 for sure ones, also where they are drawn as well (accidental hits), and for others
    the logarithm of how often they are drawn, divided by how often that is `expected`.

    >>> rows, offsets = with_draws(np.array([7]), np.array([9, 7, 2, 2]), lambda rows: np.full(len(rows), 0.5))
    >>> rows.tolist(), np.exp(offsets).round(3).tolist()
    ([2, 7, 9], [4.0, 1.0, 2.0])
    """
    others, counts = np.unique(draws, return_counts=True)
    is_other = np.isin(others, sure, assume_unique=True, invert=True)
    others, counts = others[is_other], counts[is_other]
    rows = np.concatenate([sure, others])
    offsets = np.concatenate([np.zeros(len(sure)), np.log(counts / expected(others))])
    order = np.argsort(rows)
    return rows[order], offsets[order].astype(np.float32)


class Clusters:
    """The rows of each cluster.

    Args:
        of_row: the cluster of each row, (rows,), -1 for those that are never drawn.
    """

    def __init__(self, of_row: Integers) -> None:
        self.of_row = of_row.astype(np.int32)
        order = np.argsort(self.of_row, kind="stable").astype(np.int32)
        self.members = order[int((of_row < 0).sum()) :]
        self.sizes = np.bincount(of_row[of_row >= 0])
        self.starts = np.cumsum(self.sizes) - self.sizes

    def draw(self, clusters: Integers, random: np.random.Generator) -> Integers:
        """A row of each of these clusters, (clusters,)."""
        return self.members[self.starts[clusters] + random.integers(self.sizes[clusters])]


@dataclass(frozen=True)
class Sampler:
    """Draws the rows of a step, the same ones in all processes.

    Args:
        uniform: the number of draws among the rows of all clusters.
        neighbours: the number of draws among the neighbours of labels.
    """

    clusters: Clusters
    uniform: int
    neighbours: int
    seed: int

    def sample(self, label: Label, step: int) -> tuple[Integers, NDArray[np.float32]]:
        """The rows of the sample of a step, in increasing order, and what to add to their logits, (rows,) each."""
        random, clusters = np.random.default_rng([self.seed, 4, step]), self.clusters
        named, is_meant = label.rows.cpu().numpy(), label.weights.cpu().numpy() > 0
        sure = np.unique(named[is_meant])
        homes = np.sort(clusters.of_row[named[is_meant.any(axis=1), 0]])  # whatever the order of the processes
        drawn = [
            clusters.members[random.integers(len(clusters.members), size=self.uniform)],
            clusters.draw(random.choice(homes, size=self.neighbours), random),
        ]
        to_cluster = np.bincount(homes, minlength=len(clusters.sizes)) * (self.neighbours / len(homes))

        def expected(rows: Integers) -> NDArray[np.float64]:
            home = clusters.of_row[rows]
            return self.uniform / len(clusters.members) + to_cluster[home] / clusters.sizes[home]

        return with_draws(sure, np.concatenate(drawn), expected)

    def __call__(self, rows: OutputRows, label: Label) -> list[Visit]:
        """The visit to those rows of a step's sample that are own; `label` is that of all processes."""
        sample, offsets = self.sample(label, rows.steps)
        own = slice(*np.searchsorted(sample, [rows.share.start, rows.share.stop]))
        if own.start == own.stop:
            return []
        where = torch.from_numpy(sample[own] - rows.share.start).long()
        return [Visit(where.to(rows.weight.device), torch.from_numpy(offsets[own]).to(rows.weight.device))]
