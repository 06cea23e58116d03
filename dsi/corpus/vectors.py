"""A pass over the corpus that gives every document a vector, in shards that processes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from dsi.corpus.store import Corpus
from dsi.runtime.processes import Rank
from dsi.runtime.progress import progress
from dsi.runtime.shards import Shards, published

SHARD = 1_024
"""Documents a shard, which an encoder gets together: enough to sort them by length."""

Vectors = NDArray[np.floating[Any]]
"""(texts, width) float16 or float32."""
Encode = Callable[[list[str]], Vectors]
VECTORS = "vectors.npy"
"""File of a stage folder that has a row a document, in corpus order."""


def read_vectors(folder: Path) -> Vectors:
    """The vectors in a stage folder, memory-mapped."""
    vectors: Vectors = np.load(folder / VECTORS, mmap_mode="r")
    return vectors


def encode_shards(folder: Path, corpus: Corpus, encode: Encode, what: str, rank: Rank) -> list[Path]:
    """The vectors of all documents' contents as .npy files below `folder`, in order; every process of `rank` must call
    this, and gets them when all have done their share. `what` names the work where progress is told."""
    shards = Shards(folder, len(corpus), SHARD, ".npy", rank)
    for shard in progress(shards.unfinished(), what, unit=f"x {SHARD:,} docs"):
        some = shards.range(shard)
        vectors = encode([document.content() for document in corpus.rows(some.start, some.stop)])
        with published(shards.path(shard)) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    return shards.wait()


def join_shards(path: Path, shards: list[Path]) -> Vectors:
    """Put the shards into one .npy file and memory-map it."""
    shape, dtype = _shape(shards)
    vectors = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    _fill(vectors, shards)
    vectors.flush()
    return vectors


def read_shards(shards: list[Path]) -> Vectors:
    """All of them in memory."""
    vectors: Vectors = np.empty(*_shape(shards))
    _fill(vectors, shards)
    return vectors


def _shape(shards: list[Path]) -> tuple[tuple[int, int], np.dtype[Any]]:
    first, last = (np.load(path, mmap_mode="r") for path in (shards[0], shards[-1]))
    return ((len(shards) - 1) * len(first) + len(last), first.shape[1]), first.dtype


def _fill(vectors: Vectors, shards: list[Path]) -> None:
    start = 0
    for path in shards:
        part = np.load(path)
        vectors[start : start + len(part)] = part
        start += len(part)
