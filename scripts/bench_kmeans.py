"""Seconds of our hierarchical k-means against scikit-learn's, and on a million vectors from disk.

    make bench-kmeans

The vectors have 768 dimensions and resemble those of a sentence encoder: clusters of clusters in 64 dimensions of
falling weight, noise in all dimensions, unit length. Both sides build the whole tree (k=10, c=100); scikit-learn's
`KMeans`, with its defaults, is applied to every cluster above c, as in published code. The variance is that within the
leaves. The memory of the run from disk is what the process allocates; pages of the mapped file, which the system takes
back when it needs them, come on top.
"""

import argparse
import threading
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from timing import timed

from dsi.docids.semantic import tree_codes
from dsi.report.tables import text_table

FEW, MANY, DIMENSIONS, LATENT = 200_000, 1_000_000, 768, 64
CLUSTERS, LEAF_SIZE = 10, 100
CHUNK = 50_000


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with TemporaryDirectory() as name:
        path = Path(name, "embeddings.npy")
        write_vectors(path, FEW)
        vectors = np.load(path)
        seconds, ours = timed(partial(dsi, vectors))
        peer_seconds, theirs = timed(partial(scikit_learn, vectors))
        variance, peer_variance = within(vectors, ours), within(vectors, theirs)
        rows = [
            ["dsi", f"{FEW:,}", f"{seconds:.1f}", f"{variance:.5f}", f"{ours.max() + 1:,}", ""],
            ["scikit-learn", f"{FEW:,}", f"{peer_seconds:.1f}", f"{peer_variance:.5f}", f"{theirs.max() + 1:,}", ""],
        ]
        del vectors
        write_vectors(path, MANY)
        with get_context("spawn").Pool(1) as pool:
            long, peak, leaves = pool.apply(from_disk, (path,))
        size = path.stat().st_size / (1 << 30)
        rows.append([f"dsi, {size:.1f} GiB on disk", f"{MANY:,}", f"{long:.1f}", "", f"{leaves:,}", f"{peak:.2f}"])
    print(text_table(["", "vectors", "seconds", "variance in leaves", "leaves", "peak GiB allocated"], rows))
    print(f"ratio={peer_seconds / seconds:.2f} variance_ratio={variance / peer_variance:.4f}")


def write_vectors(path: Path, count: int) -> None:
    """Write `count` float32 vectors to a .npy file, in chunks."""
    random = np.random.default_rng(0)
    weights = np.arange(1, LATENT + 1, dtype=np.float32) ** -0.5
    coarse = random.normal(size=(100, LATENT)) * weights
    fine = coarse[random.integers(100, size=2_000)] + random.normal(size=(2_000, LATENT)) * weights
    directions = random.normal(size=(LATENT, DIMENSIONS)).astype(np.float32) / LATENT**0.5
    out = open_memmap(path, mode="w+", dtype=np.float32, shape=(count, DIMENSIONS))
    for start in range(0, count, CHUNK):
        latent = fine[random.integers(2_000, size=CHUNK)] + 0.7 * random.normal(size=(CHUNK, LATENT)) * weights
        noise = random.standard_normal((CHUNK, DIMENSIONS), dtype=np.float32)
        chunk = latent.astype(np.float32) @ directions + 0.1 * noise
        out[start : start + CHUNK] = chunk / np.linalg.norm(chunk, axis=1, keepdims=True)
    out.flush()


def leaves_of(codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The number of each document's leaf, which is its docid without the last token, (documents,)."""
    inner = codes.copy()
    inner[np.arange(len(codes)), (codes >= 0).sum(axis=1) - 1] = -1
    return np.unique(inner, axis=0, return_inverse=True)[1].ravel()


def dsi(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """The number of each vector's leaf in our tree, (vectors,)."""
    return leaves_of(tree_codes(vectors, CLUSTERS, LEAF_SIZE, seed=0)[0])


def scikit_learn(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """The number of each vector's leaf in a tree built with scikit-learn, (vectors,)."""
    leaf = np.empty(len(vectors), dtype=np.int64)
    leaves, open_clusters = 0, [np.arange(len(vectors))]
    while open_clusters:
        members = open_clusters.pop()
        if len(members) <= LEAF_SIZE:
            leaf[members] = leaves
            leaves += 1
            continue
        labels = KMeans(CLUSTERS, random_state=0).fit_predict(vectors[members])
        open_clusters += [members[labels == label] for label in range(CLUSTERS)]
    return leaf


def within(vectors: NDArray[np.float32], leaf: NDArray[np.int64]) -> float:
    """The mean squared distance of a vector from the centre of its leaf."""
    order = np.argsort(leaf, kind="stable")
    starts = np.flatnonzero(np.diff(leaf[order], prepend=-1))
    sums = np.add.reduceat(vectors[order], starts, axis=0).astype(np.float64)
    explained = ((sums**2).sum(axis=1) / np.diff(starts, append=len(leaf))).sum()
    return float((np.einsum("vd,vd->", vectors, vectors, dtype=np.float64) - explained) / len(vectors))


def from_disk(path: Path) -> tuple[float, float, int]:
    """The seconds to cluster the vectors of a file, the GiB that the process allocated at its peak, and the leaves."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            peak[0] = max(peak[0], int(status.split("RssAnon:")[1].split()[0]) / (1 << 20))

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds, (codes, _) = timed(lambda: tree_codes(np.load(path, mmap_mode="r"), CLUSTERS, LEAF_SIZE, seed=0))
    done.set()
    watcher.join()
    return seconds, peak[0], int(leaves_of(codes).max()) + 1


if __name__ == "__main__":
    main()
