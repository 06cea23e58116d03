"""Semantic docids: the path through a tree of k-means clusters (Tay et al. 2022, section 3.3; Pradeep et al. 2023).

A cluster with more than `leaf_size` documents is split into `clusters` children; a docid is the child number on every
level, then the number of the document within its leaf. All documents of a leaf end on the same level, so no docid is
the beginning of another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans

from dsi.docids.store import Vocabulary

EXACT_UP_TO = 10_000
"""Points that full k-means takes at once; larger clusters use mini-batches."""


def cluster(
    embeddings: NDArray[np.float32], clusters: int, leaf_size: int, seed: int
) -> tuple[Vocabulary, NDArray[np.int32]]:
    """Codes, shape (documents, depth), of `embeddings`, shape (documents, dimensions)."""
    paths: list[list[int]] = [[] for _ in range(len(embeddings))]
    open_clusters = [np.arange(len(embeddings))]
    while open_clusters:
        members = open_clusters.pop()
        if len(members) <= leaf_size:
            for suffix, member in enumerate(members):
                paths[member].append(suffix)
            continue
        labels = _split(embeddings[members], clusters, seed)
        for member, label in zip(members, labels, strict=True):
            paths[member].append(int(label))
        open_clusters += [members[labels == label] for label in range(clusters) if (labels == label).any()]
    length = max(map(len, paths))
    codes = np.full((len(paths), length), -1, dtype=np.int32)
    for row, path in zip(codes, paths, strict=True):
        row[: len(path)] = path
    return Vocabulary("semantic", int(codes.max()) + 1, length), codes


def _split(points: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int64]:
    """Label of each point. Points that k-means cannot tell apart are dealt out evenly, so that every split divides."""
    distinct = len(np.unique(points, axis=0)) if len(points) <= EXACT_UP_TO else clusters
    if distinct > 1:
        algorithm = KMeans if len(points) <= EXACT_UP_TO else MiniBatchKMeans
        labels = algorithm(min(clusters, distinct), n_init=1, random_state=seed).fit_predict(points)
        if np.ptp(labels):
            return labels.astype(np.int64)
    return np.arange(len(points)) * clusters // len(points)
