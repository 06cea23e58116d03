"""Search errors: how often a beam search misses the most probable documents, which exact search finds."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dsi.runtime.progress import progress
from dsi.search.prior import Prior
from dsi.search.ranking import Ranking
from dsi.search.searcher import CERTIFIED, Searcher

BEAMS = (1, 10, 40, 100)


class SearchErrors(NamedTuple):
    """The errors of a beam search on the queries whose first ten documents exact search certifies."""

    beam: int
    missed_first: float
    """The share of queries whose most probable document is not the beam's first."""
    missed_ten: float
    """The mean share of the ten most probable documents that are not among the beam's first ten."""
    own_certificate: float
    """The share of queries whose first ten documents the beam search itself certifies."""


def search_errors(
    searcher: Searcher,
    queries: Sequence[Sequence[int]],
    max_beam: int,
    batch_size: int,
    priors: Sequence[Prior] | None = None,
) -> tuple[list[SearchErrors], float]:
    """The errors of each of BEAMS, and the share of queries that exact search certifies with beams up to `max_beam`.

    With a prior for each query the documents wanted are those of largest total.
    """
    model, docids, mixture, changes = searcher.model, searcher.docids, searcher.mixture, searcher.changes
    beam_searcher = Searcher(model, docids, mixture=mixture, changes=changes)
    rankings = {
        beam: beam_searcher.search(queries, beam, batch_size, priors)
        for beam in progress(BEAMS, "search errors", unit="beams")
    }
    exact_searcher = Searcher(model, docids, max_beam=max_beam, mixture=mixture, changes=changes)
    exact = exact_searcher.search(queries, max(BEAMS), batch_size, priors)
    certified = [number for number, ranking in enumerate(exact) if is_certified(ranking)]
    errors = [
        SearchErrors(
            beam,
            _mean(_missed(exact[number], narrow[number], 1) for number in certified),
            _mean(_missed(exact[number], narrow[number], CERTIFIED) for number in certified),
            _mean(narrow[number].certified >= min(CERTIFIED, searcher.living) for number in certified),
        )
        for beam, narrow in rankings.items()
    ]
    return errors, len(certified) / max(len(queries), 1)


def is_certified(ranking: Ranking) -> bool:
    """Whether the first ten documents of a ranking, or all if fewer, are certified to be the most probable ones."""
    return ranking.certified >= min(CERTIFIED, len(ranking.doc_index))


def _missed(exact: Ranking, narrow: Ranking, count: int) -> float:
    """The share of the first `count` documents of `exact` that are not among those of `narrow`."""
    wanted = exact.doc_index[:count]
    return float(1 - np.isin(wanted, narrow.doc_index[:count]).mean()) if len(wanted) else 0.0


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return round(float(np.mean(numbers)), 4) if numbers else float("nan")
