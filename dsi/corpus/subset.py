"""Nested subsets of a collection, chosen with nine bytes per document in memory.

The documents are ordered: those judged for an evaluation query, in a random order of these queries, then those judged
for a training query, then the rest, and within each group by a hash of the id. A subset takes the first ones, so a
smaller one is contained in a larger one.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Set

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.checks import check_text, id_hash
from dsi.corpus.source import Where
from dsi.corpus.store import Document

EVALUATION, TRAINING, OTHER, EMPTY = range(4)


class Survey:
    """What a pass over all documents records to choose a subset and to find repeated ids."""

    def __init__(self, evaluation: Set[str], training: Set[str], seed: int) -> None:
        """Take the ids of the documents judged for evaluation and for training queries, and the seed of the order."""
        self._evaluation, self._training, self._seed = evaluation, training, seed
        self._groups = array("B")
        self.hashes = array("Q")
        """The `id_hash` of every document, in the order of the source."""
        self.found: dict[str, int] = {}
        """The judged documents that exist and are not empty: their ids, and their row numbers in the source."""

    def watch(self, documents: Iterable[tuple[Where, Document]]) -> Iterator[Document]:
        """Yield the documents that are not empty, and record all; DsiError if an id or text cannot be stored."""
        for where, document in documents:
            check_text(where, "document", *document)
            group = self._group(document)
            self.hashes.append(id_hash(document.doc_id, self._seed))
            self._groups.append(group)
            if group in (EVALUATION, TRAINING):
                self.found[document.doc_id] = len(self._groups) - 1
            if group != EMPTY:
                yield document

    @property
    def empty(self) -> int:
        """The number of documents without title and text."""
        return self._groups.count(EMPTY)

    @property
    def judged(self) -> int:
        """The number of documents that are judged for evaluation queries and not empty."""
        return self._groups.count(EVALUATION)

    def subset(self, size: int, ranks: Mapping[str, float]) -> NDArray[np.bool_]:
        """Whether each document of the source is in the subset of `size` documents: (documents,) in source order.

        Args:
            size: the number of documents.
            ranks: the place, from 0 to 1, of the first query for which each document is judged for evaluation.
        """
        order = np.lexsort((np.asarray(self.hashes), np.asarray(self._groups)))
        if size < self.judged:
            rows = [(ranks[doc_id], self.hashes[row], row) for doc_id, row in self.found.items() if doc_id in ranks]
            order[: self.judged] = [row for *_, row in sorted(rows)]
        keep = np.zeros(len(order), dtype=np.bool_)
        keep[order[: min(size, len(order) - self.empty)]] = True
        return keep

    def _group(self, document: Document) -> int:
        if not document.content():
            return EMPTY
        if document.doc_id in self._evaluation:
            return EVALUATION
        return TRAINING if document.doc_id in self._training else OTHER
