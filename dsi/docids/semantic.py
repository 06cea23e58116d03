"""Semantic docids: the path through a tree of k-means clusters (Tay et al. 2022, section 3.3; Pradeep et al. 2023).

A cluster with more than `leaf_size` documents is split into `clusters` children; a docid is the child number on every
level, then the number of the document within its leaf. All documents of a leaf end on the same level, so no docid is
the beginning of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.vectors import Vectors
from dsi.docids.kmeans import Floats, kmeans, nearest
from dsi.runtime.progress import progress


@dataclass(frozen=True)
class ClusterTree:
    """The clusters in breadth-first order, the whole corpus as 0. The children of cluster c, by number, are the
    clusters `first_child[c]` to `first_child[c + 1] - 1`; one without children is a leaf."""

    centroids: Floats
    """(clusters, dimensions); that of the whole corpus is zero and means nothing."""
    first_child: NDArray[np.int64]
    """(clusters + 1,)"""

    def way(self, vector: NDArray[np.floating[Any]]) -> list[int]:
        """Number of the nearest child on every level down to a leaf; nothing where the whole corpus is one.

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

    def save(self, folder: Path) -> None:
        np.save(folder / "clusters.centroids.npy", self.centroids)
        np.save(folder / "clusters.first_child.npy", self.first_child)

    @classmethod
    def load(cls, folder: Path) -> ClusterTree:
        """Memory-map the arrays that `save` wrote."""
        names = ("clusters.centroids.npy", "clusters.first_child.npy")
        return cls(*(np.load(folder / name, mmap_mode="r") for name in names))


def tree_codes(vectors: Vectors, clusters: int, leaf_size: int, seed: int) -> tuple[NDArray[np.int64], ClusterTree]:
    """Codes, shape (documents, depth), padded with -1, and the clusters.

    Args:
        vectors: (documents, dimensions) float32 or float16; may be memory-mapped, at most 100,000 rows are
            read at once.
        clusters: k, children of a cluster.
        leaf_size: c, documents of a cluster that is not split.
        seed: of the samples and starts of k-means.
    """
    levels: list[NDArray[np.int64]] = []
    open_clusters = [np.arange(len(vectors))]
    centroids: list[Floats] = [np.zeros((1, vectors.shape[1]), dtype=np.float32)]
    children: list[int] = []
    while open_clusters:
        level = np.full(len(vectors), -1)
        parts: list[NDArray[np.int64]] = []
        for members in progress(open_clusters, f"cluster level {len(levels) + 1}", unit="clusters"):
            if len(members) <= leaf_size:
                level[members] = np.arange(len(members))
                children.append(0)
                continue
            # of the cluster alone, so that the same documents are always divided in the same way
            random = np.random.default_rng([seed, len(levels), int(members[0])])
            labels, means = kmeans(partial(_read, vectors, members), len(members), clusters, random)
            if not labels.any():  # identical for k-means: dealt out evenly, so that every split divides
                labels = np.arange(len(members)) * min(clusters, len(members)) // len(members)
                means = np.repeat(means, int(labels[-1]) + 1, axis=0)
            level[members] = labels
            centroids.append(means)
            children.append(len(means))
            parts += [members[labels == label] for label in range(len(means))]
        levels.append(level)
        open_clusters = parts
    first_child = np.concatenate([[1], 1 + np.cumsum(children)])
    return np.stack(levels, axis=1), ClusterTree(np.concatenate(centroids), first_child)


def _read(vectors: Vectors, members: NDArray[np.int64], numbers: NDArray[np.int64]) -> Floats:
    return np.asarray(vectors[members[numbers]], dtype=np.float32)
