"""An index in the pipelines and experiments of PyTerrier, which starts no Java for it.

    import pyterrier as pt
    from dsi.integrations.pyterrier import Bm25Retriever, DsiRetriever

    systems = [DsiRetriever("runs/demo"), Bm25Retriever("runs/demo")]
    pt.Experiment(systems, topics, qrels, ["recip_rank", "ndcg_cut_10"])

Raises:
    DsiError: PyTerrier is not installed.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dsi.errors import DsiError
from dsi.index.index import Index
from dsi.integrations.rankings import Rankings, opened
from dsi.runtime.extras import require
from dsi.search.lexical_prior import lexical_priors
from dsi.search.run_files import strictly_decreasing

require("pyterrier", "dsi.integrations.pyterrier")

import pandas as pd  # noqa: E402, which comes with PyTerrier
import pyterrier as pt  # noqa: E402, once it is known to be there

BM25_DOCUMENTS = 1_000
"""The number of documents that a retriever of PyTerrier gives if nothing else is said."""


class DsiRetriever(pt.Transformer):
    """Ranks the documents of an index: from a frame of queries (qid, query) to one of results (docno, score, rank).

    Other columns of the queries stay; ranks begin with 0. By default the rankings are those of `dsi evaluate`.

    Args:
        index: an index, or what `dsi.load` opens.
        k: the number of documents a query; None for as many as the beam has.
        beam: the beam; None for that of the configuration.
        texts: whether the results have the columns `title` and `text`, too.
        ignore_identical_ids: whether queries are documents, as in Quora and ArguAna (corpus.ignore_identical_ids): the
            document with the qid of a query is left out of its results.

    Raises:
        DsiError: there is no such index.
        ValueError: `k` or `beam` is below 1.
    """

    def __init__(
        self,
        index: Index | str | Path,
        k: int | None = None,
        beam: int | None = None,
        texts: bool = False,
        ignore_identical_ids: bool = False,
    ) -> None:
        super().__init__()
        self.index = opened(index)
        self.k, self.beam, self.texts, self.ignore_identical_ids = k, beam, texts, ignore_identical_ids
        self._rankings()

    def _rankings(self) -> Rankings:
        return Rankings.of(self.index, self.k, self.beam, self.ignore_identical_ids)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.query_frame(inp, extra_columns=["query"])
        found = list(self._rankings()(_queries(inp)))
        results = _results(inp, [[(hit.doc_id, hit.score) for hit in hits] for hits in found])
        for column in ("title", "text") if self.texts else ():
            results[column] = pd.Series([getattr(hit, column) for hits in found for hit in hits], dtype=object)
        return results

    def fuse_rank_cutoff(self, k: int) -> "DsiRetriever":
        """The retriever for `retriever % k`."""
        rankings = self._rankings().to(k)
        return DsiRetriever(self.index, rankings.depth, rankings.beam, self.texts, self.ignore_identical_ids)

    def __repr__(self) -> str:
        rankings = self._rankings()
        own = ", ignore_identical_ids=True" if self.ignore_identical_ids else ""
        return f"DsiRetriever({self.index!r}, k={rankings.depth}, beam={rankings.beam}{own})"


class Bm25Retriever(pt.Transformer):
    """Ranks the documents of an index by BM25, over the postings of its prior, without Java.

    Args:
        index: an index with a prior, or what `dsi.load` opens.
        k: the number of documents a query, of those that have a word of it.

    Raises:
        DsiError: there is no such index, or it has no prior.
        ValueError: `k` is below 1.
    """

    def __init__(self, index: Index | str | Path, k: int = BM25_DOCUMENTS) -> None:
        super().__init__()
        self.index, self.k = opened(index), k
        if k < 1:
            raise ValueError(f"k must be above 0, not {k}")
        if self.index.searcher.terms is None:
            raise DsiError(f"{self.index!r} has no postings; BM25 needs an index with search.prior")

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        pt.validate.query_frame(inp, extra_columns=["query"])
        terms, corpus, found = self.index.searcher.terms, self.index.corpus, list[Sequence[tuple[str, float]]]()
        assert terms is not None
        for prior in lexical_priors(terms, [text for _, text in _queries(inp)], self.k):
            doc_index, scores = prior.best(len(prior.doc_index))
            lowered = strictly_decreasing(scores.tolist()).tolist()
            found.append(list(zip(corpus.doc_ids(doc_index.tolist()), lowered, strict=True)))
        return _results(inp, found)

    def fuse_rank_cutoff(self, k: int) -> "Bm25Retriever":
        """The retriever for `retriever % k`."""
        return Bm25Retriever(self.index, min(k, self.k))

    def __repr__(self) -> str:
        return f"Bm25Retriever({self.index!r}, k={self.k})"


def _queries(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(frame["qid"].astype(str), frame["query"], strict=True))


def _results(queries: pd.DataFrame, found: Iterable[Sequence[tuple[str, float]]]) -> pd.DataFrame:
    """The frame of queries with a row for each document found, (doc_id, score) by query, the best first."""
    found = list(found)
    counts = [len(hits) for hits in found]
    results = queries.iloc[np.repeat(np.arange(len(queries)), counts)].reset_index(drop=True)
    results["docno"] = pd.Series([doc_id for hits in found for doc_id, _ in hits], dtype=object)
    results["score"] = np.array([score for hits in found for _, score in hits], dtype=np.float64)
    results["rank"] = np.array([rank for count in counts for rank in range(count)], dtype=np.int64)
    return results
