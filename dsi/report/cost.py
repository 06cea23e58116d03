"""The part of the report on what every system costs."""

from collections.abc import Mapping, Sequence
from typing import Any

from dsi.evaluation.evaluate import DSI
from dsi.report.distilled import system_title
from dsi.report.quantities import decimal, duration, large, size
from dsi.report.tables import markdown_table

TEACHING = {"seconds": "seconds", "bytes": "peak_memory_bytes"}
"""The costs of labels, and what a manifest calls them."""

Cost = Mapping[str, Any]
"""What is known of a system: parameters, training_seconds, training_flops, index_bytes, documents, resident_bytes,
anonymous_bytes, flops_per_query, latency_ms (p50, p95), queries_per_second; of one that was distilled, what is known of
its teacher, `distilled`, and teacher_seconds and teacher_bytes, the time and the memory that the labels took."""


def costs(manifests: Mapping[str, Mapping[str, Any]], systems: Sequence[str]) -> dict[str, Cost]:
    """The cost of each system, from the manifests of the stages corpus, teacher, model, search and baselines."""
    trained = ("parameters", "training_seconds", "training_flops", "distilled")
    own = {key: manifests["model"]["counts"].get(key) for key in trained}
    own |= {"documents": manifests["corpus"]["counts"].get("documents")}
    known = {DSI: {**manifests["search"]["counts"], **own}, **manifests["baselines"]["counts"]}
    taught = {f"teacher_{key}": manifests.get("teacher", {}).get(name) for key, name in TEACHING.items()}
    of_system = {system: known.get(system, {}) for system in systems}
    return {system: {**cost, **(taught if cost.get("distilled") else {})} for system, cost in of_system.items()}


def cost_table(cost_of: Mapping[str, Cost]) -> str:
    """The costs by system as a Markdown table, with an explanation of its columns."""
    is_taught = any(cost.get("distilled") for cost in cost_of.values())
    rows = []
    for name, cost in cost_of.items():
        latency = cost.get("latency_ms", {})
        index, documents = cost.get("index_bytes"), cost.get("documents")
        cells = [
            large(cost.get("parameters")),
            duration(cost.get("training_seconds")),
            large(cost.get("training_flops")),
            *([duration(cost.get("teacher_seconds")), size(cost.get("teacher_bytes"))] if is_taught else []),
            *(size(cost.get(f"{kind}_bytes")) for kind in ("index", "resident", "anonymous")),
            large(index / documents) if index is not None and documents else large(None),
            large(cost.get("flops_per_query")),
            *(decimal(latency.get(percentile), 1) for percentile in ("p50", "p95")),
            decimal(cost.get("queries_per_second"), 1),
        ]
        rows.append([system_title(name, cost), *cells])
    header = ["system", "parameters", "training", "training FLOPs", *(["teacher", "its memory"] if is_taught else [])]
    header += ["index", "resident", "anonymous", "bytes a document", "FLOPs a query", "p50 ms", "p95 ms"]
    header += ["queries a second"]
    of_teacher = (
        " The teacher's time and memory are those of labelling the training queries, beside the time of training."
        " Whether to use the teacher itself is a question of its bytes a document, its FLOPs and its latency."
    )
    return (
        f"{markdown_table(header, rows)}\nLatency is that of one query at a time, throughput that of many together. The"
        " index is what must be kept to answer queries: the model and its docids, Lucene's files, the vectors. Resident"
        " is the memory of a process that has opened the system and answered the queries whose latency is given, with"
        " Python, its libraries and Java; anonymous is the part of it that no file on the disk backs. The memory of a"
        " GPU is not counted. FLOPs are those of matrix products; training is counted without document states, a dsi"
        f" query with every prefix that the beam can hold, which is an upper bound.{of_teacher if is_taught else ''}"
    )
