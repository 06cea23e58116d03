"""Dense retrieval, exact: the inner products of a query's vector with the vectors of all documents."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsi.artifacts import WORK, read_manifest
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import VECTORS, Vectors, encode_shards, join_shards
from dsi.embeddings.sentence_encoder import half_precision
from dsi.model.cost import encoder_flops
from dsi.runtime.processes import ALONE
from dsi.search.answering import Hits, Questions, ask
from dsi.search.top_k import top_k_of_chunks

DOCUMENTS_PER_CHUNK = 1 << 16
"""The number of documents that are scored at once."""
QUERIES_PER_BATCH = 256


class DenseSystem:
    """One vector per document, and a model that encodes queries.

    Args:
        load_model: loads the model, which encodes texts as sentence-transformers models do.
        vectors: the .npy file of the documents' vectors, in corpus order.
        depth: the number of documents to return per query.
    """

    def __init__(self, load_model: Callable[[], Any], vectors: Path, corpus_folder: Path, depth: int) -> None:
        self.model, self.depth = load_model(), depth
        self.vectors: Vectors = np.load(vectors, mmap_mode="r")
        self.corpus = Corpus(corpus_folder)

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        """The ranking for each text."""
        for start in range(0, len(texts), QUERIES_PER_BATCH):
            batch = self.model.encode(list(texts[start : start + QUERIES_PER_BATCH]), show_progress_bar=False)
            queries = torch.from_numpy(np.asarray(batch, dtype=np.float32))
            numbers, scores = top_k_of_chunks(self._scores(queries), self.depth)
            for doc_index, score in zip(numbers.tolist(), scores.tolist(), strict=True):
                yield list(zip(self.corpus.doc_ids(doc_index), score, strict=True))

    def answer_alone(self, text: str) -> list[Hits]:
        """The ranking for one text, as the only item of a list."""
        return list(self.answer([text]))

    def _scores(self, queries: torch.Tensor) -> Iterator[torch.Tensor]:
        """The scores of one chunk of documents after the other, each (queries, documents)."""
        for start in range(0, len(self.vectors), DOCUMENTS_PER_CHUNK):
            documents = np.asarray(self.vectors[start : start + DOCUMENTS_PER_CHUNK], dtype=np.float32)
            yield queries @ torch.from_numpy(documents).T


def dense(
    out_folder: Path,
    name: str,
    load_model: Callable[[], Any],
    corpus_folder: Path,
    questions: Questions,
    depth: int,
    embeddings_folder: Path | None = None,
) -> dict[str, Any]:
    """Write `NAME.run`: the answers to `questions`, `depth` documents each, with the model that `load_model` loads.

    The model encodes the documents first, unless `embeddings_folder` has their vectors.

    Returns:
        What the system costs: seconds_index, index_bytes, parameters, flops_per_query, and what `ask` measures.
    """
    if embeddings_folder is not None:
        vectors, seconds = embeddings_folder / VECTORS, (read_manifest(embeddings_folder) or {}).get("seconds")
    else:
        start, work_folder = time.monotonic(), out_folder / WORK / name
        vectors, encode = work_folder / VECTORS, half_precision(load_model())
        join_shards(vectors, encode_shards(work_folder, Corpus(corpus_folder), encode, f"{name} index", ALONE))
        seconds = round(time.monotonic() - start, 2)
    opened = partial(DenseSystem, load_model, vectors, corpus_folder)
    system, measured = ask(out_folder, name, opened, depth, questions)
    token_ids = system.model.tokenizer([query.text for query in questions.queries])["input_ids"]
    encoding_flops = encoder_flops(system.model, float(np.mean([*map(len, token_ids)])))
    return {
        "seconds_index": seconds,
        "index_bytes": system.vectors.nbytes,
        "parameters": sum(parameter.numel() for parameter in system.model.parameters()),
        "flops_per_query": encoding_flops + 2.0 * system.vectors.size,
        "documents": len(system.corpus),
        **measured,
    }
