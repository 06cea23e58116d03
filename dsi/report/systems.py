"""The part of the report that says what single systems are: how BM25 is set, who the teacher is."""

from collections.abc import Iterator, Mapping
from typing import Any

from dsi.report.quantities import count, decimal, duration, size

RANKS = {
    "bm25": "ranks all documents by their words",
    "bi_encoder": "ranks all documents by the inner products of vectors",
    "cross_encoder": "orders the candidates that another system finds, whose index alone is counted; it reads the texts"
    " too",
}
"""What each kind of teacher does to answer a query."""


def explained(manifests: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each system of BM25 and for the teacher, where they answered."""
    answered = manifests["baselines"]["counts"]
    for name in ("bm25", "bm25_doc2query"):
        if name in answered:
            yield _bm25(name, answered[name])
    if "teacher" in answered:
        kind = manifests["baselines"]["inputs"]["teacher"]["kind"]
        yield (
            f"teacher is the teacher itself, {manifests['teacher']['counts']['teacher']}, asked the evaluation queries:"
            f" it {RANKS[kind]}. Its labels of the training queries are what the distilled systems learnt from."
        )


def _bm25(name: str, cost: Mapping[str, Any]) -> str:
    tuned, chosen = cost.get("tuned"), ""
    if tuned:
        chosen = (
            f", the best of {tuned['pairs']} pairs on {count(tuned['queries'])} {tuned['split']} queries"
            f" ({tuned['measure']} {decimal(tuned['value'])} there)"
        )
    return (
        f"{name} is Lucene with k1={cost.get('k1')}, b={cost.get('b')}{chosen}, and the analyzer for"
        f" {cost.get('language')}; its index takes {size(cost.get('index_bytes'))} and"
        f" {duration(cost.get('seconds_index'))} to build."
    )
