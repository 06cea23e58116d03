"""The stage `docids`: gives every document its identifier, a short sequence of docid tokens."""

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
    """Write codes, docid vocabulary, trie and what assigned them; return the facts for the manifest.

    Kinds that cluster need the folder of the vectors, naive docids that of the text tokenizer.
    """
    documents = Corpus(corpus_folder)
    vectors = read_vectors(embeddings_folder) if embeddings_folder is not None else None
    kind, vocabulary, codes = KINDS[docids.kind].assign(docids, documents, vectors, tokenizer_folder)
    kind.save(out_folder)
    distinct_docids = write_docids(out_folder, vocabulary, codes)
    return {
        "kind": docids.kind,
        "documents": len(documents),
        "tokens": vocabulary.tokens,
        "length": vocabulary.length,
        "mean_length": round(float((codes >= 0).sum(axis=1).mean()), 3),
        "shared_docids": len(documents) - distinct_docids,
    }
