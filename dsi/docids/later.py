"""Docids of documents that come after the others, which keep theirs.

A document goes the way that its content or id decides, down the clusters or along the letters of its id, and gets the
next number below it. If the head has a row per trie node, a number may be new, since the decoder never reads the last
token of a docid; and a leaf cluster that has come to hold more than twice as many documents as the largest one held at
first is divided as it would have been then, by k-means, which moves its documents alone. If the head has a row per
token, there are no rows but those trained: a document below a way whose numbers are all taken shares the docid of the
nearest document there.

Documents are taken one after the other, so that it does not matter how many are added at a time.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import DocidsConfig
from dsi.docids.clustered import Clustered
from dsi.docids.kind import Kind, NewDocument
from dsi.docids.kmeans import Floats, Read, kmeans, nearest
from dsi.docids.semantic import Semantic
from dsi.docids.store import Codes, Docids, DocidsInMemory, Vocabulary

LARGER = 2
"""A leaf cluster is divided once it holds more than so many times the documents of the largest one at first."""
SEED = 0
"""The seed of the k-means that divides leaves."""

Way = tuple[int, ...]


@dataclass(frozen=True)
class LaterDocids:
    """The docids of later documents, and what changes for them."""

    codes: Codes
    """The docid tokens of the new documents, (new documents, length), padded at the end with -1."""
    moved: NDArray[np.int64]
    """The row numbers of the documents before that have another docid now, in increasing order: (moved,)."""
    moved_codes: Codes
    """Their docid tokens, (moved, length), padded at the end with -1."""
    vocabulary: Vocabulary
    kind: Kind
    """The kind that assigned the docids, with the clusters that leaves were divided into."""
    shared: int
    """The number of new documents that got the docid of another one."""

    def joined(self, docids: Docids) -> DocidsInMemory:
        """The docids of all documents, from those before."""
        return joined(docids, self.vocabulary, self.codes, self.moved, self.moved_codes)


def joined(
    before: Docids, vocabulary: Vocabulary, later: Codes, moved: NDArray[np.int64], moved_codes: Codes
) -> DocidsInMemory:
    """The docids of all documents: those `before`, of which those in the rows `moved` have others, and `later` ones."""
    known = len(before.codes)
    codes = np.full((known + len(later), vocabulary.length), -1, dtype=np.int32)
    codes[:known, : before.codes.shape[1]] = before.codes
    codes[moved] = moved_codes
    codes[known:] = later
    return DocidsInMemory(before.folder, vocabulary, codes)


def later_docids(
    docids: Docids,
    kind: Kind,
    documents: Sequence[NewDocument],
    vectors: Read,
    *,
    has_node_rows: bool,
    deleted: AbstractSet[int] = frozenset(),
) -> LaterDocids:
    """Assign docids to new documents.

    Args:
        docids: those of the documents before.
        kind: what assigned them (see `dsi.docids.kinds.opened`).
        documents: the new documents; their row numbers follow those before, in order.
        vectors: reads the vectors of documents before, in increasing order of row number: (documents, width) float32.
            It is called for kinds that cluster only, for the documents of a leaf that is divided or full.
        has_node_rows: whether the docid head has a row per trie node (hierarchical_softmax) rather than per token.
        deleted: row numbers of documents before that are deleted. Their docids are given to no other document, unless
            it can only be shared. They do not count to the size of a leaf; where one is divided, they go to the end of
            its first child.

    Raises:
        ValueError: the row numbers are not those that follow.
        DsiError: naive docids cannot spell an id.
    """
    rows = [document.doc_index for document in documents]
    first = len(docids.codes)
    if rows != list(range(first, first + len(rows))):
        raise ValueError(f"the row numbers of new documents must count from {first}")
    if docids.is_atomic:
        codes = np.arange(first, first + len(rows), dtype=np.int32)[:, None]
        vocabulary = replace(docids.vocabulary, tokens=first + len(rows))
        return LaterDocids(codes, np.zeros(0, dtype=np.int64), codes[:0], vocabulary, kind, shared=0)
    growing = _Growing(docids, kind, vectors, has_node_rows, deleted)
    for document in documents:
        growing.add(document)
    return growing.result()


@dataclass
class _Leaf:
    """The documents whose docids begin with a way, and what follows it in them."""

    last: dict[int, int] = field(default_factory=dict)
    """The token after the way by row number, -1 where the docid ends with the way."""
    taken: set[int] = field(default_factory=set)
    """These tokens."""
    next: int = 0
    """All numbers below it are taken."""
    living: int = 0
    """How many of the documents are not deleted."""
    first: dict[int, int] = field(default_factory=dict)
    """The first document with each such token that is not deleted."""
    same: Floats | None = None
    """If k-means could not divide the documents, the vector that all of them have: (width,)."""


class _Growing:
    """The docids while documents are added."""

    def __init__(
        self, docids: Docids, kind: Kind, vectors: Read, has_node_rows: bool, deleted: AbstractSet[int]
    ) -> None:
        self.docids, self.kind, self.vocabulary = docids, kind, docids.vocabulary
        self.centroids: Any = kind.centroids if isinstance(kind, Clustered) else None
        self.vectors, self.has_node_rows, self.deleted = vectors, has_node_rows, deleted
        self.tokens: dict[tuple[int, int], int] = {}  # those that are new, by position and number
        self.codes: dict[int, Way] = {}
        self.leaves: dict[Way, _Leaf] = {}
        self.known: dict[int, Floats] = {}
        self.shared = 0
        if isinstance(kind, Semantic) and has_node_rows and not self.vocabulary.largest_leaf:
            leaf_clusters = docids.trie.parents(docids.trie.leaf_of)
            self.vocabulary = replace(self.vocabulary, largest_leaf=int(np.bincount(leaf_clusters).max()))

    def add(self, document: NewDocument) -> None:
        """Give a document its docid."""
        row = document.doc_index
        if not isinstance(self.kind, Clustered):
            way = tuple(self.kind.way(document))
            leaf = self._leaf(way)
            self.shared += leaf.living > 0
            self._put(way, leaf, row, -1)
            return
        assert document.vector is not None
        self.known[row] = np.asarray(document.vector, dtype=np.float32)
        path = self.centroids.way(document.vector)
        way = tuple(self._token(position, number) for position, number in enumerate(path))
        leaf = self._leaf(way)
        if not leaf.last and not self.kind.is_numbered:
            self._put(way, leaf, row, -1)
        elif not self.has_node_rows:
            self._number_or_share(way, leaf, row)
        else:
            if -1 in leaf.taken:  # the way was the docid of one document, which would begin that of the other
                leaf.taken.discard(-1)
                for other in sorted(leaf.last):
                    self._number(way, leaf, other)
            self._number(way, leaf, row)
            if isinstance(self.kind, Semantic) and leaf.living > LARGER * self.vocabulary.largest_leaf:
                self._divide(path, way, leaf, row)

    def result(self) -> LaterDocids:
        length = max([self.vocabulary.length, *map(len, self.codes.values())])
        vocabulary = replace(self.vocabulary.with_numbers(list(self.tokens)), length=length)
        kind = self.kind
        if isinstance(kind, Clustered):
            kind = type(kind)(self.centroids, vocabulary)
        rows = np.array(sorted(self.codes), dtype=np.int64)
        codes = np.full((len(rows), length), -1, dtype=np.int32)
        for code, row in zip(codes, rows.tolist(), strict=True):
            code[: len(self.codes[row])] = self.codes[row]
        before = int(np.searchsorted(rows, len(self.docids.codes)))
        return LaterDocids(codes[before:], rows[:before], codes[:before], vocabulary, kind, self.shared)

    def _leaf(self, way: Way) -> _Leaf:
        """The documents below a way that leads to no inner cluster."""
        if way not in self.leaves:
            leaf = self.leaves[way] = _Leaf()
            for row, last in self._below(way):
                self._enter(leaf, row, last)
        return self.leaves[way]

    def _below(self, way: Way) -> list[tuple[int, int]]:
        """The documents before whose docids begin with a way, in corpus order, and the tokens that follow, or -1."""
        trie, node = self.docids.trie, 0
        for token in way:
            first, stop = trie.first_child[node : node + 2].tolist()
            node = first + int(np.searchsorted(trie.token[first:stop], token))
            if node == stop or trie.token[node] != token:
                return []
        children = np.arange(*trie.first_child[node : node + 2].tolist())
        leaves = children if len(children) else np.array([node])
        documents, sizes = trie.documents_of(leaves)
        last = np.repeat(trie.token[leaves].astype(np.int64) if len(children) else -1, sizes)
        return sorted(zip(documents.tolist(), last.tolist(), strict=True))

    def _put(self, way: Way, leaf: _Leaf, row: int, last: int) -> None:
        """Give a document the docid that is a way and, unless it is -1, a last token."""
        self.codes[row] = (*way, last) if last >= 0 else way
        self._enter(leaf, row, last)

    def _enter(self, leaf: _Leaf, row: int, last: int) -> None:
        if row not in self.deleted:
            leaf.living += row not in leaf.last
            leaf.first.setdefault(last, row)
        leaf.last[row] = last
        leaf.taken.add(last)

    def _number(self, way: Way, leaf: _Leaf, row: int) -> None:
        """Give a document the next number below a way."""
        last = self._free(way, leaf)
        self._put(way, leaf, row, last if last >= 0 else self._new_token(len(way), leaf.next))

    def _number_or_share(self, way: Way, leaf: _Leaf, row: int) -> None:
        """Give a document the next number that has a token, or else the docid of the nearest document that has one."""
        last = -1 if -1 in leaf.taken else self._free(way, leaf)
        if last < 0:
            others = sorted(leaf.first.values()) or [max(leaf.last)]
            place = nearest(self.known[row][None], self._read(others))[0][0] if len(others) > 1 else 0
            last = leaf.last[others[place]]
            self.shared += 1
        self._put(way, leaf, row, last)

    def _free(self, way: Way, leaf: _Leaf) -> int:
        """The token of the first number that is not taken, which is then `leaf.next`; -1 if it has none."""
        while (token := self._token(len(way), leaf.next)) >= 0 and token in leaf.taken:
            leaf.next += 1
        return token

    def _token(self, position: int, number: int) -> int:
        """The token of a number on a position, -1 if there is none."""
        token = self.vocabulary.token(position, number)
        return token if token >= 0 else self.tokens.get(self._key(position, number), -1)

    def _new_token(self, position: int, number: int) -> int:
        """The token of a number on a position, a new one if there is none."""
        token = self._token(position, number)
        if token < 0:
            token = self.tokens[self._key(position, number)] = self.vocabulary.tokens + len(self.tokens)
        return token

    def _key(self, position: int, number: int) -> tuple[int, int]:
        return (position if self.vocabulary.sizes else 0, number)  # or all positions share their tokens

    def _divide(self, path: list[int], way: Way, leaf: _Leaf, newest: int) -> None:
        """Make children of a leaf cluster, and of those that are still too large, unless all documents are the same."""
        if leaf.same is not None and np.array_equal(self.known[newest], leaf.same):
            return
        rows = sorted(leaf.last.keys() - self.deleted)
        points = self._read(rows)
        children = int(np.diff(self.centroids.first_child).max()) or DocidsConfig().clusters
        random = np.random.default_rng([SEED, len(path), rows[0]])
        labels, means = kmeans(points.__getitem__, len(rows), children, random)
        if not labels.any():
            leaf.same = points[0]
            return
        del self.leaves[way]
        self.centroids = self.centroids.divided(path, means)
        gone = sorted(leaf.last.keys() & self.deleted)
        for number in range(len(means)):
            of_child = [row for row, label in zip(rows, labels.tolist(), strict=True) if label == number]
            child_way, child = (*way, self._new_token(len(way), number)), _Leaf()
            self.leaves[child_way] = child
            for row in of_child + (gone if number == 0 else []):
                self._number(child_way, child, row)
            if child.living > LARGER * self.vocabulary.largest_leaf:
                self._divide([*path, number], child_way, child, of_child[-1])

    def _read(self, rows: list[int]) -> Floats:
        """The vectors of documents, (documents, width)."""
        missing = [row for row in rows if row not in self.known]
        if missing:
            self.known.update(zip(missing, np.asarray(self.vectors(np.array(missing)), np.float32), strict=True))
        return np.stack([self.known[row] for row in rows])
