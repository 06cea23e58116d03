"""The part of the report that says what single systems are: what the prior is, how BM25 is set, who the teacher is."""

from collections.abc import Iterator, Mapping
from typing import Any

from dsi.report.blocks import Block
from dsi.report.cost import Manifests
from dsi.report.quantities import count, decimal, duration, percent, size
from dsi.report.tables import Table
from dsi.search.prior import Mixture

RANKS = {
    "bm25": "ranks all documents by their words",
    "bi_encoder": "ranks all documents by the inner products of vectors",
    "cross_encoder": "orders the candidates that another system finds, whose index alone is counted; it reads the texts"
    " too",
}
"""What each kind of teacher does to answer a query."""


CHOSEN = {"configured": "as configured", "default": "the default", "dev": "chosen on dev", "train": "chosen on train"}
"""How a weight may have been chosen."""


def explained(manifests: Manifests) -> Iterator[str]:
    """A line for the index with a prior, for each system of BM25 and for the teacher, where they answered."""
    for system, cost in manifests["search"]["counts"]["systems"].items():
        if "prior" in cost:
            yield from _planned(system, cost, manifests["prior"]["counts"])
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
    if "teacher_int8" in answered:
        yield "teacher_int8 is the teacher with vectors of int8, a scale a column."


def _planned(name: str, cost: Mapping[str, Any], choice: Mapping[str, Any]) -> Iterator[str]:
    """What the index with a prior is, how its weight was chosen, and what its fusions are."""
    prior, mixture = choice["prior"], Mixture(cost["prior"]["weight"], cost["prior"]["epsilon"])
    without, leaf = cost["queries_without_prior"], choice["ranking"] == "leaf"
    yield (
        f"{name} is planned: it ranks documents by {mixture.formula('prior')}"
        + (", where P is the softmax over the leaves found" if leaf else "")
        + f". The prior is the score of {prior} (k1=1.2, b=0.75) for the {count(cost['prior']['documents'])} best"
        " documents of a query"
        + (f"; {count(without)} queries have no term that occurs, and are searched without" if without else "")
        + ". Its index, memory and latency have those of the prior in them."
    )
    chosen = ", ".join(f"{key.replace('_', ' ')} {CHOSEN.get(how, how)}" for key, how in choice["chosen"].items())
    measured = ""
    if "queries" in choice:
        measured = (
            f" What was chosen is the best of {choice['pairs']} on {count(choice['queries'])} queries"
            f" ({choice['measure']} {decimal(choice['value'])} there)."
        )
    yield f"How {name} and linear are weighed: {chosen}.{measured}"
    yield (
        f"rrf and linear fuse the finished rankings of dsi and of this prior, by reciprocal ranks (k=60) and by the sum"
        f" of their scores (weight {choice['linear_weight']:g}). They cost what both cost."
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


def searched(name: str, counts: Mapping[str, Any]) -> Iterator[Block]:
    """What the search of the system with this name says about itself: docids that do not exist, certificates, search
    errors."""
    wanted = "of the largest totals" if "prior" in counts else "that the model finds most probable"
    if "invalid_docids" in counts:
        yield (
            f"The beam was not constrained: {counts['invalid_docids']:.1%} of its results, and"
            f" {counts['invalid_first']:.1%} of the first ones, are docids that do not exist."
        )
    if "certified_ten" in counts:
        yield (
            f"For {counts['certified_ten']:.1%} of the queries the first ten documents of {name} are certified to be"
            f" the ten {wanted}."
        )
    errors = counts.get("search_errors")
    if errors is not None:
        yield (
            f"Search errors of {name}: what a beam misses of the documents {wanted}, over"
            f" {errors['certified']:.1%} of {count(errors['queries'])} queries, for which exact search certifies them."
        )
        rows = [[beam, *map(percent, list(row.values())[1:])] for beam, row in errors["beams"].items()]
        header = ["beam", "first document missed", "of the first ten missed", "first ten certified by itself"]
        yield Table(f"search-errors-{name}", f"Search errors of {name} by beam.", header, rows)
