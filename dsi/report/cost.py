"""The part of the report on what every system costs."""

from collections.abc import Mapping, Sequence
from typing import Any

from dsi.evaluation.evaluate import DSI
from dsi.report.quantities import decimal, duration, large, size
from dsi.report.tables import markdown_table

Cost = Mapping[str, Any]
"""What is known of a system: parameters, training_seconds, training_flops, index_bytes, resident_bytes,
anonymous_bytes, flops_per_query, latency_ms (p50, p95), queries_per_second."""


def costs(manifests: Mapping[str, Mapping[str, Any]], systems: Sequence[str]) -> dict[str, Cost]:
    """The cost of each system, from the manifests of the stages model, search and baselines."""
    own = {key: manifests["model"]["counts"].get(key) for key in ("parameters", "training_seconds", "training_flops")}
    known = {DSI: {**manifests["search"]["counts"], **own}, **manifests["baselines"]["counts"]}
    return {system: known.get(system, {}) for system in systems}


def cost_table(cost_of: Mapping[str, Cost]) -> str:
    """The costs by system as a Markdown table, with an explanation of its columns."""
    rows = []
    for name, cost in cost_of.items():
        latency = cost.get("latency_ms", {})
        cells = [
            large(cost.get("parameters")),
            duration(cost.get("training_seconds")),
            large(cost.get("training_flops")),
            *(size(cost.get(f"{kind}_bytes")) for kind in ("index", "resident", "anonymous")),
            large(cost.get("flops_per_query")),
            *(decimal(latency.get(percentile), 1) for percentile in ("p50", "p95")),
            decimal(cost.get("queries_per_second"), 1),
        ]
        rows.append([name, *cells])
    header = ["system", "parameters", "training", "training FLOPs", "index", "resident", "anonymous", "FLOPs a query"]
    header += ["p50 ms", "p95 ms", "queries a second"]
    return (
        f"{markdown_table(header, rows)}\nLatency is that of one query at a time, throughput that of many together. The"
        " index is what must be kept to answer queries: the model and its docids, Lucene's files, the vectors. Resident"
        " is the memory of a process that has opened the system and answered the queries whose latency is given, with"
        " Python, its libraries and Java; anonymous is the part of it that no file on the disk backs. The memory of a"
        " GPU is not counted. FLOPs are those of matrix products; training is counted without document states, a dsi"
        " query with every prefix that the beam can hold, which is an upper bound."
    )
