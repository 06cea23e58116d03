"""What the model is to predict for a batch, from the documents of its examples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsi.docids.store import Docids

Arrays = dict[str, NDArray[np.int64]]
"""The arrays of a batch by name, each with one row per example."""


class DocidTargets:
    """The docids of documents as the model's forward pass wants them (see `Targets` in dsi.model.heads.layout).

    Args:
        docids: the docids of all documents.
        with_nodes: whether to add the trie nodes and their siblings, as the hierarchical softmax head needs.
    """

    def __init__(self, docids: Docids, with_nodes: bool = False) -> None:
        self.codes = np.asarray(docids.codes)
        self.docids = docids if with_nodes else None

    def __call__(self, doc_index: NDArray[np.integer[Any]]) -> Arrays:
        """Arrays of shape (documents, tokens of the longest of their docids), padded at the end with -1."""
        codes = self.codes[doc_index].astype(np.int64)
        codes = codes[:, : int((codes >= 0).any(axis=0).sum())]
        if self.docids is None:
            return {"codes": codes}
        nodes = self.docids.paths[doc_index, : codes.shape[1]].astype(np.int64)
        first, siblings = self.docids.trie.siblings(nodes)
        return {"codes": codes, "nodes": nodes, "first_sibling": first, "siblings": siblings}
