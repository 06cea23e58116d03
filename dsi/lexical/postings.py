"""tantivy's index of the terms of documents, opened: the best documents, and what BM25 knows of the collection."""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tantivy
from numpy.typing import NDArray

from dsi.lexical import bm25

AVERAGE = "avgdl, average length of field"
"""What tantivy calls the average length where it explains a score."""


class Postings:
    """Read access to a folder that tantivy wrote."""

    def __init__(self, folder: Path) -> None:
        self.schema, self.searcher = self._opened(folder)
        self._norms: NDArray[np.float32] | None = None

    def _opened(self, folder: Path) -> tuple[tantivy.Schema, tantivy.Searcher]:
        """The schema and the searcher of postings. Readers make a file for a lock; where they may not, they get it in a
        temporary folder of links."""
        try:
            index = tantivy.Index.open(str(folder))
            return index.schema, index.searcher()
        except ValueError:
            if os.access(folder, os.W_OK):
                raise
        links = Path(tempfile.mkdtemp(prefix="dsi-"))
        weakref.finalize(self, shutil.rmtree, links, ignore_errors=True)
        for file in folder.glob("[!.]*"):  # without locks
            (links / file.name).symlink_to(file.resolve())
        index = tantivy.Index.open(str(links))
        return index.schema, index.searcher()

    def __len__(self) -> int:
        return int(self.searcher.num_docs)

    def best(self, terms: Iterable[str], count: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The doc_index and the score of the at most `count` best documents that have one of the terms, best first, of
        equal ones the earlier first."""
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, self._query(term)) for term in terms])
        found = self.searcher.search(query, count, count=False).hits
        numbers = np.array(self.searcher.fast_field_values("doc_index", [place for _, place in found]), np.uint32)
        scores = np.array([score for score, _ in found], dtype=np.float32)
        order = np.lexsort((numbers, -scores))
        return numbers[order], scores[order]

    def score(self, term: str, doc_index: int) -> float:
        """What a term adds to the score of a document each time that a query has it; 0 if the document lacks it."""
        field = ("doc_index", tantivy.FieldType.Unsigned)
        is_document = tantivy.Query.range_query(self.schema, *field, doc_index, doc_index)
        unscored = tantivy.Query.const_score_query(is_document, 0.0)
        both = [(tantivy.Occur.Must, unscored), (tantivy.Occur.Must, self._query(term))]
        found = self.searcher.search(tantivy.Query.boolean_query(both), 1, count=False).hits
        return float(found[0][0]) if found else 0.0

    def having(self, term: str) -> int:
        """The number of documents that have a term."""
        return int(self.searcher.doc_freq("terms", term))

    def weight(self, term: str) -> np.float32:
        """The weight of a term in BM25."""
        return bm25.weight(len(self), self.having(term))

    def norms(self, terms: Sequence[str]) -> NDArray[np.float32]:
        """The `bm25.norms` of the documents, (256,), read once, and sooner if a document has one of these terms."""
        if self._norms is None:
            self._norms = bm25.norms(self._average_length(terms))
        return self._norms

    def _average_length(self, terms: Sequence[str]) -> float:
        numbers = map(str, range(1_000))  # large collections have some, and all their terms take seconds to list
        known = next((term for term in (*terms, *numbers) if self.having(term)), None)
        if known is None:
            known = next((term for term, _ in self.searcher.terms_with_prefix("terms", "", limit=1)), None)
        if known is None:
            return 1.0  # no document has a term
        query = self._query(known)
        [(_, place)] = self.searcher.search(query, 1, count=False).hits
        return _explained(json.loads(query.explain(self.searcher, place).to_json()))

    def _query(self, term: str) -> tantivy.Query:
        return tantivy.Query.term_query(self.schema, "terms", term, index_option="freq")


def _explained(explanation: dict[str, Any]) -> float:
    """The average length that tantivy names in the explanation of a score."""
    parts = [explanation]
    for part in parts:
        if part["description"] == AVERAGE:
            return float(part["value"])
        parts += part.get("details", [])
    raise ValueError(f"tantivy explains a score without its {AVERAGE!r}")
