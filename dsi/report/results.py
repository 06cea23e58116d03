"""The part of the report on what was measured: the means of every system, and how to read them."""

from collections.abc import Callable
from typing import Any

from dsi.config import DEV, cutoff_of
from dsi.report.cost import Manifests
from dsi.report.quantities import count, counted, decimal
from dsi.report.summary import asked
from dsi.report.tables import Table
from dsi.search.run_files import DSI

CHOSEN_ON_DEV = "dsi's checkpoint was chosen on dev queries too, which flatters its figures a little."

WEIGHED_HERE = "The weights of the prior and of linear were chosen on these queries too, which flatters both a little."

RECIPROCAL_RANK = (
    "RR@10 is 1 when the first document returned is relevant, 1/2 when the second is the first relevant one, and so on"
    " to 1/10; beyond that it is 0. Its mean is known as MRR@10."
)


def results(metrics: dict[str, Any], name_of: Callable[[str], str] = str) -> Table:
    """The mean of every system on every measure, (systems, measures). `name_of` gives a system's name in tables."""
    measures = list(metrics["systems"][DSI])
    rows = [
        [name_of(name), *(decimal(values[measure]) for measure in measures)]
        for name, values in metrics["systems"].items()
    ]
    split = metrics["split"]
    title = f"Means over {counted(metrics['queries'], f'{split} query', f'{split} queries')}."
    return Table("results", title, ["system", *measures], rows, marks_best=True)


def notes(metrics: dict[str, Any], manifests: Manifests) -> list[str]:
    """What the means are of, and what flatters or limits them, in sentences."""
    return [
        f"Metrics per system are means over {count(metrics['queries'])} {asked(metrics, manifests)}; a query without"
        " results counts as 0. The best value is in bold.",
        *([RECIPROCAL_RANK] if "RR@10" in metrics["systems"][DSI] else []),
        *([CHOSEN_ON_DEV] if metrics["split"] == DEV else []),
        *([WEIGHED_HERE] if metrics["split"] in _chosen_on(manifests) else []),
        *shallow(metrics, manifests),
        *([without_relevant(metrics)] if "queries_without_relevant" in metrics else []),
        *([left_out] if (left_out := identical(manifests)) else []),
    ]


def shallow(metrics: dict[str, Any], manifests: Manifests) -> list[str]:
    """The measures that look at more results than the rankings hold, in a sentence each."""
    keys = {**manifests["search"]["inputs"].get("search", {}), **manifests["baselines"]["inputs"].get("baselines", {})}
    depth = min((keys[key] for key in ("beam", "depth") if key in keys), default=metrics["documents"])
    return [
        f"{measure} is measured on rankings of no more than {depth} documents."
        for measure in metrics["systems"][DSI]
        if depth < min(cutoff_of(measure) or metrics["documents"], metrics["documents"])
    ]


def without_relevant(metrics: dict[str, Any]) -> str:
    """What the means do with queries that no system can answer."""
    number, queries = metrics["queries_without_relevant"], metrics["queries"]
    return (
        f"{count(number)} of the {count(queries)} queries {'have' if number > 1 else 'has'} no relevant document and"
        " counts 0 in every mean, as with trec_eval; means over the others would be"
        f" {queries / max(queries - number, 1):.3g} times as high."
    )


def identical(manifests: Manifests) -> str:
    """What is left out of rankings because a query is a document; empty if nothing is."""
    number = manifests["search"]["counts"]["systems"][DSI].get("identical_documents_left_out", 0)
    if not number:
        return ""
    return (
        f"{count(number)} queries are documents of the same id, which are left out of their rankings"
        " (corpus.ignore_identical_ids)."
    )


def _chosen_on(manifests: Manifests) -> set[str]:
    """The splits on whose queries weights of the prior were chosen."""
    return {*manifests.get("prior", {"counts": {}})["counts"].get("chosen", {}).values()}
