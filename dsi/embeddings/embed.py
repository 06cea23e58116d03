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
from numpy.lib.format import open_memmap

from dsi.artifacts import WORK, write_json
from dsi.config import BackboneConfig, EmbeddingsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import SHARD, VECTORS, Encode, Vectors, encode_shards, join_shards, read_vectors
from dsi.embeddings.tfidf import Tfidf
from dsi.errors import DsiError
from dsi.runtime.processes import rank
from dsi.runtime.progress import progress

MADE = "made.json"


def embed(
    out_folder: Path,
    *,
    embeddings: EmbeddingsConfig,
    corpus_folder: Path,
    tokenizer_folder: Path | None = None,
    backbone: BackboneConfig | None = None,
) -> dict[str, Any]:
    """Write the vectors of all documents; `tokenizer` and `backbone` are needed for document states.

    Processes share the work of an encoder; TF-IDF and files are the first one's.

    Raises:
        DsiError: the encoder or the file cannot be used.
    """
    documents, own = Corpus(corpus_folder), rank()
    made: dict[str, Any] = {"kind": embeddings.kind}
    if embeddings.kind == "tfidf" and not own.process:
        contents = progress(documents.contents(), "embed", total=len(documents))
        fitted, vectors = Tfidf.fit(contents, len(documents), embeddings.seed)
        fitted.save(out_folder)
        np.save(out_folder / VECTORS, vectors)
    elif embeddings.kind == "file" and not own.process:
        _copy(embeddings.file, out_folder / VECTORS, len(documents))
    elif embeddings.kind == "sentence_transformers":
        from dsi.embeddings.sentence_encoder import half_precision, sentence_encoder  # PyTorch takes seconds to import

        made["model"] = embeddings.model
        encode = half_precision(sentence_encoder(embeddings.model, "embeddings.model"))
        shards = encode_shards(out_folder / WORK, documents, encode, "embed", own)
        if not own.process:
            join_shards(out_folder / VECTORS, shards)
    elif embeddings.kind == "document_states":
        from dsi.embeddings import states

        assert backbone is not None  # the table of stages names both for this kind
        assert tokenizer_folder is not None
        made["length"] = backbone.document_length
        untrained = states.untrained(backbone, tokenizer_folder, embeddings.seed)
        shards = encode_shards(out_folder / WORK, documents, untrained, "embed", own)
        if not own.process:
            states.save(out_folder, untrained, states.centre(join_shards(out_folder / VECTORS, shards)))
    if own.process:
        return {}
    write_json(out_folder / MADE, made)
    written = read_vectors(out_folder)
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
        from dsi.embeddings.sentence_encoder import half_precision, sentence_encoder

        return half_precision(sentence_encoder(made["model"], "embeddings.model"))
    if made["kind"] == "document_states":
        from dsi.embeddings import states

        return states.load(folder, made["length"])
    raise DsiError(f"{folder}: these vectors came from a file, so that nothing can give a new text its vector")


def _copy(source: str | None, path: Path, documents: int) -> None:
    """Copy a .npy file, which may be larger than memory.

    Raises:
        DsiError: it is not one row of finite numbers a document.
    """
    assert source is not None  # the configuration asks for it
    try:
        vectors: Vectors = open_memmap(source, mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise DsiError(f"embeddings.file: cannot read {source} as a .npy file: {error}") from None
    has_rows = vectors.ndim == 2 and len(vectors) == documents and vectors.shape[1] > 0
    if not has_rows or not np.issubdtype(vectors.dtype, np.floating):
        raise DsiError(
            f"embeddings.file: {source} holds {vectors.dtype} of shape {vectors.shape}; needed is a row of"
            f" floating-point numbers for each of the {documents:,} documents, in corpus order"
        )
    kind = np.float16 if vectors.dtype == np.float16 else np.float32
    copy = open_memmap(path, mode="w+", dtype=kind, shape=vectors.shape)
    for start in progress(range(0, documents, SHARD), "copy embeddings", unit=f"x {SHARD:,} docs"):
        with np.errstate(over="ignore"):
            rows = vectors[start : start + SHARD].astype(kind)
        if not (finite := np.isfinite(rows).all(axis=1)).all():
            raise DsiError(
                f"embeddings.file: row {start + int(finite.argmin())} of {source} is not finite as {kind.__name__}"
            )
        copy[start : start + SHARD] = rows
    copy.flush()
