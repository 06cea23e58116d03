"""Measures of retrieval quality, all computed by ir-measures, over every judged query."""

import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import ir_measures

from dsi.corpus.store import Qrel
from dsi.errors import DsiError, first_line

Measures = dict[str, Any]
"""The measures of ir-measures, by name as the user spells it."""

OWN: Measures = {}
"""The measures that ir-measures lacks, each made of a function by `ir_measures.define_byquery`."""

GDEVAL_GRADES = 4
"""The highest grade that gdeval, which computes ERR@k, takes."""

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
    """The means as `score_run` returns them, and the values of the measures by query_id, in the order of `qrels`.

    A judgement below 0, TREC's junk, is as one of 0: not relevant.

    Raises:
        DsiError: a tool that ir-measures uses cannot compute one of the measures from these judgements.
    """
    judgements: dict[str, dict[str, int]] = defaultdict(dict)
    for qrel in qrels:
        judgements[qrel.query_id][qrel.doc_id] = max(qrel.relevance, 0)  # pytrec_eval crashes on numbers below 0
    number_of = {query_id: str(number) for number, query_id in enumerate(judgements, start=1)}
    try:
        results = ir_measures.evaluator(
            measures.values(), {number_of[query_id]: judged for query_id, judged in judgements.items()}
        ).calc({number_of[query_id]: hits for query_id, hits in run.items() if query_id in number_of})
    except (subprocess.CalledProcessError, FileNotFoundError):  # gdeval, a Perl script
        highest = max(grade for judged in judgements.values() for grade in judged.values())
        raise DsiError(
            f"evaluation.measures: {_of_gdeval(measures)}: gdeval, which computes it, failed: it needs Perl, and grades"
            f" up to {GDEVAL_GRADES} (here they go up to {highest})"
        ) from None
    values = {(metric.query_id, metric.measure): metric.value for metric in results.per_query}
    by_query = {
        query_id: {name: float(values[number, measure]) for name, measure in measures.items()}
        for query_id, number in number_of.items()
    }
    return {name: float(results.aggregated[measure]) for name, measure in measures.items()}, by_query


def _parse(name: str) -> Any:
    if name in OWN:
        return OWN[name]
    try:
        measure = ir_measures.parse_measure(name)
        missing = [key for key, of in measure.SUPPORTED_PARAMS.items() if of.required and key not in measure.params]
        if missing:
            example = ", ".join(f"{key}=3" for key in missing if key != "cutoff")
            raise ValueError(
                f"it needs {' and '.join(missing)}; write e.g. {type(measure).__name__.lstrip('_')}"
                f"{f'({example})' if example else ''}{'@10' if 'cutoff' in measure.SUPPORTED_PARAMS else ''}"
            )
        measure.validate_params()
    except (ValueError, TypeError, NameError, AssertionError, OverflowError, RecursionError, MemoryError) as error:
        raise DsiError(
            f"evaluation.measures: {name!r:.80}: {first_line(error):.200}; examples: RR@10, R@100, nDCG@10, AP(rel=2)"
        ) from None
    for key in ("cutoff", "rel"):  # what is below 1 would make trec_eval end the process
        value = measure.params.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise DsiError(f"evaluation.measures: {name!r:.80}: {key} must be a number of at least 1, found {value!r}")
    providers = [provider for provider in ir_measures.DefaultPipeline.providers if provider.supports(measure)]
    if not any(provider.is_available() for provider in providers):
        hint = f"; pip install 'ir-measures[{providers[0].NAME}]' brings one that does" if providers else ""
        raise DsiError(f"evaluation.measures: {name!r}: no installed provider of ir-measures computes it{hint}")
    return measure


def _of_gdeval(measures: Measures) -> str:
    """The first of the measures that gdeval computes, by name."""
    gdeval = next(provider for provider in ir_measures.DefaultPipeline.providers if provider.NAME == "gdeval")
    return next(name for name, measure in measures.items() if gdeval.supports(measure))
