"""A pass over the corpus that gives every document a vector, in shards that processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from dsi.corpus.store import Corpus
from dsi.processes import Rank
from dsi.progress import progress
from dsi.shards import Shards, published

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
    first = np.load(shards[0], mmap_mode="r")
    last = np.load(shards[-1], mmap_mode="r")
    shape = ((len(shards) - 1) * len(first) + len(last), first.shape[1])
    vectors = open_memmap(path, mode="w+", dtype=first.dtype, shape=shape)
    for start, part in _parts(shards):
        vectors[start : start + len(part)] = part
    vectors.flush()
    return vectors


def read_shards(shards: list[Path]) -> Vectors:
    """All of them in memory."""
    return np.concatenate([part for _, part in _parts(shards)])


def _parts(shards: list[Path]) -> Iterator[tuple[int, Vectors]]:
    start = 0
    for path in shards:
        part: Vectors = np.load(path)
        yield start, part
        start += len(part)
