"""Give every document its identifier: a short sequence of docid tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.config import BodyConfig, DocidsConfig
from dsi.corpus.store import Corpus
from dsi.docids.embeddings import embed
from dsi.docids.naive import END, spell
from dsi.docids.residual import residual_codes
from dsi.docids.semantic import tree_codes
from dsi.docids.store import Vocabulary, write_docids

Codes = NDArray[np.integer[Any]]


def assign(
    out: Path, *, docids: DocidsConfig, corpus: Path, tokenizer: Path, body: BodyConfig | None = None
) -> dict[str, Any]:
    """Write codes, docid vocabulary and trie; `body` is needed for embeddings that are document states.

    Raises:
        DsiError: the embeddings cannot be had.
    """
    documents = Corpus(corpus)
    if docids.kind == "atomic":
        vocabulary = Vocabulary("atomic", tokens=len(documents), length=1)
        codes: Codes = np.arange(len(documents), dtype=np.int32)[:, None]
    elif docids.kind == "naive":
        strings, pieces, codes = spell((document.doc_id for document in documents), docids.alphabet, tokenizer)
        vocabulary = Vocabulary("naive", len(strings), codes.shape[1], end=END, strings=strings, pieces=pieces)
    else:
        embeddings = embed(out, docids, documents, tokenizer, body)
        if docids.kind == "residual":
            codes = residual_codes(embeddings, docids.levels, docids.codebook, docids.seed)
        else:
            codes = tree_codes(embeddings, docids.clusters, docids.leaf_size, docids.seed)
        sizes = [] if docids.kind == "semantic" else (codes.max(axis=0) + 1).tolist()
        codes = by_position(codes) if sizes else codes
        vocabulary = Vocabulary(docids.kind, int(codes.max()) + 1, codes.shape[1], sizes=sizes)
    different = write_docids(out, vocabulary, codes)
    return {
        "kind": docids.kind,
        "documents": len(documents),
        "tokens": vocabulary.tokens,
        "length": vocabulary.length,
        "mean_length": round(float((codes >= 0).sum(axis=1).mean()), 3),
        "shared_docids": len(documents) - different,
    }


def by_position(codes: Codes) -> Codes:
    """A token for each pair of position and value, where `codes` have one for a value whatever its position: 2D docids
    (NCI, Wang et al. 2022; Pradeep et al. 2023)."""
    sizes = codes.max(axis=0) + 1
    return np.where(codes < 0, -1, codes + np.cumsum(sizes) - sizes)
