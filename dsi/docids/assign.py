"""Give every document its identifier: a short sequence of docid tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import DocidsConfig, ModelConfig
from dsi.corpus.store import Corpus
from dsi.docids.kmeans import cluster
from dsi.docids.naive import spell
from dsi.docids.store import Vocabulary, write_docids


def assign(
    out: Path, *, docids: DocidsConfig, corpus: Path, tokenizer: Path, model: ModelConfig | None = None
) -> dict[str, Any]:
    """Write codes, docid vocabulary and trie; `model` is needed for embeddings that are document states."""
    documents = Corpus(corpus)
    if docids.kind == "atomic":
        vocabulary = Vocabulary("atomic", tokens=len(documents), length=1)
        codes: NDArray[np.integer[Any]] = np.arange(len(documents), dtype=np.int32)[:, None]
    elif docids.kind == "naive":
        vocabulary, codes = spell((document.doc_id for document in documents), docids.alphabet, tokenizer)
    else:
        embeddings = _embed(docids, documents, tokenizer, model)
        vocabulary, codes = cluster(embeddings, docids.clusters, docids.leaf_size, docids.seed)
    different = write_docids(out, vocabulary, codes)
    return {
        "kind": docids.kind,
        "documents": len(documents),
        "tokens": vocabulary.tokens,
        "length": vocabulary.length,
        "mean_length": round(float((codes >= 0).sum(axis=1).mean()), 3),
        "shared_docids": len(documents) - different,
    }


def _embed(config: DocidsConfig, corpus: Corpus, tokenizer: Path, model: ModelConfig | None) -> NDArray[np.float32]:
    if config.embeddings == "tfidf":
        from dsi.docids.embeddings import tfidf_embeddings

        return tfidf_embeddings(corpus, config.seed)
    if config.embeddings == "sentence_transformers":
        from dsi.docids.embeddings import sentence_embeddings

        return sentence_embeddings(corpus, config.embedding_model)
    from dsi.model.build import build_body
    from dsi.model.document_states import document_states

    assert model is not None  # the pipeline passes the section whenever embeddings are document states
    return document_states(build_body(model, tokenizer, config.seed), tokenizer, corpus, model.document_length).numpy()
