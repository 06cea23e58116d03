"""Measures of retrieval quality, all computed by ir-measures, over every judged query."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import ir_measures

from dsi.corpus.store import Qrel
from dsi.errors import DsiError

Measures = dict[str, Any]
"""The measures of ir-measures, by name as the user spells it."""

OWN: Measures = {}
"""The measures that ir-measures lacks, each made of a function by `ir_measures.define_byquery`."""

Run = Mapping[str, Mapping[str, float]]
"""The score of each document found, by query_id and doc_id. Scores of a query must differ: tools break ties
differently."""


def parse_measures(names: Iterable[str]) -> Measures:
    """The measures with these names, in their order.

    Raises:
        DsiError: no installed provider of ir-measures computes one of them.
    """
    return {name: _parse(name) for name in names}


def score_run(measures: Measures, qrels: Iterable[Qrel], run: Run) -> dict[str, float]:
    """The mean of each measure over all queries in `qrels`; a query without results counts as 0."""
    means, _ = score_queries(measures, qrels, run)
    return means


def score_queries(
    measures: Measures, qrels: Iterable[Qrel], run: Run
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The means as `score_run` returns them, and the values of the measures by query_id, in the order of `qrels`."""
    judgements: dict[str, dict[str, int]] = defaultdict(dict)
    for qrel in qrels:
        judgements[qrel.query_id][qrel.doc_id] = qrel.relevance
    results = ir_measures.evaluator(measures.values(), judgements).calc(run)
    values = {(metric.query_id, metric.measure): metric.value for metric in results.per_query}
    by_query = {
        query_id: {name: float(values[query_id, measure]) for name, measure in measures.items()}
        for query_id in judgements
    }
    return {name: float(results.aggregated[measure]) for name, measure in measures.items()}, by_query


def _parse(name: str) -> Any:
    if name in OWN:
        return OWN[name]
    try:
        measure = ir_measures.parse_measure(name)
        supported = ir_measures.DefaultPipeline.supports(measure)
    except (ValueError, NameError, AssertionError) as error:
        raise DsiError(f"evaluation.measures: {name!r}: {error}; examples: RR@10, R@100, nDCG@10, AP(rel=2)") from None
    if not supported:
        raise DsiError(f"evaluation.measures: {name!r}: no installed provider of ir-measures computes it")
    if measure.params.get("cutoff", 1) < 1:  # which would make trec_eval end the process
        raise DsiError(f"evaluation.measures: {name!r}: a cutoff is at least 1")
    return measure
