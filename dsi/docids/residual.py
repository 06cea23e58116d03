"""Residual docids: the nearest centroid, then the nearest centroid of what is left, and so on (residual quantisation;
TIGER, Rajput et al. 2023; RIPOR, Zeng et al. 2024).

A token is a pair of level and centroid. Documents whose codes are all the same are told apart by one more token, which
others do not have; so no docid is the beginning of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.vectors import Vectors
from dsi.docids.kmeans import Floats, kmeans, nearest


@dataclass(frozen=True)
class Codebooks:
    """The centroids of every level, in the order in which they are taken off."""

    centroids: Floats
    """(centroids of all levels, dimensions)"""
    first: NDArray[np.int64]
    """(levels + 1,) first centroid of each level, then their number."""

    def way(self, vector: NDArray[np.floating[Any]]) -> list[int]:
        """Number of the nearest centroid on every level.

        >>> books = Codebooks(np.array([[0.0], [8.0], [-1.0], [1.0]], dtype=np.float32), np.array([0, 2, 4]))
        >>> books.way(np.array([6.5])), books.way(np.array([0.2]))
        ([1, 0], [0, 1])
        """
        left, path = np.array(vector, dtype=np.float32)[None], []
        for start, stop in zip(self.first[:-1].tolist(), self.first[1:].tolist(), strict=True):
            labels, _ = nearest(left, self.centroids[start:stop])
            path.append(int(labels[0]))
            left = left - self.centroids[start + path[-1]]
        return path

    def save(self, folder: Path) -> None:
        np.save(folder / "codebooks.centroids.npy", self.centroids)
        np.save(folder / "codebooks.first.npy", self.first)

    @classmethod
    def load(cls, folder: Path) -> Codebooks:
        """Memory-map the arrays that `save` wrote."""
        names = ("codebooks.centroids.npy", "codebooks.first.npy")
        return cls(*(np.load(folder / name, mmap_mode="r") for name in names))


def residual_codes(vectors: Vectors, levels: int, codebook: int, seed: int) -> tuple[NDArray[np.int64], Codebooks]:
    """Codes, shape (documents, at most `levels` + 1), padded with -1, and their codebooks; values are below `codebook`
    on all levels but the last.

    Args:
        vectors: (documents, dimensions) float32 or float16; may be memory-mapped, at most 100,000 rows are
            read at once.
        levels: codes a document.
        codebook: centroids of a level.
        seed: of the samples and starts of k-means.
    """
    codes: list[NDArray[np.int64]] = []
    centroids: list[Floats] = []

    def residuals(numbers: NDArray[np.int64]) -> Floats:
        left = np.array(vectors[numbers], dtype=np.float32)
        for labels, means in zip(codes, centroids, strict=True):
            left -= means[labels[numbers]]
        return left

    for level in range(levels):
        labels, means = kmeans(residuals, len(vectors), codebook, np.random.default_rng([seed, level]))
        codes.append(labels)
        centroids.append(means)
    books = Codebooks(np.concatenate(centroids), np.cumsum([0, *map(len, centroids)]))
    code = np.stack(codes, axis=1)
    _, group, sizes = np.unique(code, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    if sizes.max() == 1:
        return code, books
    by_group = np.argsort(group, kind="stable")
    suffix = np.empty(len(code), dtype=np.int64)
    suffix[by_group] = np.arange(len(code)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.column_stack([code, np.where(sizes[group] > 1, suffix, -1)]), books
