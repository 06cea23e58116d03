"""The part of the report on what every system costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsi.report.blocks import Block
from dsi.report.quantities import decimal, duration, large, milliseconds, size
from dsi.report.tables import Table
from dsi.search.run_files import DSI

Manifests = Mapping[str, Mapping[str, Any]]
"""The manifest of each stage by name, in the order of the stages."""
Cost = Mapping[str, Any]
"""What is known of a system: parameters, training_seconds, training_flops, index_bytes, documents, resident_bytes,
anonymous_bytes, flops_per_query, latency_ms (p50, p95), queries_per_second. Of one that starts from a checkpoint also
checkpoint (its name); of one that learnt from a teacher distilled (what is known of the teacher), teacher_seconds and
teacher_bytes (of memory)."""

TRAINED_IN = {DSI: "model", "dual_encoder": "encoder"}
"""The stage of each system that is trained here; the others that the stage `search` runs have the model of dsi."""

CHECKPOINT = " The training of the checkpoint that a system starts from is not counted ({})."
TEACHER = (
    " Teacher is the time of the stage that labelled the training queries, once for all systems that learnt from it,"
    " and beside their own training; teacher memory is the stage's peak memory, as under Building, where the stages"
    " lexical and embeddings are too, if it searched what they made. Why not use the teacher itself? Its own row"
    " (baselines.systems: [teacher]) answers with its quality, its bytes a document and its p50, beside those of what"
    " it taught."
)


def costs(manifests: Manifests, systems: Sequence[str], stated: Mapping[str, str | None]) -> dict[str, Cost]:
    """The cost of each system, from the manifests of the stages, and what the configuration states of its teacher."""
    counts = {stage: manifest["counts"] for stage, manifest in manifests.items()}
    own = {key: counts["model"].get(key) for key in ("parameters", "training_seconds", "training_flops")}
    own |= {"checkpoint": checkpoint} if (checkpoint := started_from(manifests)) else {}
    documents = counts["corpus"].get("documents")
    searched = {system: {**cost, **own, "documents": documents} for system, cost in counts["search"]["systems"].items()}
    cost_of: dict[str, Cost] = {}
    for system in systems:
        known = {**searched, **counts["baselines"]}.get(system, {})
        stage = TRAINED_IN.get(system, "" if system in counts["baselines"] else "model")
        cost_of[system] = {**known, **_of_teacher(manifests, counts.get(stage, {}), stated)}
    return cost_of


def started_from(manifests: Manifests) -> str | None:
    """The name of the checkpoint that the index starts from, of a folder its end; None without one."""
    checkpoint = manifests["model"].get("paths", {}).get("model.checkpoint")
    return "/".join(Path(checkpoint).parts[-3:]) if checkpoint else None


def _of_teacher(manifests: Manifests, training: Mapping[str, Any], stated: Mapping[str, str | None]) -> Cost:
    """What is known of the teacher of a system whose training has these counts; nothing without one."""
    if "distilled" not in training:
        return {}
    stage = manifests.get("teacher", {})
    seconds, memory = stage.get("seconds"), stage.get("peak_memory_bytes")
    distilled = training["distilled"] | {key: value for key, value in stated.items() if value}
    return {"distilled": distilled, "teacher_seconds": seconds, "teacher_bytes": memory}


def cost_table(cost_of: Mapping[str, Cost], name: str = "cost") -> list[Block]:
    """The costs by the system's name in tables, as a table with this name and an explanation of its columns."""
    is_taught = any("distilled" in cost for cost in cost_of.values())
    started = [f"{system}: {cost['checkpoint']}" for system, cost in cost_of.items() if "checkpoint" in cost]
    rows = []
    for system, cost in cost_of.items():
        latency = cost.get("latency_ms", {})
        cells = [
            large(cost.get("parameters")),
            duration(cost.get("training_seconds")),
            large(cost.get("training_flops")),
            *([duration(cost.get("teacher_seconds")), size(cost.get("teacher_bytes"))] if is_taught else []),
            *(size(cost.get(f"{kind}_bytes")) for kind in ("index", "resident", "anonymous")),
            large(cost.get("flops_per_query")),
            size(_of_a_document(cost)),
            *(milliseconds(latency.get(percentile)) for percentile in ("p50", "p95")),
            decimal(cost.get("queries_per_second"), 1),
        ]
        rows.append([system, *cells])
    header = ["system", "parameters", "training", "training FLOPs"]
    header += ["teacher", "teacher memory"] if is_taught else []
    header += ["index", "resident", "anonymous", "FLOPs a query", "bytes a document", "p50 ms", "p95 ms"]
    header += ["queries a second"]
    return [
        Table(name, "What the systems cost.", header, rows),
        "Latency is that of one query at a time, throughput that of many together. The"
        " index is what must be kept to answer queries: the model and its docids, Lucene's files, postings, vectors;"
        " bytes a document are its size divided by the number of documents. Resident is the memory of a process that"
        " has opened the system and answered the queries whose latency is given, with Python, its libraries and Java;"
        " anonymous is the part of it that no file on the disk backs. The memory of a GPU is not counted. FLOPs are"
        " those of matrix products; training is counted without document states, a dsi query with every prefix that the"
        " beam can hold, which is an upper bound."
        + (CHECKPOINT.format("; ".join(started)) if started else "")
        + (TEACHER if is_taught else ""),
    ]


def _of_a_document(cost: Cost) -> float | None:
    """The bytes of the index for a document; None if they are not known."""
    index_bytes, documents = cost.get("index_bytes"), cost.get("documents")
    return index_bytes / documents if index_bytes is not None and documents else None
