"""Searches for tokenised queries in batches, with any kind of docids."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.cost import forward_flops
from dsi.model.length_batches import length_batches
from dsi.runtime.threads import threads_for
from dsi.search.atomic import top_documents
from dsi.search.beam import DeviceTrie, UnconstrainedTrie, beam_search
from dsi.search.exact import exact_search
from dsi.search.leaves import rank_by_leaf

CERTIFIED = 10
"""The number of results that exact search certifies: those that RR@10 is computed from."""


class Ranking(NamedTuple):
    """The documents found for a query, best first."""

    doc_index: NDArray[np.int64]
    """The row numbers of the documents, (hits,)."""
    score: NDArray[np.float32]
    """The log-probability of each document's docid given the query, or the logit of its leaf: (hits,)."""
    certified: int
    """How many of the first hits are certified to be the most probable documents of all."""
    is_docid: NDArray[np.bool_]
    """Whether each result of the beam is a docid that exists, (results,)."""

    def hits(self) -> Iterator[tuple[int, float]]:
        """The doc_index and the score of each document."""
        return zip(self.doc_index.tolist(), self.score.tolist(), strict=True)


class Searcher:
    """Searches with a model among the docids that it was trained on.

    Args:
        constrained: whether the beam follows only docids that exist.
        max_beam: largest beam that exact search may try; 0 for plain beam search.
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
        self._flops = forward_flops(model, 1, 0), forward_flops(model, 0, 1)  # of a token of text, of a prefix
        self.trie: DeviceTrie | None = None
        if not docids.is_atomic and constrained:
            self.trie = DeviceTrie(docids.trie, model.device)
        elif not docids.is_atomic:
            tokens = model.config.docid_tokens
            self.trie = UnconstrainedTrie(docids.trie, model.device, tokens, docids.vocabulary.end)

    def search(self, queries: Sequence[Sequence[int]], beam: int, batch_size: int) -> list[Ranking]:
        """The ranking of at most `beam` documents for each query, given as token ids, in batches of `batch_size`.

        A ranking does not depend on the other queries of the batch: padding is masked everywhere.
        """
        self.model.eval()
        rankings: dict[int, Ranking] = {}
        for batch in length_batches(queries, batch_size):
            texts = [queries[number] for number in batch]
            with threads_for(self._work(texts, beam)):
                rankings |= zip(batch, self._search(texts, beam), strict=True)
        return [rankings[number] for number in range(len(queries))]

    def _work(self, queries: list[Sequence[int]], beam: int) -> float:
        """The FLOPs to search for a batch with full beams."""
        of_text, of_prefix = self._flops
        prefixes = 1 if self.docids.is_atomic else self.docids.trie.prefixes(beam)
        return len(queries) * (max(map(len, queries)) * of_text + prefixes * of_prefix)

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
        if self.max_beam and self.constrained:
            result = exact_search(self.model, self.trie, ids, mask, beam, CERTIFIED, self.max_beam)
        else:
            result = beam_search(self.model, self.trie, ids, mask, beam)
        if self.ranking == "leaf":
            result = rank_by_leaf(self.model, result, ids, mask)
        rows = zip(result.nodes.cpu().numpy(), result.scores.cpu().numpy(), result.dropped.tolist(), strict=True)
        return [self._ranking(nodes, scores, dropped, beam) for nodes, scores, dropped in rows]

    def _ranking(self, nodes: NDArray[np.int64], scores: NDArray[np.float32], dropped: float, beam: int) -> Ranking:
        """The ranking of the leaves' documents; those that share a docid share its score and come in corpus order."""
        nodes, scores = nodes[scores > -np.inf], scores[scores > -np.inf]
        is_docid = nodes >= 0
        documents, sizes = self.docids.trie.documents_of(nodes[is_docid])
        score = np.repeat(scores[is_docid], sizes)[:beam]
        certified = int((score >= dropped).sum()) if self.constrained else 0
        return Ranking(documents[:beam], score, certified, is_docid)
