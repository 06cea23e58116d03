"""k-means on vectors that may stay on disk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from dsi.docids import kmeans as module
from dsi.docids.kmeans import Floats, kmeans
from dsi.docids.semantic import tree_codes


def blobs(count: int, centres: int, dimensions: int = 16, seed: int = 0) -> Floats:
    random = np.random.default_rng(seed)
    means = random.normal(size=(centres, dimensions))
    return (means[random.integers(centres, size=count)] + 0.5 * random.normal(size=(count, dimensions))).astype("f4")


def inertia(points: Floats, labels: np.ndarray) -> float:
    return sum(float(((part - part.mean(axis=0)) ** 2).sum()) for part in (points[labels == n] for n in set(labels)))


@pytest.mark.parametrize("clusters", [2, 10, 40])
def test_as_good_as_scikit_learn(clusters: int) -> None:
    points = blobs(6_000, 25)
    ours, theirs = [], []
    for seed in range(4):
        labels, centroids = kmeans(lambda rows: points[rows], len(points), clusters, np.random.default_rng(seed))
        ours.append(inertia(points, labels))
        theirs.append(inertia(points, KMeans(clusters, random_state=seed).fit(points).labels_))
    assert len(centroids) == clusters
    assert np.mean(ours) < 1.05 * np.mean(theirs)
    nearest = ((points[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.999  # a label is that of the nearest centroid


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_every_centroid_has_points(points: int, distinct: int, clusters: int) -> None:
    vectors = np.random.default_rng(points).normal(size=(min(distinct, points), 2)).astype("f4")
    vectors = vectors[np.arange(points) % len(vectors)]
    labels, centroids = kmeans(lambda rows: vectors[rows], points, clusters, np.random.default_rng(0))
    assert sorted(set(labels)) == list(range(len(centroids)))
    assert len(centroids) <= min(clusters, distinct, points)
    for vector in np.unique(vectors, axis=0):  # equal points get equal labels
        assert len(set(labels[(vectors == vector).all(axis=1)])) == 1


def test_no_more_vectors_are_read_at_once_than_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "LARGEST_SAMPLE", 1_000)
    monkeypatch.setattr(module, "CHUNK", 300)
    points = blobs(3_000, 10)
    read = []

    def from_disk(rows: np.ndarray) -> Floats:
        assert (np.diff(rows) > 0).all()
        read.append(len(rows))
        return points[rows]

    labels, _ = kmeans(from_disk, len(points), 10, np.random.default_rng(0))
    assert max(read) == 1_000
    assert inertia(points, labels) < 0.3 * inertia(points, np.zeros(len(points)))
    np.save(tmp_path / "points.npy", points)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    np.testing.assert_array_equal(tree_codes(mapped, 5, 20, seed=1)[0], tree_codes(points, 5, 20, seed=1)[0])
