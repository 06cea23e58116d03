"""The queries that decide: the first ones of a split with their judgements, and the measure of an answer to them."""

from collections.abc import Iterable, Mapping

from dsi.corpus.store import Corpus
from dsi.evaluation.measures import parse_measures, score_run
from dsi.search.answering import Hits, Questions
from dsi.search.run_files import strictly_decreasing

LIMIT = 1_000
"""The largest number of queries that decide."""


class DevQueries:
    """The first queries of a split and a measure, by which parameters are chosen.

    Raises:
        DsiError: there is no such measure, or no such split, in which case `key` names the part of the configuration
            that needs it.
    """

    def __init__(self, corpus: Corpus, measure: str, split: str, key: str) -> None:
        corpus.check_split(key, split)
        self.split, self.measure, self._measures = split, measure, parse_measures([measure])
        self.questions = Questions(corpus.queries(split)[:LIMIT], corpus.identical(split))
        chosen = {query.query_id for query in self.questions.queries}
        self._qrels = [qrel for qrel in corpus.qrels(split) if qrel.query_id in chosen]

    def depth(self, depth: int) -> int:
        """The number of documents to ask a system for, of which the measure looks at no more than `depth`."""
        cutoff: int | None = getattr(self._measures[self.measure], "params", {}).get("cutoff")
        return self.questions.depth(min(depth, cutoff or depth))

    def value(self, rankings: Iterable[tuple[str, Hits]] | Mapping[str, Hits]) -> float:
        """The measure of rankings, given by query_id, best document first; a query that is a document does not count
        it."""
        run = {}
        for query_id, hits in dict(rankings).items():
            others = self.questions.without_own(query_id, hits)
            scores = strictly_decreasing([score for _, score in others]).tolist()
            run[query_id] = {doc_id: score for (doc_id, _), score in zip(others, scores, strict=True)}
        return score_run(self._measures, self._qrels, run)[self.measure]
