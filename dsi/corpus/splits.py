"""The queries and judgements of one split, and which of them remain once the documents are known."""

from array import array
from collections import Counter
from collections.abc import Set
from itertools import islice
from typing import NamedTuple

from dsi.config import TRAIN
from dsi.corpus.checks import check_text, check_unique, id_hash
from dsi.corpus.source import Source, Where
from dsi.corpus.store import Qrel, Query
from dsi.errors import DsiError

COUNTS = (
    "queries",
    "qrels",
    "queries_in_source",
    "qrels_in_source",
    "empty_queries",
    "queries_without_judgement",
    "queries_left_out",
    "queries_outside_subset",
    "repeated_qrels",
    "qrels_of_empty_queries",
    "unknown_queries",
    "unknown_documents",
    "qrels_outside_subset",
)
"""What the manifest counts per split. `unknown_documents` are judgements on unknown or empty documents."""


class Judgement(NamedTuple):
    """The relevance of a document to a query, and where the source says so."""

    relevance: int
    where: Where


class Split:
    """The judged queries and the judgements of a split. Queries without judgements, which may be many, are not kept."""

    def __init__(self, source: Source, name: str, limit: int | None = None) -> None:
        """Read the split `name` and keep the first `limit` of its judged queries, by default all.

        Raises:
            DsiError: the source is faulty, has a query twice, or two judgements contradict each other.
        """
        self.name = name
        self.counts = Counter(dict.fromkeys(COUNTS, 0))
        self._judgements = self._read_judgements(source)
        judged = {query_id for query_id, _ in self._judgements}
        self._empty: set[str] = set()
        self._queries = self._read_queries(source, judged)
        if limit is not None:
            left_out = set(islice(self._queries, limit, None))
            self.counts["queries_left_out"] = len(left_out)
            self._queries = {query: text for query, text in self._queries.items() if query not in left_out}
            self._judgements = {ids: value for ids, value in self._judgements.items() if ids[0] not in left_out}

    @property
    def judged_documents(self) -> set[str]:
        """The ids of all documents that have a judgement for a query of this split."""
        return {doc_id for query_id, doc_id in self._judgements if query_id in self._queries}

    def ranks(self, seed: int) -> dict[str, float]:
        """The place of the first query of each judged document in a random order of the queries, from 0 to 1."""
        order = sorted(self._queries, key=lambda query_id: id_hash(query_id, seed))
        places = {query_id: place / len(order) for place, query_id in enumerate(order)}
        ranks: dict[str, float] = {}
        for query_id, doc_id in self._judgements:
            if query_id in places:
                ranks[doc_id] = min(places[query_id], ranks.get(doc_id, 1.0))
        return ranks

    def restrict(self, known: Set[str], kept: Set[str], max_unknown: float) -> tuple[list[Query], list[Qrel]]:
        """The queries with a judgement on a document that is kept, and these judgements; all others are counted.

        Queries to evaluate by are kept only if all documents that are judged for them are.

        Args:
            known: ids of the judged documents that exist and are not empty.
            kept: ids of the judged documents that are in the subset.
            max_unknown: the tolerated share of judgements on unknown documents or queries.

        Raises:
            DsiError: the share of unknown ones is larger, or no query has a judgement on a document of the corpus.
        """
        qrels, outside, fault = [], set(), ""
        for (query_id, doc_id), (relevance, where) in self._judgements.items():
            if query_id in self._empty:
                self.counts["qrels_of_empty_queries"] += 1
            elif query_id not in self._queries:
                self.counts["unknown_queries"] += 1
                fault = fault or f"{where}: there is no query {query_id!r}"
            elif doc_id not in known:
                self.counts["unknown_documents"] += 1
                fault = fault or f"{where}: there is no document {doc_id!r}, or it is empty"
            elif doc_id not in kept:
                self.counts["qrels_outside_subset"] += 1
                outside.add(query_id)
            else:
                qrels.append(Qrel(query_id, doc_id, relevance))
        unknown_queries, unknown_documents = self.counts["unknown_queries"], self.counts["unknown_documents"]
        unknown, total = unknown_queries + unknown_documents, len(self._judgements)
        if unknown > max_unknown * total:
            raise DsiError(
                f"{fault}; of the {total} judgements of split {self.name}, {unknown_documents} name an unknown or empty"
                f" document and {unknown_queries} an unknown query, a share of {unknown / total:.2g}; correct them, or"
                f" raise corpus.max_unknown, now {max_unknown:g}, to drop them"
            )
        if self.name != TRAIN:
            whole = [qrel for qrel in qrels if qrel.query_id not in outside]
            self.counts["qrels_outside_subset"] += len(qrels) - len(whole)
            qrels = whole
        remaining = {qrel.query_id for qrel in qrels}
        if not remaining and not outside:
            raise DsiError(
                f"split {self.name} has no query with a judgement on a document of the corpus; correct its files, or"
                " name others under corpus.splits"
            )
        queries = [Query(*item) for item in self._queries.items() if item[0] in remaining]
        self.counts["queries"], self.counts["qrels"] = len(queries), len(qrels)
        self.counts["queries_outside_subset"] = len(outside - remaining)
        self.counts["queries_without_judgement"] += len(self._queries) - len(outside | remaining)
        return queries, qrels

    def _read_judgements(self, source: Source) -> dict[tuple[str, str], Judgement]:
        judgements: dict[tuple[str, str], Judgement] = {}
        for where, qrel in source.qrels(self.name):
            self.counts["qrels_in_source"] += 1
            new = Judgement(qrel.relevance, where)
            old = judgements.setdefault((qrel.query_id, qrel.doc_id), new)
            self.counts["repeated_qrels"] += old is not new
            if old.relevance != new.relevance:
                raise DsiError(
                    f"{where}: relevance of document {qrel.doc_id!r} to query {qrel.query_id!r} is {new.relevance}, but"
                    f" {old.relevance} before: {old.where}; remove one of the two"
                )
        if judgements and all(judgement.relevance <= 0 for judgement in judgements.values()):
            raise DsiError(
                f"{where.name}: none of the {len(judgements)} judgements of split {self.name} is above 0, so nothing is"
                " relevant; is the relevance in its column?"
            )
        return judgements

    def _read_queries(self, source: Source, judged: Set[str]) -> dict[str, str]:
        queries: dict[str, str] = {}
        hashes = array("Q")
        for where, query in source.queries(self.name):
            check_text(where, "query", *query)
            hashes.append(id_hash(query.query_id))
            if not query.text.strip():
                self._empty.add(query.query_id)
            elif query.query_id in judged:
                queries[query.query_id] = query.text
            else:
                self.counts["queries_without_judgement"] += 1
        check_unique("query", hashes, ((where, query.query_id) for where, query in source.queries(self.name)), seed=0)
        self.counts["queries_in_source"], self.counts["empty_queries"] = len(hashes), len(self._empty)
        return queries
