"""Answer the evaluation queries: a TREC run file, and the time it took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import SearchConfig
from dsi.corpus.store import Corpus
from dsi.model.cost import search_flops
from dsi.search.answering import Hits, ask
from dsi.search.search_errors import is_certain, search_loss
from dsi.search.searcher import Ranking
from dsi.search.text_searcher import TextSearcher

BATCHES = 32
"""Searched between two times that progress is told."""


class IndexSystem:
    """The index as a system: what it finds, and what it can say of that."""

    def __init__(self, corpus: Path, tokenizer: Path, docids: Path, model: Path, search: SearchConfig) -> None:
        self.corpus = Corpus(corpus)
        self.index = TextSearcher(tokenizer, docids, model, search)
        self.pieces = 0
        self.certain: list[bool] = []
        self.is_docid: list[NDArray[np.bool_]] = []

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        step = BATCHES * self.index.config.batch_size
        for start in range(0, len(texts), step):
            queries = self.index.encode(texts[start : start + step])
            self.pieces += sum(map(len, queries))
            for ranking in self.index.rank(queries):
                self._note(ranking)
                ids = self.corpus.doc_ids(ranking.doc_index.tolist())
                yield list(zip(ids, ranking.score.tolist(), strict=True))

    def answer_alone(self, text: str) -> list[Ranking]:
        return self.index.rank(self.index.encode([text]))

    def _note(self, ranking: Ranking) -> None:
        self.certain.append(is_certain(ranking))
        self.is_docid.append(ranking.is_docid)


def search(
    out: Path, *, search: SearchConfig, split: str | None, corpus: Path, tokenizer: Path, docids: Path, model: Path
) -> dict[str, Any]:
    """Write `dsi.run` and `dsi.latency.tsv` (query_id, milliseconds; queries searched one at a time).

    Raises:
        DsiError: the device cannot compute in the precision asked for.
    """
    documents = Corpus(corpus)
    split = documents.evaluation_split(split)
    queries = documents.queries(split)
    opened = partial(IndexSystem, corpus, tokenizer, docids, model, search)
    system, measured = ask(out, "dsi", opened, queries, search.latency_queries)
    index, searcher = system.index, system.index.searcher
    counts: dict[str, Any] = {
        "split": split,
        "index_bytes": sum(
            file.stat().st_size
            for folder, kind in ((model, "*.safetensors"), (docids, "codes.npy"), (docids, "trie.*.npy"))
            for file in folder.glob(kind)
        ),
        **measured,
    }
    if search.constrained and not search.exact:  # otherwise the prefixes are not bounded by the beam in the trie
        length = system.pieces / max(len(queries), 1)
        counts["flops_per_query"] = search_flops(
            searcher.model.config, searcher.docids, length, search.beam, search.ranking
        )
    if not search.constrained:
        counts["invalid_docids"] = _share(~flags for flags in system.is_docid)
        counts["invalid_first"] = _share(~flags[:1] for flags in system.is_docid)
    elif searcher.trie is not None and search.ranking == "path":
        counts["certain_ten"] = _share([np.array(system.certain)])
    if search.loss_queries and searcher.trie is not None:
        searched = index.encode([query.text for query in queries[: search.loss_queries]])
        losses, certain = search_loss(searcher.model, searcher.docids, searched, search.budget, search.batch_size)
        counts["search_loss"] = {
            "queries": len(searched),
            "certain": round(certain, 4),
            "beams": {str(loss.beam): loss._asdict() for loss in losses},
        }
    return counts


def _share(flags: Iterable[NDArray[np.bool_]]) -> float:
    return round(float(np.concatenate(list(flags)).mean()), 4)
