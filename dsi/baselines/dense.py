"""Dense retrieval, exact: the inner products of a query's vector with the vectors of all documents."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dsi.artifacts import WORK, read_manifest
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import VECTORS, Vectors, encode_shards, join_shards
from dsi.embeddings.sentence_encoder import check_bi_encoder, document_encoder
from dsi.errors import DsiError
from dsi.model.cost import encoder_flops
from dsi.runtime.checkpoint_files import read_object
from dsi.runtime.processes import ALONE
from dsi.search.answering import Hits, Questions, ask
from dsi.search.nearest import nearest

QUERIES_PER_BATCH = 256


class DenseSystem:
    """One vector per document, and a model that encodes queries.

    Args:
        load_model: loads the model, which has `encode_query` and `encode_document` as sentence-transformers models do.
        vectors: the .npy file of the documents' vectors, in corpus order.
        depth: the number of documents to return per query.
    """

    def __init__(self, load_model: Callable[[], Any], vectors: Path, corpus_folder: Path, depth: int) -> None:
        self.model, self.depth = load_model(), depth
        self.vectors: Vectors = np.load(vectors, mmap_mode="r")
        self.corpus = Corpus(corpus_folder)

    def answer(self, texts: Sequence[str]) -> Iterator[Hits]:
        """The ranking for each text; DsiError if a vector or a score is not finite."""
        for start in range(0, len(texts), QUERIES_PER_BATCH):
            batch = self.model.encode_query(list(texts[start : start + QUERIES_PER_BATCH]), show_progress_bar=False)
            numbers, scores = nearest(np.asarray(batch), self.vectors, self.depth)
            if not (finite := scores.isfinite().all(dim=1)).all():
                text = texts[start + int(finite.int().argmin())]
                raise DsiError(f"the dense model gives query {text!r} a vector or scores that are NaN or infinite")
            for doc_index, score in zip(numbers.tolist(), scores.tolist(), strict=True):
                yield list(zip(self.corpus.doc_ids(doc_index), score, strict=True))

    def answer_alone(self, text: str) -> list[Hits]:
        """The ranking for one text, as the only item of a list."""
        return list(self.answer([text]))


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
    model = load_model()
    _check_similarity(similarity := getattr(model, "similarity_fn_name", None))
    if embeddings_folder is not None:
        vectors, seconds = embeddings_folder / VECTORS, (read_manifest(embeddings_folder) or {}).get("seconds")
    else:
        start, work_folder = time.monotonic(), out_folder / WORK / name
        vectors, encode = work_folder / VECTORS, document_encoder(model)
        join_shards(vectors, encode_shards(work_folder, Corpus(corpus_folder), encode, f"{name} index", ALONE))
        seconds = round(time.monotonic() - start, 2)
    del model  # a process of its own loads it to be measured
    if similarity == "cosine" and not _are_unit(vectors):
        print(
            f"{name}: the model names cosine as its similarity, but its vectors are not of unit length; they are ranked"
            " by inner product",
            file=sys.stderr,
        )
    opened = partial(DenseSystem, load_model, vectors, corpus_folder)
    system, measured = ask(out_folder, name, opened, depth, questions)
    return {
        "seconds_index": seconds,
        "index_bytes": system.vectors.nbytes,
        "parameters": sum(parameter.numel() for parameter in system.model.parameters()),
        "flops_per_query": query_flops(system.model, system.vectors, [query.text for query in questions.queries]),
        "documents": len(system.corpus),
        **measured,
    }


def check_dense(name: str) -> None:
    """Check `baselines.dense_model`, a hub name or folder, without loading it.

    Raises:
        DsiError: as `check_bi_encoder`, or its similarity is a distance.
    """
    key = "baselines.dense_model"
    check_bi_encoder(name, key)
    if (file := Path(name, "config_sentence_transformers.json")).is_file():
        _check_similarity(read_object(file, key).get("similarity_fn_name"))


def _check_similarity(similarity: Any) -> None:
    if similarity in ("euclidean", "manhattan"):
        raise DsiError(
            f"baselines.dense_model: this model is made for {similarity} distance, but dense ranks by inner product"
        )


def _are_unit(vectors: Path) -> bool:
    """Whether the first vectors of a .npy file are of unit length, as far as float16 tells."""
    some = np.asarray(np.load(vectors, mmap_mode="r")[:QUERIES_PER_BATCH], dtype=np.float32)
    return bool((np.abs(np.linalg.norm(some, axis=1) - 1) < 1e-2).all())


def query_flops(model: Any, vectors: Vectors, queries: Sequence[str]) -> float:
    """The FLOPs of a query, the mean over `queries`: the model reads it, and every document's vector is multiplied."""
    return encoder_flops(model, mean_tokens(model, queries)) + 2.0 * vectors.size


def mean_tokens(model: Any, queries: Sequence[str]) -> float:
    """The mean number of tokens that the model reads of a query; words where its tokenizer is of another kind."""
    prompt = (getattr(model, "prompts", None) or {}).get("query") or ""
    texts = [prompt + query for query in queries]
    tokenizer = getattr(model, "tokenizer", None)
    tokens = tokenizer(texts)["input_ids"] if callable(tokenizer) else [text.split() for text in texts]
    longest = getattr(model, "max_seq_length", None) or math.inf
    return float(np.mean([min(len(each), longest) for each in tokens]))
