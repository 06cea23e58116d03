"""Residual docids: the centroid nearest to a vector, then the one nearest to the difference, and so on (residual
quantisation; TIGER, Rajput et al. 2023; RIPOR, Zeng et al. 2024).

A token is a pair of level and centroid. Documents with the same codes on all levels get one more token to tell them
apart, and only they do, so that no docid is the beginning of another.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import DocidsConfig
from dsi.corpus.vectors import Vectors
from dsi.docids.clustered import Clustered
from dsi.docids.kmeans import Floats, kmeans, nearest
from dsi.docids.store import Codes


@dataclass(frozen=True)
class Codebooks:
    """The centroids of all levels, in the order in which they are subtracted from a vector."""

    centroids: Floats
    """The centroids of all levels, one level after another: (centroids, dimensions)."""
    first: NDArray[np.int64]
    """The first centroid of each level, then the number of centroids: (levels + 1,)."""

    def way(self, vector: NDArray[np.floating[Any]]) -> list[int]:
        """The number of the nearest centroid on each level.

        >>> books = Codebooks(np.array([[0.0], [8.0], [-1.0], [1.0]], dtype=np.float32), np.array([0, 2, 4]))
        >>> books.way(np.array([6.5])), books.way(np.array([0.2]))
        ([1, 0], [0, 1])
        """
        residual, path = np.array(vector, dtype=np.float32)[None], []
        for start, stop in zip(self.first[:-1].tolist(), self.first[1:].tolist(), strict=True):
            labels, _ = nearest(residual, self.centroids[start:stop])
            path.append(int(labels[0]))
            residual = residual - self.centroids[start + path[-1]]
        return path


class Residual(Clustered):
    """Residual quantisation, with tokens of its own on every level."""

    centroids_type, file_prefix = Codebooks, "codebooks"

    @staticmethod
    def cluster(vectors: Vectors, config: DocidsConfig) -> tuple[Codes, Codebooks]:
        return residual_codes(vectors, config.levels, config.codebook, config.seed)


def residual_codes(vectors: Vectors, levels: int, codebook: int, seed: int) -> tuple[NDArray[np.int64], Codebooks]:
    """Quantise the vectors; return codes, (documents, `levels` or `levels` + 1) padded with -1, and the codebooks.

    Args:
        vectors: (documents, dimensions) float32 or float16; if memory-mapped, 100,000 rows at most are read at once.
        levels: the codes of every document.
        codebook: the centroids of each level; the codes of the first `levels` levels are below this number.
        seed: the seed of the samples and starts of k-means.
    """
    codes: list[NDArray[np.int64]] = []
    centroids: list[Floats] = []

    def residuals(numbers: NDArray[np.int64]) -> Floats:
        rest = np.array(vectors[numbers], dtype=np.float32)
        for labels, means in zip(codes, centroids, strict=True):
            rest -= means[labels[numbers]]
        return rest

    for level in range(levels):
        labels, means = kmeans(residuals, len(vectors), codebook, np.random.default_rng([seed, level]))
        codes.append(labels)
        centroids.append(means)
    codebooks = Codebooks(np.concatenate(centroids), np.cumsum([0, *map(len, centroids)]))
    code = np.stack(codes, axis=1)
    _, group, sizes = np.unique(code, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    if sizes.max() == 1:
        return code, codebooks
    by_group = np.argsort(group, kind="stable")
    suffix = np.empty(len(code), dtype=np.int64)
    suffix[by_group] = np.arange(len(code)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.column_stack([code, np.where(sizes[group] > 1, suffix, -1)]), codebooks
