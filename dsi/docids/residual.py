"""Residual docids: the nearest centroid, then the nearest centroid of what is left, and so on (residual quantisation;
TIGER, Rajput et al. 2023; RIPOR, Zeng et al. 2024).

A token is a pair of level and centroid. Documents whose codes are all the same are told apart by one more token, which
others do not have; so no docid is the beginning of another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.docids.kmeans import Floats, kmeans


def residual_codes(embeddings: NDArray[np.floating[Any]], levels: int, codebook: int, seed: int) -> NDArray[np.int64]:
    """Codes, shape (documents, at most `levels` + 1), padded with -1; values are below `codebook` on all levels but the
    last.

    Args:
        embeddings: (documents, dimensions) float32 or float16; may be memory-mapped, at most 100,000 rows are read at
            once.
        levels: codes a document.
        codebook: centroids of a level.
        seed: of the samples and starts of k-means.
    """
    codes: list[NDArray[np.int64]] = []
    centroids: list[Floats] = []

    def residuals(numbers: NDArray[np.int64]) -> Floats:
        left = np.array(embeddings[numbers], dtype=np.float32)
        for labels, vectors in zip(codes, centroids, strict=True):
            left -= vectors[labels[numbers]]
        return left

    for level in range(levels):
        labels, vectors = kmeans(residuals, len(embeddings), codebook, np.random.default_rng([seed, level]))
        codes.append(labels)
        centroids.append(vectors)
    code = np.stack(codes, axis=1)
    _, group, sizes = np.unique(code, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    if sizes.max() == 1:
        return code
    by_group = np.argsort(group, kind="stable")
    suffix = np.empty(len(code), dtype=np.int64)
    suffix[by_group] = np.arange(len(code)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.column_stack([code, np.where(sizes[group] > 1, suffix, -1)])
