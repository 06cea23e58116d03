"""The stage `embeddings`: a vector for every document, from which docids are clustered, and what encodes later texts.

vectors.npy     (documents, width) float16 or float32, one row per document in corpus order
made.json       the kind of encoder, and its model or input length
other files     what `encoder` needs to give a later text its vector
"""

import json
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from dsi.artifacts import WORK, is_written, write_json
from dsi.config import BackboneConfig, EmbeddingsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import (
    SHARD,
    VECTORS,
    Encode,
    Vectors,
    check_finite,
    encode_shards,
    join_shards,
    read_vectors,
)
from dsi.embeddings.tfidf import FITTED, Tfidf
from dsi.errors import DsiError, first_line
from dsi.runtime.checkpoint_files import check_whole
from dsi.runtime.once import once
from dsi.runtime.processes import is_first_process, rank
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
    """Write the vectors of all documents; return the facts for the manifest, in the first process.

    `tokenizer_folder` and `backbone` are needed for document states. The processes divide the documents; those of a
    file, and so few that TF-IDF is fitted to all of them, are the first one's.

    Raises:
        DsiError: the encoder or the file of vectors cannot be used.
    """
    documents, this, is_first = Corpus(corpus_folder), rank(), is_first_process()
    made: dict[str, Any] = {"kind": embeddings.kind}
    if embeddings.kind == "tfidf" and len(documents) > FITTED:
        fitted = out_folder / WORK / "fitted.json"

        def fit() -> None:
            _fit(out_folder, documents, embeddings.seed)
            write_json(fitted, FITTED)

        once(lambda: is_written(fitted), fit, fitted.with_suffix(".lock"))
        shards = encode_shards(out_folder / WORK, documents, Tfidf.load(out_folder), "embed", this)
        if is_first:
            join_shards(out_folder / VECTORS, shards)
    elif embeddings.kind == "tfidf" and is_first:
        np.save(out_folder / VECTORS, _fit(out_folder, documents, embeddings.seed))
    elif embeddings.kind == "file" and is_first:
        _copy(embeddings.file, out_folder / VECTORS, documents)
    elif embeddings.kind == "sentence_transformers":
        from dsi.embeddings.sentence_encoder import (  # PyTorch takes seconds to import
            document_encoder,
            sentence_encoder,
        )

        made["model"] = embeddings.model
        encode = document_encoder(sentence_encoder(embeddings.model, "embeddings.model"))
        shards = encode_shards(out_folder / WORK, documents, encode, "embed", this)
        if is_first:
            join_shards(out_folder / VECTORS, shards)
    elif embeddings.kind == "document_states":
        from dsi.embeddings import states

        assert backbone is not None  # the table of stages gives both for this kind
        assert tokenizer_folder is not None
        made["length"] = backbone.document_length
        untrained = states.untrained(backbone, tokenizer_folder, embeddings.seed)
        shards = encode_shards(out_folder / WORK, documents, untrained, "embed", this)
        if is_first:
            states.save(out_folder, untrained, states.centre(join_shards(out_folder / VECTORS, shards)))
    if not is_first:
        return {}
    write_json(out_folder / MADE, made)
    vectors = read_vectors(out_folder)
    zero = sum(int((~vectors[start : start + SHARD].any(axis=1)).sum()) for start in range(0, len(vectors), SHARD))
    return {
        "kind": embeddings.kind,
        "documents": len(vectors),
        "width": vectors.shape[1],
        "dtype": str(vectors.dtype),
        "zero_vectors": zero,
    }


def _fit(out_folder: Path, documents: Corpus, seed: int) -> Vectors:
    """Write the TF-IDF encoder fitted to at most `FITTED` documents, and return the vectors of these."""
    (out_folder / WORK).mkdir(parents=True, exist_ok=True)
    count = min(len(documents), FITTED)
    some = (document.content() for document in progress(documents.spread(count), "embed", total=count))
    fitted, vectors = Tfidf.fit(some, count, seed)
    fitted.save(out_folder)
    return vectors


def encoder(folder: Path) -> Encode:
    """The encoder of the vectors in a stage folder, for later texts; DsiError if it cannot be loaded or was a file."""
    made = json.loads((folder / MADE).read_text(encoding="utf-8"))
    if made["kind"] == "tfidf":
        return Tfidf.load(folder)
    if made["kind"] == "sentence_transformers":
        from dsi.embeddings.sentence_encoder import document_encoder, sentence_encoder

        return document_encoder(sentence_encoder(made["model"], "embeddings.model"))
    if made["kind"] == "document_states":
        from dsi.embeddings import states

        return states.load(folder, made["length"])
    raise DsiError(f"{folder}: these vectors came from a file, so that there is no encoder for new texts")


def check_embeddings(embeddings: EmbeddingsConfig, documents: int | None = None) -> None:
    """Check the sentence encoder or the file of vectors, if the section names one, without reading all of it.

    Raises:
        DsiError: it cannot be used; for a file, also if it does not have a row for each of so many `documents`, which
            are not counted if this is None.
    """
    if embeddings.kind == "sentence_transformers":
        from dsi.embeddings.sentence_encoder import check_encoder

        check_encoder(embeddings.model, "embeddings.model")
    elif embeddings.kind == "file":
        _opened(embeddings.file, documents)


def _opened(source: str | None, documents: int | None) -> Vectors:
    """The vectors in a .npy file, memory-mapped; DsiError unless they have a row of numbers per document."""
    assert source is not None  # the configuration checks it
    check_whole([Path(source)], "embeddings.file")
    try:
        vectors: Vectors = open_memmap(source, mode="r")  # which does not open pickled objects
    except (OSError, EOFError, ValueError, SyntaxError, tokenize.TokenError) as error:  # the header is Python's text
        raise DsiError(f"embeddings.file: cannot read {source} as a .npy file: {first_line(error)}") from None
    has_rows = vectors.ndim == 2 and vectors.shape[1] > 0 and documents in (None, len(vectors))
    if not has_rows or not np.issubdtype(vectors.dtype, np.floating):
        each = f"each of the {documents:,} documents" if documents is not None else "each document"
        raise DsiError(
            f"embeddings.file: {source} holds {vectors.dtype} of shape {vectors.shape}; expected is a row"
            f" of floating-point numbers for {each}, in corpus order"
        )
    return vectors


def _copy(source: str | None, path: Path, corpus: Corpus) -> None:
    """Copy a .npy file, which may be larger than memory; DsiError unless it has a finite row per document."""
    vectors = _opened(source, len(corpus))
    dtype = np.float16 if vectors.dtype == np.float16 else np.float32
    copy = open_memmap(path, mode="w+", dtype=dtype, shape=vectors.shape)
    for start in progress(range(0, len(corpus), SHARD), "copy embeddings", unit=f"x {SHARD:,} docs"):
        with np.errstate(over="ignore"):
            rows: Vectors = vectors[start : start + SHARD].astype(dtype)
        check_finite(rows, start, corpus, f"embeddings.file: {source}")
        copy[start : start + SHARD] = rows
    copy.flush()
