"""The choice of BM25's k1 and b on dev queries, as the index is chosen on them."""

import time
from itertools import product
from typing import Any, Protocol

from dsi.config import DEV, Bm25Config
from dsi.corpus.store import Corpus
from dsi.runtime.progress import progress
from dsi.search.answering import System
from dsi.tuning.dev_queries import DevQueries

K1 = [0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]
B = [0.3, 0.4, 0.5, 0.6, 0.75, 0.9]


def candidates(given: Bm25Config) -> list[Bm25Config]:
    """The configured k1 and b, then those of the grid."""
    grid = [given.model_copy(update={"k1": k1, "b": b}) for k1, b in product(K1, B)]
    return [given, *grid]


class Tunable(System, Protocol):
    """A system whose k1 and b can be set."""

    def set_parameters(self, config: Bm25Config) -> None:
        """Search with this k1 and b from now on."""


class Tuning:
    """The dev queries of a corpus and a measure, by which k1 and b are chosen.

    Raises:
        DsiError: there is no split dev, or no such measure.
    """

    def __init__(self, corpus: Corpus, measure: str) -> None:
        self.queries, self.documents = DevQueries(corpus, measure, DEV, "baselines.bm25.tune"), len(corpus)
        self.depth = self.queries.depth

    def choose(self, system: Tunable, given: Bm25Config, name: str) -> tuple[Bm25Config, dict[str, Any]]:
        """The first of the `candidates` with which the system is best; the split, the number of queries, the measure,
        its value, the number of candidates and the seconds."""
        start, values = time.monotonic(), list[float]()
        tried = candidates(given)
        for each in progress(tried, f"{name} tune", unit="pairs"):
            system.set_parameters(each)
            values.append(self.queries.value(self.queries.questions.rankings(system, self.documents)))
        best = values.index(max(values))  # the first of the best
        return tried[best], {
            "split": DEV,
            "queries": len(self.queries.questions.queries),
            "measure": self.queries.measure,
            "value": round(values[best], 4),
            "pairs": len(values),
            "seconds": round(time.monotonic() - start, 2),
        }
