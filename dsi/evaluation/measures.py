"""Measures of retrieval quality, all computed by ir-measures, over every judged query.

The programs behind ir-measures fail on judgements that they do not know, some without a word. So they only get what all
of them read: no grade below 0, which means not relevant; grades 0 and 1 where a measure only asks whether a document is
relevant; numbers for ids; one measure at a time.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ir_measures

from dsi.corpus.store import Qrel
from dsi.errors import DsiError, first_line
from dsi.evaluation.measure_names import LARGEST_GAIN, parse

Measures = dict[str, Any]
"""The measures of ir-measures, by name as the user spells it."""

DEV_MEASURE = "RR@10"
"""The measure on dev queries that chooses among checkpoints and rounds, and the weight of a prior."""

OWN: Measures = {}
"""The measures that ir-measures lacks, each made of a function by `ir_measures.define_byquery`."""

LARGEST_GDEVAL = 4
"""The largest grade that gdeval knows, which computes ERR and nDCG with exponential gains."""

Run = Mapping[str, Mapping[str, float]]
"""The score of each document found, by query_id and doc_id. Scores of a query must differ: tools break ties
differently."""


def parse_measures(names: Iterable[str]) -> Measures:
    """The measures with these names, in their order.

    Raises:
        DsiError: there is no such measure, a parameter is missing or wrong, or no installed package computes it.
    """
    return {name: OWN[name] if name in OWN else parse(name) for name in names}


def check_judgements(measures: Measures, qrels: Iterable[Qrel], split: str) -> None:
    """Refuse judgements that cannot be measured, which may be known long before there is anything to measure.

    Raises:
        DsiError: no document is relevant, or none for one of the measures, or a grade is too large for one.
    """
    qrels = list(qrels)
    highest = max((qrel.relevance for qrel in qrels), default=0)
    if highest <= 0:
        raise DsiError(
            f"evaluation.split: split {split!r} has no judgements above 0, so nothing can be measured; name another"
        )
    for name, measure in measures.items():
        if (least := least_grade(measure)) > highest:
            raise DsiError(
                f"evaluation.measures: {name!r} asks for grades from {least:,} on, and the highest of split {split!r}"
                f" is {highest:,}, so it would be 0 for every system; lower its rel"
            )
    _check_grades(measures, qrels)


def least_grade(measure: Any) -> int:
    """The grade from which on a document is relevant for a measure."""
    rel = measure["rel"] if "rel" in measure.SUPPORTED_PARAMS else 1
    return rel if isinstance(rel, int) else 1


def score_run(measures: Measures, qrels: Iterable[Qrel], run: Run) -> dict[str, float]:
    """The mean of each measure over all queries in `qrels`; a query without results, or without a relevant document,
    counts as 0."""
    means, _ = score_queries(measures, qrels, run)
    return means


def score_queries(
    measures: Measures, qrels: Iterable[Qrel], run: Run
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The means as `score_run` returns them, and the values of the measures by query_id, in the order of `qrels`.

    Raises:
        DsiError: a grade is too large for a measure, or the program behind it fails on these judgements.
    """
    qrels = list(qrels)
    _check_grades(measures, qrels)
    judgements: dict[str, dict[str, int]] = defaultdict(dict)
    for qrel in qrels:
        judgements[qrel.query_id][qrel.doc_id] = max(qrel.relevance, 0)
    numbered = _numbered(judgements, run)
    means, by_query = {}, {query_id: dict[str, float]() for query_id in judgements}
    for name, measure in measures.items():
        values = _own(measure, judgements, run) if name in OWN else _values(name, measure, *numbered)
        aggregate = measure.aggregator()
        for number, (query_id, of_query) in enumerate(by_query.items()):
            of_query[name] = values.get(query_id if name in OWN else str(number), float(measure.DEFAULT))
            aggregate.add(of_query[name])
        means[name] = float(aggregate.result())
    return means, by_query


def _own(measure: Any, judgements: dict[str, dict[str, int]], run: Run) -> dict[str, float]:
    """The values of a measure of ours by query_id."""
    metrics = ir_measures.evaluator([measure], judgements).iter_calc(run)
    return {metric.query_id: float(metric.value) for metric in metrics}


def _values(
    name: str, measure: Any, judgements: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """The values of a measure of ir-measures by the number of a query."""
    if "rel" in measure.SUPPORTED_PARAMS:
        least = least_grade(measure)
        judgements = {
            query: {document: int(grade >= least) for document, grade in judged.items()}
            for query, judged in judgements.items()
        }
        measure = measure(rel=1) if "rel" in measure.params else measure
    try:
        metrics = list(ir_measures.evaluator([measure], judgements).iter_calc(run))
    except Exception as error:  # of any kind: they are other people's programs, in three languages
        raise DsiError(f"evaluation.measures: {name!r}: ir-measures fails on it: {first_line(error)}") from error
    values = {metric.query_id: float(metric.value) for metric in metrics}
    if not all(map(math.isfinite, values.values())):
        raise DsiError(f"evaluation.measures: {name!r} is not a number for some query; take another measure")
    return values


def _numbered(
    judgements: Mapping[str, Mapping[str, int]], run: Run
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Judgements and run with numbers for ids, which gdeval wants (it takes q-1 for 1) and C (it cuts at a NUL)."""
    judged: dict[str, dict[str, int]] = {}
    found: dict[str, dict[str, float]] = {}
    for number, (query_id, grades) in enumerate(judgements.items()):
        scores = run.get(query_id, {})
        numbers = {doc_id: str(place) for place, doc_id in enumerate({**grades, **scores})}
        judged[str(number)] = {numbers[doc_id]: grade for doc_id, grade in grades.items()}
        if scores:
            found[str(number)] = {numbers[doc_id]: score for doc_id, score in scores.items()}
    return judged, found


def _check_grades(measures: Measures, qrels: Sequence[Qrel]) -> None:
    highest = max(qrels, key=lambda qrel: qrel.relevance, default=Qrel("", "", 0))
    for name, measure in measures.items():
        largest = _largest_grade(name, measure)
        if highest.relevance > largest:
            raise DsiError(
                f"evaluation.measures: {name!r} is computed for grades up to {largest:,}, but the relevance of document"
                f" {highest.doc_id!r} to query {highest.query_id!r} is {highest.relevance:,}; take"
                " another measure, or scale the grades down"
            )


def _largest_grade(name: str, measure: Any) -> float:
    if name in OWN or measure.NAME not in ("nDCG", "ERR"):
        return math.inf
    return LARGEST_GAIN if measure.NAME == "nDCG" and measure["dcg"] == "log2" else LARGEST_GDEVAL
