"""Measure every system on the evaluation queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dsi.artifacts import write_json
from dsi.config import EvaluationConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.evaluation.measures import parse_measures, score_queries
from dsi.runfile import read_run

DSI = "dsi"
"""Name of our system among the others."""


def evaluate(out: Path, *, evaluation: EvaluationConfig, corpus: Path, search: Path, baselines: Path) -> dict[str, Any]:
    """Write `metrics.json` (means over all judged queries) and `per_query.tsv` (query_id, system, measures).

    The systems are `search`/dsi.run and every `baselines`/SYSTEM.run.

    Raises:
        DsiError: an unknown measure, or a split without judgements.
    """
    measures = parse_measures(evaluation.measures)
    documents = Corpus(corpus)
    split = documents.evaluation_split(evaluation.split)
    qrels = documents.qrels(split)
    if not qrels:
        raise DsiError(f"evaluation.split: split {split!r} has no judgements, so nothing can be measured")
    runs = {DSI: search / "dsi.run"} | {path.stem: path for path in sorted(baselines.glob("*.run"))}
    means, values = {}, {}
    for system, path in runs.items():
        means[system], values[system] = score_queries(measures, qrels, read_run(path))
    queries = list(values[DSI])
    rows = ([query, system, *values[system][query].values()] for query in queries for system in runs)
    _write_table(out / "per_query.tsv", ["query_id", "system", *measures], rows)
    metrics = {"systems": means, "queries": len(queries), "documents": len(documents), "split": split}
    write_json(out / "metrics.json", metrics)
    return metrics


def _write_table(path: Path, header: list[str], rows: Iterable[Sequence[object]]) -> None:
    """Write tab-separated values; floats with enough digits to read them back as they were."""
    with path.open("w", encoding="utf-8") as file:
        for row in (header, *rows):
            file.write("\t".join(map(str, row)) + "\n")
