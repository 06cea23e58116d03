"""Answer the evaluation queries: a TREC run file, and the time it took."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import SearchConfig
from dsi.latency import milliseconds, percentiles
from dsi.memory import PeakMemory
from dsi.model.cost import search_flops
from dsi.progress import progress
from dsi.runfile import write_run
from dsi.search.index import Index
from dsi.search.loss import is_certain, search_loss
from dsi.tsv import write_tsv

WARM_UP = 5
"""Queries searched before latency is measured."""


def search(
    out: Path, *, search: SearchConfig, split: str | None, corpus: Path, tokenizer: Path, docids: Path, model: Path
) -> dict[str, Any]:
    """Write `dsi.run` and `latency.tsv` (query_id, milliseconds; queries searched one at a time).

    Raises:
        DsiError: the device cannot compute in the precision asked for.
    """
    memory, budget = PeakMemory(), search.budget if search.exact else 0
    index = Index(corpus, tokenizer, docids, model, search.precision, search.constrained, budget)
    split = index.corpus.evaluation_split(split)
    queries = index.corpus.queries(split)
    pieces = index.encode([query.text for query in queries])
    doc_ids = index.corpus.documents["doc_id"]

    index.searcher.search(pieces[:WARM_UP], search.beam, 1)
    asked = queries[: search.latency_queries]
    alone = milliseconds(
        lambda query: index.searcher.search(index.encode([query.text]), search.beam, 1),
        progress(asked, "latency", unit="queries"),
    )
    rows = ((query.query_id, f"{ms:.3f}") for query, ms in zip(asked, alone, strict=True))
    write_tsv(out / "latency.tsv", ["query_id", "milliseconds"], rows)

    start = time.perf_counter()
    step = search.batch_size * 32
    rankings = [
        ranking
        for first in progress(range(0, len(pieces), step), "search", unit=f"x {step} queries")
        for ranking in index.searcher.search(pieces[first : first + step], search.beam, search.batch_size)
    ]
    seconds = time.perf_counter() - start
    write_run(
        out / "dsi.run",
        "dsi",
        (
            (query.query_id, [(doc_ids[number], score) for number, score in ranking.hits()])
            for query, ranking in zip(queries, rankings, strict=True)
        ),
    )
    mean_length = float(np.mean([len(query) for query in pieces]))
    counts: dict[str, Any] = {
        "split": split,
        "index_bytes": sum(
            file.stat().st_size
            for folder, kind in ((model, "*.safetensors"), (docids, "*.npy"))
            for file in folder.glob(kind)
        ),
        "queries": len(queries),
        "queries_per_second": round(len(queries) / seconds, 1),
        "latency_ms": percentiles(alone),
        "memory_bytes": memory.growth(),
    }
    if search.constrained and not search.exact:  # otherwise the prefixes are not bounded by the beam in the trie
        config = index.searcher.model.config
        counts["flops_per_query"] = search_flops(config, index.searcher.docids, mean_length, search.beam)
    if not search.constrained:
        counts["invalid_docids"] = _share(~ranking.is_docid for ranking in rankings)
        counts["invalid_first"] = _share(~ranking.is_docid[:1] for ranking in rankings)
    elif index.searcher.trie is not None and index.searcher.model.config.docid_ranking == "path":
        counts["certain_ten"] = _share([np.array([is_certain(ranking)]) for ranking in rankings])
    if search.loss_queries and index.searcher.trie is not None:
        searched, searcher = pieces[: search.loss_queries], index.searcher
        losses, certain = search_loss(searcher.model, searcher.docids, searched, search.budget, search.batch_size)
        counts["search_loss"] = {
            "queries": len(searched),
            "certain": round(certain, 4),
            "beams": {str(loss.beam): loss._asdict() for loss in losses},
        }
    return counts


def _share(flags: Iterable[NDArray[np.bool_]]) -> float:
    return round(float(np.concatenate(list(flags)).mean()), 4)
