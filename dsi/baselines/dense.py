"""Dense retrieval, exact: the inner product of a query's vector with every passage's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsi.corpus.store import Corpus, Query
from dsi.docids.embeddings import encode_corpus
from dsi.latency import milliseconds, percentiles
from dsi.model.cost import encoder_flops
from dsi.progress import progress
from dsi.runfile import write_run
from dsi.search.best import best_of_chunks

DOCUMENTS_A_CHUNK = 1 << 16
"""Scored at once."""
QUERIES_A_BATCH = 256
LATENCY_QUERIES = 100


def dense(out: Path, name: str, model: Any, corpus: Corpus, queries: list[Query], depth: int) -> dict[str, Any]:
    """Write `NAME.run`: the answers of `model`, which encodes texts as sentence-transformers models do.

    Returns:
        What it cost: seconds_index, index_bytes, parameters, latency_ms of one query at a time, encoding included, and
        the numbers of documents and queries.
    """
    start = time.monotonic()
    index = encode_corpus(out, name, model, corpus)
    seconds = time.monotonic() - start
    doc_ids = corpus.documents["doc_id"]

    def search(texts: list[str]) -> Iterator[list[tuple[str, float]]]:
        vectors = torch.from_numpy(np.asarray(model.encode(texts, show_progress_bar=False), dtype=np.float32))
        chunks = (
            vectors @ torch.from_numpy(np.asarray(index[start : start + DOCUMENTS_A_CHUNK], dtype=np.float32)).T
            for start in range(0, len(index), DOCUMENTS_A_CHUNK)
        )
        numbers, scores = best_of_chunks(chunks, depth)
        for row, found in zip(scores.tolist(), numbers.tolist(), strict=True):
            yield [(doc_ids[number], score) for number, score in zip(found, row, strict=True)]

    batches = range(0, len(queries), QUERIES_A_BATCH)
    answers = (
        (query.query_id, hits)
        for first in progress(batches, f"{name} search", unit=f"x {QUERIES_A_BATCH} queries")
        for batch in [queries[first : first + QUERIES_A_BATCH]]
        for query, hits in zip(batch, search([query.text for query in batch]), strict=True)
    )
    write_run(out / f"{name}.run", name, answers)
    times = milliseconds(lambda query: list(search([query.text])), queries[:LATENCY_QUERIES])
    mean_length = float(np.mean([len(pieces) for pieces in model.tokenizer([q.text for q in queries])["input_ids"]]))
    return {
        "seconds_index": round(seconds, 2),
        "index_bytes": index.nbytes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "latency_ms": percentiles(times),
        "flops_per_query": encoder_flops(model, mean_length) + 2.0 * index.size,
        "documents": len(corpus),
        "queries": len(queries),
    }
