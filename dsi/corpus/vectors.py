"""Encodes every document of the corpus as a vector, in shards that are divided among processes."""

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
"""Documents per shard; an encoder gets them in one call, so that it can batch texts of similar length."""

Vectors = NDArray[np.floating[Any]]
"""An array (texts, width) of float16 or float32."""
Encode = Callable[[list[str]], Vectors]
"""An encoder: it maps texts to vectors."""
VECTORS = "vectors.npy"
"""The file of a stage folder that holds one row per document, in corpus order."""


def read_vectors(folder: Path) -> Vectors:
    """The vectors in a stage folder, memory-mapped: (documents, width)."""
    return np.load(folder / VECTORS, mmap_mode="r")


def encode_shards(folder: Path, corpus: Corpus, encode: Encode, what: str, rank: Rank) -> list[Path]:
    """Write the vectors of the contents of all documents to .npy files below `folder`; return these files in order.

    Every process calls this with its `rank`, and returns when all have done their part. `what` names the work in the
    progress display.
    """
    shards = Shards(folder, len(corpus), SHARD, ".npy", rank)
    for shard in progress(shards.unfinished(), what, unit=f"x {SHARD:,} docs"):
        numbers = shards.range(shard)
        vectors = encode([document.content() for document in corpus.rows(numbers.start, numbers.stop)])
        with published(shards.path(shard)) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    return shards.wait()


def join_shards(path: Path | None, shards: list[Path]) -> Vectors:
    """The vectors in all shards as one array: the .npy file `path`, memory-mapped, or in memory if `path` is None."""
    first, last = (np.load(shard, mmap_mode="r") for shard in (shards[0], shards[-1]))
    shape = ((len(shards) - 1) * len(first) + len(last), first.shape[1])
    vectors = np.empty(shape, first.dtype) if path is None else open_memmap(path, "w+", first.dtype, shape)
    start = 0
    for shard in shards:
        part = np.load(shard)
        vectors[start : start + len(part)] = part
        start += len(part)
    if isinstance(vectors, np.memmap):
        vectors.flush()
    return vectors
