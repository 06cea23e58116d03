"""Search for batches of tokenised queries, whatever the docid kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.length_batches import length_batches
from dsi.search.atomic import top_documents
from dsi.search.beam import BeamResult, DeviceTrie, beam_search, unconstrained_beam_search
from dsi.search.exact import exact_search
from dsi.search.leaves import rank_by_leaf

CERTIFIED = 10
"""Results that exact search certifies: what RR@10 looks at."""


class Ranking(NamedTuple):
    doc_index: NDArray[np.int64]
    """(hits,) best first."""
    score: NDArray[np.float32]
    """(hits,) log-probability of the document's docid given the query, or the logit of its leaf."""
    certified: int
    """How many of the first hits are certified to be the most probable documents of all."""
    is_docid: NDArray[np.bool_]
    """(hypotheses,) whether each one, best first, is a docid that exists."""

    def hits(self) -> Iterator[tuple[int, float]]:
        """doc_index and score."""
        return zip(self.doc_index.tolist(), self.score.tolist(), strict=True)


class Searcher:
    """Answers queries with `model` over `docids`.

    Args:
        constrained: whether the beam follows only docids that exist.
        max_beam: widest beam to make the first results certified; 0 takes what the beam finds.
        ranking: how documents that a beam finds are ordered, path or leaf (see dsi.search.leaves).
    """

    def __init__(
        self,
        model: DifferentiableSearchIndex,
        docids: Docids,
        constrained: bool = True,
        max_beam: int = 0,
        ranking: str = "path",
    ) -> None:
        self.model, self.docids = model, docids
        self.constrained, self.max_beam, self.ranking = constrained, max_beam, ranking
        self.trie = None if docids.is_atomic else DeviceTrie.of(docids.trie, model.device)

    def search(self, queries: Sequence[Sequence[int]], beam: int, batch_size: int) -> list[Ranking]:
        """At most `beam` documents for each query, given as text tokens; `batch_size` queries go together.

        A query's ranking does not depend on the queries around it: padding is masked everywhere.
        """
        self.model.eval()
        rankings: dict[int, Ranking] = {}
        for batch in length_batches(queries, batch_size):
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
            return [
                Ranking(numbers, score, certified=len(numbers), is_docid=np.ones(len(numbers), dtype=bool))
                for numbers, score in zip(documents.cpu().numpy(), scores.cpu().numpy(), strict=True)
            ]
        found = self._beam(self.trie, ids, mask, beam)
        if self.ranking == "leaf":
            found = rank_by_leaf(self.model, found, ids, mask)
        rows = zip(found.nodes.cpu().numpy(), found.scores.cpu().numpy(), found.dropped.tolist(), strict=True)
        return [self._documents(nodes, scores, dropped, beam) for nodes, scores, dropped in rows]

    def _beam(self, trie: DeviceTrie, ids: Tensor, mask: Tensor, beam: int) -> BeamResult:
        if not self.constrained:
            return unconstrained_beam_search(self.model, trie, ids, mask, beam, self.docids.vocabulary.end)
        if self.max_beam:
            return exact_search(self.model, trie, ids, mask, beam, CERTIFIED, self.max_beam)
        return beam_search(self.model, trie, ids, mask, beam)

    def _documents(self, nodes: NDArray[np.int64], scores: NDArray[np.float32], dropped: float, beam: int) -> Ranking:
        """Documents of the leaves; documents that share a docid share its score and come in corpus order."""
        nodes, scores = nodes[scores > -np.inf], scores[scores > -np.inf]
        is_docid = nodes >= 0
        documents, sizes = self.docids.trie.documents_of(nodes[is_docid])
        score = np.repeat(scores[is_docid], sizes)[:beam]
        certified = int((score >= dropped).sum()) if self.constrained else 0
        return Ranking(documents[:beam], score, certified, is_docid)
