"""Searches for tokenised queries in batches, with any kind of docids."""

from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.model.cost import forward_flops
from dsi.model.length_batches import length_batches, padded_texts
from dsi.runtime.threads import threads_for
from dsi.search.atomic import AtomicRows, top_documents
from dsi.search.beam import BeamResult, DeviceTrie, UnconstrainedTrie, beam_search
from dsi.search.changes import NONE, Changes
from dsi.search.document_score import DocumentScore, score_document, score_row
from dsi.search.exact import exact_search
from dsi.search.leaves import leaf_logits, rank_by_leaf
from dsi.search.plan import Plan, padded
from dsi.search.prior import PLAIN, Mixture, Prior
from dsi.search.ranking import NOTHING, Ranking, by_total
from dsi.search.rounded_rows import RoundedOnce
from dsi.search.walk import Branches, Watch

CERTIFIED = 10
"""The number of results that exact search certifies: those that RR@10 is computed from."""


class Searcher:
    """Searches with a model among the docids that it was trained on.

    Args:
        constrained: whether the beam follows only docids that exist.
        max_beam: largest beam that exact search may try; 0 for plain beam search.
        ranking: how documents that a beam finds are ordered, path or leaf (see dsi.search.leaves).
        mixture: how searches with priors weigh them.
        changes: the documents added and deleted since the model was trained; `docids` have those added already, but for
            atomic ones.

    Raises:
        ValueError: the changes are not of documents of this index, or add rows to docids of several tokens.
    """

    def __init__(
        self,
        model: DifferentiableSearchIndex,
        docids: Docids,
        constrained: bool = True,
        max_beam: int = 0,
        ranking: str = "path",
        mixture: Mixture = PLAIN,
        changes: Changes = NONE,
    ) -> None:
        self.model, self.docids, self.mixture = model, docids, mixture
        self.constrained, self.max_beam, self.ranking = constrained, max_beam, ranking
        self._flops = forward_flops(model, 1, 0), forward_flops(model, 0, 1)  # of a token of text, of a prefix
        self.trie: DeviceTrie | None = None
        self.rows: AtomicRows | None = None
        """The output rows of atomic docids; None for docids of several tokens."""
        if docids.is_atomic:
            # A GPU reads rows faster than they are rounded.
            rounded = RoundedOnce(model.docid_head.weight) if model.device.type == "cpu" else None
            self.rows = AtomicRows(model.docid_head.weight, rounded=rounded)
        elif constrained:
            self.trie = DeviceTrie(docids.trie, model.device)
        else:
            tokens = model.config.docid_tokens
            self.trie = UnconstrainedTrie(docids.trie, model.device, tokens, docids.vocabulary.end)
        self._apply(changes)

    def changed(self, changes: Changes) -> Self:
        """A searcher of the same index after these changes, in place of its own; what is costly to make is shared.

        Raises:
            ValueError: the changes are not of documents of this index, or add rows to docids of several tokens.
        """
        other = copy(self)
        other._apply(changes)
        return other

    def among(self, model: DifferentiableSearchIndex, docids: Docids) -> Self:
        """A searcher that searches in the same way with another model among other docids."""
        return type(self)(model, docids, self.constrained, self.max_beam, self.ranking, self.mixture)

    def _apply(self, changes: Changes) -> None:
        if self.rows is not None:
            self.rows = AtomicRows(self.rows.weight, changes, self.rows.rounded)
        elif changes.rows is not None:
            raise ValueError("output rows are added to atomic docids only")
        elif len(changes.deleted) and changes.deleted[-1] >= self.documents:
            raise ValueError(f"document {changes.deleted[-1]} is deleted; the index has {self.documents}")
        if self.trie is not None:
            self.trie = self.trie.without(self._emptied(changes))
        self.changes = changes

    @property
    def documents(self) -> int:
        """The number of documents, deleted ones too."""
        return len(self.docids.trie.documents) if self.rows is None else self.rows.documents

    @property
    def living(self) -> int:
        """The number of documents that are not deleted."""
        return self.documents - len(self.changes.deleted)

    def search(
        self,
        queries: Sequence[Sequence[int]],
        beam: int,
        batch_size: int,
        priors: Sequence[Prior] | None = None,
    ) -> list[Ranking]:
        """The ranking of at most `beam` documents for each query, given as token ids, in batches of `batch_size`.

        With a prior for each query the search is planned: the documents of largest total, as `mixture` weighs them;
        with one of no document it is the plain search. Deleted documents are as if they were not there, in priors too.
        A ranking does not depend on the other queries of the batch: padding is masked everywhere.

        Raises:
            ValueError: there are priors, but not one for each query, or of a document that does not exist, or the
                search is not constrained.
        """
        if priors is None:
            return self._in_batches(queries, beam, batch_size, None)
        self._check(priors, len(queries))
        if len(self.changes.deleted):
            priors = [prior.without(self.changes.is_deleted(prior.doc_index)) for prior in priors]
        has_prior = np.array([len(prior.doc_index) > 0 for prior in priors], dtype=bool)
        plain, planned = np.flatnonzero(~has_prior).tolist(), np.flatnonzero(has_prior).tolist()
        rankings: dict[int, Ranking] = {}
        for numbers, of_numbers in ((plain, None), (planned, [priors[number] for number in planned])):
            found = self._in_batches([queries[number] for number in numbers], beam, batch_size, of_numbers)
            rankings |= zip(numbers, found, strict=True)
        return [rankings[number] for number in range(len(queries))]

    def score(self, query: Sequence[int], doc_index: int) -> DocumentScore:
        """What the model says of one document for a query, given as token ids, whether or not a search finds it.

        Raises:
            ValueError: the document is deleted.
        """
        if self.changes.is_deleted(np.array([doc_index])).any():
            raise ValueError(f"document {doc_index} is deleted")
        self.model.eval()
        with threads_for(self._work([query], beam=1)):
            ids = torch.tensor([query], device=self.model.device)
            if self.rows is not None:
                return score_row(self.model, self.rows, ids, doc_index)
            trie = self.trie
            if trie is None or not self.constrained:
                trie = DeviceTrie(self.docids.trie, self.model.device).without(self._emptied(self.changes))
            return score_document(self.model, self.docids, trie, ids, doc_index)

    def walk(self, query: Sequence[int], beam: int, prior: Prior | None = None) -> list[Branches]:
        """The branches of the docid tree that a beam search for one query looks at, by level; `prior` as in `search`.

        Raises:
            ValueError: docids are atomic, which are no tree, or the prior is one that `search` refuses.
        """
        if self.trie is None:
            raise ValueError("atomic docids are no tree")
        plan = None
        if prior is not None:
            self._check([prior], queries=1)
            prior = prior.without(self.changes.is_deleted(prior.doc_index))
            if len(prior.doc_index):
                plan = Plan.of(self.docids, [prior], self.mixture, self.model.device)
        self.model.eval()
        watch = Watch(plan)
        with threads_for(self._work([query], beam)):
            ids, mask = padded_texts([query], self.model.config.pad_token_id, self.model.device)
            result = beam_search(self.model, self.trie, ids, mask, beam, plan=plan, watch=watch)
        return watch.branches(result.nodes[0][result.scores[0] > -torch.inf].cpu().numpy())

    def _in_batches(
        self, queries: Sequence[Sequence[int]], beam: int, batch_size: int, priors: list[Prior] | None
    ) -> list[Ranking]:
        if not self.living:
            return [NOTHING] * len(queries)
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
        for number, prior in enumerate(priors):
            if len(prior.doc_index) and prior.doc_index[-1] >= self.documents:
                raise ValueError(
                    f"the prior of query {number} is of document {prior.doc_index[-1]}; the index has {self.documents}"
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
        documents, log_probs = top_documents(self.model, ids, mask, beam, others, self.rows)
        rows = list(zip(documents.cpu().numpy(), log_probs.cpu().numpy(), strict=True))
        if priors is None:
            return [
                Ranking(numbers, each, each, len(numbers), np.ones(len(numbers), dtype=bool)) for numbers, each in rows
            ]
        if len(self.changes.deleted):  # what fills the rows of shorter priors may be
            rows = [(numbers[each > -np.inf], each[each > -np.inf]) for numbers, each in rows]
        of_priors = zip(rows, priors, strict=True)
        return [by_total(*row, prior, self.mixture, beam, certified_from=-np.inf) for row, prior in of_priors]

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
            documents, leaf = self._documents_of(nodes)
            log_probs = row[: len(nodes)].log_softmax(0).numpy()
            rankings.append(by_total(documents, log_probs[leaf], prior, self.mixture, beam, certified_from=np.inf))
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
        documents, leaf = self._documents_of(nodes[is_docid])
        score, log_prob = scores[is_docid][leaf], log_probs[is_docid][leaf]
        if prior is None:
            documents, score, log_prob = documents[:beam], score[:beam], log_prob[:beam]
            certified = int((score >= dropped).sum()) if self.constrained else 0
            return Ranking(documents, score, log_prob, certified, is_docid)
        if len(nodes) == beam:  # docids worth as much as the last one may have been left out
            dropped = max(dropped, float(scores[-1]))
        return by_total(documents, log_prob, prior, self.mixture, beam, dropped)

    def _documents_of(self, leaves: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The documents of some leaves that are not deleted, and the place of each one's leaf among `leaves`."""
        documents, sizes = self.docids.trie.documents_of(leaves)
        places = np.repeat(np.arange(len(leaves)), sizes)
        if not len(self.changes.deleted):
            return documents, places
        is_living = ~self.changes.is_deleted(documents)
        return documents[is_living], places[is_living]

    def _emptied(self, changes: Changes) -> NDArray[np.int64]:
        """The nodes of the trie below which all documents are deleted."""
        return self.docids.trie.without_documents(changes.deleted) if len(changes.deleted) else changes.deleted
