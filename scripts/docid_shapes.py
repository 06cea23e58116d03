"""Docids for benchmarks, of the shape that hierarchical k-means gives, without the cost of clustering a corpus."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def kmeans_shaped(documents: int, clusters: int, leaf_size: int, seed: int = 0) -> NDArray[np.int16]:
    """The docid tokens of documents, shape (documents, depth), padded at the end with -1.

    A cluster above `leaf_size` is divided by random shares, as unequal as those of real embeddings (Dirichlet, 2); the
    last token is the number of the document within its leaf. Documents are in random order.
    """
    random = np.random.default_rng(seed)
    codes = np.full((documents, 32), -1, dtype=np.int16)
    open_clusters = [(0, documents, 0)]
    while open_clusters:
        start, stop, level = open_clusters.pop()
        if stop - start <= leaf_size:
            codes[start:stop, level] = np.arange(stop - start)
            continue
        sizes = random.multinomial(stop - start, random.dirichlet(np.full(clusters, 2.0)))
        codes[start:stop, level] = np.repeat(np.arange(clusters), sizes)
        ends = start + np.cumsum(sizes)
        open_clusters += [(int(end - size), int(end), level + 1) for end, size in zip(ends, sizes, strict=True) if size]
    return random.permutation(codes[:, : int((codes >= 0).any(axis=0).sum())])


def dict_trie(docids: Iterable[list[int]]) -> dict[int, Any]:
    """A trie as published code has it: each node is a dict from a token to a node.

    >>> dict_trie([[1, 2], [1, 3]])
    {1: {2: {}, 3: {}}}
    """
    root: dict[int, Any] = {}
    for docid in docids:
        node = root
        for token in docid:
            node = node.setdefault(token, {})
    return root
