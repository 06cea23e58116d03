"""Semantic docids: the path through a tree of k-means clusters (Tay et al. 2022, section 3.3; Pradeep et al. 2023).

A cluster with more than `leaf_size` documents is split into `clusters` children; a docid is the child number on every
level, then the number of the document within its leaf. All documents of a leaf end on the same level, so no docid is
the beginning of another.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.docids.kmeans import Floats, kmeans
from dsi.progress import progress

Embeddings = NDArray[np.floating[Any]]


def tree_codes(embeddings: Embeddings, clusters: int, leaf_size: int, seed: int) -> NDArray[np.int64]:
    """Codes, shape (documents, depth), padded with -1.

    Args:
        embeddings: (documents, dimensions) float32 or float16; may be memory-mapped, at most 100,000 rows are read at
            once.
        clusters: k, children of a cluster.
        leaf_size: c, documents of a cluster that is not split.
        seed: of the samples and starts of k-means.
    """
    levels: list[NDArray[np.int64]] = []
    open_clusters = [np.arange(len(embeddings))]
    while open_clusters:
        level = np.full(len(embeddings), -1)
        parts: list[NDArray[np.int64]] = []
        for members in progress(open_clusters, f"cluster level {len(levels) + 1}", unit="clusters"):
            if len(members) <= leaf_size:
                level[members] = np.arange(len(members))
                continue
            # of the cluster alone, so that the same documents are always divided in the same way
            random = np.random.default_rng([seed, len(levels), int(members[0])])
            labels, _ = kmeans(partial(_read, embeddings, members), len(members), clusters, random)
            if not labels.any():  # identical for k-means: dealt out evenly, so that every split divides
                labels = np.arange(len(members)) * min(clusters, len(members)) // len(members)
            level[members] = labels
            parts += [members[labels == label] for label in np.unique(labels)]
        levels.append(level)
        open_clusters = parts
    return np.stack(levels, axis=1)


def _read(embeddings: Embeddings, members: NDArray[np.int64], numbers: NDArray[np.int64]) -> Floats:
    return np.asarray(embeddings[members[numbers]], dtype=np.float32)
