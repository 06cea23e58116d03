"""The choice of BM25's k1 and b on dev queries, as the index is chosen on them."""

import time
from itertools import product
from typing import Any, Protocol

from dsi.config import DEV, Bm25Config
from dsi.corpus.store import Corpus
from dsi.evaluation.measures import parse_measures, score_run
from dsi.runtime.progress import progress
from dsi.search.answering import Questions, System
from dsi.search.run_files import strictly_decreasing

K1 = [0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]
B = [0.3, 0.4, 0.5, 0.6, 0.75, 0.9]
DEV_QUERIES = 1_000
"""The largest number of dev queries, the first ones, that decide."""


def candidates(given: Bm25Config) -> list[Bm25Config]:
    """The configured k1 and b, then those of the grid."""
    grid = [given.model_copy(update={"k1": k1, "b": b}) for k1, b in product(K1, B)]
    return [given, *grid]


class Tunable(System, Protocol):
    """A system whose k1 and b can be set."""

    def set_parameters(self, config: Bm25Config) -> None:
        """Search with this k1 and b from now on."""


class Tuning:
    """The dev queries of a corpus and a measure, by which parameters are chosen.

    Raises:
        DsiError: there is no split dev, or no such measure.
    """

    def __init__(self, corpus: Corpus, measure: str) -> None:
        corpus.check_split("baselines.bm25.tune", DEV)
        self.corpus, self.measure, self.measures = corpus, measure, parse_measures([measure])
        self.questions = Questions(corpus.queries(DEV)[:DEV_QUERIES], corpus.identical(DEV))
        chosen = {query.query_id for query in self.questions.queries}
        self.qrels = [qrel for qrel in corpus.qrels(DEV) if qrel.query_id in chosen]

    def depth(self, depth: int) -> int:
        """The number of documents to ask a system for, of which the measure looks at no more than `depth`."""
        cutoff: int | None = getattr(self.measures[self.measure], "params", {}).get("cutoff")
        return self.questions.depth(min(depth, cutoff or depth))

    def choose(self, system: Tunable, given: Bm25Config, name: str) -> tuple[Bm25Config, dict[str, Any]]:
        """The first of the `candidates` with which the system is best; the split, the number of queries, the measure,
        its value, the number of candidates and the seconds."""
        start, values = time.monotonic(), list[float]()
        tried = candidates(given)
        for each in progress(tried, f"{name} tune", unit="pairs"):
            system.set_parameters(each)
            values.append(self._value(system))
        best = values.index(max(values))  # the first of the best
        return tried[best], {
            "split": DEV,
            "queries": len(self.questions.queries),
            "measure": self.measure,
            "value": round(values[best], 4),
            "pairs": len(values),
            "seconds": round(time.monotonic() - start, 2),
        }

    def _value(self, system: System) -> float:
        run = {}
        for query_id, hits in self.questions.rankings(system, len(self.corpus)):
            scores = strictly_decreasing([score for _, score in hits]).tolist()
            run[query_id] = {doc_id: score for (doc_id, _), score in zip(hits, scores, strict=True)}
        return score_run(self.measures, self.qrels, run)[self.measure]
