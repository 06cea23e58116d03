"""What a batch is to predict, from the documents of its examples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.docids.store import Docids

Arrays = dict[str, NDArray[np.int64]]


class DocidTargets:
    """Docids of documents as the model's forward wants them (see dsi.model.heads.Targets).

    Args:
        docids: of all documents.
        with_nodes: whether to give trie nodes beside the codes, as the hierarchical softmax head needs.
    """

    def __init__(self, docids: Docids, with_nodes: bool = False) -> None:
        self.codes = np.asarray(docids.codes)
        self.docids = docids if with_nodes else None

    def __call__(self, doc_index: NDArray[np.integer[Any]]) -> Arrays:
        """Arrays of shape (documents, tokens of the longest docid among them), padded at the end with -1."""
        codes = self.codes[doc_index].astype(np.int64)
        codes = codes[:, : int((codes >= 0).any(axis=0).sum())]
        if self.docids is None:
            return {"codes": codes}
        nodes = self.docids.paths[doc_index, : codes.shape[1]].astype(np.int64)
        first, siblings = self.docids.trie.siblings(nodes)
        return {"codes": codes, "nodes": nodes, "first_sibling": first, "siblings": siblings}
