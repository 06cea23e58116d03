"""Cheap fusions of two finished rankings, which planning has to better.

reciprocal_ranks   the sum of 1 / (60 + rank) over the rankings that have the document (Cormack et al. 2009)
linear             the index's score + weight * the other's; a document that the index's ranking lacks is below its last
"""

from collections.abc import Sequence

from dsi.search.answering import Hits

RANK_CONSTANT = 60
"""The k of Cormack et al. 2009."""
BELOW = 1.0
"""How far below the last of the index's ranking a document counts that it lacks."""


def reciprocal_ranks(rankings: Sequence[Hits]) -> Hits:
    """The documents of all rankings by the sum of their reciprocal ranks, best first.

    >>> [doc_id for doc_id, _ in reciprocal_ranks([[("a", 9.0), ("b", 8.0)], [("b", 2.0), ("c", 1.0)]])]
    ['b', 'a', 'c']
    """
    sums: dict[str, float] = {}
    for ranking in rankings:
        for rank, (doc_id, _) in enumerate(ranking, start=1):
            sums[doc_id] = sums.get(doc_id, 0.0) + 1 / (RANK_CONSTANT + rank)
    return _sorted(sums)


def linear(ranking: Hits, other: Hits, weight: float) -> Hits:
    """The documents of both rankings by the score + weight * the score in `other`, which is 0 or more, best first.

    >>> [doc_id for doc_id, _ in linear([("a", -1.0), ("b", -3.0)], [("c", 4.0), ("b", 1.0)], weight=1.0)]
    ['c', 'a', 'b']
    """
    scores, others = dict(ranking), dict(other)
    lacking = min(scores.values(), default=0.0) - BELOW
    return _sorted(
        {doc_id: scores.get(doc_id, lacking) + weight * others.get(doc_id, 0.0) for doc_id in {**scores, **others}}
    )


def _sorted(scores: dict[str, float]) -> Hits:
    """Best first; of equal ones, the first ones first."""
    return sorted(scores.items(), key=lambda item: -item[1])
