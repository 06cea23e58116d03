"""The docid trie as flat arrays: a node is a number, and its children are one slice sorted by token.

Nodes are numbered in breadth-first order with the root as 0, so the children of node n are the nodes
`first_child[n]` to `first_child[n + 1] - 1`, and `token[m]` is the token on the edge into node m. A node without
children is a leaf. Leaves are numbered in the same order; leaf l holds documents
`documents[leaf_start[l]:leaf_start[l + 1]]`, so documents may share a docid; where none do, leaf l holds `documents[l]`
and `leaf_start` is empty. For clusters of 100 documents that makes about 9 bytes a document.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trie:
    token: NDArray[np.unsignedinteger[Any]]
    """(nodes,) smallest unsigned type that fits; the root's is 0 and means nothing."""
    first_child: NDArray[np.uint32]
    """(nodes + 1,)"""
    documents: NDArray[np.uint32]
    """(documents,) doc_index by leaf."""
    leaf_start: NDArray[np.uint32]
    """(leaves + 1,), or (0,) where no documents share a docid."""
    level_start: NDArray[np.uint32]
    """(depth + 2,) first node of each level, root first, then the number of nodes."""

    @cached_property
    def inner_nodes(self) -> NDArray[np.int64]:
        """(inner nodes,) those that have children, in increasing order."""
        return np.flatnonzero(self.first_child[1:] != self.first_child[:-1])

    @cached_property
    def fan_out(self) -> list[int]:
        """Largest number of children of a node on each level but the last."""
        children = np.diff(self.first_child)
        levels = zip(self.level_start[:-2].tolist(), self.level_start[1:-1].tolist(), strict=True)
        return [int(children[start:stop].max()) for start, stop in levels]

    def prefixes(self, beam: int) -> int:
        """Prefixes that a beam of this width extends at most, over all levels: what a search has to compute."""
        levels, _ = np.histogram(self.inner_nodes, bins=self.level_start.astype(np.int64))
        return int(np.minimum(levels, beam).sum())

    def documents_of(self, leaves: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Documents of leaf nodes, those of a leaf in corpus order, and how many each leaf has."""
        numbers = leaves - np.searchsorted(self.inner_nodes, leaves)
        if not len(self.leaf_start):
            return self.documents[numbers].astype(np.int64), np.ones(len(leaves), dtype=np.int64)
        start, stop = self.leaf_start[numbers].astype(np.int64), self.leaf_start[numbers + 1].astype(np.int64)
        sizes = stop - start
        rows = np.repeat(start - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        return self.documents[rows].astype(np.int64), sizes

    def paths(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Nodes that each docid of `codes`, (documents, length), leads to; the same shape, padded with -1.

        Raises:
            ValueError: there is no such docid.
        """
        paths = np.full(codes.shape, -1, dtype=np.int32)
        parent = np.zeros(len(codes), dtype=np.int64)
        for level in range(codes.shape[1]):
            going_on = np.flatnonzero(codes[:, level] >= 0)
            first, stop = self.level_start[level + 1 : level + 3].astype(int)
            bounds = self.first_child[self.level_start[level] : first + 1].astype(np.int64)
            fan_out = bounds[1:] - bounds[:-1]
            owners = np.repeat(np.arange(self.level_start[level], first), fan_out)
            step = 1 << 32  # children of a level are in order of parent, then token: found by bisection
            keys = owners * step + self.token[first:stop]
            wanted = parent[going_on] * step + codes[going_on, level]
            found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            if (keys[found] != wanted).any():
                raise ValueError("codes are not those of the trie")
            parent[going_on] = paths[going_on, level] = first + found
        return paths

    def siblings(self, paths: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First sibling of each node of `paths`, and how many there are, itself included; 0 where there is no node."""
        nodes = paths.astype(np.int64)
        parents = np.where(nodes < 0, 0, np.pad(nodes, ((0, 0), (1, 0)))[:, :-1])
        first = self.first_child[parents].astype(np.int64)
        count = self.first_child[parents + 1].astype(np.int64) - first
        return np.where(nodes < 0, 0, first), np.where(nodes < 0, 0, count)

    def save(self, folder: Path) -> None:
        for name in self.__dataclass_fields__:
            np.save(folder / f"trie.{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Trie:
        """Memory-map the arrays that `save` wrote."""
        # copy-on-write only because PyTorch warns about memory it may not write to
        return cls(**{name: np.load(folder / f"trie.{name}.npy", mmap_mode="c") for name in cls.__dataclass_fields__})


def build_trie(codes: NDArray[np.integer[Any]]) -> Trie:
    """Trie over docids `codes`, shape (documents, length), padded at the end with -1.

    Raises:
        ValueError: a docid is empty or the beginning of another; end such docids with a token of their own.

    >>> trie = build_trie(np.array([[0, 1], [0, 0], [2, -1]]))
    >>> trie.token.tolist(), trie.first_child.tolist(), trie.documents.tolist()
    ([0, 0, 2, 0, 1], [1, 3, 5, 5, 5, 5], [2, 1, 0])
    """
    count, length = codes.shape
    rows = np.lexsort(codes.T[::-1])  # documents by docid; below, those whose docids go on
    node = np.zeros(count, dtype=np.int64)  # the node, within its level, that each row has reached
    tokens, fan_outs, documents, leaf_sizes, level_start = [np.zeros(1, dtype=codes.dtype)], [], [], [], [0, 1]
    for level in range(length + 1):
        nodes = level_start[-1] - level_start[-2]
        token = codes[rows, level] if level < length else np.full(len(rows), -1)
        ends = token < 0
        leaf_size = np.bincount(node[ends], minlength=nodes)
        documents.append(rows[ends].astype(np.uint32))
        leaf_sizes.append(leaf_size[leaf_size > 0])
        rows, node, token = rows[~ends], node[~ends], token[~ends]
        starts = np.ones(len(rows), dtype=bool)  # whether a row is the first of a node on the next level
        starts[1:] = (node[1:] != node[:-1]) | (token[1:] != token[:-1])
        fan_out = np.bincount(node[starts], minlength=nodes)
        if ((leaf_size > 0) & (fan_out > 0)).any() or (level == 0 and ends.any()):
            raise ValueError("a docid is empty or the beginning of another one")
        fan_outs.append(_smallest(fan_out))
        if not len(rows):
            break
        tokens.append(token[starts])
        node = np.cumsum(starts) - 1
        level_start.append(level_start[-1] + int(starts.sum()))
    sizes = np.concatenate(leaf_sizes)
    first_child = np.ones(level_start[-1] + 1, dtype=np.uint32)
    np.cumsum(np.concatenate(fan_outs), dtype=np.uint32, out=first_child[1:])
    first_child[1:] += 1
    return Trie(
        token=_smallest(np.concatenate(tokens)),
        first_child=first_child,
        documents=np.concatenate(documents),
        leaf_start=np.concatenate([[0], np.cumsum(sizes)] if sizes.max() > 1 else [[]]).astype(np.uint32),
        level_start=np.array(level_start, dtype=np.uint32),
    )


def _smallest(values: NDArray[np.integer[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    return values.astype(np.min_scalar_type(int(values.max())))
