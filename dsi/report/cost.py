"""What every system costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dsi.evaluation.evaluate import DSI
from dsi.report.quantities import decimal, duration, large, size
from dsi.report.tables import markdown_table

Cost = Mapping[str, Any]
"""Some of parameters, training_seconds, training_flops, index_bytes, resident_bytes, anonymous_bytes, flops_per_query,
latency_ms (p50, p95) and queries_per_second."""


def costs(manifests: Mapping[str, Mapping[str, Any]], systems: Sequence[str]) -> dict[str, Cost]:
    """Of each system, from the manifests of the stages model, search and baselines."""
    own = {key: manifests["model"]["counts"].get(key) for key in ("parameters", "training_seconds", "training_flops")}
    found = {DSI: {**manifests["search"]["counts"], **own}, **manifests["baselines"]["counts"]}
    return {system: found.get(system, {}) for system in systems}


def cost_table(found: Mapping[str, Cost]) -> str:
    """In Markdown, with a word on what the columns are."""
    rows = []
    for name, cost in found.items():
        latency = cost.get("latency_ms", {})
        sizes = (
            large(cost.get("parameters")),
            duration(cost.get("training_seconds")),
            large(cost.get("training_flops")),
            size(cost.get("index_bytes")),
            size(cost.get("resident_bytes")),
            size(cost.get("anonymous_bytes")),
            large(cost.get("flops_per_query")),
        )
        numbers = (latency.get("p50"), latency.get("p95"), cost.get("queries_per_second"))
        rows.append([name, *sizes, *(decimal(number, 1) for number in numbers)])
    header = ["system", "parameters", "training", "training FLOPs", "index", "resident", "anonymous", "FLOPs a query"]
    header += ["p50 ms", "p95 ms", "queries a second"]
    return (
        f"{markdown_table(header, rows)}\nLatency is of one query at a time, throughput of many together. The index is"
        " what must be kept to answer queries: the model and its docids, Lucene's files, the vectors. Resident is the"
        " memory of a process that has opened the system and answered the queries of the latency, with Python, its"
        " libraries and Java; anonymous is the part of it that no file on the disk backs. A GPU's is not counted. FLOPs"
        " are of matrix products, in training without"
        " document states, for a dsi query at most: with every prefix that the beam can hold."
    )
