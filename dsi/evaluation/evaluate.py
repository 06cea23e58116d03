"""Measure every system on the evaluation queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dsi.artifacts import write_json
from dsi.config import EvaluationConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.evaluation.breakdown import by_kind, kinds
from dsi.evaluation.measures import parse_measures, score_queries
from dsi.evaluation.significance import compare_all, interval
from dsi.runtime.tsv import write_tsv
from dsi.search.run_files import read_run

DSI = "dsi"
"""Name of our system among the others."""


def evaluate(
    out_folder: Path,
    *,
    evaluation: EvaluationConfig,
    corpus_folder: Path,
    doc2query_folder: Path,
    search_folder: Path,
    baselines_folder: Path,
) -> dict[str, Any]:
    """Write `metrics.json` (means over all judged queries, their intervals, comparisons with a baseline, and the first
    measure by kinds of queries) and `per_query.tsv` (query_id, system, measures).

    The systems are `search`/dsi.run and every `baselines`/SYSTEM.run.

    Raises:
        DsiError: an unknown measure, a split without judgements, or a baseline that was not run.
    """
    measures = parse_measures(evaluation.measures)
    documents = Corpus(corpus_folder)
    split = documents.evaluation_split(evaluation.split)
    qrels = documents.qrels(split)
    if not qrels:
        raise DsiError(f"evaluation.split: split {split!r} has no judgements, so nothing can be measured")
    runs = {DSI: search_folder / "dsi.run"} | {path.stem: path for path in sorted(baselines_folder.glob("*.run"))}
    means, values = {}, {}
    for system, path in runs.items():
        means[system], values[system] = score_queries(measures, qrels, read_run(path))
    queries = list(values[DSI])
    rows = ([query, system, *values[system][query].values()] for query in queries for system in runs)
    write_tsv(out_folder / "per_query.tsv", ["query_id", "system", *measures], rows)
    baseline = _baseline(evaluation.baseline, list(runs))
    by_measure = {
        measure: {system: np.array([values[system][query][measure] for query in queries]) for system in runs}
        for measure in measures
    }
    first = next(iter(measures))
    of_first = {system: {query: found[first] for query, found in values[system].items()} for system in runs}
    ours, theirs = by_measure[first][DSI], by_measure[first][baseline]
    metrics = {
        "systems": means,
        "intervals": {
            system: {measure: interval(by_measure[measure][system]) for measure in measures} for system in runs
        },
        "baseline": baseline,
        "comparisons": {measure: compare_all(found, baseline) for measure, found in by_measure.items()},
        "breakdowns": {
            name: by_kind(kind_of, of_first) for name, kind_of in kinds(documents, split, doc2query_folder).items()
        },
        "against_baseline": {
            "won": int((ours > theirs).sum()),
            "lost": int((ours < theirs).sum()),
            "level": int((ours == theirs).sum()),
        },
        "queries": len(queries),
        "documents": len(documents),
        "split": split,
    }
    write_json(out_folder / "metrics.json", metrics)
    return {"systems": means, "queries": len(queries), "documents": len(documents), "split": split}


def _baseline(asked: str | None, systems: list[str]) -> str:
    if asked is not None and asked not in systems:
        raise DsiError(f"evaluation.baseline: {asked!r} was not run; there are: {', '.join(systems)}")
    return asked or next((system for system in systems if system != DSI), DSI)
