"""The docid trie as flat arrays: a node is a number, and its children are one slice sorted by token.

Nodes are numbered in breadth-first order with the root as 0, so the children of node n are the nodes
`first_child[n]` to `first_child[n + 1] - 1`, and `token[m]` is the token on the edge into node m. A node without
children is a leaf. Leaves are numbered in the same order; leaf l holds documents
`documents[leaf_start[l]:leaf_start[l + 1]]`, since documents may share a docid; if none do, leaf l holds `documents[l]`
and `leaf_start` is empty. For clusters of 100 documents that takes about 9 bytes per document.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trie:
    """The docids of all documents as a tree of their tokens."""

    token: NDArray[np.unsignedinteger[Any]]
    """The token on the edge into each node, (nodes,), in the smallest unsigned type; 0 for the root, which has none."""
    first_child: NDArray[np.uint32]
    """The first child of each node, (nodes + 1,)."""
    documents: NDArray[np.uint32]
    """The `doc_index` of the documents, (documents,), ordered by leaf."""
    leaf_start: NDArray[np.uint32]
    """The place of the first document of each leaf, (leaves + 1,), or (0,) if no two documents share a docid."""
    level_start: NDArray[np.uint32]
    """The first node of each level from the root, then the number of nodes: (depth + 2,)."""

    @cached_property
    def inner_nodes(self) -> NDArray[np.int64]:
        """The nodes that have children, in increasing order: (inner nodes,)."""
        return np.flatnonzero(~self.is_leaf)

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Whether each node has no children, (nodes,)."""
        return self.first_child[1:] == self.first_child[:-1]

    @cached_property
    def fan_out(self) -> list[int]:
        """The largest number of children of a node, for each level but the last."""
        children = np.diff(self.first_child)
        levels = zip(self.level_start[:-2].tolist(), self.level_start[1:-1].tolist(), strict=True)
        return [int(children[start:stop].max()) for start, stop in levels]

    def prefixes(self, beam: int) -> int:
        """The largest number of prefixes that a search with this beam width extends, summed over all levels."""
        levels = np.diff(np.searchsorted(self.inner_nodes, self.level_start))
        return sum(min(level, beam) for level in levels.tolist())

    def documents_of(self, leaves: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The documents of the given leaf nodes, one leaf after another in corpus order, and their number per leaf."""
        numbers = leaves - np.searchsorted(self.inner_nodes, leaves)
        if not len(self.leaf_start):
            return self.documents[numbers].astype(np.int64), np.ones(len(leaves), dtype=np.int64)
        start, stop = self.leaf_start[numbers].astype(np.int64), self.leaf_start[numbers + 1].astype(np.int64)
        sizes = stop - start
        rows = np.repeat(start - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        return self.documents[rows].astype(np.int64), sizes

    def below(self, node: int, count: int, deleted: NDArray[np.integer[Any]] | None = None) -> tuple[int, list[int]]:
        """The number of documents below a node, and `count` of them at equal distances, all if there are not so many;
        those among `deleted` are left out.

        >>> build_trie(np.array([[0, 1], [0, 0], [2, -1]])).below(1, count=5)
        (2, [1, 0])
        """
        parts, first, stop = [], node, node + 1
        # the nodes below it on a level, and so their leaves and the documents of these, are a slice
        while first < stop:
            leaves = [end - int(np.searchsorted(self.inner_nodes, end)) for end in (first, stop)]
            start, end = self.leaf_start[leaves].tolist() if len(self.leaf_start) else leaves
            below = self.documents[start:end]
            parts.append(below if deleted is None or not len(deleted) else below[~np.isin(below, deleted)])
            first, stop = self.first_child[[first, stop]].tolist()
        ends = np.cumsum([len(part) for part in parts])
        total, some = int(ends[-1]), min(count, int(ends[-1]))
        chosen = []
        for place in ((2 * number + 1) * total // (2 * some) for number in range(some)):
            part = int(np.searchsorted(ends, place, side="right"))
            chosen.append(int(parts[part][place - ends[part]]))  # counted from the end of the part
        return total, chosen

    def paths(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """The node that each token of `codes` leads to, (documents, length) padded with -1; ValueError if none does."""
        paths = np.full(codes.shape, -1, dtype=np.int32)
        parent = np.zeros(len(codes), dtype=np.int64)
        for level in range(codes.shape[1]):
            active = np.flatnonzero(codes[:, level] >= 0)
            if not len(active):  # below the deepest leaf
                break
            first, stop = self.level_start[level + 1 : level + 3].astype(int)
            bounds = self.first_child[self.level_start[level] : first + 1].astype(np.int64)
            fan_out = bounds[1:] - bounds[:-1]
            parents = np.repeat(np.arange(self.level_start[level], first), fan_out)
            step = 1 << 32  # the nodes of a level are in order of parent, then token: found by bisection
            keys = parents * step + self.token[first:stop]
            wanted = parent[active] * step + codes[active, level]
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            if (keys[place] != wanted).any():
                raise ValueError("codes are not those of the trie")
            parent[active] = paths[active, level] = first + place
        return paths

    def parents(self, nodes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The parent of each node; of the root, the root."""
        places = np.searchsorted(self.first_child, nodes.astype(self.first_child.dtype), side="right") - 1
        return np.maximum(places, 0)  # the root comes before all children

    @cached_property
    def leaf_of(self) -> NDArray[np.int32]:
        """The leaf node of each document, (documents,)."""
        leaves = np.flatnonzero(self.is_leaf)
        if len(self.leaf_start):
            leaves = np.repeat(leaves, np.diff(self.leaf_start))
        leaf_of = np.empty(len(self.documents), dtype=np.int32)
        leaf_of[self.documents] = leaves
        return leaf_of

    def without_documents(self, deleted: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The nodes, in increasing order, below which no document is left when the different documents `deleted` are.

        >>> build_trie(np.array([[0, 1], [0, 0], [2, -1]])).without_documents(np.array([0, 2])).tolist()
        [2, 4]
        """
        leaves, documents = np.unique(self.leaf_of[deleted].astype(np.int64), return_counts=True)
        leaves = leaves[documents == self.documents_of(leaves)[1]]
        *upper, nodes = np.split(leaves, np.searchsorted(leaves, self.level_start[1:-1]))
        levels = [nodes]
        for leaves_of_level in reversed(upper):
            parents, children = np.unique(self.parents(nodes), return_counts=True)
            parents = parents[children == self.first_child[parents + 1] - self.first_child[parents]]
            nodes = np.union1d(parents, leaves_of_level)
            levels.append(nodes)
        return np.concatenate(levels[::-1])

    def siblings(self, paths: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first sibling of each node of `paths` and how many there are with itself; 0 where there is no node."""
        nodes = paths.astype(np.int64)
        parents = np.where(nodes < 0, 0, np.pad(nodes, ((0, 0), (1, 0)))[:, :-1])
        first = self.first_child[parents].astype(np.int64)
        count = self.first_child[parents + 1].astype(np.int64) - first
        return np.where(nodes < 0, 0, first), np.where(nodes < 0, 0, count)

    def check(self, documents: int) -> None:
        """See that the arrays are a tree over so many documents, whoever wrote them.

        Raises:
            ValueError: they are not.
        """
        nodes, levels = len(self.token), self.level_start.astype(np.int64)
        children, leaves = self.first_child.astype(np.int64), int(self.is_leaf.sum())
        starts = self.leaf_start.astype(np.int64) if len(self.leaf_start) else np.arange(leaves + 1)
        is_tree = (
            len(children) == nodes + 1
            and (np.diff(children) >= 0).all()
            and (children[:-1] > np.arange(nodes)).all()
            and (children[0], children[-1]) == (1, nodes)
            and (np.diff(levels) > 0).all()
            and (levels[0], levels[-1]) == (0, nodes)
            and (children[levels[:-1]] == levels[1:]).all()
        )
        is_full = (
            len(starts) == leaves + 1
            and (np.diff(starts) > 0).all()
            and (starts[0], starts[-1]) == (0, documents)
            and np.array_equal(np.sort(self.documents), np.arange(documents))
        )
        if not (is_tree and is_full):
            raise ValueError(f"the trie is no tree over {documents:,} documents")

    def save(self, folder: Path) -> None:
        """Write each array to a file `trie.*.npy` of the folder."""
        for name in self.__dataclass_fields__:
            np.save(folder / f"trie.{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Memory-map the arrays that `save` wrote."""
        # Copy-on-write, since PyTorch warns of memory that it may not write to.
        return cls(**{name: np.load(folder / f"trie.{name}.npy", mmap_mode="c") for name in cls.__dataclass_fields__})


def build_trie(codes: NDArray[np.integer[Any]]) -> Trie:
    """The trie over the docids `codes`, (documents, length), padded at the end with -1.

    Raises:
        ValueError: a docid is empty or the beginning of another; end such docids with a token of their own.

    >>> trie = build_trie(np.array([[0, 1], [0, 0], [2, -1]]))
    >>> trie.token.tolist(), trie.first_child.tolist(), trie.documents.tolist()
    ([0, 0, 2, 0, 1], [1, 3, 5, 5, 5, 5], [2, 1, 0])
    """
    count, length = codes.shape
    rows = np.lexsort(codes.T[::-1])  # documents in order of docid; in the loop, those whose docids reach the level
    node = np.zeros(count, dtype=np.int64)  # the node that each row has reached, numbered within its level
    tokens, fan_outs, documents, leaf_sizes, level_start = [np.zeros(1, dtype=codes.dtype)], [], [], [], [0, 1]
    for level in range(length + 1):
        nodes = level_start[-1] - level_start[-2]
        token = codes[rows, level] if level < length else np.full(len(rows), -1)
        ends = token < 0
        leaf_size = np.bincount(node[ends], minlength=nodes)
        documents.append(rows[ends].astype(np.uint32))
        leaf_sizes.append(leaf_size[leaf_size > 0])
        rows, node, token = rows[~ends], node[~ends], token[~ends]
        starts = np.ones(len(rows), dtype=bool)  # whether a row is the first one of a node on the next level
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
