"""A saved index that is asked judged queries while it changes: RR@10 of each query, of the index with and without its
prior, and of the prior alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dsi.corpus.store import Qrel
from dsi.evaluation.measures import DEV_MEASURE, parse_measures, score_queries
from dsi.index.index import Index, load
from dsi.search.answering import Hits, Questions
from dsi.search.lexical_prior import lexical_priors

DEPTH = 10
"""The number of results that the measure looks at."""
Values = dict[str, dict[str, float]]
"""The measure of each query, by the name of the system, then by query_id."""


class Asked:
    """A saved index, opened with its prior and without."""

    def __init__(self, folder: Path, name: str) -> None:
        """Open the index in a folder, as the system `name`, and as NAME+PRIOR with its prior.

        Raises:
            DsiError: it is none, or damaged.
        """
        self.index = load(folder)
        self._name, self._prior = name, self.index.config.prior
        self._alone = load(folder, prior="none") if self._prior != "none" else self.index

    def restrict(self, without: Sequence[str]) -> None:
        """Make the index as it was saved, without the documents with these ids."""
        if self.index.log():
            self.index.restore(0)
        if without:
            self.index.delete(without)

    def values(self, questions: Questions, qrels: Sequence[Qrel], with_words: bool = False) -> Values:
        """The measure of the queries, which the judgements are of, by system; `with_words` says whether the prior alone
        is one, which has the prior's name."""
        found: dict[str, list[Hits]] = {}
        self._alone.refresh()
        texts, depth = [query.text for query in questions.queries], questions.depth(DEPTH)
        found[self._name] = _rankings(self._alone, texts, depth)
        if self._prior != "none":
            found[f"{self._name}+{self._prior}"] = _rankings(self.index, texts, depth)
            if with_words:
                found[self._prior] = list(_rankings_by_words(self.index, texts, depth))
        return {system: _values(questions, qrels, rankings) for system, rankings in found.items()}


def _values(questions: Questions, qrels: Sequence[Qrel], rankings: Sequence[Hits]) -> dict[str, float]:
    """The measure of each query."""
    run = {}
    for query, hits in zip(questions.queries, rankings, strict=True):
        ranked = questions.without_own(query.query_id, hits)[:DEPTH]
        run[query.query_id] = {doc_id: 1 / rank for rank, (doc_id, _) in enumerate(ranked, start=1)}
    _, by_query = score_queries(parse_measures([DEV_MEASURE]), qrels, run)
    return {query.query_id: by_query[query.query_id][DEV_MEASURE] for query in questions.queries}


def _rankings(index: Index, texts: Sequence[str], depth: int) -> list[Hits]:
    return [[(hit.doc_id, hit.score) for hit in hits] for hits in index.search(texts, k=depth)]


def _rankings_by_words(index: Index, texts: Sequence[str], depth: int) -> Iterator[Hits]:
    """The rankings by the prior of an index alone."""
    assert index.searcher.terms is not None  # the index has a prior
    for prior in lexical_priors(index.searcher.terms, texts, depth):
        order = np.argsort(-prior.score, kind="stable")
        doc_ids = index.corpus.doc_ids(prior.doc_index[order].tolist())
        yield list(zip(doc_ids, prior.score[order].tolist(), strict=True))
