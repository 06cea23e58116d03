"""Semantic docids: the path through a tree of k-means clusters (Tay et al. 2022, section 3.3; Pradeep et al. 2023).

A cluster with more than `leaf_size` documents is split into `clusters` children; a docid is the child number on every
level, then the number of the document within its leaf. All documents of a leaf end on the same level, so no docid is
the beginning of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsi.config import DocidsConfig
from dsi.corpus.vectors import Vectors
from dsi.docids.clustered import Clustered
from dsi.docids.kmeans import Floats, kmeans, nearest
from dsi.docids.store import Codes
from dsi.runtime.progress import progress


@dataclass(frozen=True)
class ClusterTree:
    """A tree of clusters, numbered in breadth-first order from the root 0, which is the whole corpus.

    The children of cluster c are the clusters `first_child[c]` to `first_child[c + 1] - 1`. A cluster without children
    is a leaf.
    """

    centroids: Floats
    """The centroid of each cluster, (clusters, dimensions); the one of the root is zero and not used."""
    first_child: NDArray[np.int64]
    """The first child of each cluster, (clusters + 1,)."""

    def way(self, vector: NDArray[np.floating[Any]]) -> list[int]:
        """The number of the nearest child on each level, from the root down to a leaf; empty if the root is a leaf.

        >>> line = np.array([[0.0], [1.0], [9.0], [8.0], [10.0]], dtype=np.float32)
        >>> tree = ClusterTree(line, np.array([1, 3, 3, 5, 5, 5]))
        >>> tree.way(np.array([9.2])), tree.way(np.array([2.0]))
        ([1, 1], [0])
        """
        path, cluster = [], 0
        while (first := int(self.first_child[cluster])) < (stop := int(self.first_child[cluster + 1])):
            labels, _ = nearest(np.asarray(vector, dtype=np.float32)[None], self.centroids[first:stop])
            path.append(int(labels[0]))
            cluster = first + path[-1]
        return path

    def divided(self, path: Sequence[int], means: Floats) -> Self:
        """The tree in which the leaf that `path` leads to has children with these centroids, (children, dimensions).

        >>> line = np.array([[0.0], [1.0], [9.0], [8.0], [10.0]], dtype=np.float32)
        >>> tree = ClusterTree(line, np.array([1, 3, 3, 5, 5, 5])).divided([0], line[:2])
        >>> tree.way(np.array([0.2])), tree.way(np.array([9.2]))
        ([0, 0], [1, 1])
        """
        leaf = 0
        for number in path:
            leaf = int(self.first_child[leaf]) + number
        place = int(self.first_child[leaf])
        first_child = self.first_child + len(means) * (np.arange(len(self.first_child)) > leaf)
        return type(self)(
            np.insert(self.centroids, place, means, axis=0),
            np.insert(first_child, place, np.repeat(first_child[place], len(means))),
        )


class Semantic(Clustered):
    """The path through a tree of k-means clusters, with the same tokens on every level."""

    centroids_type, file_prefix, own_tokens, is_numbered = ClusterTree, "clusters", False, True

    @staticmethod
    def cluster(vectors: Vectors, config: DocidsConfig) -> tuple[Codes, ClusterTree]:
        return tree_codes(vectors, config.clusters, config.leaf_size, config.seed)


class Semantic2d(Semantic):
    """Semantic docids with tokens of their own on every level (NCI, Wang et al. 2022; Pradeep et al. 2023)."""

    own_tokens = True


def tree_codes(vectors: Vectors, clusters: int, leaf_size: int, seed: int) -> tuple[NDArray[np.int64], ClusterTree]:
    """Cluster the documents hierarchically; return codes, (documents, depth) padded with -1, and the clusters.

    Args:
        vectors: (documents, dimensions) float32 or float16; if memory-mapped, 100,000 rows at most are read at once.
        clusters: the children of a cluster that is split, k in the paper.
        leaf_size: the largest number of documents in a cluster that is not split, c in the paper.
        seed: the seed of the samples and starts of k-means.
    """
    levels: list[NDArray[np.int64]] = []
    open_clusters = [np.arange(len(vectors))]
    centroids: list[Floats] = [np.zeros((1, vectors.shape[1]), dtype=np.float32)]
    child_counts: list[int] = []
    while open_clusters:
        level = np.full(len(vectors), -1)
        parts: list[NDArray[np.int64]] = []
        for members in progress(open_clusters, f"cluster level {len(levels) + 1}", unit="clusters"):
            if len(members) <= leaf_size:
                level[members] = np.arange(len(members))
                child_counts.append(0)
                continue
            # Seeded by level and first member, so that a cluster is divided in the same way whatever came before.
            random = np.random.default_rng([seed, len(levels), int(members[0])])
            labels, means = kmeans(partial(_read, vectors, members), len(members), clusters, random)
            if not labels.any():  # k-means cannot split them: divided evenly, so that clusters become smaller
                labels = np.arange(len(members)) * min(clusters, len(members)) // len(members)
                means = np.repeat(means, int(labels[-1]) + 1, axis=0)
            level[members] = labels
            centroids.append(means)
            child_counts.append(len(means))
            parts += [members[labels == label] for label in range(len(means))]
        levels.append(level)
        open_clusters = parts
    first_child = np.concatenate([[1], 1 + np.cumsum(child_counts)])
    return np.stack(levels, axis=1), ClusterTree(np.concatenate(centroids), first_child)


def _read(vectors: Vectors, members: NDArray[np.int64], numbers: NDArray[np.int64]) -> Floats:
    return np.asarray(vectors[members[numbers]], dtype=np.float32)
