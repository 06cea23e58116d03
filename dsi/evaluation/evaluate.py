"""The stage `evaluation`: measures every system on the evaluation queries."""

from pathlib import Path
from typing import Any

import numpy as np

from dsi.artifacts import write_json
from dsi.config import EvaluationConfig
from dsi.corpus.store import Corpus
from dsi.errors import DsiError
from dsi.evaluation.breakdown import by_kind, kinds
from dsi.evaluation.measures import check_judgements, parse_measures, score_queries
from dsi.evaluation.significance import compare_all, interval
from dsi.runtime.tsv import write_tsv
from dsi.search.run_files import DSI, FUSIONS, PLANNED, read_run


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

    The systems are those of `search_folder`, `dsi.run` first, and then those of `baselines_folder`. The main one, which
    the report is about, is the index with its prior if it has one.

    `fusions` of `metrics.json` compares the fusions of the index and its prior with the main system.

    Returns:
        The means by system and measure, the number of judged queries and of documents, and the split;
        queries_without_relevant if there are queries none of whose judgements is above 0, which count as 0.

    Raises:
        DsiError: a measure is unknown or does not suit the judgements, the split has none above 0, or the baseline to
            compare with was not run.
    """
    measures = parse_measures(evaluation.measures)
    corpus = Corpus(corpus_folder)
    split = corpus.evaluation_split(evaluation.split)
    qrels = corpus.qrels(split)
    check_judgements(measures, qrels, split)
    searched = sorted(search_folder.glob("*.run"), key=lambda path: (not path.stem.startswith(DSI), path.stem))
    baselines = sorted(baselines_folder.glob("*.run"))
    runs = {path.stem: path for path in (*searched, *baselines)}
    main = next((system for system in runs if system.startswith(PLANNED)), DSI)
    if evaluation.baseline not in (None, *runs):
        raise DsiError(f"evaluation.baseline: {evaluation.baseline!r} was not run; there are: {', '.join(runs)}")
    means, values = {}, {}
    for system, path in runs.items():
        means[system], values[system] = score_queries(measures, qrels, read_run(path))
    queries = list(values[DSI])
    rows = ([query, system, *values[system][query].values()] for query in queries for system in runs)
    write_tsv(out_folder / "per_query.tsv", ["query_id", "system", *measures], rows)
    baseline = evaluation.baseline or next((path.stem for path in baselines), DSI)
    by_measure = {
        measure: {system: np.array([values[system][query][measure] for query in queries]) for system in runs}
        for measure in measures
    }
    first = next(iter(measures))
    first_values = {system: dict(zip(queries, by_measure[first][system].tolist(), strict=True)) for system in runs}
    difference = by_measure[first][main] - by_measure[first][baseline]
    intervals = {system: {measure: interval(by_measure[measure][system]) for measure in measures} for system in runs}
    breakdowns = kinds(corpus, split, doc2query_folder)
    counts: dict[str, Any] = {"queries": len(queries), "documents": len(corpus), "split": split}
    answerable = {qrel.query_id for qrel in qrels if qrel.relevance > 0}
    if len(answerable) < len(queries):
        counts["queries_without_relevant"] = len(queries) - len(answerable)
    metrics = {
        "systems": means,
        "main": main,
        "baselines": [path.stem for path in baselines],
        "intervals": intervals,
        "baseline": baseline,
        "comparisons": {measure: compare_all(systems, baseline) for measure, systems in by_measure.items()},
        "fusions": compare_all({name: by_measure[first][name] for name in (main, *FUSIONS) if name in runs}, main),
        "breakdowns": {name: by_kind(kind_of, first_values) for name, kind_of in breakdowns.items()},
        "against_baseline": {
            "won": int((difference > 0).sum()),
            "lost": int((difference < 0).sum()),
            "level": int((difference == 0).sum()),
        },
        **counts,
    }
    write_json(out_folder / "metrics.json", metrics)
    return {"systems": means, **counts}
