"""Searches for tokenised queries in batches, with any kind of docids."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.cost import forward_flops
from dsi.model.length_batches import length_batches, padded_texts
from dsi.runtime.threads import threads_for
from dsi.search.atomic import top_documents
from dsi.search.beam import BeamResult, DeviceTrie, UnconstrainedTrie, beam_search
from dsi.search.document_score import DocumentScore, score_document
from dsi.search.exact import exact_search
from dsi.search.leaves import leaf_logits, rank_by_leaf
from dsi.search.plan import Plan, padded
from dsi.search.prior import PLAIN, Mixture, Prior
from dsi.search.rounded_rows import RoundedRows

CERTIFIED = 10
"""The number of results that exact search certifies: those that RR@10 is computed from."""


SAME = 1e-12
"""The relative difference of float64 logarithms of the same number: tensors of other shapes are rounded otherwise."""


class Ranking(NamedTuple):
    """The documents found for a query, best first."""

    doc_index: NDArray[np.int64]
    """The row numbers of the documents, (hits,)."""
    score: NDArray[np.float32]
    """What they are ordered by, (hits,): the log-probability of each document's docid given the query, or the logit of
    its leaf; with a prior the total."""
    log_prob: NDArray[np.float32]
    """The log-probability of each document's docid, or what stands for it with ranking leaf, (hits,); -inf for a
    document of the prior that no beam has decoded, whose total is that of probability 0."""
    certified: int
    """How many of the first hits are certified to be the best documents of all by this score."""
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
        mixture: how searches with priors weigh them.
    """

    def __init__(
        self,
        model: DifferentiableSearchIndex,
        docids: Docids,
        constrained: bool = True,
        max_beam: int = 0,
        ranking: str = "path",
        mixture: Mixture = PLAIN,
    ) -> None:
        self.model, self.docids, self.mixture = model, docids, mixture
        self.constrained, self.max_beam, self.ranking = constrained, max_beam, ranking
        self._flops = forward_flops(model, 1, 0), forward_flops(model, 0, 1)  # of a token of text, of a prefix
        self.trie: DeviceTrie | None = None
        if not docids.is_atomic and constrained:
            self.trie = DeviceTrie(docids.trie, model.device)
        elif not docids.is_atomic:
            tokens = model.config.docid_tokens
            self.trie = UnconstrainedTrie(docids.trie, model.device, tokens, docids.vocabulary.end)

    def search(
        self,
        queries: Sequence[Sequence[int]],
        beam: int,
        batch_size: int,
        priors: Sequence[Prior] | None = None,
    ) -> list[Ranking]:
        """The ranking of at most `beam` documents for each query, given as token ids, in batches of `batch_size`.

        With a prior for each query the search is planned: the documents of largest total, as `mixture` weighs them;
        with one of no document it is the plain search. A ranking does not depend on the other queries of the batch:
        padding is masked everywhere.

        Raises:
            ValueError: there are priors, but not one for each query, or of a document that does not exist, or the
                search is not constrained.
        """
        if priors is None:
            return self._in_batches(queries, beam, batch_size, None)
        self._check(priors, len(queries))
        has_prior = np.array([len(prior.doc_index) > 0 for prior in priors], dtype=bool)
        plain, planned = np.flatnonzero(~has_prior).tolist(), np.flatnonzero(has_prior).tolist()
        rankings: dict[int, Ranking] = {}
        for numbers, of_numbers in ((plain, None), (planned, [priors[number] for number in planned])):
            found = self._in_batches([queries[number] for number in numbers], beam, batch_size, of_numbers)
            rankings |= zip(numbers, found, strict=True)
        return [rankings[number] for number in range(len(queries))]

    @cached_property
    def _rounded(self) -> RoundedRows | None:
        """The rounded rows of atomic docids, made at the first search, where they save time: not beside a GPU, which
        reads rows faster than they are rounded."""
        is_on_cpu = self.docids.is_atomic and self.model.device.type == "cpu"
        return RoundedRows.of(self.model.docid_head.weight) if is_on_cpu else None

    def score(self, query: Sequence[int], doc_index: int) -> DocumentScore:
        """What the model says of one document for a query, given as token ids, whether or not a search finds it."""
        self.model.eval()
        with threads_for(self._work([query], beam=1)):
            ids = torch.tensor([query], device=self.model.device)
            return score_document(self.model, self.docids, ids, doc_index, self._rounded)

    def _in_batches(
        self, queries: Sequence[Sequence[int]], beam: int, batch_size: int, priors: list[Prior] | None
    ) -> list[Ranking]:
        self.model.eval()
        rankings: dict[int, Ranking] = {}
        for batch in length_batches(queries, batch_size):
            texts = [queries[number] for number in batch]
            of_texts = None if priors is None else [priors[number] for number in batch]
            with threads_for(self._work(texts, beam)):
                rankings |= zip(batch, self._search(texts, beam, of_texts), strict=True)
        return [rankings[number] for number in range(len(queries))]

    def _check(self, priors: Sequence[Prior], queries: int) -> None:
        if not self.constrained:
            raise ValueError("a search with priors follows docids that exist; it must be constrained")
        if len(priors) != queries:
            raise ValueError(f"there are {len(priors)} priors for {queries} queries")
        documents = len(self.docids.codes)
        for number, prior in enumerate(priors):
            if len(prior.doc_index) and prior.doc_index[-1] >= documents:
                raise ValueError(
                    f"the prior of query {number} is of document {prior.doc_index[-1]}; the index has {documents}"
                )

    def _work(self, queries: list[Sequence[int]], beam: int) -> float:
        """The FLOPs to search for a batch with full beams."""
        of_text, of_prefix = self._flops
        prefixes = 1 if self.docids.is_atomic else self.docids.trie.prefixes(beam)
        return len(queries) * (max(map(len, queries)) * of_text + prefixes * of_prefix)

    def _search(self, queries: list[Sequence[int]], beam: int, priors: list[Prior] | None) -> list[Ranking]:
        ids, mask = padded_texts(queries, self.model.config.pad_token_id, self.model.device)
        if self.trie is None:
            return self._search_atomic(ids, mask, beam, priors)
        plan = None if priors is None else Plan.of(self.docids, priors, self.mixture, ids.device)
        if self.max_beam and self.constrained:
            result = exact_search(self.model, self.trie, ids, mask, beam, CERTIFIED, self.max_beam, plan)
        else:
            result = beam_search(self.model, self.trie, ids, mask, beam, plan=plan)
        if priors is not None and self.ranking == "leaf":
            return self._mix_by_leaf(result, ids, mask, beam, priors)
        if self.ranking == "leaf":
            result = rank_by_leaf(self.model, result, ids, mask)
        nodes, scores, log_probs = (each.cpu().numpy() for each in (result.nodes, result.scores, result.log_probs))
        of_prior: Sequence[Prior | None] = priors or [None] * len(ids)
        of_queries = zip(nodes, scores, log_probs, result.dropped.tolist(), of_prior, strict=True)
        return [self._ranking(*of_query, beam) for of_query in of_queries]

    def _search_atomic(self, ids: Tensor, mask: Tensor, beam: int, priors: list[Prior] | None) -> list[Ranking]:
        """The documents with the largest log-probabilities; with priors those of the largest totals, which are among
        these or the priors' documents."""
        others = None if priors is None else padded([prior.doc_index for prior in priors], 0).to(ids.device)
        documents, log_probs = top_documents(self.model, ids, mask, beam, others, self._rounded)
        rows = zip(documents.cpu().numpy(), log_probs.cpu().numpy(), strict=True)
        if priors is None:
            return [
                Ranking(numbers, each, each, len(numbers), np.ones(len(numbers), dtype=bool)) for numbers, each in rows
            ]
        return [self._mix(*row, prior, beam, certified_from=-np.inf) for row, prior in zip(rows, priors, strict=True)]

    def _mix_by_leaf(
        self, result: BeamResult, ids: Tensor, mask: Tensor, beam: int, priors: list[Prior]
    ) -> list[Ranking]:
        """The documents that the beam has found, and those of the prior, whose leaves are rows like others. What stands
        for their log-probabilities is that among them alone, as no search reads all leaves."""
        found = [
            nodes[scores > -np.inf]
            for nodes, scores in zip(result.nodes.cpu().numpy(), result.scores.cpu().numpy(), strict=True)
        ]
        leaf_of = self.docids.trie.leaf_of
        leaves = [np.union1d(nodes, leaf_of[prior.doc_index]) for nodes, prior in zip(found, priors, strict=True)]
        logits = leaf_logits(self.model, padded(leaves, 0).to(ids.device), ids, mask).cpu()
        rankings = []
        for nodes, row, prior in zip(leaves, logits, priors, strict=True):
            documents, sizes = self.docids.trie.documents_of(nodes)
            log_probs = row[: len(nodes)].log_softmax(0).numpy()
            rankings.append(self._mix(documents, np.repeat(log_probs, sizes), prior, beam, certified_from=np.inf))
        return rankings

    def _ranking(
        self,
        nodes: NDArray[np.int64],
        scores: NDArray[np.float32],
        log_probs: NDArray[np.float32],
        dropped: float,
        prior: Prior | None,
        beam: int,
    ) -> Ranking:
        """The ranking of the leaves' documents; those that share a docid share its probability, and without a prior
        come in corpus order."""
        exist = scores > -np.inf
        nodes, scores, log_probs = nodes[exist], scores[exist], log_probs[exist]
        is_docid = nodes >= 0
        documents, sizes = self.docids.trie.documents_of(nodes[is_docid])
        score, log_prob = np.repeat(scores[is_docid], sizes), np.repeat(log_probs[is_docid], sizes)
        if prior is None:
            documents, score, log_prob = documents[:beam], score[:beam], log_prob[:beam]
            certified = int((score >= dropped).sum()) if self.constrained else 0
            return Ranking(documents, score, log_prob, certified, is_docid)
        if len(nodes) == beam:  # docids worth as much as the last one may have been left out
            dropped = max(dropped, float(scores[-1]))
        return self._mix(documents, log_prob, prior, beam, dropped)

    def _mix(
        self,
        documents: NDArray[np.int64],
        log_prob: NDArray[np.float32],
        prior: Prior,
        beam: int,
        certified_from: float,
    ) -> Ranking:
        """The ranking by total of some documents, repeated or not, and of the rest of the prior. No other document has
        a larger total than `certified_from`."""
        documents, first = np.unique(documents, return_index=True)
        rest = np.setdiff1d(prior.doc_index, documents, assume_unique=True)
        documents = np.concatenate([documents, rest])
        log_prob = np.concatenate([log_prob[first], np.full(len(rest), -np.inf, dtype=np.float32)])
        of_prior = torch.from_numpy(prior.of_documents(documents))
        gains = self.mixture.gains(torch.from_numpy(log_prob), of_prior).numpy()
        order = np.lexsort((documents, -log_prob, -gains))[:beam]
        order = order[gains[order] > -np.inf]
        equal = SAME * np.abs(gains[order])
        is_certified = (gains[order] >= certified_from - equal) & (log_prob[order] > -np.inf)
        certified = int(np.argmin(np.append(is_certified, False)))  # up to the first that is not
        totals = (gains[order] + self.mixture.floor).astype(np.float32)
        return Ranking(documents[order], totals, log_prob[order], certified, np.ones(len(order), dtype=bool))
