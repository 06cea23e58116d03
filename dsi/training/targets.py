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
        with_nodes: whether to give trie nodes beside the codes, as the tree head needs.
    """

    def __init__(self, docids: Docids, with_nodes: bool = False) -> None:
        self.codes = np.asarray(docids.codes)
        self.trie = docids.trie if with_nodes else None
        self.paths = self.trie.paths(self.codes) if self.trie is not None else None

    def __call__(self, doc_index: NDArray[np.integer[Any]]) -> Arrays:
        """Arrays of shape (documents, tokens of the longest docid among them), padded at the end with -1."""
        codes = self.codes[doc_index].astype(np.int64)
        codes = codes[:, : int((codes >= 0).any(axis=0).sum())]
        if self.trie is None or self.paths is None:
            return {"codes": codes}
        nodes = self.paths[doc_index, : codes.shape[1]].astype(np.int64)
        parents = np.where(nodes < 0, -1, np.pad(nodes, ((0, 0), (1, 0)))[:, :-1])
        first = np.where(nodes < 0, 0, self.trie.first_child[parents].astype(np.int64))
        siblings = np.where(nodes < 0, 0, self.trie.first_child[parents + 1].astype(np.int64) - first)
        return {"codes": codes, "nodes": nodes, "first_sibling": first, "siblings": siblings}
