"""Makes the explanation of a document's score, from what model, docids, words and a search say of it."""

from collections.abc import Sequence

import numpy as np

from dsi.corpus.store import Corpus, Document
from dsi.index.explanation import BestDocument, DocidStep, Explanation, NearDocument, PriorScore
from dsi.runtime.printable import one_line
from dsi.search.document_score import DocumentScore
from dsi.search.lexical_prior import term_priors
from dsi.search.prior import Prior
from dsi.search.ranking import Ranking
from dsi.search.text_searcher import TextSearcher

TITLE = 60
"""The largest number of characters of a title."""
EXAMPLES = 3
"""The number of documents that show what is below a node of the docid tree."""
NEAREST = 5
"""The number of documents that show what is near an atomic docid."""


def explain(corpus: Corpus, searcher: TextSearcher, beam: int, query: str, doc_id: str) -> Explanation:
    """Why a document has the score that it has for a query that has a word, in a search with this beam.

    Raises:
        KeyError: the corpus has no document with this id.
    """
    doc_index = corpus.doc_index(doc_id)
    [token_ids] = searcher.encode([query])
    priors = searcher.priors([query])
    [ranking] = searcher.rank([token_ids], beam, priors)
    places = np.flatnonzero(ranking.doc_index == doc_index).tolist()
    place = places[0] if places else None
    scored = searcher.searcher.score(token_ids, doc_index)
    by_leaf = scored.leaf_logit if searcher.config.ranking == "leaf" else None
    total, formula = _total(
        searcher, scored.log_prob if by_leaf is None else by_leaf, place, ranking, priors, doc_index
    )
    best, nearest = _atomic(corpus, searcher, scored, doc_index)
    return Explanation(
        query=query,
        doc_id=doc_id,
        title=title_of(corpus[doc_index]),
        log_prob=scored.log_prob,
        total=total,
        formula=formula,
        rank=None if place is None else place + 1,
        beam=beam,
        is_decoded=place is not None and bool(ranking.log_prob[place] > -np.inf),
        leaf_logit=by_leaf,
        prior=_prior(searcher, priors, query, doc_index),
        steps=_steps(corpus, searcher, scored),
        best=best,
        nearest=nearest,
    )


def _total(
    searcher: TextSearcher,
    score: float,
    place: int | None,
    ranking: Ranking,
    priors: Sequence[Prior] | None,
    doc_index: int,
) -> tuple[float | None, str]:
    """What the index ranks a document by, and this in words; `score` is what it would rank it by without a prior."""
    if priors is None:
        return score, searcher.formula(has_prior=False)
    [prior] = priors
    if not len(prior.doc_index):
        return score, f"{searcher.formula(has_prior=False)}, as no term of the query occurs in the documents"
    if searcher.config.ranking == "leaf":
        if place is None:
            return None, searcher.formula(has_prior=True)
        score = float(ranking.log_prob[place])
    [of_prior] = prior.of_documents(np.array([doc_index])).tolist()
    return searcher.searcher.mixture.total(score, of_prior), searcher.formula(has_prior=True)


def _prior(searcher: TextSearcher, priors: Sequence[Prior] | None, query: str, doc_index: int) -> PriorScore | None:
    if priors is None or searcher.terms is None:
        return None
    [prior], mixture = priors, searcher.searcher.mixture
    [score] = prior.of_documents(np.array([doc_index])).tolist()
    words = tuple(term_priors(searcher.terms, query, doc_index))
    is_among_best = bool((prior.doc_index == doc_index).any())
    return PriorScore(searcher.config.prior, score, is_among_best, mixture.weight, mixture.epsilon, words)


def _steps(corpus: Corpus, searcher: TextSearcher, scored: DocumentScore) -> tuple[DocidStep, ...]:
    if not scored.steps:
        return ()
    trie, strings = searcher.searcher.docids.trie, searcher.searcher.docids.vocabulary.strings
    deleted = searcher.searcher.changes.deleted

    def step_to(node: int, log_prob: float, sibling: DocidStep | None = None) -> DocidStep:
        token = int(trie.token[node])
        documents, some = trie.below(node, EXAMPLES, deleted)
        examples = tuple(title_of(corpus[doc_index]) for doc_index in some)
        return DocidStep(strings[token] if strings else str(token), log_prob, documents, examples, sibling)

    return tuple(
        step_to(node, log_prob, None if best == node else step_to(best, best_log_prob))
        for node, log_prob, best, best_log_prob in scored.steps
    )


def _atomic(
    corpus: Corpus, searcher: TextSearcher, scored: DocumentScore, doc_index: int
) -> tuple[BestDocument | None, tuple[NearDocument, ...]]:
    """The most probable document, and those nearest to a document, with atomic docids."""
    rows = searcher.searcher.rows
    if scored.best is None or rows is None:
        return None, ()
    best, log_prob = scored.best
    near = zip(*(each.tolist() for each in rows.nearest(doc_index, NEAREST)), strict=True)
    return (
        BestDocument(corpus[best].doc_id, title_of(corpus[best]), log_prob),
        tuple(NearDocument(corpus[number].doc_id, title_of(corpus[number]), cosine) for number, cosine in near),
    )


def title_of(document: Document) -> str:
    """The title, or the beginning of the text where there is none."""
    return one_line(document.title, TITLE) or one_line(document.text, TITLE)
