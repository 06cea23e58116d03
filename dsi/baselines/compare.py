"""Answer the evaluation queries with the baselines.

bm25               Lucene
bm25_doc2query     Lucene over passages to which their synthetic queries are appended (docTTTTTquery, Nogueira and Lin
                   2019): the run's own queries, so that both sides have read the same
dense              a sentence-transformers model; the paper's is GTR-Base (T5 encoder, mean pooling, projection)
dual_encoder       the same recipe trained on the run's own synthetic queries
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from dsi.artifacts import read_manifest
from dsi.baselines.bm25 import bm25
from dsi.baselines.dense import dense
from dsi.baselines.dual_encoder import TextEncoder
from dsi.config import BaselinesConfig
from dsi.corpus.store import Corpus
from dsi.doc2query.shards import read_shards
from dsi.docids.embeddings import sentence_encoder
from dsi.memory import PeakMemory


def compare(
    out: Path,
    *,
    baselines: BaselinesConfig,
    split: str | None,
    corpus: Path,
    tokenizer: Path | None = None,
    doc2query: Path | None = None,
    encoder: Path | None = None,
) -> dict[str, Any]:
    """Write `SYSTEM.run` for every system of the configuration and return the costs of each.

    Raises:
        DsiError: the corpus lacks the split, or a system lacks what it runs on.
    """
    documents = Corpus(corpus)
    queries = documents.queries(documents.evaluation_split(split))
    costs: dict[str, Any] = {}
    for name in baselines.systems:
        memory = PeakMemory()
        if name == "dense":
            model = sentence_encoder(baselines.dense_model, "baselines.dense_model")
            costs[name] = dense(out, name, model, documents, queries, baselines.depth)
        elif name == "dual_encoder":
            assert encoder is not None  # the pipeline passes both
            assert tokenizer is not None
            trained = TextEncoder(encoder, tokenizer)
            costs[name] = dense(out, name, trained, documents, queries, baselines.depth)
            manifest = read_manifest(encoder) or {"counts": {}}
            costs[name] |= {key: manifest["counts"].get(key) for key in ("steps", "training_seconds", "training_flops")}
        else:
            assert doc2query is not None or name == "bm25"  # the pipeline passes it
            texts = contents(documents, doc2query if name == "bm25_doc2query" else None)
            costs[name] = bm25(out, name, texts, len(documents), queries, baselines)
        costs[name]["memory_bytes"] = memory.growth()
    return costs


def contents(corpus: Corpus, doc2query: Path | None) -> Iterator[tuple[str, str]]:
    """(doc_id, text) of every document, with its synthetic queries if their stage is given."""
    if doc2query is None:
        yield from ((document.doc_id, document.content()) for document in corpus)
        return
    pairs = (pair for chunk, texts in read_shards(doc2query) for pair in zip(chunk.tolist(), texts, strict=True))
    by_document = groupby(pairs, key=lambda pair: pair[0])
    number, queries = next(by_document, (-1, iter(())))
    for doc_index, document in enumerate(corpus):
        text = document.content()
        if number == doc_index:
            text = " ".join([text, *(query for _, query in queries)])
            number, queries = next(by_document, (-1, iter(())))
        yield document.doc_id, text
