"""TREC run files: the rankings of a system, as trec_eval, ir-measures and similar tools read them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import ir_measures
import numpy as np
from numpy.typing import NDArray

DSI = "dsi"
"""The index alone, one of the systems that the stage `search` runs."""
FUSIONS = RECIPROCAL_RANKS, LINEAR = "rrf", "linear"
"""Two fusions of it with the prior, if it has one."""
PLANNED = "dsi+"
"""The beginning of the name of the index with a prior, whose name follows."""


def write_run(path: Path, tag: str, results: Iterable[tuple[str, Sequence[tuple[str, float]]]]) -> None:
    """Write a file of `run_lines`, which is replaced if it exists, and hold one query at a time in memory."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(run_lines(tag, results))


def run_lines(tag: str, results: Iterable[tuple[str, Sequence[tuple[str, float]]]]) -> Iterator[str]:
    """Lines `query_id Q0 doc_id rank score tag`, with ranks from 1: those of a query as one text, query by query.

    Tools ignore the rank and sort by score, and each breaks ties its own way. So that all see the order given here, a
    score that is not below its predecessor is lowered to just below it, in float32, which trec_eval reads.

    Args:
        tag: name of the system; neither it nor an id contains white space.
        results: (query_id, [(doc_id, score), ...]), the best document first.

    Raises:
        ValueError: a query or one of its documents is repeated, or a score is not finite.

    >>> print(*run_lines("dsi", [("q1", [("d7", -0.5), ("d2", -1.0)])]))
    q1 Q0 d7 1 -0.5 dsi
    q1 Q0 d2 2 -1 dsi
    <BLANKLINE>
    """
    written: set[str] = set()
    for query_id, hits in results:
        if query_id in written:
            raise ValueError(f"query {query_id} is repeated")
        if len({doc_id for doc_id, _ in hits}) < len(hits):
            raise ValueError(f"query {query_id}: a document is repeated")
        written.add(query_id)
        scores = strictly_decreasing([score for _, score in hits])
        ranked = enumerate(zip(hits, scores.tolist(), strict=True), start=1)
        yield "".join(f"{query_id} Q0 {doc_id} {rank} {score:.9g} {tag}\n" for rank, ((doc_id, _), score) in ranked)


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """The scores in a TREC run file: {query_id: {doc_id: score}}."""
    run: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8") as file:
        for hit in ir_measures.read_trec_run(file):
            run.setdefault(hit.query_id, {})[hit.doc_id] = hit.score
    return run


def strictly_decreasing(scores: Sequence[float]) -> NDArray[np.float32]:
    """`scores` in float32, each that is not below its predecessor lowered to the next number below it.

    Raises:
        ValueError: a score is not finite in float32.

    >>> [f"{score:.9g}" for score in strictly_decreasing([2.0, 2.0, 1.0])]
    ['2', '1.99999988', '1']
    """
    with np.errstate(over="ignore"):  # to infinity, which is refused below
        lowered = np.array(scores, dtype=np.float32)
        if not np.all(lowered[1:] < lowered[:-1]):
            for i in range(1, len(lowered)):
                lowered[i] = min(lowered[i], np.nextafter(lowered[i - 1], np.float32(-np.inf)))
    if not np.isfinite(lowered).all():
        raise ValueError("a score is not finite")
    return lowered
