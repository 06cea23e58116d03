"""Search loss: how often a beam misses the most probable documents, which exact search knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dsi.docids.store import Docids
from dsi.model.architecture import DifferentiableSearchIndex
from dsi.runtime.progress import progress
from dsi.search.searcher import CERTAIN, Ranking, Searcher

BEAMS = (1, 10, 40, 100)


class SearchLoss(NamedTuple):
    """Of a beam, over the queries whose first ten documents exact search is certain of."""

    beam: int
    missed_first: float
    """Share of queries whose most probable document the beam does not return first."""
    missed_ten: float
    """Mean share of the ten most probable documents that are not among the beam's first ten."""
    own_certificate: float
    """Share of queries whose first ten documents the beam by itself can certify."""


def search_loss(
    model: DifferentiableSearchIndex, docids: Docids, queries: Sequence[Sequence[int]], budget: int, batch_size: int
) -> tuple[list[SearchLoss], float]:
    """The loss of some beams, and the share of queries that exact search is certain of with beams up to `budget`."""
    searcher = Searcher(model, docids)
    rankings = {
        beam: searcher.search(queries, beam, batch_size) for beam in progress(BEAMS, "search loss", unit="beams")
    }
    exact = Searcher(model, docids, budget=budget).search(queries, max(BEAMS), batch_size)
    certain = [number for number, ranking in enumerate(exact) if is_certain(ranking)]
    losses = [
        SearchLoss(
            beam,
            _mean(_missed(exact[number], found[number], 1) for number in certain),
            _mean(_missed(exact[number], found[number], CERTAIN) for number in certain),
            _mean(found[number].certain >= min(CERTAIN, len(docids.codes)) for number in certain),
        )
        for beam, found in rankings.items()
    ]
    return losses, len(certain) / max(len(queries), 1)


def is_certain(ranking: Ranking) -> bool:
    """Whether its first ten documents, or all that were asked for, are certainly the most probable ones."""
    return ranking.certain >= min(CERTAIN, len(ranking.doc_index))


def _missed(exact: Ranking, found: Ranking, count: int) -> float:
    wanted = exact.doc_index[:count]
    return float(1 - np.isin(wanted, found.doc_index[:count]).mean()) if len(wanted) else 0.0


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return round(float(np.mean(numbers)), 4) if numbers else float("nan")
