"""Makes the walk of a query, from what a search and the documents below the branches say."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from math import log

import numpy as np
import torch
from numpy.typing import NDArray

from dsi.corpus.store import Corpus
from dsi.corpus.words import words_of
from dsi.index.explain import EXAMPLES, title_of
from dsi.index.walk import Branch, Walk, WalkedLevel, WeighedDocument
from dsi.search.prior import Prior
from dsi.search.ranking import Ranking
from dsi.search.text_searcher import TextSearcher
from dsi.search.walk import Branches

KEPT, DROPPED = 6, 2
"""The number of the best branches of a level that are shown, and of the best that were dropped."""
READ, WORDS, SHORTEST = 24, 4, 4
"""The number of documents below a branch that are read for its words, of words that are shown, and of their letters at
least."""


def walk(corpus: Corpus, searcher: TextSearcher, beam: int, k: int, query: str) -> Walk:
    """The walk of a query that has a word, in a search with this beam for `k` documents."""
    [token_ids], priors = searcher.encode([query]), searcher.priors([query])
    [ranking] = searcher.rank([token_ids], beam, priors)
    prior = priors[0] if priors and len(priors[0].doc_index) else None
    is_atomic = searcher.searcher.docids.is_atomic
    shown = ranking.doc_index[:k]
    made = _Making(corpus, searcher, prior, shown)
    return Walk(
        query=query,
        kind="atomic" if is_atomic else "tree",
        prior=None if prior is None else searcher.config.prior,
        formula=searcher.formula(prior is not None),
        beam=beam,
        certified=min(ranking.certified, len(shown)),
        certificate=_certificate(ranking, len(shown), searcher),
        levels=() if is_atomic else made.levels(searcher.searcher.walk(token_ids, beam, prior)),
        documents=made.documents(ranking) if is_atomic else (),
    )


class _Making:
    """What the walk of a query is made of; `hits` are the row numbers of those shown, best first."""

    def __init__(self, corpus: Corpus, searcher: TextSearcher, prior: Prior | None, hits: NDArray[np.int64]) -> None:
        self.corpus, self.searcher, self.prior, self.hits = corpus, searcher.searcher, prior, hits

    def documents(self, ranking: Ranking) -> tuple[WeighedDocument, ...]:
        """The hits of atomic docids."""
        log_probs, priors = ranking.log_prob[: len(self.hits)], self._prior_of(self.hits)
        of_index, of_prior = self._parts(log_probs, priors)
        numbers = (each.tolist() for each in (self.hits, np.exp(log_probs), priors, of_index, of_prior))
        return tuple(
            WeighedDocument(rank, self.corpus[number].doc_id, title_of(self.corpus[number]), *values)
            for rank, (number, *values) in enumerate(zip(*numbers, strict=True), start=1)
        )

    def levels(self, walked: Sequence[Branches]) -> tuple[WalkedLevel, ...]:
        """The levels of a docid tree that a beam has walked."""
        docids = self.searcher.docids
        hit_paths = docids.trie.paths(docids.codes[self.hits])
        reached, levels = np.array([0]), list[WalkedLevel]()
        for level, branches in enumerate(walked):
            chosen = _shown(branches, hit_paths[:, level], reached)
            if not len(chosen):  # the docids shown have ended
                break
            reached = np.append(chosen.node, 0)
            kept = int(branches.kept.sum())
            levels.append(WalkedLevel(kept, len(branches) - kept, self._branches(chosen, hit_paths[:, level])))
        return tuple(levels)

    def _branches(self, branches: Branches, of_hits: NDArray[np.int32]) -> tuple[Branch, ...]:
        """Branches of a level, on which the hits are below these nodes."""
        docids, deleted = self.searcher.docids, self.searcher.changes.deleted
        trie, strings = docids.trie, docids.vocabulary.strings
        of_index, of_prior = self._parts(branches.log_prob, branches.prior)
        read = [trie.below(node, READ, deleted) for node in branches.node.tolist()]
        words = self._words([numbers for _, numbers in read])
        found = list[Branch]()
        for place, (count, numbers) in enumerate(read):
            node = int(branches.node[place])
            token, is_leaf = int(trie.token[node]), bool(trie.first_child[node] == trie.first_child[node + 1])
            some = numbers[:EXAMPLES] if is_leaf else trie.below(node, EXAMPLES, deleted)[1]
            documents = [self.corpus[number] for number in some]
            found.append(
                Branch(
                    node=node,
                    parent=int(branches.parent[place]),
                    token=strings[token] if strings else str(token),
                    step=float(np.exp(branches.step_log_prob[place])),
                    probability=float(np.exp(branches.log_prob[place])),
                    prior=float(branches.prior[place]),
                    of_index=float(of_index[place]),
                    of_prior=float(of_prior[place]),
                    kept=bool(branches.kept[place]),
                    hits=tuple((np.flatnonzero(of_hits == node) + 1).tolist()),
                    documents=count,
                    words=words[place],
                    examples=tuple(title_of(document) for document in documents),
                    doc_ids=tuple(document.doc_id for document in documents) if is_leaf else (),
                )
            )
        return tuple(found)

    def _words(self, below: Sequence[Sequence[int]]) -> list[tuple[str, ...]]:
        """The words that are typical of some documents below each branch, beside those below the others; none of a
        single document, whose title says more."""
        below = [numbers if len(numbers) > 1 else () for numbers in below]
        texts = [[_words_of(self.corpus[number].content()) for number in numbers] for numbers in below]
        everywhere, documents = Counter(chain.from_iterable(chain.from_iterable(texts))), sum(map(len, texts))
        typical = []
        for of_branch in texts:
            here = Counter(chain.from_iterable(of_branch))
            weights = {word: times * log(1 + documents / everywhere[word]) for word, times in here.items()}
            typical.append(tuple(sorted(weights, key=lambda word: (-weights[word], word))[:WORDS]))
        return typical

    def _parts(
        self, log_probs: NDArray[np.float32], priors: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The parts of the index and of the prior in what documents or branches are worth, both at least 0."""
        if self.prior is None:
            return np.exp(log_probs.astype(np.float64)), np.zeros(len(log_probs))
        mixture = self.searcher.mixture
        of_index = mixture.gains(torch.from_numpy(log_probs), torch.zeros(len(log_probs))).numpy()
        if not mixture.epsilon:
            finite = of_index[np.isfinite(of_index)]
            of_index = np.maximum(of_index - (finite.min() if len(finite) else 0.0), 0.0)
        return of_index, mixture.weight * priors.astype(np.float64)

    def _prior_of(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.prior.of_documents(numbers) if self.prior is not None else np.zeros(len(numbers), dtype=np.float32)


def _shown(branches: Branches, of_hits: NDArray[np.int32], reached: NDArray[np.int64]) -> Branches:
    """The branches of a level that are shown: those from nodes `reached` that lead to a hit, or are the best kept, or
    the best dropped."""
    follows = np.isin(branches.parent, reached)
    leads = np.isin(branches.node, of_hits) & follows
    kept = np.flatnonzero(follows & branches.kept)[:KEPT]
    dropped = np.flatnonzero(follows & ~branches.kept)[:DROPPED]
    return branches[np.union1d(np.flatnonzero(leads & branches.kept), np.union1d(kept, dropped))]


def _certificate(ranking: Ranking, shown: int, searcher: TextSearcher) -> str:
    """What is certain of the first hits."""
    documents, certified = searcher.searcher.living, min(ranking.certified, shown)
    if not shown:
        return "Nothing was found."
    if searcher.searcher.docids.is_atomic:
        return f"Certain: all {documents:,} documents were compared, and none is better than these."
    if certified == shown:
        return f"Certain: whatever the beam dropped, none of the {documents:,} documents is better than these."
    if searcher.config.ranking == "leaf":
        return "Not certain: the beam finds documents by their ways, and they are ranked by their own rows."
    if not searcher.config.constrained:
        return "Not certain: the beam is not kept to docids that exist."
    wider = "A wider beam, or search.exact, may find one."
    if certified:
        return (
            f"Certain for the first {certified:,}: none of the {documents:,} documents is better. What the beam dropped"
            f" might be better than the others. {wider}"
        )
    return f"Not certain: what the beam dropped might be better. {wider}"


def _words_of(text: str) -> set[str]:
    return {word for word in words_of(text) if len(word) >= SHORTEST and not word.isdigit()}
