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
from dsi.search.search_errors import is_certified, search_errors
from dsi.search.searcher import Ranking
from dsi.search.text_searcher import TextSearcher

BATCHES = 32
"""Searched between two times that progress is told."""


class IndexSystem:
    """The index as a system: what it finds, and what it can say of that."""

    def __init__(
        self, corpus_folder: Path, tokenizer_folder: Path, docids_folder: Path, model_folder: Path, search: SearchConfig
    ) -> None:
        self.corpus = Corpus(corpus_folder)
        self.index = TextSearcher(tokenizer_folder, docids_folder, model_folder, search)
        self.token_ids = 0
        self.certified: list[bool] = []
        self.is_docid: list[NDArray[np.bool_]] = []

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        step = BATCHES * self.index.config.batch_size
        for start in range(0, len(texts), step):
            queries = self.index.encode(texts[start : start + step])
            self.token_ids += sum(map(len, queries))
            for ranking in self.index.rank(queries):
                self._note(ranking)
                ids = self.corpus.doc_ids(ranking.doc_index.tolist())
                yield list(zip(ids, ranking.score.tolist(), strict=True))

    def answer_alone(self, text: str) -> list[Ranking]:
        return self.index.rank(self.index.encode([text]))

    def _note(self, ranking: Ranking) -> None:
        self.certified.append(is_certified(ranking))
        self.is_docid.append(ranking.is_docid)


def search(
    out_folder: Path,
    *,
    search: SearchConfig,
    split: str | None,
    corpus_folder: Path,
    tokenizer_folder: Path,
    docids_folder: Path,
    model_folder: Path,
) -> dict[str, Any]:
    """Write `dsi.run` and `dsi.latency.tsv` (query_id, milliseconds; queries searched one at a time).

    Raises:
        DsiError: the device cannot compute in the precision asked for.
    """
    documents = Corpus(corpus_folder)
    split = documents.evaluation_split(split)
    queries = documents.queries(split)
    opened = partial(IndexSystem, corpus_folder, tokenizer_folder, docids_folder, model_folder, search)
    system, measured = ask(out_folder, "dsi", opened, queries, search.latency_queries)
    index, searcher = system.index, system.index.searcher
    counts: dict[str, Any] = {
        "split": split,
        "index_bytes": sum(
            file.stat().st_size
            for folder, kind in (
                (model_folder, "*.safetensors"),
                (docids_folder, "codes.npy"),
                (docids_folder, "trie.*.npy"),
            )
            for file in folder.glob(kind)
        ),
        **measured,
    }
    if search.constrained and not search.exact:  # otherwise the prefixes are not bounded by the beam in the trie
        length = system.token_ids / max(len(queries), 1)
        counts["flops_per_query"] = search_flops(
            searcher.model.config, searcher.docids, length, search.beam, search.ranking
        )
    if not search.constrained:
        counts["invalid_docids"] = _share(~flags for flags in system.is_docid)
        counts["invalid_first"] = _share(~flags[:1] for flags in system.is_docid)
    elif searcher.trie is not None and search.ranking == "path":
        counts["certified_ten"] = _share([np.array(system.certified)])
    if search.error_queries and searcher.trie is not None:
        searched = index.encode([query.text for query in queries[: search.error_queries]])
        errors, certified = search_errors(searcher.model, searcher.docids, searched, search.max_beam, search.batch_size)
        counts["search_errors"] = {
            "queries": len(searched),
            "certified": round(certified, 4),
            "beams": {str(of_beam.beam): of_beam._asdict() for of_beam in errors},
        }
    return counts


def _share(flags: Iterable[NDArray[np.bool_]]) -> float:
    return round(float(np.concatenate(list(flags)).mean()), 4)
