"""The `embeddings` stage: a vector for each document, which docids are made of, and what made them.

vectors.npy     (documents, width) float16 or float32, a row a document in corpus order
made.json       kind and model
other files     what `encoder` needs to give a later text its vector
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from dsi.artifacts import WORK, write_json
from dsi.config import BodyConfig, EmbeddingsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import SHARD, VECTORS, Encode, Vectors, encode_shards, join_shards, read_vectors
from dsi.embeddings.sentence_encoder import half_precision, sentence_encoder
from dsi.embeddings.tfidf import Tfidf
from dsi.errors import DsiError
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.build import build_body
from dsi.model.device import compute_device
from dsi.model.document_states import StateEncoder, centred
from dsi.processes import rank
from dsi.progress import progress

MADE = "made.json"
BODY = "body"
"""Folder of the model whose states are the vectors: its tokenizer, and its weights if they were random."""


def embed(
    out: Path,
    *,
    embeddings: EmbeddingsConfig,
    corpus: Path,
    tokenizer: Path | None = None,
    body: BodyConfig | None = None,
) -> dict[str, Any]:
    """Write the vectors of all documents; `tokenizer` and `body` are needed for document states.

    Processes share the work of an encoder; TF-IDF and files are the first one's.

    Raises:
        DsiError: the encoder or the file cannot be used.
    """
    documents, own = Corpus(corpus), rank()
    made: dict[str, Any] = {"kind": embeddings.kind}
    if embeddings.kind == "sentence_transformers":
        made["model"] = embeddings.model
        encode = half_precision(sentence_encoder(embeddings.model, "embeddings.model"))
        shards = encode_shards(out / WORK, documents, encode, "embed", own)
    elif embeddings.kind == "document_states":
        assert body is not None  # the table of stages names both for this kind
        assert tokenizer is not None
        made |= {"checkpoint": body.checkpoint, "length": body.document_length}
        model = build_body(body, tokenizer, embeddings.seed).to(compute_device())
        encode = StateEncoder(model, tokenizer, body.document_length)
        shards = encode_shards(out / WORK, documents, encode, "embed", own)
    if own.process:
        return {}
    if embeddings.kind == "tfidf":
        contents = progress(documents.contents(), "embed", total=len(documents))
        fitted, vectors = Tfidf.fit(contents, len(documents), embeddings.seed)
        fitted.save(out)
        np.save(out / VECTORS, vectors)
    elif embeddings.kind == "file":
        _copy(embeddings.file, out / VECTORS, len(documents))
    else:
        vectors = join_shards(out / VECTORS, shards)
        if embeddings.kind == "document_states":
            mean = torch.from_numpy(vectors).mean(dim=0)
            vectors[:] = centred(torch.from_numpy(vectors), mean).numpy()
            np.save(out / "mean.npy", mean.numpy())
            AutoTokenizer.from_pretrained(tokenizer).save_pretrained(out / BODY)
            if made["checkpoint"] is None:
                model.save_pretrained(out / BODY)
    write_json(out / MADE, made)
    written = read_vectors(out)
    return {"kind": embeddings.kind, "documents": len(written), "width": written.shape[1], "dtype": str(written.dtype)}


def encoder(folder: Path) -> Encode:
    """What made the vectors in a stage folder, for texts that come later.

    Raises:
        DsiError: they came from a file, or their model cannot be loaded.
    """
    made = json.loads((folder / MADE).read_text(encoding="utf-8"))
    if made["kind"] == "tfidf":
        return Tfidf.load(folder)
    if made["kind"] == "sentence_transformers":
        return half_precision(sentence_encoder(made["model"], "embeddings.model"))
    if made["kind"] == "file":
        raise DsiError(f"{folder}: these vectors came from a file, so that nothing can give a new text its vector")
    if made["checkpoint"] is None:
        model = DifferentiableSearchIndex.from_pretrained(folder / BODY, dtype=torch.float32)
    else:
        model = build_body(BodyConfig(checkpoint=made["checkpoint"]), folder / BODY, seed=0)
    states = StateEncoder(model.to(compute_device()), folder / BODY, made["length"])
    mean = torch.from_numpy(np.load(folder / "mean.npy"))
    return lambda texts: centred(torch.from_numpy(states(texts)), mean).numpy()


def _copy(source: str | None, path: Path, documents: int) -> None:
    """Copy a .npy file, which may be larger than memory.

    Raises:
        DsiError: it is not one row of numbers a document.
    """
    assert source is not None  # the configuration asks for it
    try:
        vectors: Vectors = np.load(source, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DsiError(f"embeddings.file: cannot read {source}: {error}") from None
    if vectors.ndim != 2 or len(vectors) != documents or not np.issubdtype(vectors.dtype, np.floating):
        raise DsiError(
            f"embeddings.file: {source} holds {vectors.dtype} of shape {vectors.shape}; needed is a row of float16"
            f" or float32 for each of the {documents:,} documents, in corpus order"
        )
    kind = np.float16 if vectors.dtype == np.float16 else np.float32
    copy = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=vectors.shape)
    for start in progress(range(0, documents, SHARD), "copy embeddings", unit=f"x {SHARD:,} docs"):
        copy[start : start + SHARD] = vectors[start : start + SHARD]
    copy.flush()
