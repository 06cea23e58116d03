"""Exact search among vectors: the inner products of some vectors with those of all documents, a chunk at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.search.top_k import top_k_of_chunks

DOCUMENTS_PER_CHUNK = 1 << 16
"""The number of documents that are scored at once."""


def nearest(
    queries: NDArray[np.floating[Any]], documents: NDArray[np.floating[Any]], count: int
) -> tuple[Tensor, Tensor]:
    """The doc_index and the inner product of the `count` documents with the largest one for each query, best first.

    `queries` are (queries, width), `documents` (documents, width), which may be memory-mapped; products are those of
    float32, on the CPU. Both results are (queries, at most count).
    """
    texts = torch.from_numpy(np.asarray(queries, dtype=np.float32))

    def scores() -> Iterator[Tensor]:
        for start in range(0, len(documents), DOCUMENTS_PER_CHUNK):
            chunk = documents[start : start + DOCUMENTS_PER_CHUNK].astype(np.float32)
            yield texts @ torch.from_numpy(chunk).T

    return top_k_of_chunks(scores(), count)
