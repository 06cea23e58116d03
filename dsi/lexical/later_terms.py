"""The terms of documents that come after the postings of an index were written, as postings in a few flat arrays.

The postings of term t, by the order of the hashes, are those from `start[t]` to `start[t + 1]`, in corpus order. For
100,000 documents of 50 different terms they take about 26 MB.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsi.corpus.checks import id_hash
from dsi.lexical.analysis import terms_of
from dsi.lexical.bm25 import length_classes

LONGEST = 65_530
"""The bytes of the longest term that tantivy keeps; longer ones it does not count either."""


@dataclass(frozen=True)
class LaterPostings:
    """The postings of documents whose row numbers follow each other."""

    first_document: int
    """The doc_index of the first of them."""
    length_class: NDArray[np.uint8]
    """The number of terms of each document, by its place in `LENGTHS`, (documents,)."""
    term: NDArray[np.uint64]
    """The `id_hash` of each term, (terms,), increasing; two terms share one in one of a million large collections."""
    start: NDArray[np.int64]
    """The first posting of each term, then the number of postings: (terms + 1,)."""
    document: NDArray[np.uint32]
    """The document of each posting, counted from the first, (postings,)."""
    frequency: NDArray[np.unsignedinteger[Any]]
    """How often the document has the term, (postings,), in the smallest unsigned type."""

    def __len__(self) -> int:
        return len(self.length_class)

    def postings_of(self, hashed: np.uint64) -> slice:
        """The places of the postings of the term with this `id_hash`."""
        place = int(self.term.searchsorted(hashed))
        if place == len(self.term) or self.term[place] != hashed:
            return slice(0, 0)
        return slice(int(self.start[place]), int(self.start[place + 1]))

    def scores(
        self, postings: slice, weight: np.float32, norms: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The documents of some postings, counted from the first, and what a term of this weight adds to the BM25 score
        of each, (postings,). `weight` and `norms` are those of `dsi.lexical.bm25`."""
        documents = self.document[postings].astype(np.intp)  # other types make slow indices
        frequency = self.frequency[postings].astype(np.float32)
        return documents, weight * (frequency / (frequency + norms.take(self.length_class.take(documents))))

    @classmethod
    def joined(cls, several: Sequence[Self]) -> Self:
        """The postings of all documents of several that follow each other, at least one.

        Raises:
            ValueError: they do not follow each other.
        """
        check_order(several, several[0].first_document)
        first = several[0].first_document
        shifted = [part.document + np.uint32(part.first_document - first) for part in several]
        return cls(
            first,
            np.concatenate([part.length_class for part in several]),
            *_sorted(
                np.concatenate([np.repeat(part.term, np.diff(part.start)) for part in several]),
                np.concatenate(shifted),
                np.concatenate([part.frequency for part in several]),
            ),
        )

    def save(self, folder: Path) -> None:
        """Write each field to a file `later.*.npy` of the folder."""
        for name in self.__dataclass_fields__:
            np.save(folder / f"later.{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Memory-map the arrays that `save` wrote."""
        fields = {name: np.load(folder / f"later.{name}.npy", mmap_mode="r") for name in cls.__dataclass_fields__}
        return cls(**{**fields, "first_document": int(fields["first_document"])})


def check_order(several: Sequence[LaterPostings], first_document: int) -> None:
    """See that the documents of several postings follow each other from the one with this doc_index on.

    Raises:
        ValueError: they do not.
    """
    stops = [first_document, *(part.first_document + len(part) for part in several)]
    if stops[:-1] != [part.first_document for part in several]:
        raise ValueError("the postings of later documents do not follow each other")


def later_postings(contents: Iterable[str], first_document: int, language: str) -> LaterPostings:
    """The postings of documents, of which the first one gets `first_document` as its doc_index."""
    numbers: dict[str, int] = {}
    term, frequency, different, lengths = list[int](), list[int](), list[int](), list[int]()
    for content in contents:
        terms = [term for term in terms_of(content, language) if len(term.encode()) <= LONGEST]
        counted = Counter(terms)
        term += [numbers.setdefault(name, len(numbers)) for name in counted]
        frequency += counted.values()
        different.append(len(counted))
        lengths.append(len(terms))
    hashes = np.array([id_hash(name) for name in numbers], dtype=np.uint64)
    return LaterPostings(
        first_document,
        length_classes(np.array(lengths, dtype=np.int64)),
        *_sorted(
            hashes[np.array(term, dtype=np.int64)],
            np.repeat(np.arange(len(different), dtype=np.uint32), different),
            np.array(frequency, dtype=np.int64),
        ),
    )


def _sorted(
    hashes: NDArray[np.uint64], document: NDArray[np.uint32], frequency: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint32], NDArray[np.unsignedinteger[Any]]]:
    """The terms, starts, documents and frequencies of postings in corpus order with the hashes of their terms."""
    order = np.argsort(hashes, kind="stable")
    term, sizes = np.unique(hashes, return_counts=True)
    smallest = np.min_scalar_type(int(frequency.max(initial=0)))
    return term, np.concatenate([[0], np.cumsum(sizes)]), document[order], frequency[order].astype(smallest)
