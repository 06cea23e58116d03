"""Search for batches of tokenised queries, whatever the docid kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.search.atomic import top_documents
from dsi.search.beam import DeviceTrie, beam_search


class Ranking(NamedTuple):
    doc_index: NDArray[np.int64]
    """(hits,) best first."""
    score: NDArray[np.float32]
    """(hits,) log-probability of the document's docid given the query."""


class Searcher:
    """Answers queries with `model` over `docids`."""

    def __init__(self, model: DifferentiableSearchIndex, docids: Docids) -> None:
        self.model = model
        self.docids = docids
        self.trie = None if docids.is_atomic else DeviceTrie.of(docids.trie, model.device)

    def search(self, queries: Sequence[Sequence[int]], beam: int, batch_size: int) -> list[Ranking]:
        """At most `beam` documents for each query, given as text pieces; `batch_size` queries go together.

        A query's ranking does not depend on the queries around it: padding is masked everywhere.
        """
        self.model.eval()
        rankings: dict[int, Ranking] = {}
        by_length = sorted(range(len(queries)), key=lambda number: len(queries[number]))
        for start in range(0, len(queries), batch_size):
            batch = by_length[start : start + batch_size]
            rankings |= zip(batch, self._search([queries[number] for number in batch], beam), strict=True)
        return [rankings[number] for number in range(len(queries))]

    def _search(self, queries: list[Sequence[int]], beam: int) -> list[Ranking]:
        length = max(map(len, queries))
        pad = self.model.config.pad_token_id
        ids = torch.tensor([[*query, *[pad] * (length - len(query))] for query in queries], device=self.model.device)
        lengths = torch.tensor([len(query) for query in queries], device=ids.device)
        mask = (torch.arange(length, device=ids.device) < lengths[:, None]).long()
        if self.trie is None:
            documents, scores = top_documents(self.model, ids, mask, beam)
            return [Ranking(*row) for row in zip(documents.cpu().numpy(), scores.cpu().numpy(), strict=True)]
        nodes, scores = beam_search(self.model, self.trie, ids, mask, beam)
        return [self._documents(*row, beam) for row in zip(nodes.cpu().numpy(), scores.cpu().numpy(), strict=True)]

    def _documents(self, nodes: NDArray[np.int64], scores: NDArray[np.float32], beam: int) -> Ranking:
        """Documents of the leaves; documents that share a docid share its score and come in corpus order."""
        trie = self.docids.trie
        leaves = trie.leaf_number[nodes[scores > -np.inf]]
        if not len(leaves):
            return Ranking(np.empty(0, dtype=np.int64), scores[:0])
        spans = [trie.documents[trie.leaf_start[leaf] : trie.leaf_start[leaf + 1]] for leaf in leaves]
        documents = np.concatenate([np.sort(span) for span in spans]).astype(np.int64)
        return Ranking(documents[:beam], np.repeat(scores[: len(leaves)], [len(span) for span in spans])[:beam])
