"""Encodes every document of the corpus as a vector, in shards that are divided among processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.runtime.processes import Rank
from dsi.runtime.progress import progress
from dsi.runtime.shards import Shards, published

SHARD = 1_024
"""Documents per shard; an encoder gets them in one call, so that it can batch texts of similar length."""
SHOWN = 10
"""The number of faulty rows that a message names."""

Vectors = NDArray[np.floating[Any]]
"""An array (texts, width) of float16 or float32."""
Encode = Callable[[list[str]], Vectors]
"""An encoder: it maps texts to vectors."""
VECTORS = "vectors.npy"
"""The file of a stage folder that holds one row per document, in corpus order."""


def check_finite(vectors: Vectors, first: int, corpus: Corpus, origin: str) -> None:
    """Check that all numbers are finite in `vectors`, those of the documents from row `first` of the corpus.

    Raises:
        DsiError: some are not; the message begins with `origin` and names rows and documents.
    """
    finite = np.isfinite(vectors).all(axis=1)
    if finite.all():
        return
    rows = [first + int(row) for row in np.flatnonzero(~finite)]
    pairs = zip(rows[:SHOWN], corpus.doc_ids(rows[:SHOWN]), strict=True)
    named = ", ".join(f"row {row} (document {doc_id})" for row, doc_id in pairs)
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    raise DsiError(f"{origin}: numbers that are NaN, or infinite as {vectors.dtype}, in {named}{more}")


def as_float16(vectors: Vectors) -> Vectors:
    """The vectors (texts, width) as float16, half of the disk, if it holds them as precisely as it can; else float32.

    >>> [str(as_float16(np.array([[largest, 1.0]])).dtype) for largest in (0.5, 70_000.0)]
    ['float16', 'float32']
    >>> str(as_float16(np.array([[1e-6, 2e-6]])).dtype)
    'float32'
    """
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    errors, largest = np.abs(half - vectors).max(axis=1), np.abs(vectors).max(axis=1)
    return half if (errors <= largest * np.finfo(np.float16).eps).all() else vectors.astype(np.float32)


def read_vectors(folder: Path) -> Vectors:
    """The vectors in a stage folder, memory-mapped: (documents, width)."""
    return np.load(folder / VECTORS, mmap_mode="r")


def encode_shards(folder: Path, corpus: Corpus, encode: Encode, what: str, rank: Rank) -> list[Path]:
    """Write the vectors of the contents of all documents to .npy files below `folder`; return these files in order.

    Every process calls this with its `rank`, and returns when all have done their part. `what` names the work in the
    progress display and in messages.

    Raises:
        DsiError: a number is not finite.
    """

    def encode_some(numbers: range) -> Vectors:
        return encode([document.content() for document in corpus.rows(numbers.start, numbers.stop)])

    return vector_shards(folder, corpus, encode_some, what, rank)


def vector_shards(
    folder: Path, corpus: Corpus, encode: Callable[[range], Vectors], what: str, rank: Rank
) -> list[Path]:
    """What `encode_shards` does, with vectors that are a function of row numbers."""
    shards = Shards(folder, len(corpus), SHARD, ".npy", rank)
    for shard in progress(shards.unfinished(), what, unit=f"x {SHARD:,} docs"):
        numbers = shards.range(shard)
        vectors = encode(numbers)
        check_finite(vectors, numbers.start, corpus, what)
        with published(shards.path(shard)) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    return shards.wait()


def join_shards(path: Path | None, shards: list[Path]) -> Vectors:
    """The vectors in all shards as one array: the .npy file `path`, memory-mapped, or in memory if `path` is None.

    It is float32 unless all shards are float16.
    """
    first, last = (np.load(shard, mmap_mode="r") for shard in (shards[0], shards[-1]))
    shape = ((len(shards) - 1) * len(first) + len(last), first.shape[1])
    dtype = np.result_type(*{np.load(shard, mmap_mode="r").dtype for shard in shards})
    vectors = np.empty(shape, dtype) if path is None else open_memmap(path, "w+", dtype, shape)
    start = 0
    for shard in shards:
        part = np.load(shard)
        vectors[start : start + len(part)] = part
        start += len(part)
    if isinstance(vectors, np.memmap):
        vectors.flush()
    return vectors
