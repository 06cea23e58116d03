"""Dense retrieval, exact: the inner product of a query's vector with every passage's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsi.corpus.store import Corpus, Query
from dsi.corpus.vectors import Vectors
from dsi.model.cost import encoder_flops
from dsi.search.answering import Hits, ask
from dsi.search.top_k import top_k_of_chunks

DOCUMENTS_A_CHUNK = 1 << 16
"""Scored at once."""
QUERIES_A_BATCH = 256


class DenseSystem:
    """A vector a document, and a model that gives queries theirs.

    Args:
        opened: opens the model, which encodes texts as sentence-transformers models do.
        vectors: .npy file of the documents' vectors, in corpus order.
        corpus: folder of the stage.
        depth: documents a query.
    """

    def __init__(self, opened: Callable[[], Any], vectors: Path, corpus_folder: Path, depth: int) -> None:
        self.model, self.depth = opened(), depth
        self.vectors: Vectors = np.load(vectors, mmap_mode="r")
        self.corpus = Corpus(corpus_folder)

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        for start in range(0, len(texts), QUERIES_A_BATCH):
            yield from self._answer(list(texts[start : start + QUERIES_A_BATCH]))

    def answer_alone(self, text: str) -> list[Hits]:
        return list(self._answer([text]))

    def _answer(self, texts: list[str]) -> Iterator[Hits]:
        queries = torch.from_numpy(np.asarray(self.model.encode(texts, show_progress_bar=False), dtype=np.float32))
        chunks = (
            queries @ torch.from_numpy(np.asarray(self.vectors[start : start + DOCUMENTS_A_CHUNK], dtype=np.float32)).T
            for start in range(0, len(self.vectors), DOCUMENTS_A_CHUNK)
        )
        numbers, scores = top_k_of_chunks(chunks, self.depth)
        for found, row in zip(numbers.tolist(), scores.tolist(), strict=True):
            yield list(zip(self.corpus.doc_ids(found), row, strict=True))


def dense(
    out_folder: Path,
    name: str,
    opened: Callable[[], Any],
    vectors: Path,
    corpus_folder: Path,
    queries: list[Query],
    depth: int,
    latency_queries: int,
) -> dict[str, Any]:
    """Write `NAME.run`: the answers of the model that `opened` opens, over the documents' vectors in a .npy file.

    Returns:
        What it cost: index_bytes, parameters, flops_per_query, and what `ask` measures.
    """
    system, measured = ask(
        out_folder, name, partial(DenseSystem, opened, vectors, corpus_folder, depth), queries, latency_queries
    )
    token_ids = system.model.tokenizer([query.text for query in queries])["input_ids"]
    return {
        "index_bytes": system.vectors.nbytes,
        "parameters": sum(parameter.numel() for parameter in system.model.parameters()),
        "flops_per_query": encoder_flops(system.model, float(np.mean([*map(len, token_ids)])))
        + 2.0 * system.vectors.size,
        "documents": len(system.corpus),
        **measured,
    }
