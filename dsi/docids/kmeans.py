"""k-means over vectors that may stay on disk.

Lloyd's algorithm, from a greedy k-means++ start (Arthur and Vassilvitskii 2007) on a few hundred points per cluster, is
repeated on samples four times as large until they are a tenth of all points or 100,000, the size to which Pradeep et
al. 2023 sample clusters above a million. All points are then read once to label them. A pass costs 4 x points x
dimensions x clusters FLOPs, nearly all of them in matrix products.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Read = Callable[[NDArray[np.int64]], Floats]
"""A function that reads vectors: numbers of points, in increasing order, to an array (points, dimensions)."""

FIRST_SAMPLE, LAST_SAMPLE = 256, 1_024
"""Points per cluster in the first sample, and at least in the last one."""
LARGEST_SAMPLE = 100_000
"""The largest number of points in memory at once."""
CHUNK = 10_000
"""Points that are read and labelled at once."""
CANDIDATES = 8
"""Points that are drawn for each centroid of the start, of which the best is taken."""
FIRST_PASSES, PASSES = 100, 10
"""The largest number of passes over the first sample, and over every larger one."""
TOLERANCE = 5e-4
"""Passes over a sample end when one improves the fit by less than this share of the whole improvement."""


def kmeans(read: Read, points: int, clusters: int, random: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """Cluster `points` points into at most `clusters` clusters, none of which is empty.

    Returns:
        The cluster of each point, (points,), and the centroids, (clusters found, dimensions). Equal points are in the
        same cluster, so that there may be only one.
    """
    largest = min(max(points // 10, LAST_SAMPLE * clusters), LARGEST_SAMPLE, points)
    order = random.permutation(points)[:largest]
    sample = read(np.sort(order[: FIRST_SAMPLE * clusters]))
    centroids = _lloyd(sample, _start(sample, clusters, random), FIRST_PASSES)
    while len(sample) < largest:
        sample = read(np.sort(order[: 4 * len(sample)]))
        centroids = _lloyd(sample, centroids, PASSES)
    if largest == points:
        labels = nearest(sample, centroids)[0]
    else:
        del sample
        bounds = [*range(0, points, CHUNK), points]
        labels = np.concatenate([nearest(read(np.arange(*chunk)), centroids)[0] for chunk in pairwise(bounds)])
    used, labels = np.unique(labels, return_inverse=True)
    return labels, centroids[used]


def _start(points: Floats, clusters: int, random: np.random.Generator) -> Floats:
    """The centroids of greedy k-means++, fewer than `clusters` if there are fewer distinct points.

    Candidates for the next centroid are drawn in proportion to their squared distance from the nearest centroid so
    far, and the one that reduces the sum of these distances most is taken.
    """
    norms = np.einsum("pd,pd->p", points, points)
    rounding = 1e-6 * float(norms.max())
    chosen: list[int] = []
    nearest = np.full((len(points), 1), np.inf, dtype=np.float32)
    candidates = random.integers(len(points), size=1)
    while True:
        distances = norms[:, None] - 2 * (points @ points[candidates].T) + norms[candidates]
        distances = np.minimum(nearest, np.where(distances < rounding, 0, distances))
        best = int(distances.sum(axis=0).argmin())
        chosen.append(int(candidates[best]))
        nearest = distances[:, best : best + 1]
        cumulative = np.cumsum(nearest, dtype=np.float64)
        if len(chosen) == clusters or cumulative[-1] == 0:
            return points[chosen]
        drawn = np.searchsorted(cumulative, random.random(CANDIDATES) * cumulative[-1], side="right")
        candidates = np.minimum(drawn, len(points) - 1)


def _lloyd(points: Floats, centroids: Floats, passes: int) -> Floats:
    """The centroids after at most `passes` passes of Lloyd's algorithm; one that loses all its points does not move."""
    numbers = np.arange(len(centroids))[:, None]
    labels = np.full(len(points), -1)
    sums, sizes = np.zeros_like(centroids), np.zeros((len(centroids), 1), dtype=np.float32)
    fits: list[float] = []
    for _ in range(passes):
        new_labels, fit = nearest(points, centroids)
        fits.append(fit)
        if len(fits) > 1 and fit - fits[-2] <= TOLERANCE * (fit - fits[0]):
            break
        moved: Any = np.flatnonzero(new_labels != labels)  # hardly any after a few passes, which saves half of the work
        moved = moved if 4 * len(moved) < len(points) else slice(None)
        change = (new_labels[moved] == numbers).astype(np.float32) - (labels[moved] == numbers)
        sums += change @ points[moved]
        sizes += change.sum(axis=1, keepdims=True)
        labels = new_labels
        centroids = np.where(sizes > 0, sums / np.maximum(sizes, 1), centroids)
    return centroids


def nearest(points: Floats, centroids: Floats) -> tuple[NDArray[np.int64], float]:
    """The nearest centroid of every point, (points,), and the fit: minus half the sum of squared distances, up to a
    constant that depends on the points alone."""
    scores = points @ centroids.T - 0.5 * np.einsum("cd,cd->c", centroids, centroids)
    return scores.argmax(axis=1), float(scores.max(axis=1).sum(dtype=np.float64))
