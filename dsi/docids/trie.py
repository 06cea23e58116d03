"""The docid trie as flat arrays: a node is a number, and its children are one slice sorted by token.

Nodes are numbered in breadth-first order with the root as 0, so the children of node n are the nodes
`first_child[n]` to `first_child[n + 1] - 1`, and `token[m]` is the token on the edge into node m. A node without
children is a leaf. Leaves are numbered in the same order; leaf l holds documents
`documents[leaf_start[l]:leaf_start[l + 1]]`, so documents may share a docid.
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
    """(leaves + 1,)"""
    level_start: NDArray[np.uint32]
    """(depth + 2,) first node of each level, root first, then the number of nodes."""

    @cached_property
    def leaf_number(self) -> NDArray[np.int64]:
        """(nodes,) number of each leaf, -1 for inner nodes."""
        is_leaf = self.first_child[:-1] == self.first_child[1:]
        return np.where(is_leaf, np.cumsum(is_leaf) - 1, -1)

    def save(self, folder: Path) -> None:
        for name in self.__dataclass_fields__:
            np.save(folder / f"trie.{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Trie:
        """Memory-map the arrays that `save` wrote."""
        return cls(**{name: np.load(folder / f"trie.{name}.npy", mmap_mode="r") for name in cls.__dataclass_fields__})


def build_trie(codes: NDArray[np.integer[Any]]) -> Trie:
    """Trie over docids `codes`, shape (documents, length), padded at the end with -1.

    Raises:
        ValueError: a docid is empty or the beginning of another; end such docids with a token of their own.

    >>> trie = build_trie(np.array([[0, 1], [0, 0], [2, -1]]))
    >>> trie.token.tolist(), trie.first_child.tolist(), trie.documents.tolist()
    ([0, 0, 2, 0, 1], [1, 3, 5, 5, 5, 5], [2, 1, 0])
    """
    count, length = codes.shape
    order = np.lexsort(codes.T[::-1])
    rows = codes[order]
    new = np.ones(count, dtype=bool)  # whether a row starts a new prefix of the current level's length
    new[1:] = False
    parent_of_row = np.zeros(count, dtype=np.int64)  # the row's node on the level above
    tokens, children = [np.zeros(1, dtype=np.int64)], []
    leaf_rows, leaf_sizes, level_start = [], [], [0, 1]
    for level in range(length + 1):
        nodes = level_start[-1] - level_start[-2]
        inside = rows[:, level] >= 0 if level < length else np.zeros(count, dtype=bool)
        here = rows[:, level - 1] >= 0 if level else np.ones(count, dtype=bool)  # rows with a node on this level
        ends = here & ~inside
        ending, continuing = (np.unique(parent_of_row[mask]) for mask in (ends, here & inside))
        if np.intersect1d(ending, continuing).size or (level == 0 and ending.size):
            raise ValueError("a docid is empty or the beginning of another one")
        leaf_rows.append(order[ends])
        leaf_sizes.append(np.bincount(parent_of_row[ends], minlength=nodes)[ending])
        if not inside.any():
            children.append(np.zeros(nodes, dtype=np.int64))
            break
        new[1:] |= rows[1:, level] != rows[:-1, level]
        starts = new & inside
        tokens.append(rows[starts, level].astype(np.int64))
        children.append(np.bincount(parent_of_row[starts], minlength=nodes))
        parent_of_row = np.cumsum(starts) - 1
        level_start.append(level_start[-1] + int(starts.sum()))
    return Trie(
        token=_smallest(np.concatenate(tokens)),
        first_child=np.concatenate([[1], 1 + np.cumsum(np.concatenate(children))]).astype(np.uint32),
        documents=np.concatenate(leaf_rows).astype(np.uint32),
        leaf_start=np.concatenate([[0], np.cumsum(np.concatenate(leaf_sizes))]).astype(np.uint32),
        level_start=np.array(level_start, dtype=np.uint32),
    )


def _smallest(values: NDArray[np.int64]) -> NDArray[np.unsignedinteger[Any]]:
    return values.astype(np.min_scalar_type(int(values.max())))
