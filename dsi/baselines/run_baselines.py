"""Answer the evaluation queries with the baselines.

bm25               Lucene
bm25_doc2query     Lucene over passages to which their synthetic queries are appended (docTTTTTquery, Nogueira and Lin
                   2019): the run's own queries, so that both sides have read the same
dense              a sentence-transformers model; the paper's is GTR-Base (T5 encoder, mean pooling, projection)
dual_encoder       the same recipe trained on the run's own synthetic queries
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from dsi.artifacts import WORK, read_manifest
from dsi.baselines.bm25 import bm25
from dsi.baselines.dense import dense
from dsi.baselines.dual_encoder import TextEncoder
from dsi.config import BaselinesConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import VECTORS, encode_shards, join_shards
from dsi.doc2query.shards import read_shards
from dsi.embeddings.sentence_encoder import half_precision, sentence_encoder
from dsi.runtime.processes import ALONE


def run_baselines(
    out_folder: Path,
    *,
    baselines: BaselinesConfig,
    split: str | None,
    corpus_folder: Path,
    latency_queries: int = 0,
    tokenizer_folder: Path | None = None,
    doc2query_folder: Path | None = None,
    embeddings_folder: Path | None = None,
    encoder_folder: Path | None = None,
) -> dict[str, Any]:
    """Write `SYSTEM.run` for every system of the configuration and return the costs of each; the latency and memory
    of each are measured on the first `latency_queries`.

    `embeddings` are given where they are the vectors of the model of `dense`.

    Raises:
        DsiError: the corpus lacks the split, or a system lacks what it runs on.
    """
    documents = Corpus(corpus_folder)
    queries = documents.queries(documents.evaluation_split(split))
    costs: dict[str, Any] = {}

    def ask_dense(name: str, opened: Callable[[], Any], made: Path | None = None) -> dict[str, Any]:
        vectors, seconds = _vectors(out_folder, name, opened, documents, made)
        found = dense(out_folder, name, opened, vectors, corpus_folder, queries, baselines.depth, latency_queries)
        return {"seconds_index": seconds, **found}

    for name in baselines.systems:
        if name == "dense":
            opened: Callable[[], Any] = partial(sentence_encoder, baselines.dense_model, "baselines.dense_model")
            costs[name] = ask_dense(name, opened, embeddings_folder)
        elif name == "dual_encoder":
            assert encoder_folder is not None  # the table of stages names both for this system
            assert tokenizer_folder is not None
            counts = (read_manifest(encoder_folder) or {"counts": {}})["counts"]
            costs[name] = ask_dense(name, partial(TextEncoder, encoder_folder, tokenizer_folder))
            costs[name] |= {key: counts.get(key) for key in ("steps", "training_seconds", "training_flops")}
        else:
            assert doc2query_folder is not None or name == "bm25"
            texts = contents(documents, doc2query_folder if name == "bm25_doc2query" else None)
            costs[name] = bm25(out_folder, name, texts, len(documents), queries, baselines, latency_queries)
    return costs


def _vectors(
    out_folder: Path, name: str, opened: Callable[[], Any], corpus: Corpus, embeddings_folder: Path | None
) -> tuple[Path, float | None]:
    """The .npy file of the documents' vectors, made unless they are there, and the seconds that took."""
    if embeddings_folder is not None:
        return embeddings_folder / VECTORS, (read_manifest(embeddings_folder) or {}).get("seconds")
    start, work = time.monotonic(), out_folder / WORK / name
    shards = encode_shards(work, corpus, half_precision(opened()), f"{name} index", ALONE)
    join_shards(work / VECTORS, shards)
    return work / VECTORS, round(time.monotonic() - start, 2)


def contents(corpus: Corpus, doc2query_folder: Path | None) -> Iterator[tuple[str, str]]:
    """(doc_id, text) of every document, with its synthetic queries if their stage is given."""
    if doc2query_folder is None:
        yield from ((document.doc_id, document.content()) for document in corpus)
        return
    pairs = (pair for chunk, texts in read_shards(doc2query_folder) for pair in zip(chunk.tolist(), texts, strict=True))
    by_document = groupby(pairs, key=lambda pair: pair[0])
    number, queries = next(by_document, (-1, iter(())))
    for doc_index, document in enumerate(corpus):
        text = document.content()
        if number == doc_index:
            text = " ".join([text, *(query for _, query in queries)])
            number, queries = next(by_document, (-1, iter(())))
        yield document.doc_id, text
