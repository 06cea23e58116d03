"""Give every document its identifier: a short sequence of docid tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsi.config import DocidsConfig
from dsi.corpus.store import Corpus
from dsi.corpus.vectors import read_vectors
from dsi.docids.kinds import KINDS
from dsi.docids.store import write_docids


def assign(
    out_folder: Path,
    *,
    docids: DocidsConfig,
    corpus_folder: Path,
    embeddings_folder: Path | None = None,
    tokenizer_folder: Path | None = None,
) -> dict[str, Any]:
    """Write codes, docid vocabulary and trie, and what assigned them."""
    documents = Corpus(corpus_folder)
    vectors = read_vectors(embeddings_folder) if embeddings_folder is not None else None
    kind, vocabulary, codes = KINDS[docids.kind].assign(docids, documents, vectors, tokenizer_folder)
    kind.save(out_folder)
    different = write_docids(out_folder, vocabulary, codes)
    return {
        "kind": docids.kind,
        "documents": len(documents),
        "tokens": vocabulary.tokens,
        "length": vocabulary.length,
        "mean_length": round(float((codes >= 0).sum(axis=1).mean()), 3),
        "shared_docids": len(documents) - different,
    }
